"""How users sign in, what they connected, and how they want to be served."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UP = (
    "ALTER TABLE carmenta.users ADD COLUMN image_url TEXT",
    "ALTER TABLE carmenta.users ADD COLUMN updated_at TIMESTAMP WITH TIME ZONE",
    "COMMENT ON COLUMN carmenta.users.image_url IS 'The picture shown for the person.'",
    "COMMENT ON COLUMN carmenta.users.updated_at IS 'Null when never changed.'",
    """
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
        CONSTRAINT ck_accounts_password CHECK (provider <> 'password' OR password_hash IS NOT NULL)
    )
    """,
    "CREATE INDEX ix_accounts_sign_in ON carmenta.accounts (provider, provider_account_id)",
    "COMMENT ON TABLE carmenta.accounts IS 'A way to sign in.'",
    "COMMENT ON COLUMN carmenta.accounts.provider IS 'password, google, github, ...'",
    "COMMENT ON COLUMN carmenta.accounts.provider_account_id IS 'The id there; the e-mail address for a password.'",
    """
    COMMENT ON COLUMN carmenta.accounts.password_hash IS 'A salted slow hash in its own notation, such as $argon2id$...; never a password.'
    """,
    "ALTER TABLE carmenta.accounts ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.accounts FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.accounts TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.accounts TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.accounts TO carmenta_app",
    """
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
    """,
    "CREATE INDEX ix_sessions_token ON carmenta.sessions (token_sha256)",
    "CREATE INDEX ix_sessions_user ON carmenta.sessions (user_id, expires_at)",
    "COMMENT ON TABLE carmenta.sessions IS 'A browser or program that is signed in.'",
    """
    COMMENT ON COLUMN carmenta.sessions.token_sha256 IS 'Hash of the random token that the client holds; who reads the table cannot sign in.'
    """,
    "ALTER TABLE carmenta.sessions ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.sessions FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.sessions TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.sessions TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.sessions TO carmenta_app",
    """
    CREATE FUNCTION carmenta.user_of_session(token_sha256 bytea) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    RETURN (SELECT s.user_id FROM carmenta.sessions s JOIN carmenta.users u ON u.id = s.user_id
        WHERE s.token_sha256 = user_of_session.token_sha256 AND s.expires_at > now() AND u.deleted_at IS NULL
        ORDER BY s.id LIMIT 1)
    """,
    "REVOKE ALL ON FUNCTION carmenta.user_of_session(bytea) FROM PUBLIC",
    "GRANT EXECUTE ON FUNCTION carmenta.user_of_session(bytea) TO carmenta_app",
    """
    COMMENT ON FUNCTION carmenta.user_of_session(bytea) IS 'Whose session it is: the one question asked before anybody is known.'
    """,
    """
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
    """,
    """
    COMMENT ON TABLE carmenta.service_connections IS 'A service that the user connected, and the tokens that open it.'
    """,
    "COMMENT ON COLUMN carmenta.service_connections.provider IS 'gmail, notion, slack, ...'",
    "COMMENT ON COLUMN carmenta.service_connections.account_label IS 'Which account there.'",
    """
    COMMENT ON COLUMN carmenta.service_connections.key_id IS 'The key that encrypted the tokens; the keys themselves are never in the database.'
    """,
    "ALTER TABLE carmenta.service_connections ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.service_connections FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.service_connections TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.service_connections TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.service_connections TO carmenta_app",
    """
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
    """,
    "CREATE UNIQUE INDEX uq_assistants_name ON carmenta.assistants (user_id, name) WHERE deleted_at IS NULL",
    "COMMENT ON TABLE carmenta.assistants IS 'A member of the user''s AI team.'",
    "COMMENT ON COLUMN carmenta.assistants.role IS 'What it is there for, in the user''s words.'",
    "COMMENT ON COLUMN carmenta.assistants.model IS 'Null: chosen per message.'",
    "ALTER TABLE carmenta.assistants ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.assistants FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.assistants TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.assistants TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.assistants TO carmenta_app",
    """
    CREATE TABLE carmenta.settings (
        user_id UUID NOT NULL,
        key TEXT NOT NULL,
        value JSONB NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_settings PRIMARY KEY (user_id, key),
        CONSTRAINT fk_settings_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
        CONSTRAINT ck_settings_key CHECK (key <> '')
    )
    """,
    "COMMENT ON TABLE carmenta.settings IS 'One choice of a user.'",
    "ALTER TABLE carmenta.settings ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.settings FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.settings TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.settings TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.settings TO carmenta_app",
)

DOWN = (
    "DROP TABLE carmenta.settings",
    "DROP TABLE carmenta.assistants",
    "DROP TABLE carmenta.service_connections",
    "DROP FUNCTION carmenta.user_of_session(bytea)",
    "DROP TABLE carmenta.sessions",
    "DROP TABLE carmenta.accounts",
    "ALTER TABLE carmenta.users DROP COLUMN updated_at",
    "ALTER TABLE carmenta.users DROP COLUMN image_url",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
