"""What was said, and where did we stop? Conversations page by page, messages from a point on, and their deletion."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import (
    ARRAY,
    Boolean,
    Delete,
    Integer,
    Select,
    Update,
    Uuid,
    any_,
    delete,
    exists,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP, insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from carmenta_lab.postgres.statement import Change, Rows, Value, bound, given
from carmenta_lab.schema.product.artifacts import Artifact
from carmenta_lab.schema.product.conversations import Attachment, Conversation, Message, Stream, votes
from carmenta_lab.schema.product.memory import Memory
from carmenta_lab.schema.product.operations import BackgroundQuery


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


class AttachmentLine(NamedTuple):
    """A file that came with a message; the bytes lie in object storage."""

    id: UUID
    message_id: UUID
    name: str
    media_type: str | None
    bucket: str | None
    key: str | None
    size_bytes: int | None


class StreamLine(NamedTuple):
    """An answer that is still being written."""

    id: UUID
    created_at: datetime


def page_statement(
    user_id: UUID, limit: int, after: ConversationLine | None = None
) -> Select[UUID, str | None, str, datetime | None]:
    """The statement of `page`: newest first, conversations without a dated message last."""
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
        return _PAGE.all(session, values)
    values |= {"id": after.id}
    if after.last_message_at is None:
        return _UNDATED_PAGE.all(session, values)
    return _LATER_PAGE.all(session, values | {"moment": after.last_message_at})


_USER, _LIMIT, _ID = given("user_id", Uuid()), given("limit", Integer()), given("id", Uuid())
_MOMENT = given("moment", TIMESTAMP(timezone=True))
_PAGE = Rows(ConversationLine, lambda: page_statement(_USER, _LIMIT))
_LATER_PAGE = Rows(ConversationLine, lambda: page_statement(_USER, _LIMIT, ConversationLine(_ID, None, "", _MOMENT)))
_UNDATED_PAGE = Rows(ConversationLine, lambda: page_statement(_USER, _LIMIT, ConversationLine(_ID, None, "", None)))


def messages_statement(
    user_id: UUID, conversation_id: UUID, limit: int, after: MessageLine | None = None
) -> Select[Any]:
    """The statement of `messages`: in the order of the conversation, from the message after `after`."""
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
    """Messages of a conversation in its order, at most `limit`: the first ones, or those that follow `after`."""
    values = {"user_id": user_id, "conversation_id": conversation_id, "limit": limit}
    if after is None:
        return _MESSAGES.all(session, values)
    return _FOLLOWING.all(session, values | {"position": after.position, "id": after.id})


_CONVERSATION = given("conversation_id", Uuid())
_SEEN = MessageLine(_ID, given("position", Integer()), "", None, "", None, None)
_MESSAGES = Rows(MessageLine, lambda: messages_statement(_USER, _CONVERSATION, _LIMIT))
_FOLLOWING = Rows(MessageLine, lambda: messages_statement(_USER, _CONVERSATION, _LIMIT, _SEEN))


def attachments_statement(
    user_id: UUID, message_ids: Sequence[UUID], limit: int
) -> Select[UUID, UUID, str, str | None, str | None, str | None, int | None]:
    """The statement of `attachments`: in the order of their messages."""
    columns = (
        Attachment.id, Attachment.message_id, Attachment.name, Attachment.media_type, Attachment.bucket,
        Attachment.key, Attachment.size_bytes,
    )  # fmt: skip
    of_them = select(*columns).where(
        Attachment.user_id == user_id, Attachment.message_id == any_(bound(message_ids, ARRAY(Uuid())))
    )
    return of_them.order_by(Attachment.message_id, Attachment.id).limit(limit)


def attachments(
    session: Session, user_id: UUID, message_ids: Sequence[UUID], limit: int = 1000
) -> list[AttachmentLine]:
    """The files attached to the messages of these ids, such as those of one page."""
    values = {"user_id": user_id, "message_ids": list(message_ids), "limit": limit}
    return _ATTACHMENTS.all(session, values)


_ATTACHMENTS = Rows(AttachmentLine, lambda: attachments_statement(_USER, given("message_ids", ARRAY(Uuid())), _LIMIT))


def start_stream(session: Session, user_id: UUID, conversation_id: UUID) -> UUID:
    """Register an answer that is being written; returns the id by which a client picks it up. Commit before writing."""
    id = uuid4()
    session.execute(insert(Stream).values(user_id=user_id, id=id, conversation_id=conversation_id))
    return id


def finish_stream_statement(user_id: UUID, stream_id: UUID) -> Update:
    """The statement of `finish_stream`; it changes a stream once."""
    mine = update(Stream).where(Stream.user_id == user_id, Stream.id == stream_id, Stream.finished_at.is_(None))
    return mine.values(finished_at=func.now()).execution_options(synchronize_session=False)


def finish_stream(session: Session, user_id: UUID, stream_id: UUID) -> bool:
    """Mark an answer as written to its end; False when it is marked already, or is not the user's."""
    return _FINISH_STREAM.count(session, {"user_id": user_id, "id": stream_id}) == 1


