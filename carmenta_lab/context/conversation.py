"""Which messages of a conversation does a room hold, in which form? Newest first, without a hole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from carmenta_lab.context.material import BYTES_PER_TOKEN, Said
from carmenta_lab.context.policy import Policy
from carmenta_lab.context.repeats import words
from carmenta_lab.context.value import Block, Dropped


@dataclass(frozen=True, slots=True)
class Form:
    """One way to show a message."""

    text: str
    tokens: int
    why: str
    in_full: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """A message with the forms in which it may stand, the preferred first; none when `reason` keeps it out."""

    said: Said
    tokens: int  # in full
    forms: tuple[Form, ...]
    reason: str = ""


Taken: TypeAlias = Sequence[tuple[Turn, Form]]
"""The messages that stand in the context, newest first, each in its form."""


def named(said: Sequence[Said]) -> tuple[Said, ...]:
    """The messages that say something, with their author's name before the text where several share a role.

    A system message that comes after others is said by "System" in the user's role: chat APIs take one only at the
    beginning.
    """
    said = [one for one in said if one.text is None or one.text.strip()]
    authors: dict[str, set[str]] = {}
    for one in said:
        authors.setdefault(one.role, set()).add(one.author or "")
    result: list[Said] = []
    for one in said:
        late = one.role == "system" and any(before.role != "system" for before in result)
        name = "System" if late else one.author if len(authors[one.role]) > 1 else None
        if name:
            text = one.text if one.text is None else f"{name}: {one.text}"
            short = one.compressed if one.compressed is None else f"{name}: {one.compressed}"
            one = replace(one, text=text, compressed=short, role="user" if late else one.role)
        result.append(one)
    return tuple(result)


def turns(said: Sequence[Said], query: str, policy: Policy, sizes: Mapping[str, int]) -> list[Turn]:
    """The messages newest first, with the forms that the policy allows.

    The query is left out of the conversation when it was stored as its last message already.
    """
    result = []
    for age, one in enumerate(reversed(said)):
        if one.text is None:
            tokens = one.length_bytes // BYTES_PER_TOKEN
            reason = f"longer than the whole budget ({one.length_bytes:,} bytes), not counted"
            forms = _compressed(one, tokens, sizes)
        else:
            tokens, reason = sizes[one.text], ""
            recent = age < policy.in_full
            why = f"among the last {policy.in_full} messages: in full" if recent else "older: in full, nothing shorter"
            full = Form(one.text, tokens, why, in_full=True)
            short = _compressed(one, tokens, sizes)
            forms = (full, *short) if recent else short or (full,)
            if age == 0 and one.role == "user" and _same(one, query):
                forms, reason = (), "is the query itself"
        result.append(Turn(one, tokens, forms, reason if not forms else ""))
    return result


def fill(candidates: Sequence[Turn], room: int) -> tuple[Taken, list[Dropped]]:
    """Take messages newest first while they fit; what is left out, with the reason, oldest first.

    The first message that does not fit ends the conversation, so that no scraps of older ones stand without it.
    One that is longer than the whole room is passed over instead.
    """
    taken: list[tuple[Turn, Form]] = []
    left: list[Dropped] = []
    used = 0
    full = False
    for turn in candidates:
        form = None if full else next((form for form in turn.forms if used + form.tokens <= room), None)
        if form is not None:
            taken.append((turn, form))
            used += form.tokens
            continue
        reason = turn.reason
        if not reason and all(form.tokens > room for form in turn.forms):
            reason = f"longer than the conversation's {room} tokens"
        elif not reason:
            full, reason = True, "newer messages fill the conversation's tokens"
        left.append(Dropped(turn.said.source, "message", turn.tokens, reason))
    return taken, left[::-1]


def blocks(taken: Taken) -> list[Block]:
    """The messages as blocks, oldest first."""
    return [
        Block(turn.said.role, "message", form.text, form.tokens, turn.tokens, (turn.said.source,), form.why)
        for turn, form in reversed(taken)
    ]


def cost(taken: Taken) -> int:
    """Tokens of the messages together."""
    return sum(form.tokens for _, form in taken)


def _compressed(one: Said, tokens: int, sizes: Mapping[str, int]) -> tuple[Form, ...]:
    """The compressed form, where there is one and it is shorter."""
    if one.compressed is None or not one.compressed.strip() or sizes[one.compressed] >= tokens:
        return ()
    short = sizes[one.compressed]
    return (Form(one.compressed, short, f"compressed from {tokens} to {short} tokens", in_full=False),)


def _same(one: Said, query: str) -> bool:
    said = words(one.text or "")
    return said in (words(query), words(f"{one.author}: {query}"))
