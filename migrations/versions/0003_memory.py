"""What was learned about a user: the profile and extracted memories."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UP = (
    """
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
    """,
    "COMMENT ON TABLE carmenta.profiles IS 'What stands at the START of every context; one per user.'",
    "ALTER TABLE carmenta.profiles ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.profiles FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.profiles TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.profiles TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.profiles TO carmenta_app",
    """
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
        CONSTRAINT pk_memories PRIMARY KEY (user_id, id),
        CONSTRAINT fk_memories_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
        CONSTRAINT fk_memories_user_id_source_message_id FOREIGN KEY(user_id, source_message_id) REFERENCES carmenta.messages (user_id, id) ON DELETE SET NULL (source_message_id),
        CONSTRAINT fk_memories_user_id_superseded_by FOREIGN KEY(user_id, superseded_by) REFERENCES carmenta.memories (user_id, id) ON DELETE SET NULL (superseded_by),
        CONSTRAINT ck_memories_category CHECK (category IN ('personal', 'project', 'preference', 'decision', 'knowledge')),
        CONSTRAINT ck_memories_confidence CHECK (confidence BETWEEN 0 AND 1),
        CONSTRAINT ck_memories_review_status CHECK (review_status IN ('unreviewed', 'confirmed', 'rejected')),
        CONSTRAINT ck_memories_validity CHECK (valid_from <= valid_to),
        CONSTRAINT ck_memories_superseded_by CHECK (superseded_by <> id),
        CONSTRAINT ck_memories_content CHECK (content <> '')
    )
    """,
    """
    CREATE INDEX ix_memories_source ON carmenta.memories (user_id, source_message_id) WHERE source_message_id IS NOT NULL
    """,
    """
    CREATE INDEX ix_memories_superseded_by ON carmenta.memories (user_id, superseded_by) WHERE superseded_by IS NOT NULL
    """,
    "COMMENT ON TABLE carmenta.memories IS 'A fact extracted from a conversation.'",
    "COMMENT ON COLUMN carmenta.memories.confidence IS '0..1.'",
    "COMMENT ON COLUMN carmenta.memories.source_message_id IS 'The message it was extracted from.'",
    "COMMENT ON COLUMN carmenta.memories.superseded_by IS 'The memory that replaced it.'",
    "COMMENT ON COLUMN carmenta.memories.language IS 'ISO 639-1.'",
    "COMMENT ON COLUMN carmenta.memories.external_id IS 'The id as the source gave it.'",
    "ALTER TABLE carmenta.memories ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.memories FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.memories TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.memories TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.memories TO carmenta_app",
)

DOWN = (
    "DROP TABLE carmenta.memories",
    "DROP TABLE carmenta.profiles",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
