"""Who the data belongs to: users, how they sign in, what they connected, and how they want to be served."""

from alembic import op

revision = "product_1"
down_revision = None
branch_labels = ("product",)


def upgrade() -> None:
    op.execute(
        r"""
        CREATE FUNCTION carmenta.current_user_id() RETURNS uuid
        LANGUAGE sql STABLE PARALLEL SAFE
        RETURN nullif(current_setting('carmenta.user_id', true), '')::uuid
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.current_user_id() IS 'For whom the transaction acts; put the host''s own in its place where it has one.'
        """
    )
    op.execute(
        r"""
        CREATE FUNCTION carmenta.lexemes(language text, content text) RETURNS tsvector
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        RETURN CASE language WHEN 'da' THEN to_tsvector('pg_catalog.danish'::regconfig, left(content, 200000)) WHEN 'de' THEN to_tsvector('pg_catalog.german'::regconfig, left(content, 200000)) WHEN 'en' THEN to_tsvector('pg_catalog.english'::regconfig, left(content, 200000)) WHEN 'es' THEN to_tsvector('pg_catalog.spanish'::regconfig, left(content, 200000)) WHEN 'fi' THEN to_tsvector('pg_catalog.finnish'::regconfig, left(content, 200000)) WHEN 'fr' THEN to_tsvector('pg_catalog.french'::regconfig, left(content, 200000)) WHEN 'it' THEN to_tsvector('pg_catalog.italian'::regconfig, left(content, 200000)) WHEN 'nl' THEN to_tsvector('pg_catalog.dutch'::regconfig, left(content, 200000)) WHEN 'no' THEN to_tsvector('pg_catalog.norwegian'::regconfig, left(content, 200000)) WHEN 'pt' THEN to_tsvector('pg_catalog.portuguese'::regconfig, left(content, 200000)) WHEN 'sv' THEN to_tsvector('pg_catalog.swedish'::regconfig, left(content, 200000)) ELSE to_tsvector('pg_catalog.simple'::regconfig, left(content, 200000)) END
        """
    )
    op.execute("COMMENT ON FUNCTION carmenta.lexemes(text, text) IS 'The words of a text, question or passage.'")
    op.execute("GRANT USAGE ON SCHEMA carmenta TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.users (
            id UUID NOT NULL,
            kind TEXT DEFAULT 'registered' NOT NULL,
            name TEXT,
            region TEXT,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            deleted_at TIMESTAMP WITH TIME ZONE,
            image_url TEXT,
            updated_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_users PRIMARY KEY (id),
            CONSTRAINT ck_users_kind CHECK (kind IN ('registered', 'anonymous'))
        )
        """
    )
    op.execute("COMMENT ON TABLE carmenta.users IS 'A person, registered or anonymous.'")
    op.execute("COMMENT ON COLUMN carmenta.users.id IS 'May be the id of an external identity provider.'")
    op.execute("COMMENT ON COLUMN carmenta.users.region IS 'Data region in which the rows must stay.'")
    op.execute("COMMENT ON COLUMN carmenta.users.image_url IS 'The picture shown for the person.'")
    op.execute("COMMENT ON COLUMN carmenta.users.updated_at IS 'Null when never changed.'")
    op.execute("ALTER TABLE carmenta.users ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.users FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.users TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.users TO carmenta_app USING (id = carmenta.current_user_id()) WITH CHECK (id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.users TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.sign_ins (
            provider TEXT NOT NULL,
            provider_account_id TEXT NOT NULL,
            user_id UUID NOT NULL,
            CONSTRAINT pk_sign_ins PRIMARY KEY (provider, provider_account_id),
            CONSTRAINT uq_sign_ins_user_id_provider_provider_account_id UNIQUE (user_id, provider, provider_account_id)
        )
        """
    )
    op.execute(
        r"""
        COMMENT ON TABLE carmenta.sign_ins IS 'Whose an external account is: one owner for each. Read and written by functions alone; whoever erases a user deletes the user''s rows here as well, as the owner.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.sign_ins.user_id IS 'No key to users: on a distributed server this table stands whole on every node, and refers to none.'
        """
    )
    op.execute(
        r"""
        CREATE TABLE carmenta.accounts (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            provider TEXT NOT NULL,
            provider_account_id TEXT NOT NULL,
            email TEXT,
            email_verified BOOLEAN DEFAULT false NOT NULL,
            password_hash TEXT,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_accounts PRIMARY KEY (user_id, id),
            CONSTRAINT fk_accounts_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT uq_accounts_user_id_provider_provider_account_id UNIQUE (user_id, provider, provider_account_id),
            CONSTRAINT fk_accounts_user_id_provider_provider_account_id FOREIGN KEY(user_id, provider, provider_account_id) REFERENCES carmenta.sign_ins (user_id, provider, provider_account_id) ON DELETE CASCADE,
            CONSTRAINT ck_accounts_password CHECK (provider <> 'password' OR password_hash IS NOT NULL)
        )
        """
    )
    op.execute("COMMENT ON TABLE carmenta.accounts IS 'A way to sign in.'")
    op.execute("COMMENT ON COLUMN carmenta.accounts.provider IS 'password, google, github, ...'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.accounts.provider_account_id IS 'The id there; the e-mail address for a password.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.accounts.password_hash IS 'A salted slow hash in its own notation, such as $argon2id$...; never a password.'
        """
    )
    op.execute("ALTER TABLE carmenta.accounts ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.accounts FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.accounts TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.accounts TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.accounts TO carmenta_app")
    op.execute("ALTER TABLE carmenta.sign_ins ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.sign_ins FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.sign_ins TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE FUNCTION carmenta.user_of_account(provider text, provider_account_id text) RETURNS uuid
            LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
            RETURN (SELECT u.id FROM carmenta.sign_ins s JOIN carmenta.users u ON u.id = s.user_id
                WHERE s.provider = user_of_account.provider AND s.provider_account_id = user_of_account.provider_account_id AND u.deleted_at IS NULL)
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.user_of_account(text, text) IS 'Whose external account it is, asked before anybody is known; null for nobody''s, and for a deleted user''s.'
        """
    )
    op.execute(
        r"""
        CREATE FUNCTION carmenta.claim_account(provider text, provider_account_id text) RETURNS void
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
            DECLARE
                me uuid := carmenta.current_user_id();
                holder uuid;
            BEGIN
                IF NOT EXISTS (SELECT FROM carmenta.users u WHERE u.id = me AND u.deleted_at IS NULL) THEN
                    RAISE EXCEPTION 'an account is claimed for the current user, and there is none: act for a living user'
                        USING ERRCODE = 'insufficient_privilege';
                END IF;
                LOOP
                    INSERT INTO carmenta.sign_ins (provider, provider_account_id, user_id)
                        VALUES (claim_account.provider, claim_account.provider_account_id, me)
                        ON CONFLICT ON CONSTRAINT pk_sign_ins DO NOTHING;
                    IF FOUND THEN RETURN; END IF;
                    SELECT s.user_id INTO holder FROM carmenta.sign_ins s WHERE s.provider = claim_account.provider AND s.provider_account_id = claim_account.provider_account_id FOR UPDATE;
                    CONTINUE WHEN NOT FOUND;
                    IF holder = me THEN RETURN; END IF;
                    IF EXISTS (SELECT FROM carmenta.users u WHERE u.id = holder AND u.deleted_at IS NULL) THEN
                        RAISE EXCEPTION USING ERRCODE = 'check_violation', SCHEMA = 'carmenta', TABLE = 'sign_ins',
                            CONSTRAINT = 'one_owner', MESSAGE = 'the ' || claim_account.provider || ' account ' ||
                                claim_account.provider_account_id || ' signs in another user: unlink it there first';
                    END IF;
                    DELETE FROM carmenta.sign_ins s WHERE s.provider = claim_account.provider AND s.provider_account_id = claim_account.provider_account_id;
                END LOOP;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.claim_account(text, text) IS 'Makes the current user the owner of an external account; refuses while another living user has it, and takes it over, with the row in accounts, from one who is gone.'
        """
    )
    op.execute(
        r"""
        CREATE FUNCTION carmenta.release_account(provider text, provider_account_id text) RETURNS boolean
            LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
            BEGIN ATOMIC
                WITH gone AS (DELETE FROM carmenta.sign_ins s WHERE s.provider = release_account.provider AND s.provider_account_id = release_account.provider_account_id
                    AND s.user_id = carmenta.current_user_id() RETURNING 1)
                SELECT count(*) > 0 FROM gone;
            END
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.release_account(text, text) IS 'Gives up an external account of the current user, whose row in accounts goes with it; false when it is not.'
        """
    )
    op.execute("REVOKE ALL ON FUNCTION carmenta.user_of_account(text, text) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION carmenta.user_of_account(text, text) TO carmenta_app")
    op.execute("REVOKE ALL ON FUNCTION carmenta.claim_account(text, text) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION carmenta.claim_account(text, text) TO carmenta_app")
    op.execute("REVOKE ALL ON FUNCTION carmenta.release_account(text, text) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION carmenta.release_account(text, text) TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.sessions (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            token_sha256 BYTEA NOT NULL,
            expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
            user_agent TEXT,
            last_seen_at TIMESTAMP WITH TIME ZONE,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_sessions PRIMARY KEY (user_id, id),
            CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT ck_sessions_token_sha256 CHECK (octet_length(token_sha256) = 32),
            CONSTRAINT ck_sessions_expires_at CHECK (expires_at > created_at)
        )
        """
    )
    op.execute("CREATE INDEX ix_sessions_token ON carmenta.sessions (token_sha256)")
    op.execute("COMMENT ON TABLE carmenta.sessions IS 'A browser or program that is signed in.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.sessions.token_sha256 IS 'Hash of the random token that the client holds; who reads the table cannot sign in.'
        """
    )
    op.execute("ALTER TABLE carmenta.sessions ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.sessions FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.sessions TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.sessions TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.sessions TO carmenta_app")
    op.execute(
        r"""
        CREATE FUNCTION carmenta.user_of_session(token_sha256 bytea) RETURNS uuid
            LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
            RETURN (SELECT (array_agg(s.user_id) FILTER (WHERE s.expires_at > now() AND u.deleted_at IS NULL))[1]
                FROM carmenta.sessions s JOIN carmenta.users u ON u.id = s.user_id
                WHERE s.token_sha256 = user_of_session.token_sha256 HAVING count(*) = 1)
        """
    )
    op.execute("REVOKE ALL ON FUNCTION carmenta.user_of_session(bytea) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION carmenta.user_of_session(bytea) TO carmenta_app")
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.user_of_session(bytea) IS 'Whose session it is, asked before anybody is known; a hash that two sessions have signs in nobody.'
        """
    )
    op.execute(
        r"""
        CREATE TABLE carmenta.service_connections (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            provider TEXT NOT NULL,
            account_label TEXT DEFAULT '' NOT NULL,
            scopes TEXT[] DEFAULT '{}' NOT NULL,
            status TEXT DEFAULT 'active' NOT NULL,
            access_token_encrypted BYTEA,
            refresh_token_encrypted BYTEA,
            key_id TEXT,
            token_expires_at TIMESTAMP WITH TIME ZONE,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_service_connections PRIMARY KEY (user_id, id),
            CONSTRAINT fk_service_connections_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT uq_service_connections_user_id_provider_account_label UNIQUE (user_id, provider, account_label),
            CONSTRAINT ck_service_connections_status CHECK (status IN ('active', 'expired', 'revoked', 'failed')),
            CONSTRAINT ck_service_connections_key_id CHECK (key_id IS NOT NULL OR num_nonnulls(access_token_encrypted, refresh_token_encrypted) = 0),
            CONSTRAINT ck_service_connections_access_token CHECK (status <> 'active' OR access_token_encrypted IS NOT NULL)
        )
        """
    )
    op.execute(
        r"""
        COMMENT ON TABLE carmenta.service_connections IS 'A service that the user connected, and the tokens that open it.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.service_connections.provider IS 'gmail, notion, slack, ...'")
    op.execute("COMMENT ON COLUMN carmenta.service_connections.account_label IS 'Which account there.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.service_connections.key_id IS 'The key that encrypted the tokens; the keys themselves are never in the database.'
        """
    )
    op.execute("ALTER TABLE carmenta.service_connections ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.service_connections FORCE ROW LEVEL SECURITY")
    op.execute(
        r"""
        CREATE POLICY owner_all ON carmenta.service_connections TO carmenta_owner USING (true) WITH CHECK (true)
        """
    )
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.service_connections TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.service_connections TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.assistants (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            name TEXT NOT NULL,
            role TEXT NOT NULL,
            model TEXT,
            instructions TEXT DEFAULT '' NOT NULL,
            tools JSONB DEFAULT '[]' NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            deleted_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_assistants PRIMARY KEY (user_id, id),
            CONSTRAINT fk_assistants_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT ck_assistants_name CHECK (name <> ''),
            CONSTRAINT ck_assistants_tools CHECK (jsonb_typeof(tools) = 'array')
        )
        """
    )
    op.execute(
        r"""
        CREATE UNIQUE INDEX uq_assistants_name ON carmenta.assistants (user_id, name) WHERE deleted_at IS NULL
        """
    )
    op.execute("COMMENT ON TABLE carmenta.assistants IS 'A member of the user''s AI team.'")
    op.execute("COMMENT ON COLUMN carmenta.assistants.role IS 'What it is there for, in the user''s words.'")
    op.execute("COMMENT ON COLUMN carmenta.assistants.model IS 'Null: chosen per message.'")
    op.execute("ALTER TABLE carmenta.assistants ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.assistants FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.assistants TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.assistants TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.assistants TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.settings (
            user_id UUID NOT NULL,
            key TEXT NOT NULL,
            value JSONB NOT NULL,
            updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_settings PRIMARY KEY (user_id, key),
            CONSTRAINT fk_settings_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT ck_settings_key CHECK (key <> '')
        )
        """
    )
    op.execute("COMMENT ON TABLE carmenta.settings IS 'One choice of a user.'")
    op.execute("ALTER TABLE carmenta.settings ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.settings FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.settings TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.settings TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.settings TO carmenta_app")


def downgrade() -> None:
    op.execute("DROP FUNCTION carmenta.user_of_session(bytea)")
    op.execute("DROP FUNCTION carmenta.release_account(text, text)")
    op.execute("DROP FUNCTION carmenta.claim_account(text, text)")
    op.execute("DROP FUNCTION carmenta.user_of_account(text, text)")
    op.execute("DROP TABLE carmenta.settings")
    op.execute("DROP TABLE carmenta.sessions")
    op.execute("DROP TABLE carmenta.service_connections")
    op.execute("DROP TABLE carmenta.assistants")
    op.execute("DROP TABLE carmenta.accounts")
    op.execute("DROP TABLE carmenta.users")
    op.execute("DROP TABLE carmenta.sign_ins")
    op.execute("DROP FUNCTION carmenta.lexemes(text, text)")
    op.execute("DROP FUNCTION carmenta.current_user_id()")
    op.execute("REVOKE USAGE ON SCHEMA carmenta FROM carmenta_app")
