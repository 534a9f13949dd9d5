"""Which messages of a conversation does a room hold, in which form? Newest first, without a hole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

from carmenta_lab.context.compress import Gists, Relevance, shorten, words
from carmenta_lab.context.context import Block, Dropped
from carmenta_lab.context.counting import TokenCounts
from carmenta_lab.context.material import BYTES_PER_TOKEN, MessageText
from carmenta_lab.context.policy import Policy
from carmenta_lab.records import Query

SPEAKERS: Mapping[str, str] = {"assistant": "Assistant", "user": "User", "system": "System"}
"""Who speaks in a role, where nobody is named."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to show a message: in full, as a compressed text, or as some of its sentences."""

    text: str  # without the speaker's name
    tokens: int
    why: str
    in_full: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message with the forms in which it may stand, the preferred first; none when `reason` keeps it out."""

    message: MessageText
    place: int  # in the conversation as read, from 0
    tokens: int  # in full
    forms: tuple[Form, ...]
    reason: str = ""


class PlacedMessage(NamedTuple):
    """A message in the form in which it stands."""

    candidate: Candidate
    form: Form


PlacedMessages: TypeAlias = Sequence[PlacedMessage]
"""The messages that stand in the context, newest first."""


def named(messages: Sequence[MessageText], first: bool = True) -> tuple[MessageText, ...]:
    """The messages that are not blank, tool results joined to their calls, speakers named where roles do not tell.

    Several people in one role are named. So is a system message that comes after others, and the assistant's where
    it comes first: both speak in the user's role, because chat APIs take a system message only at the beginning
    and let the user begin. `first` says that nothing in the user's role stands before the conversation.
    """
    joined = _joined([one for one in messages if one.text is None or one.text.strip()])
    authors: dict[str, set[str]] = {}
    for one in joined:
        authors.setdefault(one.role, set()).add(one.author or "")
    result: list[MessageText] = []
    for one in joined:
        late = one.role == "system" and (not first or any(before.role != "system" for before in result))
        name = "System" if late else one.author if len(authors[one.role]) > 1 else None
        role: Literal["system", "user", "assistant"] = "user" if late else one.role
        result.append(one._replace(role=role, head=f"{name}: ") if name else one)
    return tuple(result)


def candidate_messages(
    messages: Sequence[MessageText], query: Query, policy: Policy, counts: TokenCounts, gists: Gists
) -> list[Candidate]:
    """The messages newest first, with the forms that the policy allows.

    The query is left out of the conversation when it was stored as its last message already.
    """
    _know(messages, counts)
    overhead = counts.counter.overhead
    relevance = Relevance(query.text, query.language, ((one.text or "", one.language) for one in messages), gists)
    result = []
    for age, one in enumerate(reversed(messages)):
        keep, place, reason = policy.keep(age), len(messages) - 1 - age, ""
        if one.text is None:
            tokens = one.length_bytes // BYTES_PER_TOKEN
            forms = _stored(one, tokens, counts)
            reason = f"longer than the whole budget ({one.length_bytes:,} bytes), not counted"
        else:
            tokens = counts.of(one.head, one.text) + overhead
            why = "recent: in full" if keep == 1 else "older: in full, nothing shorter"
            full = Form(one.text, tokens, why, in_full=True)
            short = _stored(one, tokens, counts)
            if keep < 1 and not short and policy.compression == "sentences":
                short = _shortened(one, tokens, keep, counts, relevance)
            forms = (full, *short) if keep == 1 else short or (full,)
            if age == 0 and one.role == "user" and _same(one, query.text):
                forms, reason = (), "is the query itself"
        if one.is_result:
            forms, reason = (), "a tool's result whose call lies before the messages considered"
        result.append(Candidate(one, place, tokens, forms, reason if not forms else ""))
    return result


def take_newest(candidates: Sequence[Candidate], room: int) -> tuple[PlacedMessages, list[Dropped]]:
    """Place messages newest first while they fit into `room` tokens; the others are dropped, oldest first.

    The first message that does not fit ends the conversation, so that no scraps of older ones stand without it.
    One that is longer than the whole room is passed over instead.
    """
    placed: list[PlacedMessage] = []
    left: list[Dropped] = []
    used = 0
    full = False
    for candidate in candidates:
        form = None if full else next((form for form in candidate.forms if used + form.tokens <= room), None)
        if form is not None:
            placed.append(PlacedMessage(candidate, form))
            used += form.tokens
            continue
        reason = candidate.reason
        if not reason and all(form.tokens > room for form in candidate.forms):
            reason = f"longer than the conversation's {room} tokens"
        elif not reason:
            full, reason = True, "newer messages fill the conversation's tokens"
        left.append(_dropped(candidate, reason))
    return placed, left[::-1]


def user_first(placed: PlacedMessages, room: int, counts: TokenCounts) -> tuple[PlacedMessages, list[Dropped]]:
    """The placed messages with the user speaking first, as chat APIs demand; and the messages left out for that.

    What the assistant says before the user's first message is quoted in the user's role, behind the assistant's name.
    Where the name does not fit into the room, the message is left out.
    """
    result = list(placed)
    left: list[Dropped] = []
    while spoken := [n for n, one in enumerate(result) if one.candidate.message.role != "system"]:
        first = spoken[-1]
        candidate, form = result[first]
        if candidate.message.role == "user":
            break
        head = f"{candidate.message.author or SPEAKERS[candidate.message.role]}: "
        tokens = counts.of(head, form.text) + counts.counter.overhead
        if cost(result) - form.tokens + tokens <= room:
            quoted = replace(candidate, message=candidate.message._replace(role="user", head=head))
            result[first] = PlacedMessage(quoted, replace(form, tokens=tokens))
            break
        del result[first]
        left.append(_dropped(candidate, "a chat begins with the user, and there is no room to name the assistant"))
    return result, left


def blocks(placed: PlacedMessages) -> list[Block]:
    """The messages as blocks, oldest first."""
    return [
        Block(
            role=candidate.message.role,
            kind="message",
            text=candidate.message.head + form.text,
            tokens=form.tokens,
            tokens_before=max(candidate.tokens, form.tokens) if form.in_full else candidate.tokens,
            sources=candidate.message.sources,
            why=form.why,
            ids=candidate.message.ids,
            created_at=candidate.message.created_at,
            place=candidate.place,
        )
        for candidate, form in reversed(placed)
    ]


def cost(placed: PlacedMessages) -> int:
    """The sum of the tokens of the placed messages, each with the counter's overhead."""
    return sum(form.tokens for _, form in placed)


