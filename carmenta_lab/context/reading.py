"""What was said? Profile and conversation in one statement of columns, no slower for a longer conversation."""

from collections.abc import Iterable
from operator import attrgetter
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy.orm import Session

from carmenta_lab.context.material import BYTES_PER_TOKEN, Said
from carmenta_lab.context.tails import BRANCHED, HISTORY, MessageRow, TailRow, Which, plain
from carmenta_lab.errors import UsageError
from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import END_OF_TIME

AnyMessage: TypeAlias = MessageRow | TailRow
_PLACE = attrgetter("position", "id")


class Reading(NamedTuple):
    """Who asks, and what was said before."""

    profile: str | None
    profile_source: str
    said: tuple[Said, ...]  # oldest first
    may_write: bool  # whether the transaction can keep what is counted


def read_said(
    session: Session,
    query: Query,
    conversation_id: UUID | None,
    messages: int,
    budget_tokens: int,
    counter: str,
    span: Literal["conversation", "history"] = "conversation",
) -> Reading:
    """The user's profile, and the last messages of a conversation as they stood when the query was asked.

    Without an id, of the conversation in which the user or the assistant spoke last by then; none where there is
    none. The span "history" reads all conversations. UsageError when the session acts for somebody else, and when
    there is no conversation of that id.
    """
    values = {
        "user_id": query.user_id,
        "asked_at": query.asked_at or END_OF_TIME,
        "messages": messages,
        "bytes": BYTES_PER_TOKEN * budget_tokens,
        "counter": counter,
        "conversation_id": conversation_id,
    }
    if span == "history":
        tail, branched = HISTORY, None
    else:
        which: Which = "given" if conversation_id else "latest" if query.asked_at is None else "latest_then"
        tail, branched = plain(which, messages), BRANCHED[which]
    rows = tail.all(session, values)
    who = next(row for row in rows if row.acting_as is not None)
    _check(who, query, conversation_id)
    said: list[AnyMessage] = _in_order(row for row in rows if row is not who)
    if branched and said and not (who.settled and _linear(said)):
        said = _in_order(branched.all(session, values))
    profile_source = str(who.profile_id) if who.profile_id else ""
    return Reading(who.profile, profile_source, tuple(map(_said, said)), who.may_write is True)


def _in_order(rows: Iterable[AnyMessage]) -> list[AnyMessage]:
    """Oldest first."""
    return sorted(rows, key=_PLACE)


def _check(who: TailRow, query: Query, conversation_id: UUID | None) -> None:
    if who.acting_as == "carmenta_app" and who.acting_for != str(query.user_id):
        raise UsageError(
            "the session does not act for the query's user: assemble within as_user(session, query.user_id)."
        )
    if conversation_id and who.chosen_id is None:
        raise UsageError(
            f"user {query.user_id} has no conversation {conversation_id}: give the id of one of the user's, "
            "or none for the latest."
        )


def _linear(rows: list[AnyMessage]) -> bool:
    """Whether going from each message to its parent, or to the one before, goes through exactly these messages."""
    before: UUID | None = None
    for number, row in enumerate(rows):
        if not row.seen or (number and row.parent_id not in (None, before)):
            return False
        before = row.id
    return True


def _said(row: AnyMessage) -> Said:
    role = row.role
    return Said(
        (row.id,),
        (row.external_id,),
        "assistant" if role == "tool" else role,
        row.content,
        row.compressed or None,
        "as stored",
        row.author,
        row.length_bytes or 0,
        row.created_at,
        row.tokens,
        role == "tool",
    )
