"""Which blocks does a budget hold, in which order, and why is the rest left out? Values in, a context out."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from carmenta_lab.context.conversation import blocks, cost, fill, named, turns
from carmenta_lab.context.counter import Counter
from carmenta_lab.context.material import Found, Material
from carmenta_lab.context.policy import Policy, rooms
from carmenta_lab.context.repeats import repeated, words
from carmenta_lab.context.value import Block, Context, Dropped
from carmenta_lab.errors import UsageError

Sizes = Mapping[str, int]
"""Text -> tokens, the counter's overhead included."""

LONG_AGO = datetime.min.replace(tzinfo=UTC)


def pack(material: Material, policy: Policy, budget_tokens: int, counter: Counter, name: str = "") -> Context:
    """The context of one query under `budget_tokens`; pure and deterministic.

    The profile stands whole or not at all, messages are taken newest first, what was retrieved by rank. What one
    section does not use, the other gets. UsageError when the query alone does not fit.
    """
    material = replace(material, said=named(material.said))
    sizes = _sizes(material, counter)
    query = _query(material, sizes)
    available = budget_tokens - query.tokens
    if available < 0:
        raise UsageError(
            f"the budget of {budget_tokens} tokens is too small: the query alone takes {query.tokens}; "
            f"give at least {query.tokens}."
        )
    candidates = turns(material.said, material.query.text, policy, sizes)
    wanted = sum(turn.forms[0].tokens for turn in candidates if turn.forms)
    demand = sum(sizes[found.text] for found in material.found if not found.obsolete)
    shares = (policy.profile, policy.conversation, policy.retrieved)
    own = _profile(material, sizes)
    granted = rooms(available, (own.tokens if own else 0, wanted, demand), shares)
    start, dropped = [own] if own else [], []
    if own is not None and own.tokens > granted[0]:
        start, reason = [], f"longer than the profile's {granted[0]} tokens"
        dropped = [Dropped(material.profile_source, "profile", own.tokens, reason)]
        granted = rooms(available, (0, wanted, demand), shares)
    available -= sum(block.tokens for block in start)
    room = granted[1]
    while True:
        taken, left = fill(candidates, room)
        rest = available - cost(taken)
        in_full = {turn.said.id for turn, form in taken if form.in_full}
        standing = [words(block.text) for block in start] + [words(form.text) for _, form in taken]
        chosen, refused = _choose(material.found, sizes, in_full, standing, rest)
        more = available - sum(sizes[found.text] for found in chosen)
        if not left or more <= room:
            break
        room = more
    standing_blocks = (*start, *blocks(taken), *_end(chosen, sizes), query)
    return Context(
        blocks=standing_blocks,
        dropped=(*dropped, *left, *refused),
        tokens=sum(block.tokens for block in standing_blocks),
        budget_tokens=budget_tokens,
        policy=name,
    )


def _sizes(material: Material, counter: Counter) -> dict[str, int]:
    """Tokens of every text that may stand in the context, counted in one call."""
    texts = [material.query.text, material.profile, *(found.text for found in material.found)]
    for said in material.said:
        texts += [said.text, said.compressed]
    each = list(dict.fromkeys(text for text in texts if text is not None))
    return {text: count + counter.overhead for text, count in zip(each, counter.count(each), strict=True)}


def _query(material: Material, sizes: Sizes) -> Block:
    query = material.query
    tokens = sizes[query.text]
    return Block("user", "query", query.text, tokens, tokens, (query.query_id,) if query.query_id else (), "the query")


def _profile(material: Material, sizes: Sizes) -> Block | None:
    text = material.profile
    if text is None or not text.strip():
        return None
    source = (material.profile_source,) if material.profile_source else ()
    return Block("system", "profile", text, sizes[text], sizes[text], source, "stands at the start")


def _choose(
    found: Sequence[Found], sizes: Sizes, in_full: Collection[UUID], standing: Sequence[str], room: int
) -> tuple[list[Found], list[Dropped]]:
    """What fits, best first, and what is refused, with the reason; `standing` are the words of the other blocks."""
    chosen: list[Found] = []
    refused: list[Dropped] = []
    said = list(standing)
    for one in found:
        tokens = sizes[one.text]
        reason = _refusal(one, in_full, said) or ("" if tokens <= room else f"longer than the {room} tokens left")
        if reason:
            refused.append(Dropped(one.source, one.kind, tokens, reason))
        else:
            chosen.append(one)
            said.append(words(one.says))
            room -= tokens
    return chosen, refused


def _refusal(one: Found, in_full: Collection[UUID], said: Sequence[str]) -> str:
    if one.obsolete:
        return one.obsolete
    if one.id in in_full:
        return "stands in full in the conversation"
    if one.made_from in in_full:
        return "its source message stands in full"
    if not one.text.strip():
        return "says nothing"
    return "says what another block says" if repeated(one.says, said) else ""


def _end(chosen: Sequence[Found], sizes: Sizes) -> list[Block]:
    """What was retrieved, in the order of time: where two facts disagree, the newer stands last."""
    ordered = sorted(chosen, key=lambda one: (one.created_at or LONG_AGO, -one.rank))
    return [
        Block(
            role="user",
            kind=one.kind,
            text=one.text,
            tokens=sizes[one.text],
            tokens_before=sizes[one.text],
            sources=(one.source,),
            why=f"retrieved: rank {one.rank}, score {one.score:.3g}",
            score=one.score,
            rank=one.rank,
        )
        for one in ordered
    ]
