"""Who the data belongs to: users, how they sign in, what they connected, and how they want to be served."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, ForeignKeyConstraint, Index, Table, Text, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema.base import APP, OWNER, PRODUCT, Base, UserOwned, after_create, isolated, of_user


class User(Base):
    """A person, registered or anonymous."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("kind IN ('registered', 'anonymous')", name="kind"),
        {"comment": "A person, registered or anonymous."},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, comment="May be the id of an external identity provider.")
    kind: Mapped[str] = mapped_column(default="registered", server_default="registered")
    name: Mapped[str | None] = mapped_column(default=None)
    region: Mapped[str | None] = mapped_column(default=None, comment="Data region in which the rows must stay.")
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())
    deleted_at: Mapped[datetime | None] = mapped_column(default=None)
    image_url: Mapped[str | None] = mapped_column(default=None, comment="The picture shown for the person.")
    updated_at: Mapped[datetime | None] = mapped_column(default=None, comment="Null when never changed.")


class SignIn(Base):
    """Whose an external account is, one owner for each; no user's row: only functions read and write it."""

    __tablename__ = "sign_ins"
    __table_args__ = (
        UniqueConstraint("user_id", "provider", "provider_account_id"),
        {
            "comment": "Whose an external account is: one owner for each. Read and written by functions alone; "
            "whoever erases a user deletes the user's rows here as well, as the owner."
        },
    )

    provider: Mapped[str] = mapped_column(primary_key=True)
    provider_account_id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(
        comment="No key to users: on a distributed server this table stands whole on every node, and refers to none."
    )


class Account(UserOwned, Base):
    """A way to sign in."""

    __tablename__ = "accounts"
    __table_args__ = (
        of_user(),
        UniqueConstraint("user_id", "provider", "provider_account_id"),
        ForeignKeyConstraint(
            ["user_id", "provider", "provider_account_id"],
            [f"{PRODUCT}.sign_ins.{name}" for name in ("user_id", "provider", "provider_account_id")],
            ondelete="CASCADE",
        ),
        CheckConstraint("provider <> 'password' OR password_hash IS NOT NULL", name="password"),
        {"comment": "A way to sign in."},
    )

    provider: Mapped[str] = mapped_column(comment="password, google, github, ...")
    provider_account_id: Mapped[str] = mapped_column(comment="The id there; the e-mail address for a password.")
    email: Mapped[str | None] = mapped_column(default=None)
    email_verified: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    password_hash: Mapped[str | None] = mapped_column(
        default=None, comment="A salted slow hash in its own notation, such as $argon2id$...; never a password."
    )
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


class SignInSession(UserOwned, Base):
    """A browser or program that is signed in."""

    __tablename__ = "sessions"
    __table_args__ = (
        of_user(),
        CheckConstraint("octet_length(token_sha256) = 32", name="token_sha256"),
        CheckConstraint("expires_at > created_at", name="expires_at"),
        Index("ix_sessions_token", "token_sha256"),
        {"comment": "A browser or program that is signed in."},
    )

    token_sha256: Mapped[bytes] = mapped_column(
        comment="Hash of the random token that the client holds; who reads the table cannot sign in."
    )
    expires_at: Mapped[datetime]
    user_agent: Mapped[str | None] = mapped_column(default=None)
    last_seen_at: Mapped[datetime | None] = mapped_column(default=None)
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


