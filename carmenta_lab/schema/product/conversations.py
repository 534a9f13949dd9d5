"""What was said: conversations and where they are filed, messages, their files and votes."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    Table,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema.base import (
    PRODUCT,
    UTC_OFFSET,
    Base,
    UserOwned,
    about,
    after_create,
    deleted_index,
    isolated,
    of,
    of_user,
    utc_offset_check,
)
from carmenta_lab.schema.vector import Ltree


class Workspace(UserOwned, Base):
    """A part of a user's life that is kept apart: work, home, a client."""

    __tablename__ = "workspaces"
    __table_args__ = (
        of_user(),
        CheckConstraint("name <> ''", name="name"),
        Index("uq_workspaces_name", "user_id", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),
        {"comment": "A part of a user's life that is kept apart: work, home, a client."},
    )

    name: Mapped[str]
    description: Mapped[str | None] = mapped_column(default=None)
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())
    deleted_at: Mapped[datetime | None] = mapped_column(default=None)


class Folder(UserOwned, Base):
    """A place for conversations and artifacts."""

    __tablename__ = "folders"
    __table_args__ = (
        of_user(),
        CheckConstraint("nlevel(path) > 0", name="path"),
        CheckConstraint("name <> ''", name="name"),
        Index("uq_folders_path", "user_id", "path", unique=True, postgresql_where=text("deleted_at IS NULL")),
        {"comment": "A place for conversations and artifacts."},
    )

    path: Mapped[str] = mapped_column(Ltree, comment="Its place in the tree, unique per user among the living.")
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())
    deleted_at: Mapped[datetime | None] = mapped_column(default=None)


class Tag(UserOwned, Base):
    """A word that the user puts on conversations and artifacts."""

    __tablename__ = "tags"
    __table_args__ = (
        of_user(),
        UniqueConstraint("user_id", "name"),
        CheckConstraint("name <> ''", name="name"),
        {"comment": "A word that the user puts on conversations and artifacts."},
    )

    name: Mapped[str]
    color: Mapped[str | None] = mapped_column(default=None)
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


class Conversation(UserOwned, Base):
    """A conversation of one user."""

    __tablename__ = "conversations"
    __table_args__ = (
        ForeignKeyConstraint(["user_id"], ["carmenta.users.id"], ondelete="CASCADE"),
        CheckConstraint("status IN ('active', 'background', 'archived')", name="status"),
        CheckConstraint("visibility IN ('private', 'public')", name="visibility"),
        about("workspaces", "workspace_id"),
        about("folders", "folder_id"),
        Index("ix_conversations_recent", "user_id", text("last_message_at DESC NULLS LAST"), text("id DESC")),
        Index("ix_conversations_folder", "user_id", "folder_id", postgresql_where=text("folder_id IS NOT NULL")),
        Index(
            "ix_conversations_workspace", "user_id", "workspace_id", postgresql_where=text("workspace_id IS NOT NULL")
        ),
        deleted_index("conversations"),
        {"comment": "A conversation of one user."},
    )

    title: Mapped[str | None] = mapped_column(default=None)
    status: Mapped[str] = mapped_column(default="active", server_default="active")
    visibility: Mapped[str] = mapped_column(default="private", server_default="private")
    model: Mapped[str | None] = mapped_column(default=None, comment="The language model chosen for it.")
    source: Mapped[str | None] = mapped_column(default=None, comment="The dataset or system it came from.")
    external_id: Mapped[str | None] = mapped_column(default=None, comment="The id as the source gave it.")
    started_at: Mapped[datetime | None] = mapped_column(default=None, comment="Time of its first dated message.")
    last_message_at: Mapped[datetime | None] = mapped_column(default=None, comment="Time of its last dated message.")
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())
    deleted_at: Mapped[datetime | None] = mapped_column(default=None)
    workspace_id: Mapped[UUID | None] = mapped_column(default=None)
    folder_id: Mapped[UUID | None] = mapped_column(default=None)


