"""What was learned about a user: the profile, extracted memories and what was felt without being said."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    REAL,
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
    APP,
    PRODUCT,
    UTC_OFFSET,
    Base,
    UserOwned,
    about,
    after_create,
    deleted_index,
    isolated,
    of,
    utc_offset_check,
)


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
        about("messages", "source_message_id"),
        about("memories", "superseded_by"),
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
        CheckConstraint("use_count >= 0", name="use_count"),
        Index(
            "ix_memories_recent",
            "user_id",
            text("created_at DESC NULLS LAST"),
            text("id DESC"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
        deleted_index("memories"),
        utc_offset_check(),
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
    use_count: Mapped[int] = mapped_column(default=0, server_default="0", comment="How often a context held it.")
    last_used_at: Mapped[datetime | None] = mapped_column(default=None)
    utc_offset: Mapped[int | None] = mapped_column(SmallInteger, default=None, comment=UTC_OFFSET)


class FeedbackSignal(UserOwned, Base):
    """What a user's behaviour says of an answer or a conversation, unasked."""

    __tablename__ = "feedback_signals"
    __table_args__ = (
        of("messages", "message_id"),
        of("conversations", "conversation_id"),
        CheckConstraint(
            "kind IN ('regeneration', 'abandonment', 'copy', 'edit', 'session_duration')",
            name="kind",
        ),
        CheckConstraint("weight BETWEEN -1 AND 1", name="weight"),
        CheckConstraint("num_nonnulls(message_id, conversation_id) >= 1", name="subject"),
        CheckConstraint("(kind = 'session_duration') = (duration_s IS NOT NULL)", name="duration"),
        CheckConstraint("duration_s >= 0", name="duration_s"),
        CheckConstraint("jsonb_typeof(detail) = 'object'", name="detail"),
        Index("ix_feedback_signals_message", "user_id", "message_id", postgresql_where=text("message_id IS NOT NULL")),
        Index(
            "ix_feedback_signals_conversation",
            "user_id",
            "conversation_id",
            postgresql_where=text("conversation_id IS NOT NULL"),
        ),
        {"comment": "What a user's behaviour says of an answer or a conversation, unasked."},
    )

    kind: Mapped[str]
    weight: Mapped[float] = mapped_column(REAL, comment="-1..1: how much it speaks against or for.")
    message_id: Mapped[UUID | None] = mapped_column(default=None)
    conversation_id: Mapped[UUID | None] = mapped_column(default=None)
    duration_s: Mapped[float | None] = mapped_column(REAL, default=None)
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True), default=None)
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


NO_CYCLE = (
    f"""
    CREATE FUNCTION {PRODUCT}.refuse_superseding_cycle() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        following uuid := NEW.superseded_by;
        seen uuid[] := ARRAY[NEW.id];
    BEGIN
        WHILE following IS NOT NULL LOOP
            IF following = ANY (seen) THEN
                RAISE EXCEPTION USING MESSAGE = 'memory ' || NEW.id || ' would be superseded by itself',
                    ERRCODE = 'check_violation', SCHEMA = '{PRODUCT}', TABLE = 'memories',
                        CONSTRAINT = 'no_superseding_cycle';
            END IF;
            seen := seen || following;
            SELECT m.superseded_by INTO following FROM {PRODUCT}.memories m
                WHERE m.user_id = NEW.user_id AND m.id = following FOR NO KEY UPDATE;
        END LOOP;
        RETURN NULL;
    END $$
    """,
    f"COMMENT ON FUNCTION {PRODUCT}.refuse_superseding_cycle() IS "
    "'Locks the chain it walks, so that two transactions cannot close a cycle together.'",
    f"""
    CREATE TRIGGER no_superseding_cycle AFTER INSERT OR UPDATE OF superseded_by ON {PRODUCT}.memories
    FOR EACH ROW WHEN (NEW.superseded_by IS NOT NULL) EXECUTE FUNCTION {PRODUCT}.refuse_superseding_cycle()
    """,
)

TIERS = (
    f"""
    CREATE VIEW {PRODUCT}.memory_tiers WITH (security_invoker = true) AS
    SELECT user_id, id, CASE
        WHEN superseded_by IS NOT NULL OR valid_to <= now() THEN 'historical'
        WHEN greatest(created_at, last_used_at) > now() - interval '7 days' THEN 'immediate'
        WHEN greatest(created_at, last_used_at) > now() - interval '90 days' THEN 'recent'
        WHEN use_count >= 5 AND last_used_at > now() - interval '1 year' THEN 'recent'
        ELSE 'historical' END AS tier
    FROM {PRODUCT}.memories WHERE deleted_at IS NULL
    """,
    f"COMMENT ON VIEW {PRODUCT}.memory_tiers IS "
    "'immediate: new or used within 7 days; recent: within 90 days, or used 5 times and within a year; "
    "historical: else, or no longer true.'",
    f"GRANT SELECT ON {PRODUCT}.memory_tiers TO {APP}",
)

profiles: Table = Profile.__table__  # type: ignore[assignment]
memories: Table = Memory.__table__  # type: ignore[assignment]
feedback_signals: Table = FeedbackSignal.__table__  # type: ignore[assignment]
for _table in (profiles, memories, feedback_signals):
    isolated(_table)
after_create(memories, *NO_CYCLE, *TIERS)
