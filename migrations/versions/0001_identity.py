"""Who the data belongs to: users."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UP = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    "CREATE EXTENSION IF NOT EXISTS ltree",
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "GRANT USAGE ON SCHEMA carmenta TO carmenta_app",
    """CREATE FUNCTION carmenta.current_user_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('carmenta.user_id', true), '')::uuid""",
    """
    CREATE TABLE carmenta.users (
        id UUID NOT NULL,
        kind TEXT DEFAULT 'registered' NOT NULL,
        name TEXT,
        region TEXT,
        source TEXT,
        external_id TEXT,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        deleted_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_users PRIMARY KEY (id),
        CONSTRAINT uq_users_source_external_id UNIQUE (source, external_id),
        CONSTRAINT ck_users_kind CHECK (kind IN ('registered', 'anonymous'))
    )
    """,
    "CREATE INDEX ix_users_external_id ON carmenta.users (external_id)",
    "COMMENT ON TABLE carmenta.users IS 'A person, registered or anonymous.'",
    "COMMENT ON COLUMN carmenta.users.id IS 'May be the id of an external identity provider.'",
    "COMMENT ON COLUMN carmenta.users.region IS 'Data region in which the rows must stay.'",
    "COMMENT ON COLUMN carmenta.users.source IS 'The dataset or system the user came from.'",
    "COMMENT ON COLUMN carmenta.users.external_id IS 'The id as the source gave it.'",
    "ALTER TABLE carmenta.users ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.users FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.users TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.users TO carmenta_app USING (id = (SELECT carmenta.current_user_id())) WITH CHECK (id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.users TO carmenta_app",
)

DOWN = (
    "DROP TABLE carmenta.users",
    "DROP FUNCTION carmenta.current_user_id()",
    "REVOKE USAGE ON SCHEMA carmenta FROM carmenta_app",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