class ServiceConnection(UserOwned, Base):
    """A service that the user connected, and the tokens that open it."""

    __tablename__ = "service_connections"
    __table_args__ = (
        of_user(),
        UniqueConstraint("user_id", "provider", "account_label"),
        CheckConstraint("status IN ('active', 'expired', 'revoked', 'failed')", name="status"),
        CheckConstraint(
            "key_id IS NOT NULL OR num_nonnulls(access_token_encrypted, refresh_token_encrypted) = 0", name="key_id"
        ),
        CheckConstraint("status <> 'active' OR access_token_encrypted IS NOT NULL", name="access_token"),
        {"comment": "A service that the user connected, and the tokens that open it."},
    )

    provider: Mapped[str] = mapped_column(comment="gmail, notion, slack, ...")
    account_label: Mapped[str] = mapped_column(default="", server_default="", comment="Which account there.")
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text), default_factory=list, server_default="{}")
    status: Mapped[str] = mapped_column(default="active", server_default="active")
    access_token_encrypted: Mapped[bytes | None] = mapped_column(default=None, repr=False)
    refresh_token_encrypted: Mapped[bytes | None] = mapped_column(default=None, repr=False)
    key_id: Mapped[str | None] = mapped_column(
        default=None, comment="The key that encrypted the tokens; the keys themselves are never in the database."
    )
    token_expires_at: Mapped[datetime | None] = mapped_column(default=None)
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


class Assistant(UserOwned, Base):
    """A member of the user's AI team."""

    __tablename__ = "assistants"
    __table_args__ = (
        of_user(),
        CheckConstraint("name <> ''", name="name"),
        CheckConstraint("jsonb_typeof(tools) = 'array'", name="tools"),
        Index("uq_assistants_name", "user_id", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),
        {"comment": "A member of the user's AI team."},
    )

    name: Mapped[str]
    role: Mapped[str] = mapped_column(comment="What it is there for, in the user's words.")
    model: Mapped[str | None] = mapped_column(default=None, comment="Null: chosen per message.")
    instructions: Mapped[str] = mapped_column(default="", server_default="")
    tools: Mapped[list[Any]] = mapped_column(JSONB, default_factory=list, server_default="[]")
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())
    deleted_at: Mapped[datetime | None] = mapped_column(default=None)


