"""Preparing a database once: extensions, the two roles, and what the owner may do; by whoever may do it."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg
from psycopg import sql

from carmenta_lab.errors import DatabaseUnavailable, DatabaseUnsuitable
from carmenta_lab.postgres.hosts import Host
from carmenta_lab.schema.base import APP, OWNER, PRODUCT

EXTENSIONS = {"product": {"ltree": (1, 0)}, "search": {"vector": (0, 8), "pg_trgm": (1, 0)}, "lab": {}}
"""Branch of the schema -> the extensions that it needs -> the oldest version that will do."""

OLDEST_SERVER = 16
"""Major version of PostgreSQL."""

LOCK = 0x6361726D656E7461
"""Key of the advisory lock around set-up and migrations: concurrent CREATE EXTENSION races otherwise."""


def connect(host: Host, autocommit: bool = True) -> psycopg.Connection[Any]:
    """A raw connection; DatabaseUnavailable says in one sentence why there is none."""
    url = host.url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        return psycopg.connect(url, autocommit=autocommit, connect_timeout=10, **host.connect_args())  # type: ignore[arg-type]
    except psycopg.Error as error:
        raise DatabaseUnavailable(f"no connection to {host.shown()}: {_why(str(error))}") from None


def _why(text: str) -> str:
    known = {
        "password authentication failed": "the user or the password is wrong.",
        "does not exist": "the database or the user does not exist; create it, or correct the URL.",
        "Connection refused": "nothing listens there; check host and port, and that the server runs.",
        "could not translate host name": "the host's name cannot be resolved; check its spelling.",
        "failed to resolve host": "the host's name cannot be resolved; check it, and write @ in a password as %40.",
        "Network is unreachable": "the network is unreachable (an IPv6-only host? use its session pooler's address).",
        "too many clients": "the server has no connection left; close some, or use its pooler.",
        "server does not support SSL": "the URL asks for TLS and the server has none; drop sslmode from the URL.",
        "SSL was required": "the URL asks for TLS and the server has none; drop sslmode from the URL.",
        "invalid URI query parameter": "the URL has a parameter that PostgreSQL does not know; remove it.",
        "timeout": "no answer within 10 seconds; check host, port and firewall.",
    }
    for sign, sentence in known.items():
        if sign in text:
            return sentence
    return text.strip().splitlines()[-1].strip().rstrip(".") + "."


def waits_for_lock(connection: psycopg.Connection[Any]) -> None:
    """Take `LOCK` for this transaction, asking again and again.

    A statement that waits for a lock holds a snapshot, and CREATE INDEX CONCURRENTLY, run by whoever has the lock,
    waits for that snapshot: neither would ever get on. Neither may one be left behind, as the extended protocol
    does until the next statement; a statement that has no parameters and is not prepared leaves none.
    """
    cursor = psycopg.Cursor(connection)
    while cursor.execute(f"SELECT pg_try_advisory_xact_lock({LOCK})", prepare=False).fetchone() != (True,):
        time.sleep(0.05)


def set_up(
    host: Host, passwords: Mapping[str, str] | None = None, branches: Iterable[str] = ("product", "search", "lab")
) -> None:
    """Make a database ready for these branches to be migrated; doing it twice changes nothing.

    `passwords` gives the roles a login of their own (the embedded server); without it they are roles that the
    login of the URL takes on. DatabaseUnsuitable says what is missing and who could add it.
    """
    with connect(host, autocommit=False) as connection:
        waits_for_lock(connection)
        connection.execute("SET LOCAL client_min_messages = warning")
        check_server(connection)
        _extensions(connection, branches)
        for role in (OWNER, APP):
            _role(connection, role, None if passwords is None else passwords[role])
        _membership(connection)
        _grants(connection)


def check_server(connection: psycopg.Connection[Any]) -> None:
    """Refuse a server that is too old: DatabaseUnsuitable names the version that is needed."""
    if connection.info.server_version < OLDEST_SERVER * 10_000:
        found = connection.info.parameter_status("server_version")
        raise DatabaseUnsuitable(f"PostgreSQL {OLDEST_SERVER} or newer is needed; this server is {found}.")


def _try(connection: psycopg.Connection[Any], statement: sql.Composed | str, otherwise: str) -> None:
    try:
        with connection.transaction():
            connection.execute(statement)
    except psycopg.Error as error:
        raise DatabaseUnsuitable(f"{otherwise} ({str(error).strip().splitlines()[0]})") from None


def _extensions(connection: psycopg.Connection[Any], branches: Iterable[str]) -> None:
    needed = {name: oldest for branch in branches for name, oldest in EXTENSIONS[branch].items()}
    rows = connection.execute(
        "SELECT name, default_version, installed_version FROM pg_available_extensions WHERE name = ANY(%s)",
        (list(needed),),
    )
    found = {name: (default, installed) for name, default, installed in rows}
    for name, oldest in needed.items():
        if name not in found:
            raise DatabaseUnsuitable(
                f"the extension {name} is not available on this server: install it there "
                "(Debian: postgresql-NN-pgvector, postgresql-contrib), or allow it in the host's settings."
            )
        default, installed = found[name]
        if installed is None:
            _try(
                connection,
                f"CREATE EXTENSION IF NOT EXISTS {name}",
                f"this login may not create the extension {name}: have an administrator run CREATE EXTENSION {name};",
            )
        version = tuple(int(part) for part in (installed or default).split(".")[:2])
        if version < oldest:
            wanted = ".".join(map(str, oldest))
            raise DatabaseUnsuitable(
                f"the extension {name} is {installed or default}, {wanted} or newer is needed: "
                f"run ALTER EXTENSION {name} UPDATE;"
            )


def _role(connection: psycopg.Connection[Any], role: str, password: str | None) -> None:
    row = connection.execute(
        "SELECT rolsuper OR rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname = %s", (role,)
    ).fetchone()
    sees_all, may_log_in = row or (False, False)
    name = sql.Identifier(role)
    if row is None:
        _try(
            connection,
            sql.SQL("CREATE ROLE {} NOSUPERUSER").format(name),
            f"this login may not create roles: have an administrator run CREATE ROLE {role}; "
            f"GRANT {role} TO {connection.info.user};",
        )
    elif sees_all:
        raise DatabaseUnsuitable(
            f"the role {role} is a superuser or bypasses row-level security: "
            f"run ALTER ROLE {role} NOSUPERUSER NOBYPASSRLS;"
        )
    if password is not None and may_log_in:
        return  # it has its password; setting it again could meet another process that does the same
    if password is not None:
        connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(password)))
        return
    [(usable,)] = connection.execute(
        "SELECT current_user = %(role)s OR pg_has_role(current_user, %(role)s, %(kind)s)",
        {"role": role, "kind": "SET" if connection.info.server_version >= 160_000 else "MEMBER"},
    ).fetchall()
    if not usable:
        _try(
            connection,
            sql.SQL("GRANT {} TO CURRENT_USER").format(name),
            f"this login may not act as {role}: have an administrator run GRANT {role} TO {connection.info.user};",
        )


def _membership(connection: psycopg.Connection[Any]) -> None:
    """Let the owner act as the application for one user."""
    [(is_member,)] = connection.execute("SELECT pg_has_role(%s, %s, 'MEMBER')", (OWNER, APP)).fetchall()
    if not is_member:
        _try(
            connection,
            sql.SQL("GRANT {} TO {}").format(sql.Identifier(APP), sql.Identifier(OWNER)),
            f"{OWNER} may not act as {APP}: have an administrator run GRANT {APP} TO {OWNER};",
        )


def _grants(connection: psycopg.Connection[Any]) -> None:
    database = sql.Identifier(connection.info.dbname)
    may = connection.execute("SELECT has_database_privilege(%s, current_database(), 'CREATE')", (OWNER,)).fetchall()
    if may != [(True,)]:
        _try(
            connection,
            sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, sql.Identifier(OWNER)),
            f"{OWNER} may not create schemas here: have the database's owner run GRANT CREATE ON DATABASE TO {OWNER};",
        )
    owners = [
        owner
        for (owner,) in connection.execute(
            "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = %s", (PRODUCT,)
        )
    ]
    if not owners:
        connection.execute(f"CREATE SCHEMA {PRODUCT} AUTHORIZATION {OWNER}")
    elif owners != [OWNER]:
        (owner,) = owners
        raise DatabaseUnsuitable(
            f"the schema {PRODUCT} belongs to {owner}, not to {OWNER}: use another database, or give it to {OWNER}."
        )
