"""What was decided around a message: before the model saw it, after it answered, and which model did."""

from alembic import op

revision = "product_6"
down_revision = "product_5"


def upgrade() -> None:
    op.execute(
        r"""
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
        """
    )
    op.execute("CREATE INDEX ix_preprocessing_logs_message ON carmenta.preprocessing_logs (user_id, message_id)")
    op.execute(
        r"""
        COMMENT ON TABLE carmenta.preprocessing_logs IS 'What was understood of a message before a model answered it.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.preprocessing_logs.routing IS 'To which assistant, model or tools, and why.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.preprocessing_logs.memory_query IS 'What was looked up in memory for it.'")
    op.execute("COMMENT ON COLUMN carmenta.preprocessing_logs.clarity IS '0..1; low: ask back.'")
    op.execute("ALTER TABLE carmenta.preprocessing_logs ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.preprocessing_logs FORCE ROW LEVEL SECURITY")
    op.execute(
        r"""
        CREATE POLICY owner_all ON carmenta.preprocessing_logs TO carmenta_owner USING (true) WITH CHECK (true)
        """
    )
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.preprocessing_logs TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.preprocessing_logs TO carmenta_app")
    op.execute(
        r"""
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
        """
    )
    op.execute("CREATE INDEX ix_postprocessing_logs_message ON carmenta.postprocessing_logs (user_id, message_id)")
    op.execute(
        r"""
        COMMENT ON TABLE carmenta.postprocessing_logs IS 'What was drawn from an answer after a model gave it.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.postprocessing_logs.memory_extraction IS 'The facts found in it, kept or not.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.postprocessing_logs.follow_ups IS 'Questions offered to the user next.'")
    op.execute("ALTER TABLE carmenta.postprocessing_logs ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.postprocessing_logs FORCE ROW LEVEL SECURITY")
    op.execute(
        r"""
        CREATE POLICY owner_all ON carmenta.postprocessing_logs TO carmenta_owner USING (true) WITH CHECK (true)
        """
    )
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.postprocessing_logs TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.postprocessing_logs TO carmenta_app")
    op.execute(
        r"""
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
        """
    )
    op.execute("CREATE INDEX ix_model_selections_message ON carmenta.model_selections (user_id, message_id)")
    op.execute(
        r"""
        COMMENT ON TABLE carmenta.model_selections IS 'Which model was chosen for a message, from which candidates, and why.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.model_selections.candidates IS 'Each with its name, and its score where it has one.'
        """
    )
    op.execute("ALTER TABLE carmenta.model_selections ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.model_selections FORCE ROW LEVEL SECURITY")
    op.execute(
        r"""
        CREATE POLICY owner_all ON carmenta.model_selections TO carmenta_owner USING (true) WITH CHECK (true)
        """
    )
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.model_selections TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.model_selections TO carmenta_app")


def downgrade() -> None:
    op.execute("DROP TABLE carmenta.preprocessing_logs")
    op.execute("DROP TABLE carmenta.postprocessing_logs")
    op.execute("DROP TABLE carmenta.model_selections")
