"""What was said: conversations, their messages and the files that came with them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Table, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema.base import Base, UserOwned, isolated


class Conversation(UserOwned, Base):
    """A conversation of one user."""

    __tablename__ = "conversations"
    __table_args__ = (
        ForeignKeyConstraint(["user_id"], ["carmenta.users.id"], ondelete="CASCADE"),
        CheckConstraint("status IN ('active', 'background', 'archived')", name="status"),
        CheckConstraint("visibility IN ('private', 'public')", name="visibility"),
        Index("ix_conversations_recent", "user_id", text("last_message_at DESC NULLS LAST"), text("id DESC")),
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


class Message(UserOwned, Base):
    """One turn of a conversation."""

    __tablename__ = "messages"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "conversation_id"],
            ["carmenta.conversations.user_id", "carmenta.conversations.id"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["user_id", "parent_id"],
            ["carmenta.messages.user_id", "carmenta.messages.id"],
            ondelete="SET NULL (parent_id)",
        ),
        CheckConstraint("role IN ('user', 'assistant', 'system', 'tool')", name="role"),
        CheckConstraint("jsonb_typeof(parts) = 'array'", name="parts"),
        CheckConstraint("position >= 0", name="position"),
        Index("ix_messages_conversation", "user_id", "conversation_id", "position", "id"),
        Index("ix_messages_parent", "user_id", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        {"comment": "One turn of a conversation."},
    )

    conversation_id: Mapped[UUID]
    position: Mapped[int] = mapped_column(
        comment="Order in the conversation: as given, else by time and line; one without a time keeps its place."
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
    size_bytes: Mapped[int | None] = mapped_column(default=None)
    sha256: Mapped[bytes | None] = mapped_column(default=None)


conversations: Table = Conversation.__table__  # type: ignore[assignment]
messages: Table = Message.__table__  # type: ignore[assignment]
attachments: Table = Attachment.__table__  # type: ignore[assignment]
for _table in (conversations, messages, attachments):
    isolated(_table)
