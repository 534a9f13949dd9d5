"""Policies against each other: how much of the evidence does a context of so many tokens hold?

By policy and budget, and by the length of the history from which it is taken.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random
from typing import Any, TypeAlias
from uuid import UUID

import pandas as pd
from sqlalchemy import text
from sqlalchemy.orm import Session

from carmenta_lab import display, strategies
from carmenta_lab.context import BundledCounter, Context, Counter, Policy, Searches, TokenCounts, gather, pack
from carmenta_lab.context import policies as registry
from carmenta_lab.context.compress import words
from carmenta_lab.errors import UsageError
from carmenta_lab.evaluation import interval, paired
from carmenta_lab.experiment.circumstances import circumstances
from carmenta_lab.experiment.compare import SEED
from carmenta_lab.experiment.comparison import corrected
from carmenta_lab.experiment.named import PolicyGiven, budgets_of, policies_of, title_of
from carmenta_lab.experiment.questions import Questions, read_questions, vectors_needed
from carmenta_lab.experiment.tables import contexts_tables
from carmenta_lab.postgres.connect import Database
from carmenta_lab.records import Progress, Query, SourceKind
from carmenta_lab.schema.base import LANGUAGES

ENOUGH = 0.8
"""The share of a source's content lexemes that a shorter text must hold."""

Lexemes: TypeAlias = Callable[[str], frozenset[str]]
"""The content lexemes of a text: stemmed, without stop words."""

_DATE = re.compile(r"^\[\d{4,}-\d\d-\d\d\] ")


@dataclass(frozen=True)
class JudgedText:
    """The text of a judged message, memory or document."""

    text: str
    config: str  # of text search, by its language


def holds(source: str, shown: str, answers: Sequence[str], lexemes: Lexemes) -> bool:
    """Whether `shown` says what the source says, as far as a question is concerned.

    It does when it contains the source's whole text, or an answer string (its words in their order, whatever case
    and punctuation), or at least 80 % of the source's content lexemes. Nothing shown holds nothing.
    """
    if not shown.strip():
        return False
    if " ".join(source.split()) in " ".join(shown.split()):
        return True
    said = words(shown)
    if any(words(answer) in said for answer in answers if words(answer)):
        return True
    wanted = lexemes(source)
    return bool(wanted) and len(wanted & lexemes(shown)) >= ENOUGH * len(wanted)


def shown_of(context: Context, source: UUID) -> str:
    """What a context shows of one source: the blocks made from it, without the dates of their days."""
    return "\n".join(_DATE.sub("", block.text) for block in context.blocks if source in block.ids)


def share(
    context: Context,
    judged: Iterable[UUID],
    sources: Mapping[UUID, JudgedText],
    answers: Sequence[str],
    of: "LexemesOf",
) -> float:
    """The share of the judged sources that the context holds, 0..1; a source that is gone is not held."""
    found = []
    for key in judged:
        source = sources.get(key)
        held = source is not None and holds(source.text, shown_of(context, key), answers, of.language(source.config))
        found.append(held)
    return sum(found) / len(found)


class LexemesOf:
    """The content lexemes of texts as PostgreSQL makes them; each text is sent once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[tuple[str, str], frozenset[str]] = {}

    def language(self, config: str) -> Lexemes:
        """The function that gives the lexemes under one text-search configuration."""

        def lexemes(said: str) -> frozenset[str]:
            if (config, said) not in self._known:
                found = self._session.scalar(_LEXEMES, {"config": config, "said": said})
                self._known[config, said] = frozenset(found or ())
            return self._known[config, said]

        return lexemes


_LEXEMES = text("SELECT tsvector_to_array(to_tsvector(CAST(:config AS regconfig), :said))")

_SOURCES = text("""
    SELECT id, content, language FROM carmenta.messages WHERE id = ANY(:ids)
    UNION ALL SELECT id, content, language FROM carmenta.memories WHERE id = ANY(:ids)
    UNION ALL SELECT id, content, language FROM carmenta.documents WHERE id = ANY(:ids)
