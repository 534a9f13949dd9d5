"""What is searched: passages, and the models and vectors that stand for them."""

from alembic import op

revision = "search_1"
down_revision = None
branch_labels = ("search",)


def upgrade() -> None:
    op.execute("GRANT USAGE ON SCHEMA search TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE search.passages (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            unit TEXT NOT NULL,
            ordinal INTEGER NOT NULL,
            content TEXT NOT NULL,
            message_id UUID,
            memory_id UUID,
            document_id UUID,
            author TEXT,
            language TEXT DEFAULT 'en' NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE,
            source_id UUID GENERATED ALWAYS AS (COALESCE(message_id, memory_id, document_id)) STORED NOT NULL,
            text_search TSVECTOR GENERATED ALWAYS AS (carmenta.lexemes(language, content)) STORED,
            CONSTRAINT pk_passages PRIMARY KEY (user_id, id),
            CONSTRAINT fk_passages_user_id_message_id FOREIGN KEY(user_id, message_id) REFERENCES carmenta.messages (user_id, id) ON DELETE CASCADE,
            CONSTRAINT fk_passages_user_id_memory_id FOREIGN KEY(user_id, memory_id) REFERENCES carmenta.memories (user_id, id) ON DELETE CASCADE,
            CONSTRAINT fk_passages_user_id_document_id FOREIGN KEY(user_id, document_id) REFERENCES carmenta.documents (user_id, id) ON DELETE CASCADE,
            CONSTRAINT ck_passages_unit CHECK (unit IN ('turn', 'memory', 'section')),
            CONSTRAINT ck_passages_one_source CHECK (num_nonnulls(message_id, memory_id, document_id) = 1),
            CONSTRAINT ck_passages_content CHECK (content <> '')
        )
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_passages_document ON search.passages (user_id, document_id) WHERE document_id IS NOT NULL
        """
    )
    op.execute("CREATE INDEX ix_passages_memory ON search.passages (user_id, memory_id) WHERE memory_id IS NOT NULL")
    op.execute(
        r"""
        CREATE INDEX ix_passages_message ON search.passages (user_id, message_id) WHERE message_id IS NOT NULL
        """
    )
    op.execute(
        r"""
        COMMENT ON TABLE search.passages IS 'A text that is searched, and the source it stands for; never updated.'
        """
    )
    op.execute("COMMENT ON COLUMN search.passages.unit IS 'turn, memory or section.'")
    op.execute("COMMENT ON COLUMN search.passages.ordinal IS 'Which piece of its source, from 0.'")
    op.execute("COMMENT ON COLUMN search.passages.content IS 'The text as indexed: \"[date] Author: text\".'")
    op.execute("COMMENT ON COLUMN search.passages.language IS 'ISO 639-1.'")
    op.execute(
        r"""
        COMMENT ON COLUMN search.passages.created_at IS 'A question asked earlier does not see it; null is always seen.'
        """
    )
    op.execute("COMMENT ON COLUMN search.passages.source_id IS 'What a hit stands for.'")
    op.execute(
        r"""
        COMMENT ON COLUMN search.passages.text_search IS 'No GIN index: under row-level security the planner cannot use one for @@.'
        """
    )
    op.execute("ALTER TABLE search.passages ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE search.passages FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON search.passages TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON search.passages TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON search.passages TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE search.embedding_models (
            name TEXT NOT NULL,
            dim INTEGER NOT NULL,
            table_name TEXT NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_embedding_models PRIMARY KEY (name),
            CONSTRAINT ck_embedding_models_dim CHECK (dim BETWEEN 1 AND 4000),
            CONSTRAINT uq_embedding_models_table_name UNIQUE (table_name)
        )
        """
    )
    op.execute(
        r"""
        COMMENT ON TABLE search.embedding_models IS 'A registered model, and the table that holds its vectors.'
        """
    )
    op.execute("GRANT SELECT ON search.embedding_models TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE search.token_codes (
            user_id UUID NOT NULL,
            passage_id UUID NOT NULL,
            codes bit(384)[] NOT NULL,
            question_codes bit(384)[] NOT NULL,
            CONSTRAINT pk_token_codes PRIMARY KEY (user_id, passage_id),
            CONSTRAINT fk_token_codes_user_id_passage_id FOREIGN KEY(user_id, passage_id) REFERENCES search.passages (user_id, id) ON DELETE CASCADE
        )
        """
    )
    op.execute(
        r"""
        COMMENT ON TABLE search.token_codes IS 'The tokens of a passage that carry meaning, each by the signs of its vector under the bundled model. Written when a strategy needs them.'
        """
    )
    op.execute("COMMENT ON COLUMN search.token_codes.codes IS 'Without header and stop words.'")
    op.execute(
        r"""
        COMMENT ON COLUMN search.token_codes.question_codes IS 'Those of them in sentences that end in a question mark.'
        """
    )
    op.execute("ALTER TABLE search.token_codes ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE search.token_codes FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON search.token_codes TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON search.token_codes TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON search.token_codes TO carmenta_app")
    op.execute("ALTER TABLE search.token_codes ALTER COLUMN codes SET STORAGE EXTERNAL")
    op.execute("ALTER TABLE search.token_codes ALTER COLUMN question_codes SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.execute("DROP TABLE search.token_codes")
    op.execute("DROP TABLE search.passages")
    op.execute("DROP TABLE search.embedding_models")
    op.execute("REVOKE USAGE ON SCHEMA search FROM carmenta_app")
