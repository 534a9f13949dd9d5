"""What was said? Profile and conversation in one statement of columns, no slower for a longer conversation."""

from collections.abc import Iterable
from operator import attrgetter
from typing import Any, Literal, NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import namedtuple_row
from sqlalchemy.orm import Session

from carmenta_lab.context.material import BYTES_PER_TOKEN, Said
from carmenta_lab.context.tails import BRANCHED, HISTORY, PLAIN
from carmenta_lab.errors import UsageError
from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import END_OF_TIME

_PLACE = attrgetter("position", "id")


class Reading(NamedTuple):
    """Who asks, and what was said before."""

    profile: str | None
    profile_source: str
    said: tuple[Said, ...]  # oldest first
    may_write: bool  # whether the transaction can keep what is counted


def connection_of(session: Session) -> psycopg.Connection[Any]:
    """The driver's connection in the session's transaction: its statements are prepared as it is configured."""
    raw = session.connection().connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    return raw


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
        statement, branched = HISTORY, ""
    else:
        which = "given" if conversation_id else "latest" if query.asked_at is None else "latest_then"
        statement, branched = PLAIN[which], BRANCHED[which]
    with connection_of(session).cursor(binary=True, row_factory=namedtuple_row) as cursor:
        rows: list[Any] = list(cursor.execute(statement, values))
        who = next(row for row in rows if row.role == "profile")
        _check(who, query, conversation_id)
        said = _in_order(row for row in rows if row is not who)
        if branched and said and not (who.seen and _linear(said)):
            said = _in_order(cursor.execute(branched, values))
    profile_source = str(who.id) if who.id else ""
    return Reading(who.content, profile_source, tuple(_said(row) for row in said), who.length_bytes == 1)


def _in_order(rows: Iterable[Any]) -> list[Any]:
    """Oldest first."""
    return sorted(rows, key=_PLACE)


def _check(who: Any, query: Query, conversation_id: UUID | None) -> None:
    if who.author == "carmenta_app" and who.external_id != str(query.user_id):
        raise UsageError(
            "the session does not act for the query's user: assemble within as_user(session, query.user_id)."
        )
    if conversation_id and who.parent_id is None:
        raise UsageError(
            f"user {query.user_id} has no conversation {conversation_id}: give the id of one of the user's, "
            "or none for the latest."
        )


def _linear(rows: list[Any]) -> bool:
    """Whether going from each message to its parent, or to the one before, goes through exactly these messages."""
    before: UUID | None = None
    for number, row in enumerate(rows):
        if not row.seen or (number and row.parent_id not in (None, before)):
            return False
        before = row.id
    return True


def _said(row: Any) -> Said:
    key, external_id, role, author, length_bytes, content, compressed, _, created_at, _, _, tokens = row
    is_result = role == "tool"
    return Said(
        (key,),
        (external_id or str(key),),
        "assistant" if is_result else role,
        content,
        compressed or None,
        author=author,
        length_bytes=length_bytes or 0,
        created_at=created_at,
        tokens=tokens,
        is_result=is_result,
    )