""")


def read_sources(session: Session, ids: Iterable[UUID]) -> dict[UUID, JudgedText]:
    """The texts of judged sources, read by the owner."""
    rows = session.execute(_SOURCES, {"ids": list(ids)})
    return {row.id: JudgedText(row.content, "pg_catalog." + LANGUAGES.get(row.language, "simple")) for row in rows}


BUDGETS = (500, 1_000, 2_000, 4_000, 8_000)


@dataclass(frozen=True)
class ContextComparison:
    """Tidy frames of one comparison of policies; printed, it is a table of policies by budgets.

    >>> cl.compare_contexts(lab, "sample_de", "recent_only", budgets=[500, 1_000], questions_drawn=4)
    <ContextComparison on 'sample_de': 4 questions, recent_only; budgets 500, 1,000>
    """

    dataset: str
    queries: int  # with a judged message
    policies: tuple[str, ...]
    budgets: tuple[int, ...]
    evidence: pd.DataFrame  # policy, budget, mean, low, high, every_target, tokens
    differences: pd.DataFrame  # policy, baseline, budget, mean, low, high, won, lost, tied, p, p_holm
    scores: (
        pd.DataFrame
    )  # policy, budget, query_id, category, evidence (NaN without a judged message), every_target, tokens
    circumstances: dict[str, Any] = field(repr=False)

    def __repr__(self) -> str:
        budgets = ", ".join(f"{budget:,}" for budget in self.budgets)
        return (
            f"<ContextComparison on {self.dataset!r}: {self.queries} questions, {', '.join(self.policies)}; "
            f"budgets {budgets}>"
        )

    def __str__(self) -> str:
        return display.text(self.tables()[:1])

    def _repr_html_(self) -> str:
        return display.html(self.tables()[:1])

    def tables(self) -> list[display.Table]:
        """The tables: evidence held by policy and budget (the printed one), that of all targets, paired differences."""
        return contexts_tables(self)

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain values."""
        found: dict[str, Any] = {name: {} for name in self.policies}
        for row in self.evidence.to_dict(orient="records"):
            found[row["policy"]][str(row["budget"])] = {
                key: row[key] for key in ("mean", "low", "high", "every_target", "tokens")
            }
        return {
            "dataset": self.dataset,
            "queries": self.queries,
            "policies": found,
            "differences": self.differences.to_dict(orient="records"),
            "circumstances": self.circumstances,
        }


def compare_contexts(
    database: Database,
    dataset: str,
    policies: PolicyGiven | Sequence[PolicyGiven] = (),
    budgets: int | Sequence[int] = BUDGETS,
    *,
    baseline: PolicyGiven | None = None,
    counter: Counter | None = None,
    questions_drawn: int | None = None,
    seed: int = SEED,
    progress: Progress = lambda stage, done, total: None,
) -> ContextComparison:
    """Evidence in context at each budget, by policy, over the judged questions of a loaded dataset.

    Every question is asked in the user's latest conversation of its time. The mean is over questions with a judged
    message and counts messages; `every_target` counts memories and documents as well, by the same rule.

    Parameters:
        dataset: the name of a loaded one that has judged questions.
        policies: names, paths or values, one or several; all that there are when none is given.
        budgets: tokens, the question included.
        baseline: what the others are paired with, the first unless another is named.
        counter: counts tokens; that of the bundled model when not given.
        questions_drawn: so many judged questions, drawn by the seed; all when not given.
        seed: of the draw and of the intervals.
        progress: called with a stage, the questions done since its last call, and how many there are.

    Raises:
        UsageError: for a budget that is no whole number of at least 1, and for an unknown name.

    >>> found = cl.compare_contexts(lab, "sample_de", ["recent_only", "naive_top_k"], budgets=500, questions_drawn=4)
    >>> found.evidence.columns.tolist()
    ['policy', 'budget', 'mean', 'low', 'high', 'every_target', 'tokens']
    """
    titles = policies_of(policies) or policies_of(registry.names())
    base = next(iter(titles)) if baseline is None else title_of(baseline, titles)
    if base not in titles:
        raise UsageError(f"the baseline {base} is not among the policies: {', '.join(titles)}.")
    wanted = budgets_of(budgets)
    with database.owner_session() as session:
        questions = read_questions(session, dataset)
        sources = read_sources(session, {key for judged in questions.judgements.values() for key in judged})
        lexemes = LexemesOf(session)
        counts = TokenCounts(counter or BundledCounter())
        rows: list[tuple[Any, ...]] = []
        asked = _asked(questions, questions_drawn, seed)
        for query, targets in asked:
            found = contexts_of(database, query, titles, wanted, counts)
            rows += _scored(query, found, targets, sources, lexemes)
            progress("questions", 1, len(asked))
    columns = ["policy", "budget", "query_id", "category", "evidence", "every_target", "tokens"]
    scores = pd.DataFrame(rows, columns=columns)
    return ContextComparison(
        dataset=dataset,
        queries=scores[scores.evidence.notna()].query_id.nunique(),
        policies=tuple(titles),
        budgets=tuple(wanted),
        evidence=_evidence(scores, seed),
        differences=_differences(scores, base, seed),
        scores=scores,
        circumstances=_circumstances(database, questions, titles)
        | {"seed": seed, "questions_drawn": questions_drawn, "counter": counts.counter.name, "baseline": base},
    )


