"""Bringing a database to a revision of the schema, branch by branch, or printing the SQL that would."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cache
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from carmenta_lab import resources
from carmenta_lab.errors import DatabaseUnavailable, DatabaseUnsuitable, UsageError
from carmenta_lab.postgres.roles import waits_for_lock
from carmenta_lab.postgres.statement import driver
from carmenta_lab.schema.base import LAB, PRODUCT, SEARCH

LOCK_TIMEOUT = "3s"
"""A migration that waits longer for a lock gives up, so that it never blocks the queue behind it."""

BRANCHES = {"product": PRODUCT, "search": SEARCH, "lab": LAB}
"""Branch -> the PostgreSQL schema that it makes, in the order in which they are made; both others need `product`."""


class MigrationStep(NamedTuple):
    """What a migration did to one branch."""

    branch: str
    before: str | None  # a revision; None: nothing was there
    after: str | None

    @property
    def down(self) -> bool:
        """Whether the step goes down to an older revision, which drops rows."""
        return _position(self.branch, self.after) < _position(self.branch, self.before)

    def __str__(self) -> str:
        return f"{self.branch}: {self.before or 'base'} -> {self.after or 'base'}"


def _config(branch: str) -> Config:
    config = Config()
    folder = str(resources.migrations()).replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{folder}/{branch}")
    config.attributes["schema"] = BRANCHES[branch]
    return config


@cache
def revisions(branch: str) -> tuple[str, ...]:
    """The revisions of a branch, oldest first."""
    script = ScriptDirectory.from_config(_config(branch))
    return tuple(revision.revision for revision in script.walk_revisions())[::-1]


@cache
def heads() -> Mapping[str, str]:
    """The newest revision of each branch in this program, by the branch."""
    return {branch: revisions(branch)[-1] for branch in BRANCHES}


def current(connection: Connection) -> dict[str, str]:
    """Branch -> revision of a database, of the branches that are there; DatabaseUnsuitable for an unknown revision."""
    found = {}
    for branch, schema in BRANCHES.items():
        context = MigrationContext.configure(connection, opts={"version_table_schema": schema})
        revision = context.get_current_revision()
        if revision is not None:
            found[branch] = revision
            known_revision(branch, revision, connection.engine.url.database or "")
    return found


def known_revision(branch: str, revision: str, database: str) -> None:
    """DatabaseUnsuitable when this program does not know a revision that a database is at."""
    if revision in revisions(branch):
        return
    if branch == "product" and revision.isdigit():
        raise DatabaseUnsuitable(
            f"the database {database} is at revision {revision}, from before the schema was parted into product, "
            "search and lab, and cannot be migrated: empty it with "
            f"`carmenta-lab db reset --confirm {database}` and load again."
        )
    raise DatabaseUnsuitable(
        f"the database is at revision {revision} of {branch}, this program knows up to {revisions(branch)[-1]}: "
        "update carmenta_lab, or use another database."
    )


def targets(target: str) -> dict[str, str | None]:
    """Branch -> the revision that a target means, None for nothing at all; UsageError for what is no target.

    "head" and "base" mean every branch, `BRANCH@head`, `BRANCH@base` and a revision by its name one of them.
    """
    if target in ("head", "heads"):
        return dict(heads())
    if target == "base":
        return dict.fromkeys(reversed(BRANCHES))
    branch, at, revision = target.partition("@")
    if not at:
        branch = next((name for name in BRANCHES if target in revisions(name)), "")
        revision = target
    if branch in BRANCHES and revision in ("head", "base", *revisions(branch)):
        return {branch: {"head": heads()[branch], "base": None}.get(revision, revision)}
    known = [*(f"{name}@head" for name in BRANCHES), *(f"{name}@base" for name in BRANCHES)]
    every = [revision for name in BRANCHES for revision in revisions(name)]
    raise UsageError(f"unknown revision {target!r}. Known: head, base, {', '.join((*known, *every))}.")


def _position(branch: str, revision: str | None) -> int:
    """How many revisions of its branch are done."""
    return 0 if revision is None else revisions(branch).index(revision) + 1


def plan(before: Mapping[str, str], target: str) -> list[MigrationStep]:
    """The steps to a target from these revisions, in order; UsageError when another branch stands in the way.

    `search` and `lab` need the newest `product`, which is brought up with them and not taken down under them.
    """
    wanted = targets(target)
    needing = any(
        branch != "product" and _position(branch, revision) > _position(branch, before.get(branch))
        for branch, revision in wanted.items()
    )
    if needing and "product" not in wanted:
        wanted = {"product": heads()["product"], **wanted}
    steps = [MigrationStep(branch, before.get(branch), revision) for branch, revision in wanted.items()]
    left = {branch for branch in ("search", "lab") if before.get(branch) is not None and branch not in wanted}
    for step in steps:
        if step.branch == "product" and step.down and left:
            others = " and ".join(f"{branch}@base" for branch in sorted(left, reverse=True))
            raise UsageError(
                f"{' and '.join(sorted(left, reverse=True))} stand on product, which therefore stays at {step.before}: "
                f"migrate {others} first, or everything with `base`."
            )
    return [step for step in steps if step.before != step.after]


def planned(owner: Engine, target: str = "head") -> list[MigrationStep]:
    """The steps that `migrate` would do now, without doing them."""
    with owner.connect() as connection:
        return plan(current(connection), target)


def migrate(owner: Engine, target: str = "head") -> list[MigrationStep]:
    """Bring a database to a target; returns what was done, branch by branch. `open_lab` does so where it is needed.

    `target` is "head", "base", or one of a branch, such as "product@head". Two migrators at once: the second waits,
    then finds nothing to do. Each revision is a transaction of its own. UsageError for a target that there is not.

    >>> cl.migrate(lab.owner)
    []
    """
    targets(target)
    with owner.connect() as guard, owner.connect() as connection:
        waits_for_lock(driver(guard))
        steps = plan(current(connection), target)
        connection.rollback()
        for step in steps:
            _run(connection, step)
        return steps


def _run(connection: Connection, step: MigrationStep) -> None:
    schema = BRANCHES[step.branch]
    config = _config(step.branch)
    config.attributes["connection"] = connection
    with _patient(connection):
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
        connection.commit()
        if step.branch == "search" and step.after is None:
            _drop_vectors(connection)
        (command.downgrade if step.down else command.upgrade)(config, step.after or "base")
        connection.commit()
        if step.after is None:
            connection.execute(text(f"DROP TABLE {schema}.alembic_version"))
            if step.branch != "product":  # whose schema belongs to whoever set the database up
                connection.execute(text(f"DROP SCHEMA {schema}"))
            connection.commit()


def _drop_vectors(connection: Connection) -> None:
    """The tables that models were given later, which no revision knows; in the transaction of the steps down."""
    for table in connection.scalars(text("SELECT table_name FROM search.embedding_models")).all():
        connection.exec_driver_sql(f'DROP TABLE search."{table}"')
    connection.execute(text("DELETE FROM search.embedding_models"))


@contextmanager
def _patient(connection: Connection) -> Iterator[None]:
    """Wait for locks, but not for long."""
    connection.execute(text("SELECT set_config('lock_timeout', :value, false)"), {"value": LOCK_TIMEOUT})
    connection.commit()
    try:
        yield
    except OperationalError as error:
        if not isinstance(error.orig, LockNotAvailable):
            raise
        raise DatabaseUnavailable(
            f"a migration waited {LOCK_TIMEOUT} for a lock that another transaction holds and gave up, "
            "so as not to hold up others: end it (pg_stat_activity shows what runs) and migrate again."
        ) from None
    finally:
        with suppress(DBAPIError):  # the connection goes back to a pool
            connection.rollback()
            connection.execute(text("RESET lock_timeout"))
            connection.commit()


def offline_sql(target: str = "head") -> str:
    """The SQL that `migrate` would run on an empty database; UsageError for what is no target."""
    steps = plan({}, target)
    if not steps:
        raise UsageError(f"{target} is where an empty database is: there is no SQL to print.")
    output = io.StringIO()
    for step in steps:
        config = _config(step.branch)
        config.output_buffer = output
        with redirect_stdout(io.StringIO()):
            command.upgrade(config, step.after or "base", sql=True)
    return output.getvalue()