class ConversationTag(Base):
    """A tag on a conversation."""

    __tablename__ = "conversation_tags"
    __table_args__ = (
        of("conversations", "conversation_id"),
        of("tags", "tag_id"),
        Index("ix_conversation_tags_tag", "user_id", "tag_id"),
        {"comment": "A tag on a conversation."},
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    conversation_id: Mapped[UUID] = mapped_column(primary_key=True)
    tag_id: Mapped[UUID] = mapped_column(primary_key=True)


class Message(UserOwned, Base):
    """One turn of a conversation."""

    __tablename__ = "messages"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "conversation_id"],
            ["carmenta.conversations.user_id", "carmenta.conversations.id"],
            ondelete="CASCADE",
        ),
        about("messages", "parent_id"),
        CheckConstraint("role IN ('user', 'assistant', 'system', 'tool')", name="role"),
        CheckConstraint("jsonb_typeof(parts) = 'array'", name="parts"),
        CheckConstraint("position >= 0", name="position"),
        Index("ix_messages_conversation", "user_id", "conversation_id", "position", "id"),
        Index(
            "ix_messages_recent",
            "user_id",
            "created_at",
            postgresql_where=text("role = 'user'"),
        ),
        Index("ix_messages_parent", "user_id", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        deleted_index("messages"),
        utc_offset_check(),
        {"comment": "One turn of a conversation."},
    )

    conversation_id: Mapped[UUID]
    position: Mapped[int] = mapped_column(
        comment="Order in the conversation: as given, else by time and line; one without a time keeps its place. "
        "Left out, it becomes the next."
    )
    role: Mapped[str]
    content: Mapped[str] = mapped_column(comment="All parts flattened to text: what is searched and counted.")
    parent_id: Mapped[UUID | None] = mapped_column(
        default=None, comment="The message it answers, where the conversation branches."
    )
    author: Mapped[str | None] = mapped_column(default=None, comment="The name shown for who wrote it.")
    model: Mapped[str | None] = mapped_column(default=None, comment="The language model that wrote it.")
    parts: Mapped[list[dict[str, Any]] | None] = mapped_column(
        JSONB,
        default=None,
        comment="Typed parts (text, reasoning, tool calls, files); null when `content` is the one text part.",
    )
    content_for_llm: Mapped[str | None] = mapped_column(default=None, comment="Compressed text for older context.")
    language: Mapped[str] = mapped_column(default="en", server_default="en", comment="ISO 639-1.")
    external_id: Mapped[str | None] = mapped_column(default=None, comment="The id as the source gave it.")
    created_at: Mapped[datetime | None] = mapped_column(default=None, comment="When it was written; null when unknown.")
    deleted_at: Mapped[datetime | None] = mapped_column(default=None)
    utc_offset: Mapped[int | None] = mapped_column(SmallInteger, default=None, comment=UTC_OFFSET)


class Attachment(UserOwned, Base):
    """A file that came with a message; the bytes lie in object storage."""

    __tablename__ = "attachments"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "message_id"],
            ["carmenta.messages.user_id", "carmenta.messages.id"],
            ondelete="CASCADE",
        ),
        CheckConstraint("size_bytes >= 0", name="size_bytes"),
        CheckConstraint("octet_length(sha256) = 32", name="sha256"),
        Index("ix_attachments_message", "user_id", "message_id"),
        {"comment": "A file that came with a message; the bytes lie in object storage."},
    )

    message_id: Mapped[UUID]
    name: Mapped[str]
    media_type: Mapped[str | None] = mapped_column(default=None)
    bucket: Mapped[str | None] = mapped_column(default=None)
    key: Mapped[str | None] = mapped_column(default=None, comment="The object's key in its bucket, or its URL.")
    size_bytes: Mapped[int | None] = mapped_column(BigInteger, default=None)
    sha256: Mapped[bytes | None] = mapped_column(default=None)


class Vote(Base):
    """What the user thinks of a message."""

    __tablename__ = "votes"
    __table_args__ = (
        of("messages", "message_id"),
        {"comment": "What the user thinks of a message."},
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    is_upvoted: Mapped[bool]
    voted_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


class Stream(UserOwned, Base):
    """An answer that is being written, so that a client which lost its connection can pick it up."""

    __tablename__ = "streams"
    __table_args__ = (
        of("conversations", "conversation_id"),
        Index("ix_streams_conversation", "user_id", "conversation_id", "created_at"),
        {"comment": "An answer that is being written, so that a client which lost its connection can pick it up."},
    )

    conversation_id: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())
    finished_at: Mapped[datetime | None] = mapped_column(default=None)


NEXT_POSITION = (
    f"""
    CREATE FUNCTION {PRODUCT}.next_position() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        PERFORM FROM {PRODUCT}.conversations c
            WHERE c.user_id = NEW.user_id AND c.id = NEW.conversation_id FOR NO KEY UPDATE;
        SELECT least(m.position::bigint + 1, 2147483647) INTO NEW.position
            FROM {PRODUCT}.messages m WHERE m.user_id = NEW.user_id AND m.conversation_id = NEW.conversation_id
            ORDER BY m.position DESC LIMIT 1; -- max() reads all of them while the table has no statistics
        NEW.position := coalesce(NEW.position, 0);
        RETURN NEW;
    END $$
    """,
    f"COMMENT ON FUNCTION {PRODUCT}.next_position() IS "
    "'Locks the conversation until the transaction ends, so that of two writers the second sees what the first wrote; "
    "under REPEATABLE READ it does not, and whoever writes there updates the conversation before.'",
    f"""
    CREATE TRIGGER next_position BEFORE INSERT ON {PRODUCT}.messages
    FOR EACH ROW WHEN (NEW.position IS NULL) EXECUTE FUNCTION {PRODUCT}.next_position()
    """,
)
"""Whoever knows the position, as a load does, pays for none of it."""

workspaces: Table = Workspace.__table__  # type: ignore[assignment]
folders: Table = Folder.__table__  # type: ignore[assignment]
tags: Table = Tag.__table__  # type: ignore[assignment]
conversations: Table = Conversation.__table__  # type: ignore[assignment]
conversation_tags: Table = ConversationTag.__table__  # type: ignore[assignment]
messages: Table = Message.__table__  # type: ignore[assignment]
attachments: Table = Attachment.__table__  # type: ignore[assignment]
votes: Table = Vote.__table__  # type: ignore[assignment]
streams: Table = Stream.__table__  # type: ignore[assignment]
for _table in (
    workspaces,
    folders,
    tags,
    conversations,
    conversation_tags,
    messages,
    attachments,
    votes,
    streams,
):
    isolated(_table)
after_create(messages, *NEXT_POSITION)
