"""Which blocks does a budget hold, in which order, and why is the rest left out? Values in, a context out."""

from dataclasses import replace

from carmenta_lab.context.context import Block, Context, Dropped
from carmenta_lab.context.conversation import (
    Candidate,
    PlacedMessages,
    blocks,
    candidate_messages,
    cost,
    named,
    take_newest,
    user_first,
)
from carmenta_lab.context.counting import Counter, TokenCounts
from carmenta_lab.context.material import Material
from carmenta_lab.context.policy import Policy, rooms
from carmenta_lab.context.retrieved import ChosenHits, choose
from carmenta_lab.errors import UsageError


def pack(
    material: Material, policy: Policy, budget_tokens: int, counter: Counter | TokenCounts, name: str = ""
) -> Context:
    """The context of one query under `budget_tokens`; pure and deterministic.

    The profile stands whole or not at all, messages are taken newest first, what was retrieved by rank. What one
    section does not use, the other gets. UsageError when the query alone does not fit. `TokenCounts` instead of a
    counter let several contexts share what they count.
    """
    counts = counter if isinstance(counter, TokenCounts) else TokenCounts(counter)
    first = not material.retrieved or policy.order.index("conversation") < policy.order.index("retrieved")
    material = replace(material, messages=named(material.messages, first))
    _count(material, counts)
    query = _query(material, counts)
    available = budget_tokens - query.tokens
    if available < 0:
        raise UsageError(
            f"the budget of {budget_tokens} tokens is too small: the query alone takes {query.tokens}; "
            f"give at least {query.tokens}."
        )
    candidates = candidate_messages(material.messages, material.query, policy, counts, material.gists)
    start, granted, dropped = _rooms(material, candidates, policy, available, counts)
    available -= sum(block.tokens for block in start)
    placed, chosen, left = _fill(material, candidates, policy, available, granted, start, counts)
    sections = {"profile": start, "conversation": blocks(placed), "retrieved": chosen.blocks()}
    standing = (*(block for section in policy.order for block in sections[section]), query)
    return Context(
        blocks=standing,
        dropped=(*dropped, *left),
        tokens=sum(block.tokens for block in standing),
        budget_tokens=budget_tokens,
        policy=name,
        notes=material.notes,
    )


def _count(material: Material, counts: TokenCounts) -> None:
    """Count all but the messages, in one call."""
    for one in material.retrieved:
        if one.tokens is not None:
            counts.remember(one.says, one.tokens)
    hits = [(head, one.says) for one in material.retrieved for head in (one.head, one.date + one.head)]
    counts.count([("", material.query.text), ("", material.profile or ""), *hits])


def _query(material: Material, counts: TokenCounts) -> Block:
    query = material.query
    tokens = counts.of("", query.text) + counts.counter.overhead
    return Block("user", "query", query.text, tokens, tokens, (query.query_id,) if query.query_id else (), "the query")


def _profile(material: Material, counts: TokenCounts) -> Block | None:
    text = material.profile
    if text is None or not text.strip():
        return None
    source = (material.profile_source,) if material.profile_source else ()
    tokens = counts.of("", text) + counts.counter.overhead
    return Block("system", "profile", text, tokens, tokens, source, "stands at the start")


def _rooms(
    material: Material, candidates: list[Candidate], policy: Policy, available: int, counts: TokenCounts
) -> tuple[list[Block], int, list[Dropped]]:
    """The profile where it fits, and the tokens granted to the conversation."""
    own = _profile(material, counts)
    chosen = ChosenHits(counts)
    wanted = sum(candidate.forms[0].tokens for candidate in candidates if candidate.forms)
    demand = sum(chosen.bare(one) for one in material.retrieved if not one.obsolete)
    shares = (policy.profile, policy.conversation, policy.retrieved)
    for_profile, for_conversation, _ = rooms(available, (own.tokens if own else 0, wanted, demand), shares)
    if own is None or own.tokens <= for_profile:
        return [own] if own else [], for_conversation, []
    reason = f"longer than the profile's {for_profile} tokens"
    dropped = Dropped(material.profile_source, "profile", own.tokens, reason)
    _, for_conversation, _ = rooms(available, (0, wanted, demand), shares)
    return [], for_conversation, [dropped]


def _fill(
    material: Material,
    candidates: list[Candidate],
    policy: Policy,
    available: int,
    room: int,
    start: list[Block],
    counts: TokenCounts,
) -> tuple[PlacedMessages, ChosenHits, list[Dropped]]:
    """Conversation and hits; what hits do not use goes to the conversation, as long as it grows by that."""
    while True:
        placed, left = take_newest(candidates, room)
        placed, unopened = user_first(placed, available, counts)
        said = [(form.text, candidate.message.language) for candidate, form in placed]
        chosen, refused = choose(
            material.retrieved,
            policy,
            counts,
            in_full={key for candidate, form in placed if form.in_full for key in candidate.message.ids},
            standing=[(block.text, material.query.language) for block in start] + said,
            room=available - cost(placed),
            gists=material.gists,
        )
        more = available - chosen.cost
        if not left or more <= room:
            return placed, chosen, [*unopened, *left, *refused]
        room = more
