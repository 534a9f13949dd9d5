"""What was learned about a user: the profile, extracted memories and what was felt without being said."""

from alembic import op

revision = "product_3"
down_revision = "product_2"


def upgrade() -> None:
    op.execute(
        r"""
        CREATE TABLE carmenta.profiles (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            content TEXT NOT NULL,
            updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_profiles PRIMARY KEY (user_id, id),
            CONSTRAINT fk_profiles_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT uq_profiles_user_id UNIQUE (user_id),
            CONSTRAINT ck_profiles_content CHECK (content <> '')
        )
        """
    )
    op.execute("COMMENT ON TABLE carmenta.profiles IS 'What stands at the START of every context; one per user.'")
    op.execute("ALTER TABLE carmenta.profiles ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.profiles FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.profiles TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.profiles TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.profiles TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.memories (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            category TEXT NOT NULL,
            content TEXT NOT NULL,
            confidence REAL DEFAULT '1' NOT NULL,
            review_status TEXT DEFAULT 'unreviewed' NOT NULL,
            source_message_id UUID,
            valid_from TIMESTAMP WITH TIME ZONE,
            valid_to TIMESTAMP WITH TIME ZONE,
            superseded_by UUID,
            language TEXT DEFAULT 'en' NOT NULL,
            external_id TEXT,
            created_at TIMESTAMP WITH TIME ZONE,
            deleted_at TIMESTAMP WITH TIME ZONE,
            use_count INTEGER DEFAULT '0' NOT NULL,
            last_used_at TIMESTAMP WITH TIME ZONE,
            utc_offset SMALLINT,
            CONSTRAINT pk_memories PRIMARY KEY (user_id, id),
            CONSTRAINT fk_memories_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT fk_memories_user_id_source_message_id FOREIGN KEY(user_id, source_message_id) REFERENCES carmenta.messages (user_id, id),
            CONSTRAINT fk_memories_user_id_superseded_by FOREIGN KEY(user_id, superseded_by) REFERENCES carmenta.memories (user_id, id),
            CONSTRAINT ck_memories_category CHECK (category IN ('personal', 'project', 'preference', 'decision', 'knowledge')),
            CONSTRAINT ck_memories_confidence CHECK (confidence BETWEEN 0 AND 1),
            CONSTRAINT ck_memories_review_status CHECK (review_status IN ('unreviewed', 'confirmed', 'rejected')),
            CONSTRAINT ck_memories_validity CHECK (valid_from <= valid_to),
            CONSTRAINT ck_memories_superseded_by CHECK (superseded_by <> id),
            CONSTRAINT ck_memories_content CHECK (content <> ''),
            CONSTRAINT ck_memories_use_count CHECK (use_count >= 0),
            CONSTRAINT ck_memories_utc_offset CHECK (utc_offset BETWEEN -1439 AND 1439)
        )
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_memories_deleted ON carmenta.memories (user_id, deleted_at) WHERE deleted_at IS NOT NULL
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_memories_recent ON carmenta.memories (user_id, created_at DESC NULLS LAST, id DESC) WHERE deleted_at IS NULL
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_memories_source ON carmenta.memories (user_id, source_message_id) WHERE source_message_id IS NOT NULL
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_memories_superseded_by ON carmenta.memories (user_id, superseded_by) WHERE superseded_by IS NOT NULL
        """
    )
    op.execute("COMMENT ON TABLE carmenta.memories IS 'A fact extracted from a conversation.'")
    op.execute("COMMENT ON COLUMN carmenta.memories.confidence IS '0..1.'")
    op.execute("COMMENT ON COLUMN carmenta.memories.source_message_id IS 'The message it was extracted from.'")
    op.execute("COMMENT ON COLUMN carmenta.memories.superseded_by IS 'The memory that replaced it.'")
    op.execute("COMMENT ON COLUMN carmenta.memories.language IS 'ISO 639-1.'")
    op.execute("COMMENT ON COLUMN carmenta.memories.external_id IS 'The id as the source gave it.'")
    op.execute("COMMENT ON COLUMN carmenta.memories.use_count IS 'How often a context held it.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.memories.utc_offset IS 'Minutes that the writer''s clock was ahead of UTC: the date shown is the writer''s; null is read as 0.'
        """
    )
    op.execute("ALTER TABLE carmenta.memories ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.memories FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.memories TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.memories TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.memories TO carmenta_app")
    op.execute(
        r"""
        CREATE FUNCTION carmenta.refuse_superseding_cycle() RETURNS trigger
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
            DECLARE
                following uuid := NEW.superseded_by;
                seen uuid[] := ARRAY[NEW.id];
            BEGIN
                WHILE following IS NOT NULL LOOP
                    IF following = ANY (seen) THEN
                        RAISE EXCEPTION USING MESSAGE = 'memory ' || NEW.id || ' would be superseded by itself',
                            ERRCODE = 'check_violation', SCHEMA = 'carmenta', TABLE = 'memories',
                                CONSTRAINT = 'no_superseding_cycle';
                    END IF;
                    seen := seen || following;
                    SELECT m.superseded_by INTO following FROM carmenta.memories m
                        WHERE m.user_id = NEW.user_id AND m.id = following FOR NO KEY UPDATE;
                END LOOP;
                RETURN NULL;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.refuse_superseding_cycle() IS 'Locks the chain it walks, so that two transactions cannot close a cycle together.'
        """
    )
    op.execute(
        r"""
        CREATE TRIGGER no_superseding_cycle AFTER INSERT OR UPDATE OF superseded_by ON carmenta.memories
            FOR EACH ROW WHEN (NEW.superseded_by IS NOT NULL) EXECUTE FUNCTION carmenta.refuse_superseding_cycle()
        """
    )
    op.execute(
        r"""
        CREATE VIEW carmenta.memory_tiers WITH (security_invoker = true) AS
            SELECT user_id, id, CASE
                WHEN superseded_by IS NOT NULL OR valid_to <= now() THEN 'historical'
                WHEN greatest(created_at, last_used_at) > now() - interval '7 days' THEN 'immediate'
                WHEN greatest(created_at, last_used_at) > now() - interval '90 days' THEN 'recent'
                WHEN use_count >= 5 AND last_used_at > now() - interval '1 year' THEN 'recent'
                ELSE 'historical' END AS tier
            FROM carmenta.memories WHERE deleted_at IS NULL
        """
    )
    op.execute(
        r"""
        COMMENT ON VIEW carmenta.memory_tiers IS 'immediate: new or used within 7 days; recent: within 90 days, or used 5 times and within a year; historical: else, or no longer true.'
        """
    )
    op.execute("GRANT SELECT ON carmenta.memory_tiers TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.feedback_signals (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            kind TEXT NOT NULL,
            weight REAL NOT NULL,
            message_id UUID,
            conversation_id UUID,
            duration_s REAL,
            detail JSONB,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_feedback_signals PRIMARY KEY (user_id, id),
            CONSTRAINT fk_feedback_signals_user_id_message_id FOREIGN KEY(user_id, message_id) REFERENCES carmenta.messages (user_id, id) ON DELETE CASCADE,
            CONSTRAINT fk_feedback_signals_user_id_conversation_id FOREIGN KEY(user_id, conversation_id) REFERENCES carmenta.conversations (user_id, id) ON DELETE CASCADE,
            CONSTRAINT ck_feedback_signals_kind CHECK (kind IN ('regeneration', 'abandonment', 'copy', 'edit', 'session_duration')),
            CONSTRAINT ck_feedback_signals_weight CHECK (weight BETWEEN -1 AND 1),
            CONSTRAINT ck_feedback_signals_subject CHECK (num_nonnulls(message_id, conversation_id) >= 1),
            CONSTRAINT ck_feedback_signals_duration CHECK ((kind = 'session_duration') = (duration_s IS NOT NULL)),
            CONSTRAINT ck_feedback_signals_duration_s CHECK (duration_s >= 0),
            CONSTRAINT ck_feedback_signals_detail CHECK (jsonb_typeof(detail) = 'object')
        )
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_feedback_signals_conversation ON carmenta.feedback_signals (user_id, conversation_id) WHERE conversation_id IS NOT NULL
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_feedback_signals_message ON carmenta.feedback_signals (user_id, message_id) WHERE message_id IS NOT NULL
        """
    )
    op.execute(
        r"""
        COMMENT ON TABLE carmenta.feedback_signals IS 'What a user''s behaviour says of an answer or a conversation, unasked.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.feedback_signals.weight IS '-1..1: how much it speaks against or for.'")
    op.execute("ALTER TABLE carmenta.feedback_signals ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.feedback_signals FORCE ROW LEVEL SECURITY")
    op.execute(
        r"""
        CREATE POLICY owner_all ON carmenta.feedback_signals TO carmenta_owner USING (true) WITH CHECK (true)
        """
    )
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.feedback_signals TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.feedback_signals TO carmenta_app")


def downgrade() -> None:
    op.execute("DROP VIEW carmenta.memory_tiers")
    op.execute("DROP TABLE carmenta.memories")
    op.execute("DROP TABLE carmenta.feedback_signals")
    op.execute("DROP TABLE carmenta.profiles")
    op.execute("DROP FUNCTION carmenta.refuse_superseding_cycle()")