_FINISH_STREAM = Change(lambda: finish_stream_statement(_USER, _ID))


def open_streams_statement(user_id: UUID, conversation_id: UUID, limit: int) -> Select[UUID, datetime]:
    """The statement of `open_streams`: newest first."""
    return (
        select(Stream.id, Stream.created_at)
        .where(Stream.user_id == user_id, Stream.conversation_id == conversation_id, Stream.finished_at.is_(None))
        .order_by(Stream.created_at.desc(), Stream.id.desc())
        .limit(limit)
    )


def open_streams(session: Session, user_id: UUID, conversation_id: UUID, limit: int = 10) -> list[StreamLine]:
    """The answers of a conversation that are still being written, newest first."""
    values = {"user_id": user_id, "conversation_id": conversation_id, "limit": limit}
    return _OPEN_STREAMS.all(session, values)


_OPEN_STREAMS = Rows(StreamLine, lambda: open_streams_statement(_USER, _CONVERSATION, _LIMIT))


def clear_sources_statement(user_id: UUID, messages: Select[Any]) -> Update:
    """The statement by which memories keep no source among messages that are about to be deleted."""
    learned = update(Memory).where(Memory.user_id == user_id, Memory.source_message_id.in_(messages))
    return learned.values(source_message_id=None).execution_options(synchronize_session=False)


def clear_parents_statement(user_id: UUID, messages: Select[Any]) -> Update:
    """The statement by which messages that stay have no parent among messages that are about to be deleted."""
    answers = update(Message).where(
        Message.user_id == user_id, Message.parent_id.in_(messages), Message.id.not_in(messages)
    )
    return answers.values(parent_id=None).execution_options(synchronize_session=False)


def clear_queries_statement(user_id: UUID, conversation_id: UUID) -> Update:
    """The statement by which background queries go on without a conversation that is about to be deleted."""
    of_it = update(BackgroundQuery).where(
        BackgroundQuery.user_id == user_id, BackgroundQuery.conversation_id == conversation_id
    )
    return of_it.values(conversation_id=None).execution_options(synchronize_session=False)


def clear_artifacts_statement(user_id: UUID, conversation_id: UUID) -> Update:
    """The statement by which artifacts stay without the conversation, about to be deleted, that they were made in."""
    of_it = update(Artifact).where(Artifact.user_id == user_id, Artifact.conversation_id == conversation_id)
    return of_it.values(conversation_id=None).execution_options(synchronize_session=False)


def said_in(user_id: UUID, conversation_id: UUID) -> Select[UUID]:
    """A subquery of the ids of all messages of a conversation, for the statements that clear references to them."""
    return select(Message.id).where(Message.user_id == user_id, Message.conversation_id == conversation_id)


def said_since(user_id: UUID, conversation_id: UUID, moment: datetime) -> Select[UUID]:
    """A subquery of the ids of the messages written at `moment` or later; undated ones are not among them."""
    return said_in(user_id, conversation_id).where(Message.created_at >= moment)


def said_by_id(user_id: UUID, message_id: UUID) -> Select[UUID]:
    """A subquery of the id of one message."""
    return select(Message.id).where(Message.user_id == user_id, Message.id == message_id)


