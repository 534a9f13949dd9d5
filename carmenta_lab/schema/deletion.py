"""What does a soft deletion take out of search? The passages, and with them all that hangs on a passage."""

from carmenta_lab.schema.base import PRODUCT, after_create
from carmenta_lab.schema.passages import passages

_ADDED = f"DELETE FROM {PRODUCT}.passages p USING added a WHERE p.user_id = a.user_id AND p.id = a.id AND"
_OF_MESSAGES = "p.user_id = m.user_id AND p.message_id = m.id"

UNINDEX = (
    f"""
    CREATE FUNCTION {PRODUCT}.unindex_deleted() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        CASE TG_TABLE_NAME
        WHEN 'users' THEN
            DELETE FROM {PRODUCT}.passages p WHERE p.user_id = NEW.id;
        WHEN 'conversations' THEN
            DELETE FROM {PRODUCT}.passages p USING {PRODUCT}.messages m
            WHERE m.user_id = NEW.user_id AND m.conversation_id = NEW.id AND {_OF_MESSAGES};
        WHEN 'messages' THEN
            DELETE FROM {PRODUCT}.passages p WHERE p.user_id = NEW.user_id AND p.message_id = NEW.id;
            DELETE FROM {PRODUCT}.passages p USING {PRODUCT}.messages m
            WHERE m.user_id = NEW.user_id AND m.conversation_id = NEW.conversation_id AND {_OF_MESSAGES}
            AND p.unit IN ('window', 'conversation');
        WHEN 'memories' THEN
            DELETE FROM {PRODUCT}.passages p WHERE p.user_id = NEW.user_id AND p.memory_id = NEW.id;
        WHEN 'documents' THEN
            DELETE FROM {PRODUCT}.passages p WHERE p.user_id = NEW.user_id AND p.document_id = NEW.id;
        END CASE;
        RETURN NULL;
    END $$
    """,
    f"COMMENT ON FUNCTION {PRODUCT}.unindex_deleted() IS "
    "'The index is derived: what is deleted softly leaves it, and is cut and embedded anew when that is undone.'",
    *(
        f"CREATE TRIGGER unindex_deleted AFTER UPDATE OF deleted_at ON {PRODUCT}.{table} FOR EACH ROW "
        f"WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION {PRODUCT}.unindex_deleted()"
        for table in ("users", "conversations", "messages", "memories", "documents")
    ),
)

GUARD = (
    f"""
    CREATE FUNCTION {PRODUCT}.refuse_passages_of_deleted() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        {_ADDED} EXISTS (SELECT FROM {PRODUCT}.messages m
            WHERE m.user_id = a.user_id AND m.id = a.message_id AND m.deleted_at IS NOT NULL);
        {_ADDED} EXISTS (SELECT FROM {PRODUCT}.conversations c JOIN {PRODUCT}.messages m
            ON m.user_id = c.user_id AND m.conversation_id = c.id
            WHERE c.user_id = a.user_id AND m.id = a.message_id AND c.deleted_at IS NOT NULL);
        {_ADDED} EXISTS (SELECT FROM {PRODUCT}.memories m
            WHERE m.user_id = a.user_id AND m.id = a.memory_id AND m.deleted_at IS NOT NULL);
        {_ADDED} EXISTS (SELECT FROM {PRODUCT}.documents d
            WHERE d.user_id = a.user_id AND d.id = a.document_id AND d.deleted_at IS NOT NULL);
        {_ADDED} EXISTS (SELECT FROM {PRODUCT}.users u WHERE u.id = a.user_id AND u.deleted_at IS NOT NULL);
        RETURN NULL;
    END $$
    """,
    f"COMMENT ON FUNCTION {PRODUCT}.refuse_passages_of_deleted() IS "
    "'Whoever writes passages, a load of a changed folder included: none of a deleted source stays.'",
    f"CREATE TRIGGER refuse_passages_of_deleted AFTER INSERT ON {PRODUCT}.passages REFERENCING NEW TABLE AS added "
    f"FOR EACH STATEMENT EXECUTE FUNCTION {PRODUCT}.refuse_passages_of_deleted()",
)

after_create(passages, *UNINDEX, *GUARD)
