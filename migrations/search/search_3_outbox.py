"""What of a user's rows does the index not follow yet? Notes of what other clients wrote, changed or deleted."""

from alembic import op

revision = "search_3"
down_revision = "search_2"


def upgrade() -> None:
    op.execute(
        r"""
        CREATE TABLE search.outbox (
            user_id UUID NOT NULL,
            source_id UUID NOT NULL,
            kind TEXT NOT NULL,
            noted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            revision BIGINT DEFAULT '1' NOT NULL,
            removed BOOLEAN DEFAULT false NOT NULL,
            attempts INTEGER DEFAULT '0' NOT NULL,
            run_after TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            lease_until TIMESTAMP WITH TIME ZONE,
            worker TEXT,
            error TEXT,
            CONSTRAINT pk_outbox PRIMARY KEY (user_id, source_id),
            CONSTRAINT fk_outbox_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT ck_outbox_kind CHECK (kind IN ('user', 'conversation', 'message', 'memory', 'document')),
            CONSTRAINT ck_outbox_lease CHECK (num_nonnulls(lease_until, worker) IN (0, 2)),
            CONSTRAINT ck_outbox_attempts CHECK (attempts >= 0)
        )
        """
    )
    op.execute("CREATE INDEX ix_outbox_due ON search.outbox (run_after) WHERE run_after < 'infinity'")
    op.execute(
        r"""
        COMMENT ON TABLE search.outbox IS 'Rows that other clients wrote, changed or deleted, until the index follows.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN search.outbox.source_id IS 'The row; a conversation or the user stands for all that is below.'
        """
    )
    op.execute("COMMENT ON COLUMN search.outbox.kind IS 'user, conversation, message, memory or document.'")
    op.execute(
        r"""
        COMMENT ON COLUMN search.outbox.revision IS 'Raised by each further note: a worker takes away what it saw.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN search.outbox.removed IS 'Whether the row was deleted for good: its words may then outlast its passages.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN search.outbox.run_after IS 'Not before; a retry moves it, a lease to the lease''s end; infinity when the attempts are used up.'
        """
    )
    op.execute("COMMENT ON COLUMN search.outbox.error IS 'Why the last attempt failed.'")
    op.execute("ALTER TABLE search.outbox ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE search.outbox FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON search.outbox TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON search.outbox TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON search.outbox TO carmenta_app")
    op.execute(
        r"""
        CREATE FUNCTION search.note_row() RETURNS trigger
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
            BEGIN
                IF TG_OP = 'DELETE' THEN
                INSERT INTO search.outbox AS o (user_id, source_id, kind, removed)
                SELECT OLD.user_id, OLD.id, TG_ARGV[0], TG_OP = 'DELETE' WHERE EXISTS (SELECT FROM carmenta.users u WHERE u.id = OLD.user_id)
                ON CONFLICT (user_id, source_id) DO UPDATE SET revision = o.revision + 1, noted_at = now(), attempts = 0,
                    removed = o.removed OR excluded.removed, run_after = now(), lease_until = NULL, worker = NULL, error = NULL;
         ELSE
                INSERT INTO search.outbox AS o (user_id, source_id, kind, removed)
                SELECT NEW.user_id, NEW.id, TG_ARGV[0], TG_OP = 'DELETE'
                ON CONFLICT (user_id, source_id) DO UPDATE SET revision = o.revision + 1, noted_at = now(), attempts = 0,
                    removed = o.removed OR excluded.removed, run_after = now(), lease_until = NULL, worker = NULL, error = NULL;
         END IF;
                RETURN NULL;
            END $$
        """
    )
    op.execute("REVOKE ALL ON FUNCTION search.note_row() FROM PUBLIC")
    op.execute(
        r"""
        COMMENT ON FUNCTION search.note_row() IS 'Notes a row of a user for the worker; nothing of a user who is gone.'
        """
    )
    op.execute(
        r"""
        CREATE FUNCTION search.note_user() RETURNS trigger
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
            BEGIN
                INSERT INTO search.outbox AS o (user_id, source_id, kind, removed)
                SELECT NEW.id, NEW.id, TG_ARGV[0], TG_OP = 'DELETE'
                ON CONFLICT (user_id, source_id) DO UPDATE SET revision = o.revision + 1, noted_at = now(), attempts = 0,
                    removed = o.removed OR excluded.removed, run_after = now(), lease_until = NULL, worker = NULL, error = NULL;
                RETURN NULL;
            END $$
        """
    )
    op.execute("REVOKE ALL ON FUNCTION search.note_user() FROM PUBLIC")
    op.execute(
        r"""
        COMMENT ON FUNCTION search.note_user() IS 'Notes that a user was deleted softly, or that this was undone.'
        """
    )
    op.execute(
        r"""
        CREATE FUNCTION search.noted(person uuid, source uuid) RETURNS text
            LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
            BEGIN
                RETURN (SELECT o.kind FROM search.outbox o WHERE o.user_id = person AND o.source_id IN (source, person,
                    (SELECT m.conversation_id FROM carmenta.messages m WHERE m.user_id = person AND m.id = source))
                    ORDER BY o.kind = 'user' DESC LIMIT 1);
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION search.noted(uuid, uuid) IS 'Whether the index may hold an old form of a source: the kind of the note on it, on its conversation or on its user; null when there is none.'
        """
    )
    op.execute(
        r"""
        CREATE FUNCTION search.users_with_notes(at_most integer) RETURNS SETOF uuid
            LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
            BEGIN ATOMIC
                SELECT o.user_id FROM search.outbox o WHERE o.run_after <= now()
                GROUP BY o.user_id ORDER BY min(o.run_after), o.user_id LIMIT at_most;
            END
        """
    )
    op.execute("REVOKE ALL ON FUNCTION search.users_with_notes(integer) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION search.users_with_notes(integer) TO carmenta_app")
    op.execute(
        r"""
        COMMENT ON FUNCTION search.users_with_notes(integer) IS 'For whom a worker should act next, longest waiting first: ids and nothing else.'
        """
    )
    op.execute(
        r"""
        CREATE FUNCTION search.notes_held() RETURNS boolean
            LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
            BEGIN ATOMIC
                SELECT EXISTS (SELECT FROM search.outbox o WHERE o.lease_until IS NOT NULL);
            END
        """
    )
    op.execute("REVOKE ALL ON FUNCTION search.notes_held() FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION search.notes_held() TO carmenta_app")
    op.execute("COMMENT ON FUNCTION search.notes_held() IS 'Whether any worker has notes under way.'")
    op.execute(
        r"""
        CREATE TRIGGER note_update AFTER UPDATE OF content, role, author, created_at, utc_offset, language, position, conversation_id, deleted_at ON carmenta.messages FOR EACH ROW WHEN (current_setting('carmenta.indexing', true) IS DISTINCT FROM 'at_once' AND (OLD.content, OLD.role, OLD.author, OLD.created_at, OLD.utc_offset, OLD.language, OLD.position, OLD.conversation_id, OLD.deleted_at) IS DISTINCT FROM (NEW.content, NEW.role, NEW.author, NEW.created_at, NEW.utc_offset, NEW.language, NEW.position, NEW.conversation_id, NEW.deleted_at)) EXECUTE FUNCTION search.note_row('message')
        """
    )
    op.execute(
        r"""
        CREATE TRIGGER note_insert AFTER INSERT ON carmenta.messages FOR EACH ROW WHEN (current_setting('carmenta.indexing', true) IS DISTINCT FROM 'at_once') EXECUTE FUNCTION search.note_row('message')
        """
    )
    op.execute(
        r"""
        CREATE TRIGGER note_delete AFTER DELETE ON carmenta.messages FOR EACH ROW WHEN (current_setting('carmenta.indexing', true) IS DISTINCT FROM 'at_once') EXECUTE FUNCTION search.note_row('message')
        """
    )
    op.execute(
        r"""
        CREATE TRIGGER note_update AFTER UPDATE OF content, created_at, utc_offset, language, deleted_at ON carmenta.memories FOR EACH ROW WHEN (current_setting('carmenta.indexing', true) IS DISTINCT FROM 'at_once' AND (OLD.content, OLD.created_at, OLD.utc_offset, OLD.language, OLD.deleted_at) IS DISTINCT FROM (NEW.content, NEW.created_at, NEW.utc_offset, NEW.language, NEW.deleted_at)) EXECUTE FUNCTION search.note_row('memory')
        """
    )
    op.execute(
        r"""
        CREATE TRIGGER note_insert AFTER INSERT ON carmenta.memories FOR EACH ROW WHEN (current_setting('carmenta.indexing', true) IS DISTINCT FROM 'at_once') EXECUTE FUNCTION search.note_row('memory')
        """
    )
    op.execute(
        r"""
        CREATE TRIGGER note_delete AFTER DELETE ON carmenta.memories FOR EACH ROW WHEN (current_setting('carmenta.indexing', true) IS DISTINCT FROM 'at_once') EXECUTE FUNCTION search.note_row('memory')
        """
    )
    op.execute(
        r"""
        CREATE TRIGGER note_update AFTER UPDATE OF content, name, created_at, utc_offset, language, deleted_at ON carmenta.documents FOR EACH ROW WHEN (current_setting('carmenta.indexing', true) IS DISTINCT FROM 'at_once' AND (OLD.content, OLD.name, OLD.created_at, OLD.utc_offset, OLD.language, OLD.deleted_at) IS DISTINCT FROM (NEW.content, NEW.name, NEW.created_at, NEW.utc_offset, NEW.language, NEW.deleted_at)) EXECUTE FUNCTION search.note_row('document')
        """
    )
    op.execute(
        r"""
        CREATE TRIGGER note_insert AFTER INSERT ON carmenta.documents FOR EACH ROW WHEN (current_setting('carmenta.indexing', true) IS DISTINCT FROM 'at_once') EXECUTE FUNCTION search.note_row('document')
        """
    )
    op.execute(
        r"""
        CREATE TRIGGER note_delete AFTER DELETE ON carmenta.documents FOR EACH ROW WHEN (current_setting('carmenta.indexing', true) IS DISTINCT FROM 'at_once') EXECUTE FUNCTION search.note_row('document')
        """
    )
    op.execute(
        r"""
        CREATE TRIGGER note_update AFTER UPDATE OF deleted_at ON carmenta.conversations FOR EACH ROW WHEN (current_setting('carmenta.indexing', true) IS DISTINCT FROM 'at_once' AND (OLD.deleted_at) IS DISTINCT FROM (NEW.deleted_at)) EXECUTE FUNCTION search.note_row('conversation')
        """
    )
    op.execute(
        r"""
        CREATE TRIGGER note_update AFTER UPDATE OF deleted_at ON carmenta.users FOR EACH ROW WHEN (current_setting('carmenta.indexing', true) IS DISTINCT FROM 'at_once' AND (OLD.deleted_at) IS DISTINCT FROM (NEW.deleted_at)) EXECUTE FUNCTION search.note_user('user')
        """
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER note_update ON carmenta.messages")
    op.execute("DROP TRIGGER note_insert ON carmenta.messages")
    op.execute("DROP TRIGGER note_delete ON carmenta.messages")
    op.execute("DROP TRIGGER note_update ON carmenta.memories")
    op.execute("DROP TRIGGER note_insert ON carmenta.memories")
    op.execute("DROP TRIGGER note_delete ON carmenta.memories")
    op.execute("DROP TRIGGER note_update ON carmenta.documents")
    op.execute("DROP TRIGGER note_insert ON carmenta.documents")
    op.execute("DROP TRIGGER note_delete ON carmenta.documents")
    op.execute("DROP TRIGGER note_update ON carmenta.conversations")
    op.execute("DROP TRIGGER note_update ON carmenta.users")
    op.execute("DROP FUNCTION search.notes_held()")
    op.execute("DROP FUNCTION search.users_with_notes(integer)")
    op.execute("DROP FUNCTION search.noted(uuid, uuid)")
    op.execute("DROP TABLE search.outbox")
    op.execute("DROP FUNCTION search.note_user()")
    op.execute("DROP FUNCTION search.note_row()")
