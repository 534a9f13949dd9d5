"""How many tokens a message takes, by counter: counted once, gone when its text changes."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

UP = (
    """
    CREATE TABLE carmenta.token_counts (
        user_id UUID NOT NULL,
        message_id UUID NOT NULL,
        counter TEXT NOT NULL,
        tokens INTEGER NOT NULL,
        counted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_token_counts PRIMARY KEY (user_id, message_id, counter),
        CONSTRAINT fk_token_counts_user_id_message_id FOREIGN KEY(user_id, message_id) REFERENCES carmenta.messages (user_id, id) ON DELETE CASCADE,
        CONSTRAINT ck_token_counts_tokens CHECK (tokens >= 0)
    )
    """,
    "COMMENT ON TABLE carmenta.token_counts IS 'How many tokens a message takes by one counter; gone when its text changes.'",
    "COMMENT ON COLUMN carmenta.token_counts.counter IS 'The tokenizer''s name.'",
    "COMMENT ON COLUMN carmenta.token_counts.tokens IS 'Of the message''s content alone.'",
    "ALTER TABLE carmenta.token_counts ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.token_counts FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.token_counts TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.token_counts TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.token_counts TO carmenta_app",
    """
    CREATE FUNCTION carmenta.forget_token_counts() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        DELETE FROM carmenta.token_counts WHERE user_id = OLD.user_id AND message_id = OLD.id;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER text_changed AFTER UPDATE OF content ON carmenta.messages FOR EACH ROW
    WHEN (OLD.content IS DISTINCT FROM NEW.content) EXECUTE FUNCTION carmenta.forget_token_counts()
    """,
)

DOWN = (
    "DROP TRIGGER text_changed ON carmenta.messages",
    "DROP FUNCTION carmenta.forget_token_counts()",
    "DROP TABLE carmenta.token_counts",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
