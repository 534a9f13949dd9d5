"""One call to a database that is started, checked and migrated: the embedded server, or any by URL."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from psycopg import sql
from psycopg.errors import DuplicateDatabase, UniqueViolation
from sqlalchemy import URL, text

from carmenta_lab.embedded import secret, start
from carmenta_lab.errors import DatabaseUnsuitable
from carmenta_lab.postgres.connect import Database, open_database
from carmenta_lab.postgres.hosts import Host, parse
from carmenta_lab.postgres.migrate import BRANCHES, heads, known_revision, migrate
from carmenta_lab.postgres.roles import connect, set_up
from carmenta_lab.schema.base import APP, OWNER
from carmenta_lab.settings import Settings, read_settings


@dataclass(frozen=True)
class Logins:
    """The three logins of one database; by URL they may be one and the same."""

    admin: Host  # may make roles and extensions
    owner: Host
    app: Host
    passwords: Mapping[str, str] | None = field(
        default=None, repr=False
    )  # of the roles' own logins, on the embedded server

    def database(self) -> Database:
        """Engines for the owner and the application; the database must be migrated already."""
        return open_database(self.owner, self.app)


def embedded_logins(home: Path, database: str = "carmenta", make: bool = True) -> Logins:
    """The logins of a database on the embedded server, which is started where it does not run.

    With `make` the database is created where it is absent. DatabaseUnavailable or DatabaseUnsuitable says why the
    server does not start.
    """
    server = start(home)
    passwords = {role: secret(home, role) for role in (OWNER, APP)}

    def host(user: str, password: str, name: str = database) -> Host:
        place = {"host": str(server.socket_folder), "port": str(server.port)}
        return Host(URL.create("postgresql+psycopg", user, password, database=name, query=place), pooled=False)

    with connect(host("postgres", server.password, "postgres")) as connection:
        rows = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
        if make and rows.fetchone() is None:
            with suppress(DuplicateDatabase, UniqueViolation):  # another process was quicker
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    return Logins(
        host("postgres", server.password), host(OWNER, passwords[OWNER]), host(APP, passwords[APP]), passwords
    )


def logins_by_url(settings: Settings) -> Logins:
    """The logins of the database that CARMENTA_DATABASE_URL names.

    DatabaseUnsuitable for the address of a transaction pooler without CARMENTA_DIRECT_URL beside it.
    """
    assert settings.database_url is not None
    app = parse(settings.database_url.get_secret_value(), "CARMENTA_DATABASE_URL", settings.pool_mode)
    if settings.direct_url is not None:
        owner = parse(settings.direct_url.get_secret_value(), "CARMENTA_DIRECT_URL", "session")
    elif app.pooled:
        raise DatabaseUnsuitable(
            f"{app.shown()} is a transaction pooler, through which nothing can be migrated or loaded: "
            "set CARMENTA_DIRECT_URL to the database's direct address as well."
        )
    else:
        owner = app
    return Logins(owner, owner, app)


def find_logins(settings: Settings | None = None, make: bool = True) -> Logins:
    """The logins of the database that the environment names; on the embedded server, started, when it names none."""
    settings = settings or read_settings()
    if settings.database_url:
        return logins_by_url(settings)
    return embedded_logins(settings.home_folder, settings.database, make)


def open_migrated(logins: Logins) -> Database:
    """Engines for a database whose roles and tables are made and migrated first where that is needed.

    DatabaseUnsuitable when row-level security does not bind the role of the application.
    """
    if revisions(logins) != heads():
        set_up(logins.admin, logins.passwords)
        with logins.database() as database:
            migrate(database.owner)
    database = logins.database()
    with database.app.connect() as connection:
        bound = connection.scalar(text("SELECT row_security_active('carmenta.messages')"))
    if not bound:
        database.dispose()
        raise DatabaseUnsuitable(
            f"row-level security does not bind the role {APP} on {logins.app.shown()}: "
            f"run ALTER ROLE {APP} NOSUPERUSER NOBYPASSRLS; and make {OWNER} the owner of the tables."
        )
    return database


def revisions(logins: Logins) -> dict[str, str]:
    """The revision of every branch that was migrated, by the branch's name; changes nothing.

    DatabaseUnsuitable when this program does not know one of them.
    """
    found = {}
    with connect(logins.admin) as connection:
        there = [
            branch
            for branch, schema in BRANCHES.items()
            if connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{schema}.alembic_version",)).fetchone()
            == (True,)
        ]
        if there:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
        for branch in there:
            row = connection.execute(f"SELECT version_num FROM {BRANCHES[branch]}.alembic_version").fetchone()
            if row is not None:
                (found[branch],) = row
                known_revision(branch, found[branch], logins.owner.url.database or "")
    return found


def open_lab(settings: Settings | None = None) -> Database:
    """A database ready for use; starts the embedded server and migrates when that is needed.

    `settings` stand in for the environment: CARMENTA_HOME, CARMENTA_DATABASE, CARMENTA_DATABASE_URL and the others of
    the README. DatabaseUnavailable when no server can be reached; DatabaseUnsuitable when one lacks a version, an
    extension or a privilege, or would not isolate users.

    >>> with cl.open_lab() as another:
    ...     another.name == lab.name
    True
    """
    return open_migrated(find_logins(settings))
