"""What was said: conversations, their messages and the files that came with them."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UP = (
    """
    CREATE TABLE carmenta.conversations (
        user_id UUID NOT NULL,
        id UUID NOT NULL,
        title TEXT,
        status TEXT DEFAULT 'active' NOT NULL,
        visibility TEXT DEFAULT 'private' NOT NULL,
        model TEXT,
        source TEXT,
        external_id TEXT,
        started_at TIMESTAMP WITH TIME ZONE,
        last_message_at TIMESTAMP WITH TIME ZONE,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        deleted_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_conversations PRIMARY KEY (user_id, id),
        CONSTRAINT fk_conversations_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
        CONSTRAINT ck_conversations_status CHECK (status IN ('active', 'background', 'archived')),
        CONSTRAINT ck_conversations_visibility CHECK (visibility IN ('private', 'public'))
    )
    """,
    """
    CREATE INDEX ix_conversations_recent ON carmenta.conversations (user_id, last_message_at DESC NULLS LAST, id DESC)
    """,
    "COMMENT ON TABLE carmenta.conversations IS 'A conversation of one user.'",
    "COMMENT ON COLUMN carmenta.conversations.model IS 'The language model chosen for it.'",
    "COMMENT ON COLUMN carmenta.conversations.source IS 'The dataset or system it came from.'",
    "COMMENT ON COLUMN carmenta.conversations.external_id IS 'The id as the source gave it.'",
    "COMMENT ON COLUMN carmenta.conversations.started_at IS 'Time of its first dated message.'",
    "COMMENT ON COLUMN carmenta.conversations.last_message_at IS 'Time of its last dated message.'",
    "ALTER TABLE carmenta.conversations ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.conversations FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.conversations TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.conversations TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.conversations TO carmenta_app",
    """
    CREATE TABLE carmenta.messages (
        user_id UUID NOT NULL,
        id UUID NOT NULL,
        conversation_id UUID NOT NULL,
        position INTEGER NOT NULL,
        role TEXT NOT NULL,
        content TEXT NOT NULL,
        parent_id UUID,
        author TEXT,
        model TEXT,
        parts JSONB,
        content_for_llm TEXT,
        language TEXT DEFAULT 'en' NOT NULL,
        external_id TEXT,
        created_at TIMESTAMP WITH TIME ZONE,
        deleted_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_messages PRIMARY KEY (user_id, id),
        CONSTRAINT fk_messages_user_id_conversation_id FOREIGN KEY(user_id, conversation_id) REFERENCES carmenta.conversations (user_id, id) ON DELETE CASCADE,
        CONSTRAINT fk_messages_user_id_parent_id FOREIGN KEY(user_id, parent_id) REFERENCES carmenta.messages (user_id, id) ON DELETE SET NULL (parent_id),
        CONSTRAINT ck_messages_role CHECK (role IN ('user', 'assistant', 'system', 'tool')),
        CONSTRAINT ck_messages_parts CHECK (jsonb_typeof(parts) = 'array'),
        CONSTRAINT ck_messages_position CHECK (position >= 0)
    )
    """,
    "CREATE INDEX ix_messages_conversation ON carmenta.messages (user_id, conversation_id, position, id)",
    "CREATE INDEX ix_messages_parent ON carmenta.messages (user_id, parent_id) WHERE parent_id IS NOT NULL",
    "COMMENT ON TABLE carmenta.messages IS 'One turn of a conversation.'",
    """
    COMMENT ON COLUMN carmenta.messages.position IS 'Order in the conversation: as given, else by time and line; one without a time keeps its place.'
    """,
    "COMMENT ON COLUMN carmenta.messages.content IS 'All parts flattened to text: what is searched and counted.'",
    "COMMENT ON COLUMN carmenta.messages.parent_id IS 'The message it answers, where the conversation branches.'",
    "COMMENT ON COLUMN carmenta.messages.author IS 'The name shown for who wrote it.'",
    "COMMENT ON COLUMN carmenta.messages.model IS 'The language model that wrote it.'",
    """
    COMMENT ON COLUMN carmenta.messages.parts IS 'Typed parts (text, reasoning, tool calls, files); null when `content` is the one text part.'
    """,
    "COMMENT ON COLUMN carmenta.messages.content_for_llm IS 'Compressed text for older context.'",
    "COMMENT ON COLUMN carmenta.messages.language IS 'ISO 639-1.'",
    "COMMENT ON COLUMN carmenta.messages.external_id IS 'The id as the source gave it.'",
    "COMMENT ON COLUMN carmenta.messages.created_at IS 'When it was written; null when unknown.'",
    "ALTER TABLE carmenta.messages ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.messages FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.messages TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.messages TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.messages TO carmenta_app",
    """
    CREATE TABLE carmenta.attachments (
        user_id UUID NOT NULL,
        id UUID NOT NULL,
        message_id UUID NOT NULL,
        name TEXT NOT NULL,
        media_type TEXT,
        bucket TEXT,
        key TEXT,
        size_bytes BIGINT,
        sha256 BYTEA,
        CONSTRAINT pk_attachments PRIMARY KEY (user_id, id),
        CONSTRAINT fk_attachments_user_id_message_id FOREIGN KEY(user_id, message_id) REFERENCES carmenta.messages (user_id, id) ON DELETE CASCADE,
        CONSTRAINT ck_attachments_size_bytes CHECK (size_bytes >= 0),
        CONSTRAINT ck_attachments_sha256 CHECK (octet_length(sha256) = 32)
    )
    """,
    "CREATE INDEX ix_attachments_message ON carmenta.attachments (user_id, message_id)",
    "COMMENT ON TABLE carmenta.attachments IS 'A file that came with a message; the bytes lie in object storage.'",
    "COMMENT ON COLUMN carmenta.attachments.key IS 'The object''s key in its bucket, or its URL.'",
    "ALTER TABLE carmenta.attachments ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.attachments FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.attachments TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.attachments TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.attachments TO carmenta_app",
)

DOWN = (
    "DROP TABLE carmenta.attachments",
    "DROP TABLE carmenta.messages",
    "DROP TABLE carmenta.conversations",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
