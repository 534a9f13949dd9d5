"""The way to a database: engines for the owner and the application, and the session of one user."""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Self
from uuid import UUID

import psycopg
from pgvector import HalfVector
from pgvector.psycopg.bit import register_bit_info
from pgvector.psycopg.halfvec import register_halfvec_info
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types import TypeInfo
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from carmenta_lab.errors import UsageError
from carmenta_lab.postgres.hosts import Host
from carmenta_lab.postgres.postponed import PostponingConnection, Setting, postponing_connection
from carmenta_lab.schema.base import APP, OWNER

__all__ = ["Database", "HalfVector", "as_user", "engine", "open_database"]

ASK_AFTER_SECONDS = 1.0
"""A pooled connection that was taken longer ago than this is asked whether it lives before it is taken again."""


ACTING_FOR = "acting_for"
"""Under this name a session, and the connection it runs on, keep the user they were opened for."""

SEARCHES_FIRST = "searches_first"
"""Under this name a connection keeps whether a transaction's settings wait for its first statement."""


class _TextInBinary(Loader):
    """Types whose binary form is a version byte before the text: ltree, lquery, jsonpath."""

    format = Format.BINARY

    def load(self, data: Any) -> str:
        return bytes(data)[1:].decode()


class _Extensions(NamedTuple):
    """What a database's extensions are asked for once an engine."""

    schemas: list[str]
    oids: dict[str, int]  # of their types
    halfvec: TypeInfo | None
    sees_each: bool  # whether each statement of a transaction sees what was committed before it


def _extensions(connection: psycopg.Connection[Any]) -> _Extensions:
    rows = connection.execute(
        "SELECT typname::text, oid, typarray FROM pg_type WHERE typname IN ('halfvec', 'ltree')"
    ).fetchall()
    schemas = connection.execute(
        "SELECT DISTINCT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
        "WHERE e.extname IN ('vector', 'ltree', 'pg_trgm') ORDER BY 1"
    ).fetchall()
    isolation = connection.execute("SELECT current_setting('default_transaction_isolation')").fetchall()
    connection.rollback()
    oids = {name: (oid, array) for name, oid, array in rows}
    info = TypeInfo("halfvec", *oids["halfvec"]) if "halfvec" in oids else None
    known = {name: oid for name, (oid, _) in oids.items()}
    return _Extensions([name for (name,) in schemas], known, info, isolation == [("read committed",)])


def _alive(connection: psycopg.Connection[Any], record: ConnectionPoolEntry, _: object) -> None:
    """Have the pool replace its connections when the server has closed this one.

    It is asked by a round trip only when it was taken a while ago, or when something waits to be read from it: the
    word that it was closed. Asking each time would cost a session of one search a fifth of its time.
    """
    taken, record.info["taken"] = record.info.get("taken"), time.monotonic()
    if taken is None:
        return  # new
    try:
        waiting = select.poll()
        waiting.register(connection.fileno(), select.POLLIN)
        if waiting.poll(0) or time.monotonic() - taken > ASK_AFTER_SECONDS:
            connection.execute("")
            connection.rollback()
    except psycopg.Error as error:
        raise InvalidatePoolError from error


def engine(host: Host, role: str | None = None, **options: Any) -> Engine:
    """An engine whose transactions run as `role` and see the extensions, wherever the host put them.

    Behind a transaction pooler nothing is prepared and nothing is kept between transactions.
    """
    if host.pooled:
        options.setdefault("poolclass", NullPool)
    made = create_engine(host.url, connect_args=host.connect_args(), **options)
    known: _Extensions | None = None
    settings: list[str] = []  # of each transaction

    @event.listens_for(made, "do_connect")
    def _connect(_: object, __: object, arguments: list[Any], named: dict[str, Any]) -> PostponingConnection:
        return PostponingConnection.connect(*arguments, **named)

    @event.listens_for(made, "connect")
    def _register(connection: PostponingConnection, _: object) -> None:
        nonlocal known
        if known is None:
            known = _extensions(connection)
            settings[:] = _settings(host, role, known.schemas)
        connection.sees_each = known.sees_each and "isolation_level" not in options
        register_bit_info(connection, TypeInfo("bit", 1560, 1561))
        if known.halfvec is not None:
            register_halfvec_info(connection, known.halfvec)
        if "ltree" in known.oids:
            connection.adapters.register_loader(known.oids["ltree"], _TextInBinary)

    @event.listens_for(made, "begin")
    def _enter(connection: Connection) -> None:
        raw, options = postponing_connection(connection), connection.get_execution_options()
        user = options.get(ACTING_FOR)
        raw.enter([*((setting, ()) for setting in settings), *(() if user is None else _acting_for(user))])
        if raw.postponed and not options.get(SEARCHES_FIRST):
            raw.settle()

    @event.listens_for(made, "before_cursor_execute")
    def _settle(connection: Connection, *_: object) -> None:
        raw = postponing_connection(connection)
        if raw.postponed:  # SQLAlchemy makes a cursor first, and begins then
            raw.settle()

    event.listen(made, "checkout", _alive)
    return made


