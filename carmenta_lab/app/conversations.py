"""What was said, and where did we stop? Conversations page by page, messages from a point on, votes, limits."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Boolean, Delete, Integer, Select, Uuid, delete, exists, func, select, tuple_
from sqlalchemy.dialects.postgresql import TIMESTAMP, insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from carmenta_lab.app.prepared import Prepared, bound, given
from carmenta_lab.schema.product.conversations import Conversation, Message, votes


class ConversationLine(NamedTuple):
    """A conversation as a list shows it."""

    id: UUID
    title: str | None
    status: str
    last_message_at: datetime | None


class MessageLine(NamedTuple):
    """A message as a conversation shows it."""

    id: UUID
    position: int
    role: str
    author: str | None
    content: str
    parts: list[dict[str, Any]] | None
    created_at: datetime | None


def page_statement(
    user_id: UUID, limit: int, after: ConversationLine | None = None
) -> Select[UUID, str | None, str, datetime | None]:
    """Newest first; those without a dated message come last. `after` is the last line of the page before."""
    columns = (Conversation.id, Conversation.title, Conversation.status, Conversation.last_message_at)
    order = (Conversation.last_message_at.desc().nulls_last(), Conversation.id.desc())
    living = select(*columns).where(Conversation.user_id == user_id, Conversation.deleted_at.is_(None))
    if after is None:
        return living.order_by(*order).limit(limit)
    undated = living.where(Conversation.last_message_at.is_(None))
    if after.last_message_at is None:
        return undated.where(Conversation.id < after.id).order_by(*order).limit(limit)
    older = living.where(
        tuple_(Conversation.last_message_at, Conversation.id) < tuple_(bound(after.last_message_at), bound(after.id))
    )
    both = (
        older.order_by(*order).limit(limit).union_all(undated.order_by(*order).limit(limit)).subquery()
    )  # each part walks the index and stops
    return select(both).order_by(both.c.last_message_at.desc().nulls_last(), both.c.id.desc()).limit(limit)


def page(session: Session, user_id: UUID, limit: int, after: ConversationLine | None = None) -> list[ConversationLine]:
    """One page of a user's conversations, newest first."""
    values = {"user_id": user_id, "limit": limit}
    if after is None:
        return list(map(ConversationLine._make, _PAGE.rows(session, values)))
    values |= {"id": after.id}
    if after.last_message_at is None:
        return list(map(ConversationLine._make, _UNDATED_PAGE.rows(session, values)))
    later = _LATER_PAGE.rows(session, values | {"moment": after.last_message_at})
    return list(map(ConversationLine._make, later))


_USER, _LIMIT, _ID = given("user_id", Uuid()), given("limit", Integer()), given("id", Uuid())
_MOMENT = given("moment", TIMESTAMP(timezone=True))
_PAGE = Prepared(lambda: page_statement(_USER, _LIMIT))
_LATER_PAGE = Prepared(lambda: page_statement(_USER, _LIMIT, ConversationLine(_ID, None, "", _MOMENT)))
_UNDATED_PAGE = Prepared(lambda: page_statement(_USER, _LIMIT, ConversationLine(_ID, None, "", None)))


def messages_statement(
    user_id: UUID, conversation_id: UUID, limit: int, after: MessageLine | None = None
) -> Select[Any]:
    """In order; `after` is the last message already seen."""
    statement = (
        select(
            Message.id,
            Message.position,
            Message.role,
            Message.author,
            Message.content,
            Message.parts,
            Message.created_at,
        )
        .where(
            Message.user_id == user_id,
            Message.conversation_id == conversation_id,
            Message.deleted_at.is_(None),
            exists().where(
                Conversation.user_id == user_id, Conversation.id == conversation_id, Conversation.deleted_at.is_(None)
            ),
        )
        .order_by(Message.position, Message.id)
        .limit(limit)
    )
    if after is None:
        return statement
    return statement.where(tuple_(Message.position, Message.id) > tuple_(bound(after.position), bound(after.id)))


def messages(
    session: Session, user_id: UUID, conversation_id: UUID, limit: int, after: MessageLine | None = None
) -> list[MessageLine]:
    """The messages of a conversation from a point on."""
    values = {"user_id": user_id, "conversation_id": conversation_id, "limit": limit}
    if after is None:
        return list(map(MessageLine._make, _MESSAGES.rows(session, values)))
    following = _FOLLOWING.rows(session, values | {"position": after.position, "id": after.id})
    return list(map(MessageLine._make, following))


_CONVERSATION = given("conversation_id", Uuid())
_SEEN = MessageLine(_ID, given("position", Integer()), "", None, "", None, None)
_MESSAGES = Prepared(lambda: messages_statement(_USER, _CONVERSATION, _LIMIT))
_FOLLOWING = Prepared(lambda: messages_statement(_USER, _CONVERSATION, _LIMIT, _SEEN))


def delete_messages_from_statement(user_id: UUID, conversation_id: UUID, moment: datetime) -> Delete:
    """For good, with all that hangs on them; a message without a time stays."""
    return delete(Message).where(
        Message.user_id == user_id, Message.conversation_id == conversation_id, Message.created_at >= moment
    )


def delete_messages_from(session: Session, user_id: UUID, conversation_id: UUID, moment: datetime) -> int:
    """Delete the messages written at `moment` or later, as before an answer is given anew; returns how many."""
    values = {"user_id": user_id, "conversation_id": conversation_id, "moment": moment}
    return _DELETE_FROM.count(session, values)


_DELETE_FROM = Prepared(lambda: delete_messages_from_statement(_USER, _CONVERSATION, _MOMENT))


def count_messages_statement(user_id: UUID, since: datetime) -> Select[int]:
    """Deleted messages count: deleting does not raise the limit."""
    return select(func.count()).where(Message.user_id == user_id, Message.role == "user", Message.created_at >= since)


def count_messages(session: Session, user_id: UUID, since: datetime) -> int:
    """How many messages the user has written since a moment, for a rate limit."""
    return int(_COUNT.scalar(session, {"user_id": user_id, "moment": since}))


_COUNT = Prepared(lambda: count_messages_statement(_USER, _MOMENT))


def vote_statement(user_id: UUID, message_id: UUID, is_upvoted: bool) -> ReturningInsert[Any]:
    """The later vote replaces the earlier one."""
    living = (
        select(Message.user_id, Message.id, bound(is_upvoted))
        .join(
            Conversation,
            (Conversation.user_id == Message.user_id) & (Conversation.id == Message.conversation_id),
        )
        .where(
            Message.user_id == user_id,
            Message.id == message_id,
            Message.deleted_at.is_(None),
            Conversation.deleted_at.is_(None),
        )
    )
    statement = insert(votes).from_select(["user_id", "message_id", "is_upvoted"], living)
    return statement.on_conflict_do_update(
        index_elements=["user_id", "message_id"],
        set_={"is_upvoted": statement.excluded.is_upvoted, "voted_at": func.now()},
    ).returning(votes.c.message_id)


def vote(session: Session, user_id: UUID, message_id: UUID, is_upvoted: bool) -> bool:
    """Vote on a message; False when there is no such message."""
    values = {"user_id": user_id, "id": message_id, "is_upvoted": is_upvoted}
    return _VOTE.scalar(session, values) is not None


_VOTE = Prepared(lambda: vote_statement(_USER, _ID, given("is_upvoted", Boolean())))
