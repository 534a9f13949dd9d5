"""What would the model see for this query? Reads, searches and packs."""

import os
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from carmenta_lab import strategies
from carmenta_lab.app.memory import mark_used
from carmenta_lab.context import policies
from carmenta_lab.context.context import Context
from carmenta_lab.context.counting import BundledCounter, Counter, TokenCounts, keep_counts
from carmenta_lab.context.endpoint import Endpoint, EndpointFailed, endpoint_of
from carmenta_lab.context.material import Material, MessageText
from carmenta_lab.context.packing import pack
from carmenta_lab.context.policy import Policy
from carmenta_lab.context.reading import read_messages, read_retrieved
from carmenta_lab.errors import UsageError
from carmenta_lab.records import Query, Ranking
from carmenta_lab.retrieval.best import WITH_CODES, best_strategy
from carmenta_lab.retrieval.question import Question
from carmenta_lab.retrieval.retriever import Need
from carmenta_lab.retrieval.search import query_vector, search, understand
from carmenta_lab.schema.vector import Vector
from carmenta_lab.settings import read_settings

OWN = "custom"
"""The name in the result of a policy that is given as a value."""


def best_policy(session: Session, user_id: UUID) -> str:
    """The name of the best measured policy that a user's data allow; to be called within `as_user`.

    On the judged sample the policies that spend most of the budget on what a search finds hold more than twice the
    evidence of `mission_order` at 2,000 tokens. Of these `retrieved_first` keeps the end of the conversation as well.
    """
    return "retrieved_first" if best_strategy(session, user_id) == WITH_CODES else "retrieved_first_lean"


class Searches:
    """What the strategies of policies find for one query: each search once, and the model asked once for all of them.

    `vector` is the query's under the strategies' model, if it is at hand. `instead` is searched with in the place of
    every strategy that a policy names. `session` is as for `search`.
    """

    def __init__(
        self, session: Session, query: Query, vector: Vector | None = None, instead: strategies.Given | None = None
    ) -> None:
        self.session = session
        self.query = query
        self._given = vector
        self._instead = instead
        self._vectors: dict[str, Vector] = {}
        self._questions: dict[tuple[str | None, frozenset[Need]], Question] = {}
        self._rankings: dict[tuple[str, int], Ranking] = {}

    def ranking(self, strategy: str, k: int) -> Ranking:
        """The best `k` sources by a strategy, given by its name or the path of its file."""
        key = strategy, k
        if key not in self._rankings:
            self._rankings[key] = self._searched(strategy, k)
        return self._rankings[key]

    def _searched(self, strategy: str, k: int) -> Ranking:
        retriever = strategies.load(strategy if self._instead is None else self._instead)
        model, needs = retriever.model, retriever.needs
        vector, question = self._given, None
        if "question" in needs:
            if (model, needs) not in self._questions:
                self._questions[model, needs] = understand(self.session, retriever, self.query)
            question = self._questions[model, needs]
        elif "vector" in needs and vector is None and model is not None:
            if model not in self._vectors:
                self._vectors[model] = query_vector(model, self.query)
            vector = self._vectors[model]
        return search(self.session, retriever, self.query, k, vector, question)


class GatheredMaterial(NamedTuple):
    """All that was read for one context."""

    material: Material
    may_write: bool  # whether the transaction that read it can keep what is counted


def assemble(
    session: Session,
    query: Query,
    *,
    conversation_id: UUID | None = None,
    policy: policies.Given | None = None,
    strategy: strategies.Given | None = None,
    budget_tokens: int | None = None,
    counter: Counter | None = None,
    vector: Vector | None = None,
    mark: bool = True,
) -> Context:
    """The context of a query, within the budget (the policy's, unless one is given), the query included.

    To be called within `as_user(session, query.user_id)`. `policy` is a name, the path of a file, or a value; without
    it, it is the best one that the user's data allow (`best_policy`). `strategy` is searched with instead of the
    policy's, and is a name, a path or a value as well. Without `conversation_id` it is the user's latest
    conversation. Nothing later than `query.asked_at` is seen; profiles have no history and are always seen. `vector` is
    the query's under the strategy's model, if it is at hand. Memories that it holds are marked as used, from which
    their tiers follow, where the transaction may write: not for a question of the past, which is an experiment, nor
    without `mark`. Where CARMENTA_LLM_URL is set, that language model shortens older messages, and `notes` say when it
    failed.
    UsageError for an empty query, an unknown conversation, policy or strategy, a strategy for a policy that searches
    for nothing, and a budget too small for the query.
    """
    policy = best_policy(session, query.user_id) if policy is None else policy
    name = policies.title(os.fspath(policy)) if isinstance(policy, str | Path) else OWN
    policy = policies.load(policy)
    if strategy is not None and policy.strategy is None:
        raise UsageError(f"the policy {name} searches for nothing: leave the strategy out, or give another policy.")
    budget = policy.budget_tokens if budget_tokens is None else budget_tokens
    counts = TokenCounts(counter or BundledCounter())
    searches = Searches(session, query, vector, strategy)
    material, may_write = gather(searches, policy, budget, counts.counter.name, conversation_id)
    new = material.uncounted()
    if (endpoint := endpoint_of(read_settings())) is not None:
        material = shortened(material, policy, budget, counts, endpoint)
    context = pack(material, policy, budget, counts, name)
    if may_write:
        keep_counts(session, query.user_id, new, counts)
        used = {id for block in context.blocks if block.kind == "memory" for id in block.ids}
        if mark and used and query.asked_at is None:
            mark_used(session, query.user_id, sorted(used))
    return context


def gather(
    searches: Searches, policy: Policy, budget_tokens: int, counter: str, conversation_id: UUID | None = None
) -> GatheredMaterial:
    """What a context of at most so many tokens can be made of; `counter` names the one whose stored counts are read."""
    session, query = searches.session, searches.query
    if not query.text.strip():
        raise UsageError("the query is empty: give it at least one word.")
    if budget_tokens < 1:
        raise UsageError(f"the budget must be at least 1 token, not {budget_tokens}.")
    read = read_messages(
        session,
        query,
        conversation_id=conversation_id,
        messages=policy.messages,
        budget_tokens=budget_tokens,
        counter=counter,
        span=policy.span,
    )
    ranking = searches.ranking(policy.strategy, policy.k) if policy.strategy else Ranking(query.query_id, ())
    retrieved = read_retrieved(session, query, ranking, counter)
    notes = (ranking.note,) if ranking.note else ()
    return GatheredMaterial(
        Material(query, read.profile, read.profile_source, read.messages, retrieved, notes), read.may_write
    )


def shortened(
    material: Material, policy: Policy, budget_tokens: int, counts: TokenCounts, endpoint: Endpoint
) -> Material:
    """The material with older messages shortened by a language model, newest first, as many as the budget may hold.

    The first failure ends it: the messages left are shortened without, and a note says so.
    """
    said: list[MessageText] = list(material.messages)
    spent = 0
    for age, place in enumerate(reversed(range(len(said)))):
        one = said[place]
        keep = policy.keep(age)
        if one.text is None or one.compressed or keep == 1 or policy.compression != "sentences":
            continue
        limit = int(keep * counts.of("", one.text))
        spent += limit
        if spent > budget_tokens:
            break
        try:
            short = endpoint.shorten(one.text, max(1, limit), material.query.text)
        except EndpointFailed as error:
            note = f"{error} Older messages are shortened without a language model."
            return replace(material, messages=tuple(said), notes=(*material.notes, note))
        said[place] = one._replace(compressed=short, compressed_by=f"by {endpoint.model}")
    return replace(material, messages=tuple(said))
