"""What a user keeps to look up: documents under paths, and the links between them."""

from alembic import op

revision = "product_4"
down_revision = "product_3"


def upgrade() -> None:
    op.execute(
        r"""
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
            utc_offset SMALLINT,
            text_search TSVECTOR GENERATED ALWAYS AS (carmenta.lexemes(language, content)) STORED,
            CONSTRAINT pk_documents PRIMARY KEY (user_id, id),
            CONSTRAINT fk_documents_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT ck_documents_path CHECK (nlevel(path) > 0),
            CONSTRAINT ck_documents_utc_offset CHECK (utc_offset BETWEEN -1439 AND 1439)
        )
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_documents_deleted ON carmenta.documents (user_id, deleted_at) WHERE deleted_at IS NOT NULL
        """
    )
    op.execute("CREATE INDEX ix_documents_text_search ON carmenta.documents USING gin (text_search)")
    op.execute("CREATE UNIQUE INDEX uq_documents_path ON carmenta.documents (user_id, path) WHERE deleted_at IS NULL")
    op.execute("COMMENT ON TABLE carmenta.documents IS 'A document of the user''s knowledge base.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.documents.path IS 'Its place in the tree, unique per user among the living.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.documents.source_type IS 'note, upload, web, email, meeting, ...'")
    op.execute("COMMENT ON COLUMN carmenta.documents.language IS 'ISO 639-1.'")
    op.execute("COMMENT ON COLUMN carmenta.documents.external_id IS 'The id as the source gave it.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.documents.utc_offset IS 'Minutes that the writer''s clock was ahead of UTC: the date shown is the writer''s; null is read as 0.'
        """
    )
    op.execute("ALTER TABLE carmenta.documents ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.documents FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.documents TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.documents TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.documents TO carmenta_app")
    op.execute(
        r"""
        CREATE FUNCTION carmenta.search_documents(query text, language text, at_most integer)
            RETURNS TABLE (id uuid, path ltree, name text, rank real)
            LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
            BEGIN ATOMIC
            SELECT d.id, d.path, d.name, ts_rank(d.text_search, asked.words, 1) AS rank
            FROM carmenta.documents d, (
                SELECT string_agg('''' || replace(replace(w.lexeme, chr(92), repeat(chr(92), 2)), '''', '''''') || '''', ' | ')
                    ::tsquery AS words
                FROM (SELECT u.lexeme FROM unnest(carmenta.lexemes(search_documents.language, left(search_documents.query, 2000))) u LIMIT 64) w
            ) asked
            WHERE d.user_id = carmenta.current_user_id() AND d.deleted_at IS NULL AND d.text_search @@ asked.words
            ORDER BY rank DESC, d.id LIMIT least(greatest(search_documents.at_most, 0), 1000)
        ;
            END
        """
    )
    op.execute("REVOKE ALL ON FUNCTION carmenta.search_documents(text, text, integer) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION carmenta.search_documents(text, text, integer) TO carmenta_app")
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.search_documents(text, text, integer) IS 'The current user''s living documents that have any of the words, those with more of them first. By the owner, because under a policy the planner may not use the index of words before the policy is checked.'
        """
    )
    op.execute(
        r"""
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
        """
    )
    op.execute("CREATE INDEX ix_document_links_target ON carmenta.document_links (user_id, target_id)")
    op.execute("COMMENT ON TABLE carmenta.document_links IS 'One document refers to another.'")
    op.execute("COMMENT ON COLUMN carmenta.document_links.label IS 'The words that the link stands on.'")
    op.execute("ALTER TABLE carmenta.document_links ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.document_links FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.document_links TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.document_links TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.document_links TO carmenta_app")


def downgrade() -> None:
    op.execute("DROP FUNCTION carmenta.search_documents(text, text, integer)")
    op.execute("DROP TABLE carmenta.document_links")
    op.execute("DROP TABLE carmenta.documents")