def _asked(questions: Questions, drawn: int | None, seed: int) -> list[tuple[Query, dict[UUID, SourceKind]]]:
    """The judged questions in their order, each with the kinds of its targets."""
    judged = [
        (query, {key: kind for key, (kind, relevance) in questions.judgements[query.query_id].items() if relevance})
        for query in questions.queries
    ]
    asked = [(query, targets) for query, targets in judged if targets]
    if drawn is None or drawn >= len(asked):
        return asked
    chosen = set(Random(seed).sample(range(len(asked)), max(1, drawn)))  # noqa: S311
    return [one for place, one in enumerate(asked) if place in chosen]


def contexts_of(
    database: Database, query: Query, titles: dict[str, Policy], budgets: Sequence[int], counts: TokenCounts
) -> dict[tuple[str, int], Context]:
    """The contexts of one question by policy and budget; read once a policy, searched once a strategy and k."""
    found = {}
    with database.user_session(query.user_id) as session:
        searches = Searches(session, query)
        for name, policy in titles.items():
            material = gather(searches, policy, max(budgets), counts.counter.name).material
            for budget in budgets:
                found[name, budget] = pack(material, policy, budget, counts, name)
    return found


def _scored(
    query: Query,
    found: dict[tuple[str, int], Context],
    targets: dict[UUID, SourceKind],
    sources: dict[UUID, JudgedText],
    lexemes: LexemesOf,
) -> list[tuple[Any, ...]]:
    said = [key for key, kind in targets.items() if kind == "message"]
    rows = []
    for (name, budget), context in found.items():
        evidence = share(context, said, sources, query.answers, lexemes) if said else None
        every = share(context, targets, sources, query.answers, lexemes)
        rows.append((name, budget, query.query_id, query.category, evidence, every, context.tokens))
    return rows


def _evidence(scores: pd.DataFrame, seed: int) -> pd.DataFrame:
    rows = []
    for (policy, budget), group in scores.groupby(["policy", "budget"], sort=False):
        found = interval(group.evidence.dropna().tolist(), seed)
        rows.append((policy, budget, found.mean, found.low, found.high, group.every_target.mean(), group.tokens.mean()))
    return pd.DataFrame(rows, columns=["policy", "budget", "mean", "low", "high", "every_target", "tokens"])


def _differences(scores: pd.DataFrame, baseline: str, seed: int) -> pd.DataFrame:
    """Paired over the questions, against the baseline at the same budget."""
    rows = []
    judged = scores.dropna(subset="evidence")
    base = judged[judged.policy == baseline].set_index(["query_id", "budget"]).evidence
    for (policy, budget), group in judged[judged.policy != baseline].groupby(["policy", "budget"], sort=False):
        paired_with = base.loc[list(zip(group.query_id, group.budget, strict=True))]
        d = paired(group.evidence.tolist(), paired_with.tolist(), seed)
        rows.append((policy, baseline, budget, d.mean, d.low, d.high, d.won, d.lost, d.tied, d.p))
    columns = ["policy", "baseline", "budget", "mean", "low", "high", "won", "lost", "tied", "p"]
    found = pd.DataFrame(rows, columns=columns)
    return found.assign(p_holm=corrected(found, "budget"))


def models_needed(policies: Sequence[PolicyGiven]) -> tuple[str, ...]:
    """The embedding models that the strategies of these policies search with."""
    found = [policy.strategy for policy in policies_of(policies).values()]
    return vectors_needed([strategies.load(name).model for name in found if name])


def tokens_needed(policies: Sequence[PolicyGiven]) -> bool:
    """Whether a strategy of these policies compares codes of single tokens."""
    found = [policy.strategy for policy in policies_of(policies).values()]
    return any(strategies.needs_tokens(name) for name in found if name)


def _circumstances(database: Database, questions: Questions, titles: dict[str, Policy]) -> dict[str, Any]:
    names = {policy.strategy for policy in titles.values() if policy.strategy}
    known = {name: repr(strategies.load(name)) for name in sorted(names)}
    return circumstances(database, questions, known) | {"policies": {name: repr(p) for name, p in titles.items()}}


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
    counts = TokenCounts(BundledCounter())
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
                found = contexts_of(database, query, titles, [budget_tokens], counts)
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
