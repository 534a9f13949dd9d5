"""What would the model see for this query? Reads, searches and packs."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session

from carmenta_lab import strategies
from carmenta_lab.app.memory import mark_used
from carmenta_lab.context import policies
from carmenta_lab.context.best import best_policy
from carmenta_lab.context.counter import BundledCounter, Counter
from carmenta_lab.context.counts import keep_counts, uncounted
from carmenta_lab.context.endpoint import Endpoint, EndpointFailed, endpoint_of
from carmenta_lab.context.found import read_found
from carmenta_lab.context.material import Material, Said
from carmenta_lab.context.packing import pack
from carmenta_lab.context.policy import Policy
from carmenta_lab.context.reading import read_said
from carmenta_lab.context.sizes import Sizes
from carmenta_lab.context.value import Context
from carmenta_lab.errors import UsageError
from carmenta_lab.records import Query, Ranking
from carmenta_lab.retrieval import search
from carmenta_lab.schema.vector import Vector
from carmenta_lab.settings import read_settings

OWN = "custom"
"""The name in the result of a policy that is given as a value."""

Searched = Callable[[str, int], Ranking]
"""The ranking of a query by a strategy, of so many hits."""


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
    sizes = Sizes(counter or BundledCounter())

    def searched(own: str, k: int) -> Ranking:
        return search(session, strategies.load(strategy or own), query, k, vector)

    material, may_write = gather(session, query, policy, budget, sizes.counter.name, conversation_id, searched)
    new = uncounted(material)
    if (endpoint := endpoint_of(read_settings())) is not None:
        material = shortened(material, policy, budget, sizes, endpoint)
    context = pack(material, policy, budget, sizes, name)
    if may_write:
        keep_counts(session, query.user_id, new, sizes)
        used = {id for block in context.blocks if block.kind == "memory" for id in block.ids}
        if mark and used and query.asked_at is None:
            mark_used(session, query.user_id, sorted(used))
    return context


def gather(
    session: Session,
    query: Query,
    policy: Policy,
    budget_tokens: int,
    counter: str,
    conversation_id: UUID | None,
    searched: Searched,
) -> tuple[Material, bool]:
    """What a context of at most so many tokens can be made of, and whether the transaction may write."""
    if not query.text.strip():
        raise UsageError("the query is empty: give it at least one word.")
    if budget_tokens < 1:
        raise UsageError(f"the budget must be at least 1 token, not {budget_tokens}.")
    read = read_said(session, query, conversation_id, policy.messages, budget_tokens, counter, policy.span)
    ranking = searched(policy.strategy, policy.k) if policy.strategy else Ranking(query.query_id, ())
    found = read_found(session, query, ranking, counter)
    notes = (ranking.note,) if ranking.note else ()
    return Material(query, read.profile, read.profile_source, read.said, found, notes), read.may_write


def shortened(material: Material, policy: Policy, budget_tokens: int, sizes: Sizes, endpoint: Endpoint) -> Material:
    """The same with older messages shortened by a language model, newest first, as many as the budget may hold.

    The first failure ends it: the messages left are shortened without, and a note says so.
    """
    said: list[Said] = list(material.said)
    spent = 0
    for age, place in enumerate(reversed(range(len(said)))):
        one = said[place]
        keep = policy.keep(age)
        if one.text is None or one.compressed or keep == 1 or policy.compression != "sentences":
            continue
        limit = int(keep * sizes.of("", one.text))
        spent += limit
        if spent > budget_tokens:
            break
        try:
            short = endpoint.shorten(one.text, max(1, limit), material.query.text)
        except EndpointFailed as error:
            note = f"{error} Older messages are shortened without a language model."
            return replace(material, said=tuple(said), notes=(*material.notes, note))
        said[place] = one._replace(compressed=short, compressed_by=f"by {endpoint.model}")
    return replace(material, said=tuple(said))
