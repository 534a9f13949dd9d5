"""What is searched: passages, and the models and vectors that stand for them."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UP = (
    """
    CREATE TABLE carmenta.embedding_models (
        name TEXT NOT NULL,
        dim INTEGER NOT NULL,
        table_name TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_embedding_models PRIMARY KEY (name),
        CONSTRAINT ck_embedding_models_dim CHECK (dim BETWEEN 1 AND 4000),
        CONSTRAINT uq_embedding_models_table_name UNIQUE (table_name)
    )
    """,
    "COMMENT ON TABLE carmenta.embedding_models IS 'A registered model, and the table that holds its vectors.'",
    "GRANT SELECT ON carmenta.embedding_models TO carmenta_app",
    """
    CREATE TABLE carmenta.passages (
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
        text_search TSVECTOR GENERATED ALWAYS AS (CASE language WHEN 'da' THEN to_tsvector('pg_catalog.danish'::regconfig, left(content, 200000)) WHEN 'de' THEN to_tsvector('pg_catalog.german'::regconfig, left(content, 200000)) WHEN 'en' THEN to_tsvector('pg_catalog.english'::regconfig, left(content, 200000)) WHEN 'es' THEN to_tsvector('pg_catalog.spanish'::regconfig, left(content, 200000)) WHEN 'fi' THEN to_tsvector('pg_catalog.finnish'::regconfig, left(content, 200000)) WHEN 'fr' THEN to_tsvector('pg_catalog.french'::regconfig, left(content, 200000)) WHEN 'it' THEN to_tsvector('pg_catalog.italian'::regconfig, left(content, 200000)) WHEN 'nl' THEN to_tsvector('pg_catalog.dutch'::regconfig, left(content, 200000)) WHEN 'no' THEN to_tsvector('pg_catalog.norwegian'::regconfig, left(content, 200000)) WHEN 'pt' THEN to_tsvector('pg_catalog.portuguese'::regconfig, left(content, 200000)) WHEN 'sv' THEN to_tsvector('pg_catalog.swedish'::regconfig, left(content, 200000)) ELSE to_tsvector('pg_catalog.simple'::regconfig, left(content, 200000)) END) STORED,
        CONSTRAINT pk_passages PRIMARY KEY (user_id, id),
        CONSTRAINT fk_passages_user_id_message_id FOREIGN KEY(user_id, message_id) REFERENCES carmenta.messages (user_id, id) ON DELETE CASCADE,
        CONSTRAINT fk_passages_user_id_memory_id FOREIGN KEY(user_id, memory_id) REFERENCES carmenta.memories (user_id, id) ON DELETE CASCADE,
        CONSTRAINT fk_passages_user_id_document_id FOREIGN KEY(user_id, document_id) REFERENCES carmenta.documents (user_id, id) ON DELETE CASCADE,
        CONSTRAINT ck_passages_unit CHECK (unit IN ('turn', 'window', 'conversation', 'memory', 'section')),
        CONSTRAINT ck_passages_one_source CHECK (num_nonnulls(message_id, memory_id, document_id) = 1),
        CONSTRAINT ck_passages_content CHECK (content <> '')
    )
    """,
    "CREATE INDEX ix_passages_document ON carmenta.passages (user_id, document_id) WHERE document_id IS NOT NULL",
    "CREATE INDEX ix_passages_memory ON carmenta.passages (user_id, memory_id) WHERE memory_id IS NOT NULL",
    "CREATE INDEX ix_passages_message ON carmenta.passages (user_id, message_id) WHERE message_id IS NOT NULL",
    "COMMENT ON TABLE carmenta.passages IS 'A text that is searched, and the source it stands for; never updated.'",
    "COMMENT ON COLUMN carmenta.passages.unit IS 'turn, window, conversation, memory or section.'",
    "COMMENT ON COLUMN carmenta.passages.ordinal IS 'Which piece of its source, from 0.'",
    """
    COMMENT ON COLUMN carmenta.passages.content IS 'The text as indexed: "[date] Author: text".'
    """,
    "COMMENT ON COLUMN carmenta.passages.language IS 'ISO 639-1.'",
    """
    COMMENT ON COLUMN carmenta.passages.created_at IS 'A question asked earlier does not see it; null is always seen.'
    """,
    "COMMENT ON COLUMN carmenta.passages.source_id IS 'What a hit stands for.'",
    """
    COMMENT ON COLUMN carmenta.passages.text_search IS 'No GIN index: under row-level security the planner cannot use one for @@.'
    """,
    "ALTER TABLE carmenta.passages ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.passages FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.passages TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.passages TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.passages TO carmenta_app",
)

DOWN = (
    """
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT table_name FROM carmenta.embedding_models LOOP
            EXECUTE format('DROP TABLE carmenta.%I', name);
        END LOOP;
    END $$
    """,
    "DROP TABLE carmenta.passages",
    "DROP TABLE carmenta.embedding_models",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
