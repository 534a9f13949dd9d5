"""What a user keeps to look up: documents under paths."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UP = (
    """
    CREATE TABLE carmenta.documents (
        user_id UUID NOT NULL,
        id UUID NOT NULL,
        path ltree NOT NULL,
        name TEXT NOT NULL,
        content TEXT NOT NULL,
        tags TEXT[] DEFAULT '{}' NOT NULL,
        source_type TEXT,
        language TEXT DEFAULT 'en' NOT NULL,
        external_id TEXT,
        created_at TIMESTAMP WITH TIME ZONE,
        deleted_at TIMESTAMP WITH TIME ZONE,
        text_search TSVECTOR GENERATED ALWAYS AS (CASE language WHEN 'da' THEN to_tsvector('pg_catalog.danish'::regconfig, left(content, 200000)) WHEN 'de' THEN to_tsvector('pg_catalog.german'::regconfig, left(content, 200000)) WHEN 'en' THEN to_tsvector('pg_catalog.english'::regconfig, left(content, 200000)) WHEN 'es' THEN to_tsvector('pg_catalog.spanish'::regconfig, left(content, 200000)) WHEN 'fi' THEN to_tsvector('pg_catalog.finnish'::regconfig, left(content, 200000)) WHEN 'fr' THEN to_tsvector('pg_catalog.french'::regconfig, left(content, 200000)) WHEN 'it' THEN to_tsvector('pg_catalog.italian'::regconfig, left(content, 200000)) WHEN 'nl' THEN to_tsvector('pg_catalog.dutch'::regconfig, left(content, 200000)) WHEN 'no' THEN to_tsvector('pg_catalog.norwegian'::regconfig, left(content, 200000)) WHEN 'pt' THEN to_tsvector('pg_catalog.portuguese'::regconfig, left(content, 200000)) WHEN 'sv' THEN to_tsvector('pg_catalog.swedish'::regconfig, left(content, 200000)) ELSE to_tsvector('pg_catalog.simple'::regconfig, left(content, 200000)) END) STORED,
        CONSTRAINT pk_documents PRIMARY KEY (user_id, id),
        CONSTRAINT fk_documents_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
        CONSTRAINT ck_documents_path CHECK (nlevel(path) > 0)
    )
    """,
    "CREATE INDEX ix_documents_text_search ON carmenta.documents USING gin (text_search)",
    "CREATE UNIQUE INDEX uq_documents_path ON carmenta.documents (user_id, path) WHERE deleted_at IS NULL",
    "COMMENT ON TABLE carmenta.documents IS 'A document of the user''s knowledge base.'",
    "COMMENT ON COLUMN carmenta.documents.path IS 'Its place in the tree, unique per user among the living.'",
    "COMMENT ON COLUMN carmenta.documents.source_type IS 'note, upload, web, email, meeting, ...'",
    "COMMENT ON COLUMN carmenta.documents.language IS 'ISO 639-1.'",
    "COMMENT ON COLUMN carmenta.documents.external_id IS 'The id as the source gave it.'",
    "ALTER TABLE carmenta.documents ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.documents FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.documents TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.documents TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.documents TO carmenta_app",
)

DOWN = ("DROP TABLE carmenta.documents",)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