def _joined(messages: Sequence[MessageText]) -> list[MessageText]:
    """Results of tools as part of the message that calls them, so that neither stands without the other."""
    result: list[MessageText] = []
    for one in messages:
        if not (one.is_result and result and result[-1].role == "assistant" and not result[-1].is_result):
            result.append(one)
            continue
        call = result[-1]
        texts = (call.text, one.text)
        result[-1] = call._replace(
            ids=call.ids + one.ids,
            sources=call.sources + one.sources,
            text=None if None in texts else "\n\n".join(text for text in texts if text),
            compressed=None,
            length_bytes=call.length_bytes + one.length_bytes,
            tokens=None,
        )
    return result


def _know(messages: Sequence[MessageText], counts: TokenCounts) -> None:
    """Count every text once; what the database remembers is not counted again."""
    for one in messages:
        if one.text is not None and one.tokens is not None:
            counts.remember(one.text, one.tokens)
    counts.count((one.head, text) for one in messages for text in (one.text, one.compressed) if text is not None)


def _stored(one: MessageText, tokens: int, counts: TokenCounts) -> tuple[Form, ...]:
    """The compressed text that was given, where there is one and it is shorter."""
    if one.compressed is None or not one.compressed.strip():
        return ()
    short = counts.of(one.head, one.compressed) + counts.counter.overhead
    return (_form(one.compressed, tokens, short, one.compressed_by),) if short < tokens else ()


def _shortened(
    one: MessageText, tokens: int, keep: float, counts: TokenCounts, relevance: Relevance
) -> tuple[Form, ...]:
    """The sentences nearest to the query, where that is shorter."""
    assert one.text is not None
    text = shorten(one.text, one.language, int(keep * counts.of("", one.text)), counts, relevance)
    short = counts.of(one.head, text) + counts.counter.overhead
    return (_form(text, tokens, short, "the sentences nearest to the query"),) if text and short < tokens else ()


def _form(text: str, before: int, after: int, how: str) -> Form:
    return Form(text, after, f"older: compressed from {before} to {after} tokens, {how}", in_full=False)


def _dropped(candidate: Candidate, reason: str) -> Dropped:
    one = candidate.message
    return Dropped(
        ", ".join(one.sources), "message", candidate.tokens, reason, one.ids, one.created_at, candidate.place
    )


def _same(one: MessageText, query: str) -> bool:
    mine = words(one.text or "")
    return mine in (words(query), words(f"{one.author}: {query}"))
