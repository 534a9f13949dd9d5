"""Where conversations are filed, what is thought of messages, and answers that are being written."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

UP = (
    """
    CREATE TABLE carmenta.workspaces (
        user_id UUID NOT NULL,
        id UUID NOT NULL,
        name TEXT NOT NULL,
        description TEXT,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        deleted_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_workspaces PRIMARY KEY (user_id, id),
        CONSTRAINT fk_workspaces_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
        CONSTRAINT ck_workspaces_name CHECK (name <> '')
    )
    """,
    "CREATE UNIQUE INDEX uq_workspaces_name ON carmenta.workspaces (user_id, name) WHERE deleted_at IS NULL",
    "COMMENT ON TABLE carmenta.workspaces IS 'A part of a user''s life that is kept apart: work, home, a client.'",
    "ALTER TABLE carmenta.workspaces ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.workspaces FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.workspaces TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.workspaces TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.workspaces TO carmenta_app",
    """
    CREATE TABLE carmenta.folders (
        user_id UUID NOT NULL,
        id UUID NOT NULL,
        path ltree NOT NULL,
        name TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        deleted_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_folders PRIMARY KEY (user_id, id),
        CONSTRAINT fk_folders_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
        CONSTRAINT ck_folders_path CHECK (nlevel(path) > 0),
        CONSTRAINT ck_folders_name CHECK (name <> '')
    )
    """,
    "CREATE UNIQUE INDEX uq_folders_path ON carmenta.folders (user_id, path) WHERE deleted_at IS NULL",
    "COMMENT ON TABLE carmenta.folders IS 'A place for conversations and artifacts.'",
    "COMMENT ON COLUMN carmenta.folders.path IS 'Its place in the tree, unique per user among the living.'",
    "ALTER TABLE carmenta.folders ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.folders FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.folders TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.folders TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.folders TO carmenta_app",
    """
    CREATE TABLE carmenta.tags (
        user_id UUID NOT NULL,
        id UUID NOT NULL,
        name TEXT NOT NULL,
        color TEXT,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_tags PRIMARY KEY (user_id, id),
        CONSTRAINT fk_tags_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
        CONSTRAINT uq_tags_user_id_name UNIQUE (user_id, name),
        CONSTRAINT ck_tags_name CHECK (name <> '')
    )
    """,
    "COMMENT ON TABLE carmenta.tags IS 'A word that the user puts on conversations and artifacts.'",
    "ALTER TABLE carmenta.tags ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.tags FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.tags TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.tags TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.tags TO carmenta_app",
    """
    CREATE TABLE carmenta.conversation_tags (
        user_id UUID NOT NULL,
        conversation_id UUID NOT NULL,
        tag_id UUID NOT NULL,
        CONSTRAINT pk_conversation_tags PRIMARY KEY (user_id, conversation_id, tag_id),
        CONSTRAINT fk_conversation_tags_user_id_conversation_id FOREIGN KEY(user_id, conversation_id) REFERENCES carmenta.conversations (user_id, id) ON DELETE CASCADE,
        CONSTRAINT fk_conversation_tags_user_id_tag_id FOREIGN KEY(user_id, tag_id) REFERENCES carmenta.tags (user_id, id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX ix_conversation_tags_tag ON carmenta.conversation_tags (user_id, tag_id)",
    "COMMENT ON TABLE carmenta.conversation_tags IS 'A tag on a conversation.'",
    "ALTER TABLE carmenta.conversation_tags ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.conversation_tags FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.conversation_tags TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.conversation_tags TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.conversation_tags TO carmenta_app",
    """
    CREATE TABLE carmenta.votes (
        user_id UUID NOT NULL,
        message_id UUID NOT NULL,
        is_upvoted BOOLEAN NOT NULL,
        voted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_votes PRIMARY KEY (user_id, message_id),
        CONSTRAINT fk_votes_user_id_message_id FOREIGN KEY(user_id, message_id) REFERENCES carmenta.messages (user_id, id) ON DELETE CASCADE
    )
    """,
    "COMMENT ON TABLE carmenta.votes IS 'What the user thinks of a message.'",
    "ALTER TABLE carmenta.votes ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.votes FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.votes TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.votes TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.votes TO carmenta_app",
    """
    CREATE TABLE carmenta.streams (
        user_id UUID NOT NULL,
        id UUID NOT NULL,
        conversation_id UUID NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        finished_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_streams PRIMARY KEY (user_id, id),
        CONSTRAINT fk_streams_user_id_conversation_id FOREIGN KEY(user_id, conversation_id) REFERENCES carmenta.conversations (user_id, id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX ix_streams_conversation ON carmenta.streams (user_id, conversation_id, created_at)",
    """
    COMMENT ON TABLE carmenta.streams IS 'An answer that is being written, so that a client which lost its connection can pick it up.'
    """,
    "ALTER TABLE carmenta.streams ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.streams FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.streams TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.streams TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.streams TO carmenta_app",
    "ALTER TABLE carmenta.conversations ADD COLUMN workspace_id UUID",
    "ALTER TABLE carmenta.conversations ADD COLUMN folder_id UUID",
    """
    ALTER TABLE carmenta.conversations ADD CONSTRAINT fk_conversations_user_id_workspace_id FOREIGN KEY (user_id, workspace_id) REFERENCES carmenta.workspaces (user_id, id) ON DELETE SET NULL (workspace_id) NOT VALID
    """,
    """
    ALTER TABLE carmenta.conversations ADD CONSTRAINT fk_conversations_user_id_folder_id FOREIGN KEY (user_id, folder_id) REFERENCES carmenta.folders (user_id, id) ON DELETE SET NULL (folder_id) NOT VALID
    """,
)

DOWN = (
    "ALTER TABLE carmenta.conversations DROP COLUMN folder_id",
    "ALTER TABLE carmenta.conversations DROP COLUMN workspace_id",
    "DROP TABLE carmenta.streams",
    "DROP TABLE carmenta.votes",
    "DROP TABLE carmenta.conversation_tags",
    "DROP TABLE carmenta.tags",
    "DROP TABLE carmenta.folders",
    "DROP TABLE carmenta.workspaces",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
