"""What was made: artifacts in versions, suggestions on them, and what refers to what."""

from alembic import op

revision = "product_5"
down_revision = "product_4"


def upgrade() -> None:
    op.execute(
        r"""
        CREATE TABLE carmenta.artifacts (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE NOT NULL,
            kind TEXT NOT NULL,
            title TEXT NOT NULL,
            content TEXT,
            component_tree JSONB,
            data_bindings JSONB,
            ui_state JSONB,
            summary_for_llm TEXT,
            conversation_id UUID,
            external_id TEXT,
            deleted_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_artifacts PRIMARY KEY (user_id, id, created_at),
            CONSTRAINT fk_artifacts_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT fk_artifacts_user_id_conversation_id FOREIGN KEY(user_id, conversation_id) REFERENCES carmenta.conversations (user_id, id),
            CONSTRAINT ck_artifacts_kind CHECK (kind IN ('text', 'code', 'sheet', 'image', 'mermaid', 'ag-ui')),
            CONSTRAINT ck_artifacts_interface_only CHECK (kind = 'ag-ui' OR num_nonnulls(component_tree, data_bindings, ui_state) = 0),
            CONSTRAINT ck_artifacts_interface CHECK (kind <> 'ag-ui' OR component_tree IS NOT NULL),
            CONSTRAINT ck_artifacts_component_tree CHECK (jsonb_typeof(component_tree) = 'object'),
            CONSTRAINT ck_artifacts_data_bindings CHECK (jsonb_typeof(data_bindings) = 'object'),
            CONSTRAINT ck_artifacts_ui_state CHECK (jsonb_typeof(ui_state) = 'object')
        )
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_artifacts_conversation ON carmenta.artifacts (user_id, conversation_id) WHERE conversation_id IS NOT NULL
        """
    )
    op.execute("CREATE INDEX ix_artifacts_recent ON carmenta.artifacts (user_id, created_at DESC, id DESC)")
    op.execute("COMMENT ON TABLE carmenta.artifacts IS 'One version of something made; a new version is a new row.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.artifacts.created_at IS 'Tells versions apart; their numbers are counted when read.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.artifacts.summary_for_llm IS 'What a context says of it.'")
    op.execute("COMMENT ON COLUMN carmenta.artifacts.conversation_id IS 'Where it was made.'")
    op.execute("COMMENT ON COLUMN carmenta.artifacts.external_id IS 'The id as the source gave it.'")
    op.execute("COMMENT ON COLUMN carmenta.artifacts.deleted_at IS 'Set on every version at once.'")
    op.execute("ALTER TABLE carmenta.artifacts ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.artifacts FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.artifacts TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.artifacts TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.artifacts TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.suggestions (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            artifact_id UUID NOT NULL,
            artifact_created_at TIMESTAMP WITH TIME ZONE NOT NULL,
            original_text TEXT NOT NULL,
            suggested_text TEXT NOT NULL,
            description TEXT,
            is_resolved BOOLEAN DEFAULT false NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_suggestions PRIMARY KEY (user_id, id),
            CONSTRAINT fk_suggestions_user_id_artifact_id_artifact_created_at FOREIGN KEY(user_id, artifact_id, artifact_created_at) REFERENCES carmenta.artifacts (user_id, id, created_at) ON DELETE CASCADE
        )
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_suggestions_artifact ON carmenta.suggestions (user_id, artifact_id, artifact_created_at)
        """
    )
    op.execute("COMMENT ON TABLE carmenta.suggestions IS 'A proposed change of one version of an artifact.'")
    op.execute("ALTER TABLE carmenta.suggestions ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.suggestions FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.suggestions TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.suggestions TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.suggestions TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.artifact_tags (
            user_id UUID NOT NULL,
            artifact_id UUID NOT NULL,
            tag_id UUID NOT NULL,
            artifact_created_at TIMESTAMP WITH TIME ZONE NOT NULL,
            CONSTRAINT pk_artifact_tags PRIMARY KEY (user_id, artifact_id, tag_id),
            CONSTRAINT fk_artifact_tags_user_id_tag_id FOREIGN KEY(user_id, tag_id) REFERENCES carmenta.tags (user_id, id) ON DELETE CASCADE,
            CONSTRAINT fk_artifact_tags_user_id_artifact_id_artifact_created_at FOREIGN KEY(user_id, artifact_id, artifact_created_at) REFERENCES carmenta.artifacts (user_id, id, created_at) ON DELETE CASCADE
        )
        """
    )
    op.execute("CREATE INDEX ix_artifact_tags_tag ON carmenta.artifact_tags (user_id, tag_id)")
    op.execute("COMMENT ON TABLE carmenta.artifact_tags IS 'A tag on an artifact, whatever its version.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.artifact_tags.artifact_created_at IS 'Of the artifact''s first version, with which this goes.'
        """
    )
    op.execute("ALTER TABLE carmenta.artifact_tags ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.artifact_tags FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.artifact_tags TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.artifact_tags TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.artifact_tags TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.artifact_folders (
            user_id UUID NOT NULL,
            artifact_id UUID NOT NULL,
            folder_id UUID NOT NULL,
            artifact_created_at TIMESTAMP WITH TIME ZONE NOT NULL,
            CONSTRAINT pk_artifact_folders PRIMARY KEY (user_id, artifact_id),
            CONSTRAINT fk_artifact_folders_user_id_folder_id FOREIGN KEY(user_id, folder_id) REFERENCES carmenta.folders (user_id, id) ON DELETE CASCADE,
            CONSTRAINT fk_artifact_folders_user_id_artifact_id_artifact_created_at FOREIGN KEY(user_id, artifact_id, artifact_created_at) REFERENCES carmenta.artifacts (user_id, id, created_at) ON DELETE CASCADE
        )
        """
    )
    op.execute("CREATE INDEX ix_artifact_folders_folder ON carmenta.artifact_folders (user_id, folder_id)")
    op.execute("COMMENT ON TABLE carmenta.artifact_folders IS 'The folder in which an artifact lies.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.artifact_folders.artifact_created_at IS 'Of the artifact''s first version, with which this goes.'
        """
    )
    op.execute("ALTER TABLE carmenta.artifact_folders ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.artifact_folders FORCE ROW LEVEL SECURITY")
    op.execute(
        r"""
        CREATE POLICY owner_all ON carmenta.artifact_folders TO carmenta_owner USING (true) WITH CHECK (true)
        """
    )
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.artifact_folders TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.artifact_folders TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.artifact_references (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            artifact_id UUID NOT NULL,
            artifact_created_at TIMESTAMP WITH TIME ZONE NOT NULL,
            relation TEXT NOT NULL,
            target_artifact_id UUID,
            target_artifact_created_at TIMESTAMP WITH TIME ZONE,
            conversation_id UUID,
            message_id UUID,
            document_id UUID,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_artifact_references PRIMARY KEY (user_id, id),
            CONSTRAINT fk_artifact_references_user_id_artifact_id_artifact_created_at FOREIGN KEY(user_id, artifact_id, artifact_created_at) REFERENCES carmenta.artifacts (user_id, id, created_at) ON DELETE CASCADE,
            CONSTRAINT fk_artifact_references_user_id_target_artifact_id_targe_8415 FOREIGN KEY(user_id, target_artifact_id, target_artifact_created_at) REFERENCES carmenta.artifacts (user_id, id, created_at) ON DELETE CASCADE,
            CONSTRAINT fk_artifact_references_user_id_conversation_id FOREIGN KEY(user_id, conversation_id) REFERENCES carmenta.conversations (user_id, id) ON DELETE CASCADE,
            CONSTRAINT fk_artifact_references_user_id_message_id FOREIGN KEY(user_id, message_id) REFERENCES carmenta.messages (user_id, id) ON DELETE CASCADE,
            CONSTRAINT fk_artifact_references_user_id_document_id FOREIGN KEY(user_id, document_id) REFERENCES carmenta.documents (user_id, id) ON DELETE CASCADE,
            CONSTRAINT ck_artifact_references_one_target CHECK (num_nonnulls(target_artifact_id, conversation_id, message_id, document_id) = 1),
            CONSTRAINT ck_artifact_references_target CHECK (target_artifact_id <> artifact_id),
            CONSTRAINT ck_artifact_references_target_artifact_created_at CHECK ((target_artifact_id IS NULL) = (target_artifact_created_at IS NULL)),
            CONSTRAINT ck_artifact_references_relation CHECK (relation IN ('made_in', 'derived_from', 'embeds', 'cites', 'mentions'))
        )
        """
    )
    op.execute("CREATE INDEX ix_artifact_references_artifact ON carmenta.artifact_references (user_id, artifact_id)")
    op.execute(
        r"""
        CREATE INDEX ix_artifact_references_conversation ON carmenta.artifact_references (user_id, conversation_id) WHERE conversation_id IS NOT NULL
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_artifact_references_document ON carmenta.artifact_references (user_id, document_id) WHERE document_id IS NOT NULL
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_artifact_references_message ON carmenta.artifact_references (user_id, message_id) WHERE message_id IS NOT NULL
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_artifact_references_target_artifact ON carmenta.artifact_references (user_id, target_artifact_id) WHERE target_artifact_id IS NOT NULL
        """
    )
    op.execute(
        r"""
        COMMENT ON TABLE carmenta.artifact_references IS 'An artifact refers to another artifact, a conversation, a message or a document.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.artifact_references.artifact_id IS 'What refers.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.artifact_references.artifact_created_at IS 'Of the artifact''s first version, with which this goes.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.artifact_references.relation IS 'Read from `artifact_id` to the target.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.artifact_references.target_artifact_created_at IS 'Of the artifact''s first version, with which this goes.'
        """
    )
    op.execute("ALTER TABLE carmenta.artifact_references ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.artifact_references FORCE ROW LEVEL SECURITY")
    op.execute(
        r"""
        CREATE POLICY owner_all ON carmenta.artifact_references TO carmenta_owner USING (true) WITH CHECK (true)
        """
    )
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.artifact_references TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.artifact_references TO carmenta_app")
    op.execute(
        r"""
        CREATE VIEW carmenta.artifact_relations WITH (security_invoker = true) AS
        SELECT user_id, artifact_id AS from_id, 'artifact' AS from_kind, target_artifact_id AS to_id, 'artifact' AS to_kind, relation, 'refers' AS direction FROM carmenta.artifact_references WHERE target_artifact_id IS NOT NULL
        UNION ALL
        SELECT user_id, target_artifact_id, 'artifact', artifact_id, 'artifact', relation, 'referred' FROM carmenta.artifact_references WHERE target_artifact_id IS NOT NULL
        UNION ALL
        SELECT user_id, artifact_id AS from_id, 'artifact' AS from_kind, conversation_id AS to_id, 'conversation' AS to_kind, relation, 'refers' AS direction FROM carmenta.artifact_references WHERE conversation_id IS NOT NULL
        UNION ALL
        SELECT user_id, conversation_id, 'conversation', artifact_id, 'artifact', relation, 'referred' FROM carmenta.artifact_references WHERE conversation_id IS NOT NULL
        UNION ALL
        SELECT user_id, artifact_id AS from_id, 'artifact' AS from_kind, message_id AS to_id, 'message' AS to_kind, relation, 'refers' AS direction FROM carmenta.artifact_references WHERE message_id IS NOT NULL
        UNION ALL
        SELECT user_id, message_id, 'message', artifact_id, 'artifact', relation, 'referred' FROM carmenta.artifact_references WHERE message_id IS NOT NULL
        UNION ALL
        SELECT user_id, artifact_id AS from_id, 'artifact' AS from_kind, document_id AS to_id, 'document' AS to_kind, relation, 'refers' AS direction FROM carmenta.artifact_references WHERE document_id IS NOT NULL
        UNION ALL
        SELECT user_id, document_id, 'document', artifact_id, 'artifact', relation, 'referred' FROM carmenta.artifact_references WHERE document_id IS NOT NULL
        """
    )
    op.execute(
        r"""
        COMMENT ON VIEW carmenta.artifact_relations IS 'Every reference twice: as it was made, and read backwards.'
        """
    )
    op.execute("GRANT SELECT ON carmenta.artifact_relations TO carmenta_app")


def downgrade() -> None:
    op.execute("DROP VIEW carmenta.artifact_relations")
    op.execute("DROP TABLE carmenta.suggestions")
    op.execute("DROP TABLE carmenta.artifact_tags")
    op.execute("DROP TABLE carmenta.artifact_references")
    op.execute("DROP TABLE carmenta.artifact_folders")
    op.execute("DROP TABLE carmenta.artifacts")
