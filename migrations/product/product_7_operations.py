"""What runs and what happened: background queries leased by workers, and analytics events."""

from alembic import op

revision = "product_7"
down_revision = "product_6"


def upgrade() -> None:
    op.execute(
        r"""
        CREATE TABLE carmenta.background_queries (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            kind TEXT NOT NULL,
            input JSONB NOT NULL,
            status TEXT DEFAULT 'pending' NOT NULL,
            conversation_id UUID,
            result JSONB,
            summary_for_llm TEXT,
            error TEXT,
            attempts INTEGER DEFAULT '0' NOT NULL,
            max_attempts INTEGER DEFAULT '3' NOT NULL,
            run_after TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            worker TEXT,
            lease_until TIMESTAMP WITH TIME ZONE,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            finished_at TIMESTAMP WITH TIME ZONE,
            seen_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_background_queries PRIMARY KEY (user_id, id),
            CONSTRAINT fk_background_queries_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT fk_background_queries_user_id_conversation_id FOREIGN KEY(user_id, conversation_id) REFERENCES carmenta.conversations (user_id, id),
            CONSTRAINT ck_background_queries_status CHECK (status IN ('pending', 'running', 'completed', 'failed')),
            CONSTRAINT ck_background_queries_lease CHECK ((status = 'running') = (num_nonnulls(lease_until, worker) = 2)),
            CONSTRAINT ck_background_queries_whole_lease CHECK (num_nonnulls(lease_until, worker) IN (0, 2)),
            CONSTRAINT ck_background_queries_finished_at CHECK ((status IN ('completed', 'failed')) = (finished_at IS NOT NULL)),
            CONSTRAINT ck_background_queries_result CHECK (result IS NULL OR status = 'completed'),
            CONSTRAINT ck_background_queries_attempts CHECK (attempts BETWEEN 0 AND max_attempts),
            CONSTRAINT ck_background_queries_max_attempts CHECK (max_attempts >= 1)
        )
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_background_queries_all_due ON carmenta.background_queries (run_after) WHERE status IN ('pending', 'running')
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_background_queries_conversation ON carmenta.background_queries (user_id, conversation_id) WHERE conversation_id IS NOT NULL
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_background_queries_due ON carmenta.background_queries (user_id, run_after, id) WHERE status IN ('pending', 'running')
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_background_queries_unseen ON carmenta.background_queries (user_id, finished_at) WHERE finished_at IS NOT NULL AND seen_at IS NULL
        """
    )
    op.execute(
        r"""
        COMMENT ON TABLE carmenta.background_queries IS 'A question that is worked on while the user is away.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.background_queries.conversation_id IS 'Where the answer is awaited.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.background_queries.summary_for_llm IS 'What a context says of the result.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.background_queries.error IS 'Why the last attempt failed.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.background_queries.run_after IS 'Not before; a retry moves it, and a lease to the lease''s end.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.background_queries.lease_until IS 'After this another worker may take it: the one that has it is thought dead.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.background_queries.seen_at IS 'When the user came back to the result.'")
    op.execute("ALTER TABLE carmenta.background_queries ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.background_queries FORCE ROW LEVEL SECURITY")
    op.execute(
        r"""
        CREATE POLICY owner_all ON carmenta.background_queries TO carmenta_owner USING (true) WITH CHECK (true)
        """
    )
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.background_queries TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.background_queries TO carmenta_app")
    op.execute(
        r"""
        CREATE FUNCTION carmenta.users_with_due_queries(at_most integer) RETURNS SETOF uuid
            LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
            BEGIN ATOMIC
                SELECT q.user_id FROM carmenta.background_queries q
                WHERE q.status IN ('pending', 'running') AND q.run_after <= now()
                GROUP BY q.user_id ORDER BY min(q.run_after), q.user_id LIMIT at_most;
            END
        """
    )
    op.execute("REVOKE ALL ON FUNCTION carmenta.users_with_due_queries(integer) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION carmenta.users_with_due_queries(integer) TO carmenta_app")
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.users_with_due_queries(integer) IS 'For whom a worker should act next, longest waiting first: ids and nothing else.'
        """
    )
    op.execute(
        r"""
        CREATE TABLE carmenta.events (
            user_id UUID NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            id UUID NOT NULL,
            name TEXT NOT NULL,
            properties JSONB DEFAULT '{}' NOT NULL,
            conversation_id UUID,
            CONSTRAINT pk_events PRIMARY KEY (user_id, created_at, id),
            CONSTRAINT fk_events_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT ck_events_name CHECK (name <> ''),
            CONSTRAINT ck_events_properties CHECK (jsonb_typeof(properties) = 'object')
        )
         PARTITION BY RANGE (created_at)
        """
    )
    op.execute(
        r"""
        COMMENT ON TABLE carmenta.events IS 'Something that happened, for analytics; never changed. A partition a month.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.events.name IS 'message_sent, artifact_opened, ...'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.events.conversation_id IS 'In which it happened; no key, because what happened stays true without it.'
        """
    )
    op.execute("ALTER TABLE carmenta.events ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.events FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.events TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.events TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT ON carmenta.events TO carmenta_app")
    op.execute("CREATE TABLE carmenta.events_default PARTITION OF carmenta.events DEFAULT")
    op.execute("COMMENT ON TABLE carmenta.events_default IS 'Events of months that have no partition yet.'")
    op.execute(
        r"""
        CREATE FUNCTION carmenta.make_event_partitions(months integer) RETURNS TABLE (partition text, moved bigint)
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
                    SELECT DISTINCT date_trunc('month', e.created_at AT TIME ZONE 'UTC') FROM carmenta.events_default e
                        WHERE e.created_at >= (this_month - interval '24 months') AT TIME ZONE 'UTC'
                        AND e.created_at < this_month AT TIME ZONE 'UTC'
                    ORDER BY 1
                LOOP
                    partition := 'events_' || to_char(month, 'YYYY_MM');
                    made := 'carmenta.' || partition;
                    CONTINUE WHEN to_regclass(made) IS NOT NULL;
                    LOCK TABLE carmenta.events_default IN ACCESS EXCLUSIVE MODE;
                    CONTINUE WHEN to_regclass(made) IS NOT NULL;
                    first := quote_literal(month AT TIME ZONE 'UTC');
                    after := quote_literal((month + interval '1 month') AT TIME ZONE 'UTC');
                    EXECUTE 'CREATE TABLE ' || made || ' (LIKE carmenta.events '
                        'INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)';
                    EXECUTE 'WITH gone AS (DELETE FROM carmenta.events_default WHERE created_at >= ' || first ||
                        ' AND created_at < ' || after || ' RETURNING *) INSERT INTO ' || made || ' SELECT * FROM gone';
                    GET DIAGNOSTICS moved = ROW_COUNT;
                    EXECUTE 'ALTER TABLE carmenta.events ATTACH PARTITION ' || made ||
                        ' FOR VALUES FROM (' || first || ') TO (' || after || ')';
                    EXECUTE 'COMMENT ON TABLE ' || made || ' IS ''Events of ' || to_char(month, 'YYYY-MM') || '.''';
                    RETURN NEXT;
                END LOOP;
            END $$
        """
    )
    op.execute("REVOKE ALL ON FUNCTION carmenta.make_event_partitions(integer) FROM PUBLIC")
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.make_event_partitions(integer) IS 'Makes the partitions of this month and as many after it, and of the last two years'' months that lie in the default partition; moves their rows there. Writers of events wait meanwhile, or it gives up after three seconds.'
        """
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION carmenta.make_event_partitions(integer)")
    op.execute("DROP FUNCTION carmenta.users_with_due_queries(integer)")
    op.execute("DROP TABLE carmenta.background_queries")
    op.execute("DROP TABLE carmenta.events")
