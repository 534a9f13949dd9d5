"""What was said: conversations and where they are filed, messages, their files and votes."""

from alembic import op

revision = "product_2"
down_revision = "product_1"


def upgrade() -> None:
    op.execute(
        r"""
        CREATE TABLE carmenta.workspaces (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            name TEXT NOT NULL,
            description TEXT,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            deleted_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_workspaces PRIMARY KEY (user_id, id),
            CONSTRAINT fk_workspaces_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT ck_workspaces_name CHECK (name <> '')
        )
        """
    )
    op.execute(
        r"""
        CREATE UNIQUE INDEX uq_workspaces_name ON carmenta.workspaces (user_id, name) WHERE deleted_at IS NULL
        """
    )
    op.execute(
        r"""
        COMMENT ON TABLE carmenta.workspaces IS 'A part of a user''s life that is kept apart: work, home, a client.'
        """
    )
    op.execute("ALTER TABLE carmenta.workspaces ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.workspaces FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.workspaces TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.workspaces TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.workspaces TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.folders (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            path ltree NOT NULL,
            name TEXT NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            deleted_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_folders PRIMARY KEY (user_id, id),
            CONSTRAINT fk_folders_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT ck_folders_path CHECK (nlevel(path) > 0),
            CONSTRAINT ck_folders_name CHECK (name <> '')
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX uq_folders_path ON carmenta.folders (user_id, path) WHERE deleted_at IS NULL")
    op.execute("COMMENT ON TABLE carmenta.folders IS 'A place for conversations and artifacts.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.folders.path IS 'Its place in the tree, unique per user among the living.'
        """
    )
    op.execute("ALTER TABLE carmenta.folders ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.folders FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.folders TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.folders TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.folders TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.tags (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            name TEXT NOT NULL,
            color TEXT,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_tags PRIMARY KEY (user_id, id),
            CONSTRAINT fk_tags_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT uq_tags_user_id_name UNIQUE (user_id, name),
            CONSTRAINT ck_tags_name CHECK (name <> '')
        )
        """
    )
    op.execute("COMMENT ON TABLE carmenta.tags IS 'A word that the user puts on conversations and artifacts.'")
    op.execute("ALTER TABLE carmenta.tags ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.tags FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.tags TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.tags TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.tags TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.conversations (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            title TEXT,
            status TEXT DEFAULT 'active' NOT NULL,
            visibility TEXT DEFAULT 'private' NOT NULL,
            model TEXT,
            source TEXT,
            external_id TEXT,
            started_at TIMESTAMP WITH TIME ZONE,
            last_message_at TIMESTAMP WITH TIME ZONE,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            deleted_at TIMESTAMP WITH TIME ZONE,
            workspace_id UUID,
            folder_id UUID,
            CONSTRAINT pk_conversations PRIMARY KEY (user_id, id),
            CONSTRAINT fk_conversations_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT ck_conversations_status CHECK (status IN ('active', 'background', 'archived')),
            CONSTRAINT ck_conversations_visibility CHECK (visibility IN ('private', 'public')),
            CONSTRAINT fk_conversations_user_id_workspace_id FOREIGN KEY(user_id, workspace_id) REFERENCES carmenta.workspaces (user_id, id),
            CONSTRAINT fk_conversations_user_id_folder_id FOREIGN KEY(user_id, folder_id) REFERENCES carmenta.folders (user_id, id)
        )
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_conversations_deleted ON carmenta.conversations (user_id, deleted_at) WHERE deleted_at IS NOT NULL
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_conversations_folder ON carmenta.conversations (user_id, folder_id) WHERE folder_id IS NOT NULL
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_conversations_recent ON carmenta.conversations (user_id, last_message_at DESC NULLS LAST, id DESC)
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_conversations_workspace ON carmenta.conversations (user_id, workspace_id) WHERE workspace_id IS NOT NULL
        """
    )
    op.execute("COMMENT ON TABLE carmenta.conversations IS 'A conversation of one user.'")
    op.execute("COMMENT ON COLUMN carmenta.conversations.model IS 'The language model chosen for it.'")
    op.execute("COMMENT ON COLUMN carmenta.conversations.source IS 'The dataset or system it came from.'")
    op.execute("COMMENT ON COLUMN carmenta.conversations.external_id IS 'The id as the source gave it.'")
    op.execute("COMMENT ON COLUMN carmenta.conversations.started_at IS 'Time of its first dated message.'")
    op.execute("COMMENT ON COLUMN carmenta.conversations.last_message_at IS 'Time of its last dated message.'")
    op.execute("ALTER TABLE carmenta.conversations ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.conversations FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.conversations TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.conversations TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.conversations TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.conversation_tags (
            user_id UUID NOT NULL,
            conversation_id UUID NOT NULL,
            tag_id UUID NOT NULL,
            CONSTRAINT pk_conversation_tags PRIMARY KEY (user_id, conversation_id, tag_id),
            CONSTRAINT fk_conversation_tags_user_id_conversation_id FOREIGN KEY(user_id, conversation_id) REFERENCES carmenta.conversations (user_id, id) ON DELETE CASCADE,
            CONSTRAINT fk_conversation_tags_user_id_tag_id FOREIGN KEY(user_id, tag_id) REFERENCES carmenta.tags (user_id, id) ON DELETE CASCADE
        )
        """
    )
    op.execute("CREATE INDEX ix_conversation_tags_tag ON carmenta.conversation_tags (user_id, tag_id)")
    op.execute("COMMENT ON TABLE carmenta.conversation_tags IS 'A tag on a conversation.'")
    op.execute("ALTER TABLE carmenta.conversation_tags ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.conversation_tags FORCE ROW LEVEL SECURITY")
    op.execute(
        r"""
        CREATE POLICY owner_all ON carmenta.conversation_tags TO carmenta_owner USING (true) WITH CHECK (true)
        """
    )
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.conversation_tags TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.conversation_tags TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.messages (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            conversation_id UUID NOT NULL,
            position INTEGER NOT NULL,
            role TEXT NOT NULL,
            content TEXT NOT NULL,
            parent_id UUID,
            author TEXT,
            model TEXT,
            parts JSONB,
            content_for_llm TEXT,
            language TEXT DEFAULT 'en' NOT NULL,
            external_id TEXT,
            created_at TIMESTAMP WITH TIME ZONE,
            deleted_at TIMESTAMP WITH TIME ZONE,
            utc_offset SMALLINT,
            CONSTRAINT pk_messages PRIMARY KEY (user_id, id),
            CONSTRAINT fk_messages_user_id_conversation_id FOREIGN KEY(user_id, conversation_id) REFERENCES carmenta.conversations (user_id, id) ON DELETE CASCADE,
            CONSTRAINT fk_messages_user_id_parent_id FOREIGN KEY(user_id, parent_id) REFERENCES carmenta.messages (user_id, id),
            CONSTRAINT ck_messages_role CHECK (role IN ('user', 'assistant', 'system', 'tool')),
            CONSTRAINT ck_messages_parts CHECK (jsonb_typeof(parts) = 'array'),
            CONSTRAINT ck_messages_position CHECK (position >= 0),
            CONSTRAINT ck_messages_utc_offset CHECK (utc_offset BETWEEN -1439 AND 1439)
        )
        """
    )
    op.execute("CREATE INDEX ix_messages_conversation ON carmenta.messages (user_id, conversation_id, position, id)")
    op.execute(
        r"""
        CREATE INDEX ix_messages_deleted ON carmenta.messages (user_id, deleted_at) WHERE deleted_at IS NOT NULL
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_messages_parent ON carmenta.messages (user_id, parent_id) WHERE parent_id IS NOT NULL
        """
    )
    op.execute("CREATE INDEX ix_messages_recent ON carmenta.messages (user_id, created_at) WHERE role = 'user'")
    op.execute("COMMENT ON TABLE carmenta.messages IS 'One turn of a conversation.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.messages.position IS 'Order in the conversation: as given, else by time and line; one without a time keeps its place. Left out, it becomes the next.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.messages.content IS 'All parts flattened to text: what is searched and counted.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.messages.parent_id IS 'The message it answers, where the conversation branches.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.messages.author IS 'The name shown for who wrote it.'")
    op.execute("COMMENT ON COLUMN carmenta.messages.model IS 'The language model that wrote it.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.messages.parts IS 'Typed parts (text, reasoning, tool calls, files); null when `content` is the one text part.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.messages.content_for_llm IS 'Compressed text for older context.'")
    op.execute("COMMENT ON COLUMN carmenta.messages.language IS 'ISO 639-1.'")
    op.execute("COMMENT ON COLUMN carmenta.messages.external_id IS 'The id as the source gave it.'")
    op.execute("COMMENT ON COLUMN carmenta.messages.created_at IS 'When it was written; null when unknown.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.messages.utc_offset IS 'Minutes that the writer''s clock was ahead of UTC: the date shown is the writer''s; null is read as 0.'
        """
    )
    op.execute("ALTER TABLE carmenta.messages ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.messages FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.messages TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.messages TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.messages TO carmenta_app")
    op.execute(
        r"""
        CREATE FUNCTION carmenta.next_position() RETURNS trigger
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
            BEGIN
                PERFORM FROM carmenta.conversations c
                    WHERE c.user_id = NEW.user_id AND c.id = NEW.conversation_id FOR NO KEY UPDATE;
                SELECT least(m.position::bigint + 1, 2147483647) INTO NEW.position
                    FROM carmenta.messages m WHERE m.user_id = NEW.user_id AND m.conversation_id = NEW.conversation_id
                    ORDER BY m.position DESC LIMIT 1; -- max() reads all of them while the table has no statistics
                NEW.position := coalesce(NEW.position, 0);
                RETURN NEW;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.next_position() IS 'Locks the conversation until the transaction ends, so that of two writers the second sees what the first wrote; under REPEATABLE READ it does not, and whoever writes there updates the conversation before.'
        """
    )
    op.execute(
        r"""
        CREATE TRIGGER next_position BEFORE INSERT ON carmenta.messages
            FOR EACH ROW WHEN (NEW.position IS NULL) EXECUTE FUNCTION carmenta.next_position()
        """
    )
    op.execute(
        r"""
        CREATE TABLE carmenta.streams (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            conversation_id UUID NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            finished_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_streams PRIMARY KEY (user_id, id),
            CONSTRAINT fk_streams_user_id_conversation_id FOREIGN KEY(user_id, conversation_id) REFERENCES carmenta.conversations (user_id, id) ON DELETE CASCADE
        )
        """
    )
    op.execute("CREATE INDEX ix_streams_conversation ON carmenta.streams (user_id, conversation_id, created_at)")
    op.execute(
        r"""
        COMMENT ON TABLE carmenta.streams IS 'An answer that is being written, so that a client which lost its connection can pick it up.'
        """
    )
    op.execute("ALTER TABLE carmenta.streams ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.streams FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.streams TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.streams TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.streams TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.attachments (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            message_id UUID NOT NULL,
            name TEXT NOT NULL,
            media_type TEXT,
            bucket TEXT,
            key TEXT,
            size_bytes BIGINT,
            sha256 BYTEA,
            CONSTRAINT pk_attachments PRIMARY KEY (user_id, id),
            CONSTRAINT fk_attachments_user_id_message_id FOREIGN KEY(user_id, message_id) REFERENCES carmenta.messages (user_id, id) ON DELETE CASCADE,
            CONSTRAINT ck_attachments_size_bytes CHECK (size_bytes >= 0),
            CONSTRAINT ck_attachments_sha256 CHECK (octet_length(sha256) = 32)
        )
        """
    )
    op.execute("CREATE INDEX ix_attachments_message ON carmenta.attachments (user_id, message_id)")
    op.execute(
        r"""
        COMMENT ON TABLE carmenta.attachments IS 'A file that came with a message; the bytes lie in object storage.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.attachments.key IS 'The object''s key in its bucket, or its URL.'")
    op.execute("ALTER TABLE carmenta.attachments ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.attachments FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.attachments TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.attachments TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.attachments TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.votes (
            user_id UUID NOT NULL,
            message_id UUID NOT NULL,
            is_upvoted BOOLEAN NOT NULL,
            voted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_votes PRIMARY KEY (user_id, message_id),
            CONSTRAINT fk_votes_user_id_message_id FOREIGN KEY(user_id, message_id) REFERENCES carmenta.messages (user_id, id) ON DELETE CASCADE
        )
        """
    )
    op.execute("COMMENT ON TABLE carmenta.votes IS 'What the user thinks of a message.'")
    op.execute("ALTER TABLE carmenta.votes ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.votes FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.votes TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.votes TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.votes TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.token_counts (
            user_id UUID NOT NULL,
            message_id UUID NOT NULL,
            counter TEXT NOT NULL,
            tokens INTEGER NOT NULL,
            content_hash BIGINT NOT NULL,
            counted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_token_counts PRIMARY KEY (user_id, message_id, counter),
            CONSTRAINT fk_token_counts_user_id_message_id FOREIGN KEY(user_id, message_id) REFERENCES carmenta.messages (user_id, id) ON DELETE CASCADE,
            CONSTRAINT ck_token_counts_tokens CHECK (tokens >= 0)
        )
        """
    )
    op.execute(
        r"""
        COMMENT ON TABLE carmenta.token_counts IS 'How many tokens a message takes by one counter, and of which text; a count of another text is no count.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.token_counts.counter IS 'The tokenizer''s name.'")
    op.execute("COMMENT ON COLUMN carmenta.token_counts.tokens IS 'Of the message''s content alone.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.token_counts.content_hash IS 'hashtextextended(content, 0) of the text that was counted; compared whenever it is read.'
        """
    )
    op.execute("ALTER TABLE carmenta.token_counts ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.token_counts FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.token_counts TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.token_counts TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.token_counts TO carmenta_app")


def downgrade() -> None:
    op.execute("DROP TABLE carmenta.votes")
    op.execute("DROP TABLE carmenta.token_counts")
    op.execute("DROP TABLE carmenta.attachments")
    op.execute("DROP TABLE carmenta.streams")
    op.execute("DROP TABLE carmenta.messages")
    op.execute("DROP TABLE carmenta.conversation_tags")
    op.execute("DROP TABLE carmenta.conversations")
    op.execute("DROP TABLE carmenta.workspaces")
    op.execute("DROP TABLE carmenta.tags")
    op.execute("DROP TABLE carmenta.folders")
    op.execute("DROP FUNCTION carmenta.next_position()")
