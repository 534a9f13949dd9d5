"""How memories are used and superseded, their tiers, and what was felt without being said."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

UP = (
    "ALTER TABLE carmenta.memories ADD COLUMN use_count INTEGER DEFAULT '0' NOT NULL",
    "ALTER TABLE carmenta.memories ADD COLUMN last_used_at TIMESTAMP WITH TIME ZONE",
    "COMMENT ON COLUMN carmenta.memories.use_count IS 'How often a context held it.'",
    "ALTER TABLE carmenta.memories ADD CONSTRAINT ck_memories_use_count CHECK (use_count >= 0) NOT VALID",
    """
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
    """,
    """
    COMMENT ON FUNCTION carmenta.refuse_superseding_cycle() IS 'Locks the chain it walks, so that two transactions cannot close a cycle together.'
    """,
    """
    CREATE TRIGGER no_superseding_cycle AFTER INSERT OR UPDATE OF superseded_by ON carmenta.memories
    FOR EACH ROW WHEN (NEW.superseded_by IS NOT NULL) EXECUTE FUNCTION carmenta.refuse_superseding_cycle()
    """,
    """
    CREATE VIEW carmenta.memory_tiers WITH (security_invoker = true) AS
    SELECT user_id, id, CASE
        WHEN superseded_by IS NOT NULL OR valid_to <= now() THEN 'historical'
        WHEN greatest(created_at, last_used_at) > now() - interval '7 days' THEN 'immediate'
        WHEN greatest(created_at, last_used_at) > now() - interval '90 days' THEN 'recent'
        WHEN use_count >= 5 AND last_used_at > now() - interval '1 year' THEN 'recent'
        ELSE 'historical' END AS tier
    FROM carmenta.memories WHERE deleted_at IS NULL
    """,
    """
    COMMENT ON VIEW carmenta.memory_tiers IS 'immediate: new or used within 7 days; recent: within 90 days, or used 5 times and within a year; historical: else, or no longer true.'
    """,
    "GRANT SELECT ON carmenta.memory_tiers TO carmenta_app",
    """
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
    """,
    """
    CREATE INDEX ix_feedback_signals_conversation ON carmenta.feedback_signals (user_id, conversation_id) WHERE conversation_id IS NOT NULL
    """,
    """
    CREATE INDEX ix_feedback_signals_message ON carmenta.feedback_signals (user_id, message_id) WHERE message_id IS NOT NULL
    """,
    """
    COMMENT ON TABLE carmenta.feedback_signals IS 'What a user''s behaviour says of an answer or a conversation, unasked.'
    """,
    "COMMENT ON COLUMN carmenta.feedback_signals.weight IS '-1..1: how much it speaks against or for.'",
    "ALTER TABLE carmenta.feedback_signals ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.feedback_signals FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.feedback_signals TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.feedback_signals TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.feedback_signals TO carmenta_app",
)

DOWN = (
    "DROP TABLE carmenta.feedback_signals",
    "DROP VIEW carmenta.memory_tiers",
    "DROP TRIGGER no_superseding_cycle ON carmenta.memories",
    "DROP FUNCTION carmenta.refuse_superseding_cycle()",
    "ALTER TABLE carmenta.memories DROP COLUMN last_used_at",
    "ALTER TABLE carmenta.memories DROP COLUMN use_count",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
