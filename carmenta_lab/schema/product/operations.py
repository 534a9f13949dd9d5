"""What runs and what happened: background queries leased by workers, and analytics events."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Table, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema.base import (
    APP,
    APPEND,
    PRODUCT,
    Base,
    UserOwned,
    about,
    after_create,
    isolated,
    of_user,
)


class BackgroundQuery(UserOwned, Base):
    """A question that is worked on while the user is away."""

    __tablename__ = "background_queries"
    __table_args__ = (
        of_user(),
        about("conversations", "conversation_id"),
        CheckConstraint("status IN ('pending', 'running', 'completed', 'failed')", name="status"),
        CheckConstraint("(status = 'running') = (num_nonnulls(lease_until, worker) = 2)", name="lease"),
        CheckConstraint("num_nonnulls(lease_until, worker) IN (0, 2)", name="whole_lease"),
        CheckConstraint("(status IN ('completed', 'failed')) = (finished_at IS NOT NULL)", name="finished_at"),
        CheckConstraint("result IS NULL OR status = 'completed'", name="result"),
        CheckConstraint("attempts BETWEEN 0 AND max_attempts", name="attempts"),
        CheckConstraint("max_attempts >= 1", name="max_attempts"),
        Index(
            "ix_background_queries_due",
            "user_id",
            "run_after",
            "id",
            postgresql_where=text("status IN ('pending', 'running')"),
        ),
        Index(
            "ix_background_queries_all_due",
            "run_after",
            postgresql_where=text("status IN ('pending', 'running')"),
        ),
        Index(
            "ix_background_queries_unseen",
            "user_id",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL AND seen_at IS NULL"),
        ),
        Index(
            "ix_background_queries_conversation",
            "user_id",
            "conversation_id",
            postgresql_where=text("conversation_id IS NOT NULL"),
        ),
        {"comment": "A question that is worked on while the user is away."},
    )

    kind: Mapped[str]
    input: Mapped[Any] = mapped_column(JSONB)
    status: Mapped[str] = mapped_column(default="pending", server_default="pending")
    conversation_id: Mapped[UUID | None] = mapped_column(default=None, comment="Where the answer is awaited.")
    result: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True), default=None)
    summary_for_llm: Mapped[str | None] = mapped_column(default=None, comment="What a context says of the result.")
    error: Mapped[str | None] = mapped_column(default=None, comment="Why the last attempt failed.")
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    max_attempts: Mapped[int] = mapped_column(default=3, server_default="3")
    run_after: Mapped[datetime] = mapped_column(
        init=False, server_default=func.now(), comment="Not before; a retry moves it, and a lease to the lease's end."
    )
    worker: Mapped[str | None] = mapped_column(default=None)
    lease_until: Mapped[datetime | None] = mapped_column(
        default=None, comment="After this another worker may take it: the one that has it is thought dead."
    )
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())
    finished_at: Mapped[datetime | None] = mapped_column(default=None)
    seen_at: Mapped[datetime | None] = mapped_column(default=None, comment="When the user came back to the result.")


class Event(Base):
    """Something that happened, for analytics; never changed. A partition a month."""

    __tablename__ = "events"
    __table_args__ = (
        of_user(),
        CheckConstraint("name <> ''", name="name"),
        CheckConstraint("jsonb_typeof(properties) = 'object'", name="properties"),
        {
            "comment": "Something that happened, for analytics; never changed. A partition a month.",
            "postgresql_partition_by": "RANGE (created_at)",
        },
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(primary_key=True, init=False, server_default=func.now())
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(comment="message_sent, artifact_opened, ...")
    properties: Mapped[dict[str, Any]] = mapped_column(JSONB, default_factory=dict, server_default="{}")
    conversation_id: Mapped[UUID | None] = mapped_column(
        default=None, comment="In which it happened; no key, because what happened stays true without it."
    )


WAITING = (
    f"""
    CREATE FUNCTION {PRODUCT}.users_with_due_queries(at_most integer) RETURNS SETOF uuid
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT q.user_id FROM {PRODUCT}.background_queries q
        WHERE q.status IN ('pending', 'running') AND q.run_after <= now()
        GROUP BY q.user_id ORDER BY min(q.run_after), q.user_id LIMIT at_most;
    END
    """,
    f"REVOKE ALL ON FUNCTION {PRODUCT}.users_with_due_queries(integer) FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION {PRODUCT}.users_with_due_queries(integer) TO {APP}",
    f"COMMENT ON FUNCTION {PRODUCT}.users_with_due_queries(integer) IS "
    "'For whom a worker should act next, longest waiting first: ids and nothing else.'",
)

PARTITIONS = (
    f"CREATE TABLE {PRODUCT}.events_default PARTITION OF {PRODUCT}.events DEFAULT",
    f"COMMENT ON TABLE {PRODUCT}.events_default IS 'Events of months that have no partition yet.'",
    f"""
    CREATE FUNCTION {PRODUCT}.make_event_partitions(months integer) RETURNS TABLE (partition text, moved bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
    DECLARE
        this_month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
        month timestamp;
        first text;
        after text;
        made text;
    BEGIN
        FOR month IN
            SELECT m FROM generate_series(this_month, this_month + make_interval(months => months), '1 month') m
            UNION
            SELECT DISTINCT date_trunc('month', e.created_at AT TIME ZONE 'UTC') FROM {PRODUCT}.events_default e
                WHERE e.created_at >= (this_month - interval '24 months') AT TIME ZONE 'UTC'
                AND e.created_at < this_month AT TIME ZONE 'UTC'
            ORDER BY 1
        LOOP
            partition := 'events_' || to_char(month, 'YYYY_MM');
            made := '{PRODUCT}.' || partition;
            CONTINUE WHEN to_regclass(made) IS NOT NULL;
            LOCK TABLE {PRODUCT}.events_default IN ACCESS EXCLUSIVE MODE;
            CONTINUE WHEN to_regclass(made) IS NOT NULL;
            first := quote_literal(month AT TIME ZONE 'UTC');
            after := quote_literal((month + interval '1 month') AT TIME ZONE 'UTC');
            EXECUTE 'CREATE TABLE ' || made || ' (LIKE {PRODUCT}.events '
                'INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)';
            EXECUTE 'WITH gone AS (DELETE FROM {PRODUCT}.events_default WHERE created_at >= ' || first ||
                ' AND created_at < ' || after || ' RETURNING *) INSERT INTO ' || made || ' SELECT * FROM gone';
            GET DIAGNOSTICS moved = ROW_COUNT;
            EXECUTE 'ALTER TABLE {PRODUCT}.events ATTACH PARTITION ' || made ||
                ' FOR VALUES FROM (' || first || ') TO (' || after || ')';
            EXECUTE 'COMMENT ON TABLE ' || made || ' IS ''Events of ' || to_char(month, 'YYYY-MM') || '.''';
            RETURN NEXT;
        END LOOP;
    END $$
    """,
    f"REVOKE ALL ON FUNCTION {PRODUCT}.make_event_partitions(integer) FROM PUBLIC",
    f"COMMENT ON FUNCTION {PRODUCT}.make_event_partitions(integer) IS "
    "'Makes the partitions of this month and as many after it, and of the last two years'' months that lie in the "
    "default partition; moves their rows there. Writers of events wait meanwhile, or it gives up after three seconds.'",
)
"""The application may do nothing to a partition itself: the policy is the parent's."""

background_queries: Table = BackgroundQuery.__table__  # type: ignore[assignment]
events: Table = Event.__table__  # type: ignore[assignment]
isolated(background_queries)
isolated(events, may=APPEND)
after_create(background_queries, *WAITING)
after_create(events, *PARTITIONS)