def _settings(host: Host, role: str | None, schemas: list[str]) -> list[str]:
    """What a transaction sets to run as the role and to see the extensions."""
    found = []
    if role is not None and role != host.url.username:
        found.append(f"set_config('role', '{role}', true)")
    if apart := "".join(f', "{name}"' for name in schemas if name not in ("public", "pg_catalog")):
        found.append(f"set_config('search_path', current_setting('search_path') || '{apart}', true)")
    return found


@dataclass(frozen=True)
class Database:
    """One database, by its two roles: what `open_lab` gives, and what nearly everything else takes first.

    >>> with lab.user_session(nora.id) as session:
    ...     session.scalar(text("SELECT count(DISTINCT user_id) FROM carmenta.messages"))
    1
    """

    name: str
    owner: Engine  # migrates and loads
    app: Engine  # searches, under row-level security
    direct: bool = True  # whether `app` keeps its connection between transactions

    def __repr__(self) -> str:
        """Its name and, once it was connected to, the server's version; neither an address nor a password."""
        version: tuple[int, ...] | None = getattr(self.app.dialect, "server_version_info", None)
        server = f" on PostgreSQL {'.'.join(map(str, version))}" if version else ""
        return f"<Database {self.name!r}{server}>"

    @contextmanager
    def owner_session(self) -> Iterator[Session]:
        """A transaction of the owner, committed at the end."""
        with Session(self.owner) as session, session.begin():
            yield session

    @contextmanager
    def app_session(self) -> Iterator[Session]:
        """A transaction of the application role, committed at the end; it sees nothing before `as_user`."""
        with Session(self.app) as session, session.begin():
            yield session

    @contextmanager
    def user_connection(self, user_id: UUID, *, searches_first: bool = False) -> Iterator[Connection]:
        """A transaction of the application role that acts for one user until it ends, committed at the end.

        `searches_first` is for a block that begins with a search: nothing is sent before its first statement, and the
        search is a transaction of its own, in one round trip; statements after it may see what others committed since.
        """
        if not isinstance(user_id, UUID):
            raise UsageError(f"a session is opened for the id of a user, a UUID, not for {user_id!r}: user() finds it.")
        options = {ACTING_FOR: user_id, SEARCHES_FIRST: searches_first}
        with self.app.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def user_session(self, user_id: UUID, *, searches_first: bool = False) -> Iterator[Session]:
        """A session that acts for one user as `user_connection` does; the end of the block commits.

        Its `commit` writes pending changes, and the transaction goes on. UsageError when `user_id` is no UUID.
        """
        with (
            self.user_connection(user_id, searches_first=searches_first) as connection,
            Session(connection, join_transaction_mode="rollback_only", info={ACTING_FOR: user_id}) as session,
        ):
            yield session
            if session.in_transaction():
                session.commit()

    def __enter__(self) -> Self:
        """The database, whose connections are closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        self.dispose()

    def dispose(self) -> None:
        """Close all pooled connections."""
        self.owner.dispose()
        self.app.dispose()


def open_database(owner: Host, app: Host) -> Database:
    """Engines for a database that is set up and migrated; nothing is checked here."""
    return Database(app.url.database or "", owner=engine(owner, OWNER), app=engine(app, APP), direct=not app.pooled)


def _acting_for(user_id: UUID) -> list[Setting]:
    return [(f"set_config('role', '{APP}', true)", ()), ("set_config('carmenta.user_id', %s, true)", (str(user_id),))]


_ENTER = (
    "SELECT current_setting('role'), coalesce(current_setting('carmenta.user_id', true), ''), "
    "set_config('role', %s, true), set_config('carmenta.user_id', %s, true)"
)


@contextmanager
def as_user(session: Session, user_id: UUID) -> Iterator[Session]:
    """Let a session act as the application role for one user, until the block or the transaction ends.

    Transaction-local, so it holds through a transaction pooler, and nothing is left for the next borrower. The
    block ends as it began; after an error the transaction is the caller's to roll back, which restores as well.
    """
    connection = session.connection()
    role, user, _, _ = connection.exec_driver_sql(_ENTER, (APP, str(user_id))).one()
    before = session.info.get(ACTING_FOR)
    session.info[ACTING_FOR] = user_id
    try:
        yield session
    finally:
        session.info[ACTING_FOR] = before
    session.connection().exec_driver_sql(_ENTER, (role, user))


def acting_for(session: Session) -> UUID:
    """The id of the user for whom a session acts; UsageError when it acts for nobody."""
    known: UUID | None = session.info.get(ACTING_FOR)
    if known is None:
        named = session.scalar(text("SELECT nullif(current_setting('carmenta.user_id', true), '')"))
        if named is None:
            raise UsageError("the session acts for nobody: open it by Database.user_session, or act within as_user.")
        known = UUID(named)
    return known
