"""What was decided around a message, and links between documents."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

UP = (
    """
    CREATE TABLE carmenta.document_links (
        user_id UUID NOT NULL,
        document_id UUID NOT NULL,
        target_id UUID NOT NULL,
        label TEXT,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_document_links PRIMARY KEY (user_id, document_id, target_id),
        CONSTRAINT fk_document_links_user_id_document_id FOREIGN KEY(user_id, document_id) REFERENCES carmenta.documents (user_id, id) ON DELETE CASCADE,
        CONSTRAINT fk_document_links_user_id_target_id FOREIGN KEY(user_id, target_id) REFERENCES carmenta.documents (user_id, id) ON DELETE CASCADE,
        CONSTRAINT ck_document_links_target_id CHECK (target_id <> document_id)
    )
    """,
    "CREATE INDEX ix_document_links_target ON carmenta.document_links (user_id, target_id)",
    "COMMENT ON TABLE carmenta.document_links IS 'One document refers to another.'",
    "COMMENT ON COLUMN carmenta.document_links.label IS 'The words that the link stands on.'",
    "ALTER TABLE carmenta.document_links ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.document_links FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.document_links TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.document_links TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.document_links TO carmenta_app",
    """
    CREATE TABLE carmenta.preprocessing_logs (
        user_id UUID NOT NULL,
        id UUID NOT NULL,
        message_id UUID NOT NULL,
        intent TEXT,
        emotion TEXT,
        routing JSONB,
        memory_query TEXT,
        clarity REAL,
        response_hints JSONB,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_preprocessing_logs PRIMARY KEY (user_id, id),
        CONSTRAINT fk_preprocessing_logs_user_id_message_id FOREIGN KEY(user_id, message_id) REFERENCES carmenta.messages (user_id, id) ON DELETE CASCADE,
        CONSTRAINT ck_preprocessing_logs_clarity CHECK (clarity BETWEEN 0 AND 1),
        CONSTRAINT ck_preprocessing_logs_routing CHECK (jsonb_typeof(routing) = 'object'),
        CONSTRAINT ck_preprocessing_logs_response_hints CHECK (jsonb_typeof(response_hints) = 'object')
    )
    """,
    "CREATE INDEX ix_preprocessing_logs_message ON carmenta.preprocessing_logs (user_id, message_id)",
    "COMMENT ON TABLE carmenta.preprocessing_logs IS 'What was understood of a message before a model answered it.'",
    "COMMENT ON COLUMN carmenta.preprocessing_logs.routing IS 'To which assistant, model or tools, and why.'",
    "COMMENT ON COLUMN carmenta.preprocessing_logs.memory_query IS 'What was looked up in memory for it.'",
    "COMMENT ON COLUMN carmenta.preprocessing_logs.clarity IS '0..1; low: ask back.'",
    "ALTER TABLE carmenta.preprocessing_logs ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.preprocessing_logs FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.preprocessing_logs TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.preprocessing_logs TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.preprocessing_logs TO carmenta_app",
    """
    CREATE TABLE carmenta.postprocessing_logs (
        user_id UUID NOT NULL,
        id UUID NOT NULL,
        message_id UUID NOT NULL,
        memory_extraction JSONB,
        quality_assessment JSONB,
        follow_ups JSONB,
        display_hints JSONB,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_postprocessing_logs PRIMARY KEY (user_id, id),
        CONSTRAINT fk_postprocessing_logs_user_id_message_id FOREIGN KEY(user_id, message_id) REFERENCES carmenta.messages (user_id, id) ON DELETE CASCADE,
        CONSTRAINT ck_postprocessing_logs_memory_extraction CHECK (jsonb_typeof(memory_extraction) = 'array'),
        CONSTRAINT ck_postprocessing_logs_quality_assessment CHECK (jsonb_typeof(quality_assessment) = 'object'),
        CONSTRAINT ck_postprocessing_logs_follow_ups CHECK (jsonb_typeof(follow_ups) = 'array'),
        CONSTRAINT ck_postprocessing_logs_display_hints CHECK (jsonb_typeof(display_hints) = 'object')
    )
    """,
    "CREATE INDEX ix_postprocessing_logs_message ON carmenta.postprocessing_logs (user_id, message_id)",
    "COMMENT ON TABLE carmenta.postprocessing_logs IS 'What was drawn from an answer after a model gave it.'",
    "COMMENT ON COLUMN carmenta.postprocessing_logs.memory_extraction IS 'The facts found in it, kept or not.'",
    "COMMENT ON COLUMN carmenta.postprocessing_logs.follow_ups IS 'Questions offered to the user next.'",
    "ALTER TABLE carmenta.postprocessing_logs ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.postprocessing_logs FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.postprocessing_logs TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.postprocessing_logs TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.postprocessing_logs TO carmenta_app",
    """
    CREATE TABLE carmenta.model_selections (
        user_id UUID NOT NULL,
        id UUID NOT NULL,
        message_id UUID NOT NULL,
        candidates JSONB NOT NULL,
        chosen TEXT NOT NULL,
        reason TEXT,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_model_selections PRIMARY KEY (user_id, id),
        CONSTRAINT fk_model_selections_user_id_message_id FOREIGN KEY(user_id, message_id) REFERENCES carmenta.messages (user_id, id) ON DELETE CASCADE,
        CONSTRAINT ck_model_selections_candidates CHECK (jsonb_typeof(candidates) = 'array'),
        CONSTRAINT ck_model_selections_chosen CHECK (chosen <> '')
    )
    """,
    "CREATE INDEX ix_model_selections_message ON carmenta.model_selections (user_id, message_id)",
    """
    COMMENT ON TABLE carmenta.model_selections IS 'Which model was chosen for a message, from which candidates, and why.'
    """,
    "COMMENT ON COLUMN carmenta.model_selections.candidates IS 'Each with its name, and its score where it has one.'",
    "ALTER TABLE carmenta.model_selections ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.model_selections FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.model_selections TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.model_selections TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.model_selections TO carmenta_app",
)

DOWN = (
    "DROP TABLE carmenta.model_selections",
    "DROP TABLE carmenta.postprocessing_logs",
    "DROP TABLE carmenta.preprocessing_logs",
    "DROP TABLE carmenta.document_links",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
