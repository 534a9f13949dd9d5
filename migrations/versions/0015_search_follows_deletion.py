"""What is deleted softly leaves the search index; the writer's clock, so that a passage can be cut anew as it was."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

UP = (
    "ALTER TABLE carmenta.messages ADD COLUMN utc_offset SMALLINT",
    """
    COMMENT ON COLUMN carmenta.messages.utc_offset IS 'Minutes that the writer''s clock was ahead of UTC: the date shown is the writer''s; null is read as 0.'
    """,
    """
    ALTER TABLE carmenta.messages ADD CONSTRAINT ck_messages_utc_offset CHECK (utc_offset BETWEEN -1439 AND 1439) NOT VALID
    """,
    "ALTER TABLE carmenta.memories ADD COLUMN utc_offset SMALLINT",
    """
    COMMENT ON COLUMN carmenta.memories.utc_offset IS 'Minutes that the writer''s clock was ahead of UTC: the date shown is the writer''s; null is read as 0.'
    """,
    """
    ALTER TABLE carmenta.memories ADD CONSTRAINT ck_memories_utc_offset CHECK (utc_offset BETWEEN -1439 AND 1439) NOT VALID
    """,
    "ALTER TABLE carmenta.documents ADD COLUMN utc_offset SMALLINT",
    """
    COMMENT ON COLUMN carmenta.documents.utc_offset IS 'Minutes that the writer''s clock was ahead of UTC: the date shown is the writer''s; null is read as 0.'
    """,
    """
    ALTER TABLE carmenta.documents ADD CONSTRAINT ck_documents_utc_offset CHECK (utc_offset BETWEEN -1439 AND 1439) NOT VALID
    """,
    """
    CREATE TABLE lab.loaded (
        dataset_id UUID NOT NULL,
        place TEXT NOT NULL,
        user_id UUID NOT NULL,
        row_id UUID NOT NULL,
        other_id UUID NOT NULL,
        CONSTRAINT pk_loaded PRIMARY KEY (dataset_id, place, user_id, row_id, other_id),
        CONSTRAINT fk_loaded_dataset_id FOREIGN KEY(dataset_id) REFERENCES lab.datasets (id) ON DELETE CASCADE,
        CONSTRAINT fk_loaded_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX ix_loaded_user ON lab.loaded (user_id)",
    "COMMENT ON TABLE lab.loaded IS 'What a dataset put into a table that does not keep where its rows come from.'",
    "COMMENT ON COLUMN lab.loaded.place IS 'The table, of the product.'",
    "COMMENT ON COLUMN lab.loaded.row_id IS 'First column of its key after the user.'",
    "COMMENT ON COLUMN lab.loaded.other_id IS 'The second one; the first again where it is all.'",
    """
    CREATE FUNCTION carmenta.unindex_deleted() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        CASE TG_TABLE_NAME
        WHEN 'users' THEN
            DELETE FROM carmenta.passages p WHERE p.user_id = NEW.id;
        WHEN 'conversations' THEN
            DELETE FROM carmenta.passages p USING carmenta.messages m
            WHERE m.user_id = NEW.user_id AND m.conversation_id = NEW.id AND p.user_id = m.user_id AND p.message_id = m.id;
        WHEN 'messages' THEN
            DELETE FROM carmenta.passages p WHERE p.user_id = NEW.user_id AND p.message_id = NEW.id;
            DELETE FROM carmenta.passages p USING carmenta.messages m
            WHERE m.user_id = NEW.user_id AND m.conversation_id = NEW.conversation_id AND p.user_id = m.user_id AND p.message_id = m.id
            AND p.unit IN ('window', 'conversation');
        WHEN 'memories' THEN
            DELETE FROM carmenta.passages p WHERE p.user_id = NEW.user_id AND p.memory_id = NEW.id;
        WHEN 'documents' THEN
            DELETE FROM carmenta.passages p WHERE p.user_id = NEW.user_id AND p.document_id = NEW.id;
        END CASE;
        RETURN NULL;
    END $$
    """,
    """
    COMMENT ON FUNCTION carmenta.unindex_deleted() IS 'The index is derived: what is deleted softly leaves it, and is cut and embedded anew when that is undone.'
    """,
    """
    CREATE TRIGGER unindex_deleted AFTER UPDATE OF deleted_at ON carmenta.users FOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION carmenta.unindex_deleted()
    """,
    """
    CREATE TRIGGER unindex_deleted AFTER UPDATE OF deleted_at ON carmenta.conversations FOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION carmenta.unindex_deleted()
    """,
    """
    CREATE TRIGGER unindex_deleted AFTER UPDATE OF deleted_at ON carmenta.messages FOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION carmenta.unindex_deleted()
    """,
    """
    CREATE TRIGGER unindex_deleted AFTER UPDATE OF deleted_at ON carmenta.memories FOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION carmenta.unindex_deleted()
    """,
    """
    CREATE TRIGGER unindex_deleted AFTER UPDATE OF deleted_at ON carmenta.documents FOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION carmenta.unindex_deleted()
    """,
    """
    CREATE FUNCTION carmenta.refuse_passages_of_deleted() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        DELETE FROM carmenta.passages p USING added a WHERE p.user_id = a.user_id AND p.id = a.id AND EXISTS (SELECT FROM carmenta.messages m
            WHERE m.user_id = a.user_id AND m.id = a.message_id AND m.deleted_at IS NOT NULL);
        DELETE FROM carmenta.passages p USING added a WHERE p.user_id = a.user_id AND p.id = a.id AND EXISTS (SELECT FROM carmenta.conversations c JOIN carmenta.messages m
            ON m.user_id = c.user_id AND m.conversation_id = c.id
            WHERE c.user_id = a.user_id AND m.id = a.message_id AND c.deleted_at IS NOT NULL);
        DELETE FROM carmenta.passages p USING added a WHERE p.user_id = a.user_id AND p.id = a.id AND EXISTS (SELECT FROM carmenta.memories m
            WHERE m.user_id = a.user_id AND m.id = a.memory_id AND m.deleted_at IS NOT NULL);
        DELETE FROM carmenta.passages p USING added a WHERE p.user_id = a.user_id AND p.id = a.id AND EXISTS (SELECT FROM carmenta.documents d
            WHERE d.user_id = a.user_id AND d.id = a.document_id AND d.deleted_at IS NOT NULL);
        DELETE FROM carmenta.passages p USING added a WHERE p.user_id = a.user_id AND p.id = a.id AND EXISTS (SELECT FROM carmenta.users u WHERE u.id = a.user_id AND u.deleted_at IS NOT NULL);
        RETURN NULL;
    END $$
    """,
    """
    COMMENT ON FUNCTION carmenta.refuse_passages_of_deleted() IS 'Whoever writes passages, a load of a changed folder included: none of a deleted source stays.'
    """,
    """
    CREATE TRIGGER refuse_passages_of_deleted AFTER INSERT ON carmenta.passages REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION carmenta.refuse_passages_of_deleted()
    """,
    """
    DELETE FROM carmenta.passages p USING carmenta.messages m JOIN carmenta.conversations c ON c.user_id = m.user_id AND c.id = m.conversation_id
    WHERE p.user_id = m.user_id AND p.message_id = m.id AND coalesce(m.deleted_at, c.deleted_at) IS NOT NULL
    """,
    """
    DELETE FROM carmenta.passages p USING carmenta.memories m
    WHERE p.user_id = m.user_id AND p.memory_id = m.id AND m.deleted_at IS NOT NULL
    """,
    """
    DELETE FROM carmenta.passages p USING carmenta.documents d
    WHERE p.user_id = d.user_id AND p.document_id = d.id AND d.deleted_at IS NOT NULL
    """,
    "DELETE FROM carmenta.passages p USING carmenta.users u WHERE p.user_id = u.id AND u.deleted_at IS NOT NULL",
)

DOWN = (
    "DROP TRIGGER refuse_passages_of_deleted ON carmenta.passages",
    "DROP FUNCTION carmenta.refuse_passages_of_deleted()",
    "DROP TRIGGER unindex_deleted ON carmenta.documents",
    "DROP TRIGGER unindex_deleted ON carmenta.memories",
    "DROP TRIGGER unindex_deleted ON carmenta.messages",
    "DROP TRIGGER unindex_deleted ON carmenta.conversations",
    "DROP TRIGGER unindex_deleted ON carmenta.users",
    "DROP FUNCTION carmenta.unindex_deleted()",
    "DROP TABLE lab.loaded",
    "ALTER TABLE carmenta.documents DROP COLUMN utc_offset",
    "ALTER TABLE carmenta.memories DROP COLUMN utc_offset",
    "ALTER TABLE carmenta.messages DROP COLUMN utc_offset",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
