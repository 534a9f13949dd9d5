"""Bringing a database to a revision of the schema, or printing the SQL that would."""

import io
from contextlib import redirect_stdout
from functools import cache

import psycopg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from carmenta_lab import resources
from carmenta_lab.errors import DatabaseUnavailable, DatabaseUnsuitable, UsageError
from carmenta_lab.postgres.roles import waits_for_lock

LOCK_TIMEOUT = "3s"
"""A migration that waits longer for a lock gives up, so that it never blocks the queue behind it."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(resources.migrations()).replace("%", "%%"))
    return config


@cache
def head() -> str:
    """The newest revision of this program."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def current(connection: Connection) -> str | None:
    """The revision of a database; None before the first migration."""
    context = MigrationContext.configure(connection, opts={"version_table_schema": "carmenta"})
    return context.get_current_revision()


def migrate(owner: Engine, to: str = "head") -> tuple[str | None, str | None]:
    """Bring a database to `to` (a revision, "head" or "base"); returns the revisions before and after.

    Two migrators at once: the second waits, then finds nothing to do. Each revision is a transaction of its own.
    """
    config = _config()
    script = ScriptDirectory.from_config(config)
    known = [revision.revision for revision in script.walk_revisions()]
    if to not in ("head", "base", *known):
        raise UsageError(f"unknown revision {to!r}. Known: base, {', '.join(sorted(known))}, head.")
    with owner.connect() as guard, owner.connect() as connection:
        driver = guard.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        waits_for_lock(driver)
        before = current(connection)
        connection.rollback()
        if before is not None and before not in known:
            raise DatabaseUnsuitable(
                f"the database is at revision {before}, this program knows up to {script.get_current_head()}: "
                "update carmenta_lab, or use another database."
            )
        target = {"head": script.get_current_head(), "base": None}.get(to, to)
        if before != target:
            config.attributes["connection"] = connection
            connection.execute(text("SELECT set_config('lock_timeout', :value, false)"), {"value": LOCK_TIMEOUT})
            connection.commit()
            down = target is None or (before is not None and before > target)
            try:
                (command.downgrade if down else command.upgrade)(config, target or "base")
            except OperationalError as error:
                if not isinstance(error.orig, LockNotAvailable):
                    raise
                raise DatabaseUnavailable(
                    f"a migration waited {LOCK_TIMEOUT} for a lock that another transaction holds and gave up, "
                    "so as not to hold up others: end it (pg_stat_activity shows what runs) and migrate again."
                ) from None
            connection.commit()
        return before, target


def offline_sql(to: str = "head") -> str:
    """The SQL that `migrate` would run on an empty database."""
    output = io.StringIO()
    config = _config()
    config.output_buffer = output
    try:
        with redirect_stdout(io.StringIO()):
            command.upgrade(config, to, sql=True)
    except CommandError as error:
        raise UsageError(f"{error}.") from None
    return output.getvalue()