class Setting(Base):
    """One choice of a user."""

    __tablename__ = "settings"
    __table_args__ = (
        of_user(),
        CheckConstraint("key <> ''", name="key"),
        {"comment": "One choice of a user."},
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(JSONB)
    updated_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


SIGN_IN = (
    f"""
    CREATE FUNCTION {PRODUCT}.user_of_session(token_sha256 bytea) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    RETURN (SELECT (array_agg(s.user_id) FILTER (WHERE s.expires_at > now() AND u.deleted_at IS NULL))[1]
        FROM {PRODUCT}.sessions s JOIN {PRODUCT}.users u ON u.id = s.user_id
        WHERE s.token_sha256 = user_of_session.token_sha256 HAVING count(*) = 1)
    """,
    f"REVOKE ALL ON FUNCTION {PRODUCT}.user_of_session(bytea) FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION {PRODUCT}.user_of_session(bytea) TO {APP}",
    f"COMMENT ON FUNCTION {PRODUCT}.user_of_session(bytea) IS "
    "'Whose session it is, asked before anybody is known; a hash that two sessions have signs in nobody.'",
)
"""Before a session is known there is no current user, so the owner answers: an id for a hash, and nothing else."""

_ACCOUNT = "(provider text, provider_account_id text)"
_THIS = "s.provider = {0}.provider AND s.provider_account_id = {0}.provider_account_id"
ACCOUNTS = (
    f"ALTER TABLE {PRODUCT}.sign_ins ENABLE ROW LEVEL SECURITY",
    f"ALTER TABLE {PRODUCT}.sign_ins FORCE ROW LEVEL SECURITY",
    f"CREATE POLICY owner_all ON {PRODUCT}.sign_ins TO {OWNER} USING (true) WITH CHECK (true)",
    f"""
    CREATE FUNCTION {PRODUCT}.user_of_account{_ACCOUNT} RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    RETURN (SELECT u.id FROM {PRODUCT}.sign_ins s JOIN {PRODUCT}.users u ON u.id = s.user_id
        WHERE {_THIS.format("user_of_account")} AND u.deleted_at IS NULL)
    """,
    f"COMMENT ON FUNCTION {PRODUCT}.user_of_account(text, text) IS "
    "'Whose external account it is, asked before anybody is known; null for nobody''s, and for a deleted user''s.'",
    f"""
    CREATE FUNCTION {PRODUCT}.claim_account{_ACCOUNT} RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        me uuid := {PRODUCT}.current_user_id();
        holder uuid;
    BEGIN
        IF NOT EXISTS (SELECT FROM {PRODUCT}.users u WHERE u.id = me AND u.deleted_at IS NULL) THEN
            RAISE EXCEPTION 'an account is claimed for the current user, and there is none: act for a living user'
                USING ERRCODE = 'insufficient_privilege';
        END IF;
        LOOP
            INSERT INTO {PRODUCT}.sign_ins (provider, provider_account_id, user_id)
                VALUES (claim_account.provider, claim_account.provider_account_id, me)
                ON CONFLICT ON CONSTRAINT pk_sign_ins DO NOTHING;
            IF FOUND THEN RETURN; END IF;
            SELECT s.user_id INTO holder FROM {PRODUCT}.sign_ins s WHERE {_THIS.format("claim_account")} FOR UPDATE;
            CONTINUE WHEN NOT FOUND;
            IF holder = me THEN RETURN; END IF;
            IF EXISTS (SELECT FROM {PRODUCT}.users u WHERE u.id = holder AND u.deleted_at IS NULL) THEN
                RAISE EXCEPTION USING ERRCODE = 'check_violation', SCHEMA = '{PRODUCT}', TABLE = 'sign_ins',
                    CONSTRAINT = 'one_owner', MESSAGE = 'the ' || claim_account.provider || ' account ' ||
                        claim_account.provider_account_id || ' signs in another user: unlink it there first';
            END IF;
            DELETE FROM {PRODUCT}.sign_ins s WHERE {_THIS.format("claim_account")};
        END LOOP;
    END $$
    """,
    f"COMMENT ON FUNCTION {PRODUCT}.claim_account(text, text) IS "
    "'Makes the current user the owner of an external account; refuses while another living user has it, and takes it "
    "over, with the row in accounts, from one who is gone.'",
    f"""
    CREATE FUNCTION {PRODUCT}.release_account{_ACCOUNT} RETURNS boolean
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        WITH gone AS (DELETE FROM {PRODUCT}.sign_ins s WHERE {_THIS.format("release_account")}
            AND s.user_id = {PRODUCT}.current_user_id() RETURNING 1)
        SELECT count(*) > 0 FROM gone;
    END
    """,
    f"COMMENT ON FUNCTION {PRODUCT}.release_account(text, text) IS "
    "'Gives up an external account of the current user, whose row in accounts goes with it; false when it is not.'",
    *(
        f"{what} ON FUNCTION {PRODUCT}.{name}(text, text) {whom}"
        for name in ("user_of_account", "claim_account", "release_account")
        for what, whom in (("REVOKE ALL", "FROM PUBLIC"), ("GRANT EXECUTE", f"TO {APP}"))
    ),
)
"""An account row of a user needs the sign-in of the same user (its foreign key), so no two users can have one."""

users: Table = User.__table__  # type: ignore[assignment]
sign_ins: Table = SignIn.__table__  # type: ignore[assignment]
accounts: Table = Account.__table__  # type: ignore[assignment]
sessions: Table = SignInSession.__table__  # type: ignore[assignment]
service_connections: Table = ServiceConnection.__table__  # type: ignore[assignment]
assistants: Table = Assistant.__table__  # type: ignore[assignment]
settings: Table = Setting.__table__  # type: ignore[assignment]
isolated(users, column="id")
for _table in (accounts, sessions, service_connections, assistants, settings):
    isolated(_table)
after_create(sessions, *SIGN_IN)
after_create(accounts, *ACCOUNTS)
