"""What was said? Profile and conversation in one statement of columns, no slower for a longer conversation."""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

import psycopg
from sqlalchemy.orm import Session

from carmenta_lab.context.material import BYTES_PER_TOKEN, Said
from carmenta_lab.context.tails import BRANCHED, HISTORY, Which, plain
from carmenta_lab.errors import UsageError
from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import END_OF_TIME

Row: TypeAlias = tuple[Any, ...]

_ID, _ROLE, _PARENT, _SEEN, _POSITION = 0, 2, 7, 9, 10
"""Where in a row of the statements a message's id, role, ... stand."""
_PLACE = itemgetter(_POSITION, _ID)


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
        which: Which = "given" if conversation_id else "latest" if query.asked_at is None else "latest_then"
        statement, branched = plain(which, messages), BRANCHED[which]
    with connection_of(session).cursor(binary=True) as cursor:
        rows = cursor.execute(statement, values).fetchall()
        who = next(row for row in rows if row[_ROLE] == "profile")
        _check(who, query, conversation_id)
        said = _in_order(row for row in rows if row is not who)
        if branched and said and not (who[_SEEN] and _linear(said)):
            said = _in_order(cursor.execute(branched, values).fetchall())
    key, _, _, _, writable, profile, *_ = who
    return Reading(profile, str(key) if key else "", tuple(map(_said, said)), writable == 1)


def _in_order(rows: Iterable[Row]) -> list[Row]:
    """Oldest first."""
    return sorted(rows, key=_PLACE)


def _check(who: Row, query: Query, conversation_id: UUID | None) -> None:
    _, acting_for, _, acting_as, _, _, _, conversation, *_ = who
    if acting_as == "carmenta_app" and acting_for != str(query.user_id):
        raise UsageError(
            "the session does not act for the query's user: assemble within as_user(session, query.user_id)."
        )
    if conversation_id and conversation is None:
        raise UsageError(
            f"user {query.user_id} has no conversation {conversation_id}: give the id of one of the user's, "
            "or none for the latest."
        )


def _linear(rows: list[Row]) -> bool:
    """Whether going from each message to its parent, or to the one before, goes through exactly these messages."""
    before: UUID | None = None
    for number, row in enumerate(rows):
        if not row[_SEEN] or (number and row[_PARENT] not in (None, before)):
            return False
        before = row[_ID]
    return True


def _said(row: Row) -> Said:
    key, external_id, role, author, length_bytes, content, compressed, _, created_at, _, _, tokens = row
    is_result = role == "tool"
    return Said(
        (key,),
        (external_id,),
        "assistant" if is_result else role,
        content,
        compressed or None,
        "as stored",
        author,
        length_bytes or 0,
        created_at,
        tokens,
        is_result,
    )