def delete_conversation_statement(user_id: UUID, conversation_id: UUID) -> Delete:
    """The statement that deletes a conversation with its messages, once no other row refers to any of them."""
    return delete(Conversation).where(Conversation.user_id == user_id, Conversation.id == conversation_id)


def delete_conversation(session: Session, user_id: UUID, conversation_id: UUID) -> bool:
    """Delete a conversation for good; memories, artifacts and queries of it stay. False when there is none."""
    values = {"user_id": user_id, "conversation_id": conversation_id}
    for clear in _CLEAR_CONVERSATION:
        clear.count(session, values)
    return _DELETE_CONVERSATION.count(session, values) == 1


_CLEAR_CONVERSATION = (
    Change(lambda: clear_sources_statement(_USER, said_in(_USER, _CONVERSATION))),
    Change(lambda: clear_parents_statement(_USER, said_in(_USER, _CONVERSATION))),
    Change(lambda: clear_queries_statement(_USER, _CONVERSATION)),
    Change(lambda: clear_artifacts_statement(_USER, _CONVERSATION)),
)
_DELETE_CONVERSATION = Change(lambda: delete_conversation_statement(_USER, _CONVERSATION))


def delete_message_statement(user_id: UUID, message_id: UUID) -> Delete:
    """The statement that deletes a message and what belongs to it, once no other row refers to it."""
    return delete(Message).where(Message.user_id == user_id, Message.id == message_id)


def delete_message(session: Session, user_id: UUID, message_id: UUID) -> bool:
    """Delete a message for good; answers to it and memories learned from it stay. False when there is none."""
    values = {"user_id": user_id, "id": message_id}
    for clear in _CLEAR_MESSAGE:
        clear.count(session, values)
    return _DELETE_MESSAGE.count(session, values) == 1


_CLEAR_MESSAGE = (
    Change(lambda: clear_sources_statement(_USER, said_by_id(_USER, _ID))),
    Change(lambda: clear_parents_statement(_USER, said_by_id(_USER, _ID))),
)
_DELETE_MESSAGE = Change(lambda: delete_message_statement(_USER, _ID))


def delete_messages_from_statement(user_id: UUID, conversation_id: UUID, moment: datetime) -> Delete:
    """The statement of `delete_messages_from`; a message without a time stays."""
    return delete(Message).where(
        Message.user_id == user_id, Message.conversation_id == conversation_id, Message.created_at >= moment
    )


def delete_messages_from(session: Session, user_id: UUID, conversation_id: UUID, moment: datetime) -> int:
    """Delete the messages written at `moment` or later, as before an answer is given anew; returns how many."""
    values = {"user_id": user_id, "conversation_id": conversation_id, "moment": moment}
    for clear in _CLEAR_SINCE:
        clear.count(session, values)
    return _DELETE_FROM.count(session, values)


_CLEAR_SINCE = (
    Change(lambda: clear_sources_statement(_USER, said_since(_USER, _CONVERSATION, _MOMENT))),
    Change(lambda: clear_parents_statement(_USER, said_since(_USER, _CONVERSATION, _MOMENT))),
)
_DELETE_FROM = Change(lambda: delete_messages_from_statement(_USER, _CONVERSATION, _MOMENT))


def count_messages_statement(user_id: UUID, since: datetime) -> Select[int]:
    """The statement of `count_messages`; deleted messages count, so that deleting does not raise a rate limit."""
    return select(func.count()).where(Message.user_id == user_id, Message.role == "user", Message.created_at >= since)


def count_messages(session: Session, user_id: UUID, since: datetime) -> int:
    """How many messages the user has written since a moment, for a rate limit."""
    return int(_COUNT.get(session, {"user_id": user_id, "moment": since}))


_COUNT = Value(lambda: count_messages_statement(_USER, _MOMENT))


def vote_statement(user_id: UUID, message_id: UUID, is_upvoted: bool) -> ReturningInsert[Any]:
    """The statement of `vote`; a later vote replaces the earlier one."""
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
    return _VOTE.get(session, values) is not None


_VOTE = Value(lambda: vote_statement(_USER, _ID, given("is_upvoted", Boolean())))
