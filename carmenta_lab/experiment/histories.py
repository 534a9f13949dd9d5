"""From which history length on does retrieval pay? The same questions asked while the history was shorter."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Any
from uuid import UUID

import pandas as pd
from sqlalchemy import text
from sqlalchemy.orm import Session

from carmenta_lab.context import BundledCounter
from carmenta_lab.context.sizes import Sizes
from carmenta_lab.evaluation import interval
from carmenta_lab.experiment.compare import SEED
from carmenta_lab.experiment.contexts import contexts_of
from carmenta_lab.experiment.evidence import LexemesOf, read_sources, share
from carmenta_lab.experiment.named import PolicyGiven, policies_of
from carmenta_lab.experiment.questions import Questions, read_questions
from carmenta_lab.postgres.connect import Database
from carmenta_lab.records import Query

_TIMES = text("""
    SELECT id, created_at FROM carmenta.messages
    WHERE user_id = :user_id AND created_at IS NOT NULL AND deleted_at IS NULL ORDER BY created_at, id
""")


def evidence_by_history(
    database: Database,
    dataset: str,
    policies: PolicyGiven | Sequence[PolicyGiven],
    budget_tokens: int,
    lengths: Sequence[int],
    questions_each: int = 30,
    seed: int = SEED,
) -> pd.DataFrame:
    """Evidence in context after so many messages of each user: policy, messages, mean, low, high, questions.

    At each length, questions whose judged messages were all said by then are asked at that moment. Lengths at which
    none can be asked are left out; a length that no user has reached is that of the longest history.

    Parameters:
        dataset: the name of a loaded one that has judged questions.
        policies: names, paths or values, one or several.
        budget_tokens: the question included.
        lengths: messages of a user.
        questions_each: so many at each length at most, drawn by the seed.
        seed: of the draw and of the intervals.

    Raises:
        UnknownName: for a policy or dataset that there is not.

    >>> cl.evidence_by_history(lab, "sample_de", "recent_only", 500, [40, 80], 3).messages.tolist()
    [40, 80]
    """
    titles = policies_of(policies)
    sizes = Sizes(BundledCounter())
    rows: list[tuple[Any, ...]] = []
    with database.owner_session() as session:
        questions = read_questions(session, dataset)
        sources = read_sources(session, {key for judged in questions.judgements.values() for key in judged})
        lexemes = LexemesOf(session)
        times = {user: _times(session, user) for user in questions.user_names}
        longest = max(len(said) for said in times.values())
        for length in dict.fromkeys(min(length, longest) for length in lengths):
            asked = _askable(questions, times, length)
            chosen = Random(seed).sample(asked, min(questions_each, len(asked)))  # noqa: S311
            held: dict[str, list[float]] = {name: [] for name in titles}
            for query, targets in chosen:
                found = contexts_of(database, query, titles, [budget_tokens], sizes)
                for (name, _), context in found.items():
                    held[name].append(share(context, targets, sources, query.answers, lexemes))
            for name, values in held.items():
                if values:
                    mean = interval(values, seed)
                    rows.append((name, length, mean.mean, mean.low, mean.high, len(values)))
    return pd.DataFrame(rows, columns=["policy", "messages", "mean", "low", "high", "questions"])


def _times(session: Session, user: UUID) -> dict[UUID, datetime]:
    """When each dated message was written, in that order."""
    return {row.id: row.created_at for row in session.execute(_TIMES, {"user_id": user})}


def _askable(
    questions: Questions, times: dict[UUID, dict[UUID, datetime]], length: int
) -> list[tuple[Query, list[UUID]]]:
    """Questions that could be asked after the user's message of that number, and their judged messages."""
    found = []
    for query in questions.queries:
        said = times[query.user_id]
        if len(said) < length:
            continue
        moment = list(said.values())[length - 1]
        judged = questions.judgements[query.query_id]
        targets = [key for key, (kind, relevance) in judged.items() if kind == "message" and relevance]
        if targets and all(key in said and said[key] <= moment for key in targets):
            found.append((replace(query, asked_at=moment), targets))
    return found
