"""What was learned about a user: the profile and extracted memories."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import REAL, CheckConstraint, ForeignKeyConstraint, Index, Table, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema.base import Base, UserOwned, isolated


class Profile(UserOwned, Base):
    """What stands at the START of every context; one per user."""

    __tablename__ = "profiles"
    __table_args__ = (
        ForeignKeyConstraint(["user_id"], ["carmenta.users.id"], ondelete="CASCADE"),
        UniqueConstraint("user_id"),
        CheckConstraint("content <> ''", name="content"),
        {"comment": "What stands at the START of every context; one per user."},
    )

    content: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


class Memory(UserOwned, Base):
    """A fact extracted from a conversation."""

    __tablename__ = "memories"
    __table_args__ = (
        ForeignKeyConstraint(["user_id"], ["carmenta.users.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(
            ["user_id", "source_message_id"],
            ["carmenta.messages.user_id", "carmenta.messages.id"],
            ondelete="SET NULL (source_message_id)",
        ),
        ForeignKeyConstraint(
            ["user_id", "superseded_by"],
            ["carmenta.memories.user_id", "carmenta.memories.id"],
            ondelete="SET NULL (superseded_by)",
        ),
        CheckConstraint("category IN ('personal', 'project', 'preference', 'decision', 'knowledge')", name="category"),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence"),
        CheckConstraint("review_status IN ('unreviewed', 'confirmed', 'rejected')", name="review_status"),
        CheckConstraint("valid_from <= valid_to", name="validity"),
        CheckConstraint("superseded_by <> id", name="superseded_by"),
        CheckConstraint("content <> ''", name="content"),
        Index(
            "ix_memories_source",
            "user_id",
            "source_message_id",
            postgresql_where=text("source_message_id IS NOT NULL"),
        ),
        Index(
            "ix_memories_superseded_by",
            "user_id",
            "superseded_by",
            postgresql_where=text("superseded_by IS NOT NULL"),
        ),
        {"comment": "A fact extracted from a conversation."},
    )

    category: Mapped[str]
    content: Mapped[str]
    confidence: Mapped[float] = mapped_column(REAL, default=1.0, server_default="1", comment="0..1.")
    review_status: Mapped[str] = mapped_column(default="unreviewed", server_default="unreviewed")
    source_message_id: Mapped[UUID | None] = mapped_column(default=None, comment="The message it was extracted from.")
    valid_from: Mapped[datetime | None] = mapped_column(default=None)
    valid_to: Mapped[datetime | None] = mapped_column(default=None)
    superseded_by: Mapped[UUID | None] = mapped_column(default=None, comment="The memory that replaced it.")
    language: Mapped[str] = mapped_column(default="en", server_default="en", comment="ISO 639-1.")
    external_id: Mapped[str | None] = mapped_column(default=None, comment="The id as the source gave it.")
    created_at: Mapped[datetime | None] = mapped_column(default=None)
    deleted_at: Mapped[datetime | None] = mapped_column(default=None)


profiles: Table = Profile.__table__  # type: ignore[assignment]
memories: Table = Memory.__table__  # type: ignore[assignment]
for _table in (profiles, memories):
    isolated(_table)
