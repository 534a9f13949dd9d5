"""`carmenta-lab db ...`: the server and the schema."""

import json
import sys
import time
import warnings
from collections.abc import Collection
from typing import Annotated, Literal

import typer
from sqlalchemy import text

from carmenta_lab import embedded
from carmenta_lab.app.operations import make_event_partitions
from carmenta_lab.cli.progress import progress_bars
from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.errors import CarmentaError, UsageError
from carmenta_lab.indexing.approximate import build, drop, listed
from carmenta_lab.indexing.approximate import name as index_name
from carmenta_lab.indexing.kinds import KINDS, IndexKind
from carmenta_lab.indexing.rebuilding import irreplaceable, rebuild_search
from carmenta_lab.indexing.vectors import table_name
from carmenta_lab.names import find_user
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.lab import Logins, find_logins, logins_by_url, open_lab, open_migrated, revisions
from carmenta_lab.postgres.migrate import BRANCHES, heads, migrate, offline_sql, planned, targets
from carmenta_lab.postgres.roles import connect, set_up, waits_for_lock
from carmenta_lab.postgres.statement import driver
from carmenta_lab.schema.base import OWNER
from carmenta_lab.settings import read_settings

app = typer.Typer(
    help="Manage the server and the database.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command()
def up() -> None:
    """Start the server and migrate if needed. With CARMENTA_DATABASE_URL, connects to that server instead.

    Example: `carmenta-lab db up`
    """
    with open_lab() as lab:
        typer.echo(f"ready: database {lab.name}, revisions {', '.join(heads().values())}")


@app.command()
def down() -> None:
    """Stop the embedded server; its data stays.

    Example: `carmenta-lab db down`
    """
    settings = read_settings()
    if settings.database_url:
        raise UsageError(
            "CARMENTA_DATABASE_URL names a server that carmenta-lab did not start and does not stop; unset it first."
        )
    typer.echo("stopped" if embedded.stop(settings.home_folder) else "it was not running")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")] = False,
) -> None:
    """Show server, revisions and datasets. Starts and changes nothing.

    Example: `carmenta-lab db status`
    """
    settings = read_settings()
    found: dict[str, object] = {"home": str(settings.home_folder), "running": True}
    if settings.database_url:
        found["server"] = logins_by_url(settings).app.shown()
    else:
        server = embedded.status(settings.home_folder)
        found["server"] = "embedded"
        found["running"] = server is not None
        if server is not None:
            found |= {"pid": server.pid, "data": str(server.data_folder)}
    if found["running"]:
        try:
            logins = find_logins(settings, make=False)
            found["revisions"] = revisions(logins)
            if found["revisions"] == heads():
                with logins.database() as database, database.owner_session() as session:
                    rows = session.execute(text("SELECT name, counts FROM lab.datasets ORDER BY name"))
                    found["datasets"] = {row.name: row.counts for row in rows}
                    found["indexes"] = {index.name: index.shown() for index in listed(session)}
        except CarmentaError as error:
            found["problem"] = str(error)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, value in found.items():
        typer.echo(f"{name}: {value}")


@app.command()
def url(
    role: Annotated[
        Literal["app", "owner"],
        typer.Option(help="app, which sees one user's rows at a time, or owner, which sees all."),
    ] = "app",
) -> None:
    """Print the database's URL, for other clients. It holds the password.

    Example: `psql "$(carmenta-lab db url)"`
    """
    logins = find_logins()
    open_migrated(logins).dispose()
    host = logins.app if role == "app" else logins.owner
    typer.echo(host.url.set(drivername="postgresql").render_as_string(hide_password=False))


Confirm = Annotated[
    str, typer.Option(help="The database's name, to confirm that rows may go. When not given, it is asked for.")
]

COUNTED = {
    "datasets": "lab.datasets",
    "runs": "lab.runs",
    "users": "carmenta.users",
    "conversations": "carmenta.conversations",
    "messages": "carmenta.messages",
}
"""What is counted before it is dropped -> its table."""


def _counted(database: Database, schemas: Collection[str]) -> str:
    """How many rows of these schemas would go, in words; "" when there are none."""
    found = []
    with database.owner.connect() as connection:
        for what, table in COUNTED.items():
            there = connection.scalar(text("SELECT to_regclass(:table) IS NOT NULL"), {"table": table})
            if there and table.partition(".")[0] in schemas:
                count = connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0
                found += [f"{count:,} {what if count != 1 else what[:-1]}"] if count else []
    return ", ".join(found)


def _vectors_lost(database: Database) -> str:
    """Which vectors could not be made again, in words; "" when all could."""
    return ", ".join(f"{count:,} of {model}" for model, count in irreplaceable(database).items())


def _confirmed(name: str, confirm: str) -> None:
    """UsageError unless the database's name was given, or is typed now."""
    if not confirm and sys.stdin.isatty():
        confirm = typer.prompt(f"To go on, type the name of the database ({name})")
    if confirm != name:
        given = f"{confirm!r} is not its name" if confirm else "nothing was confirmed"
        raise UsageError(f"nothing was dropped: {given}; confirm with --confirm {name}.")


@app.command()
def reset(
    confirm: Confirm = "",
    empty: Annotated[bool, typer.Option("--empty", help="Leave the database empty instead of migrating anew.")] = False,
) -> None:
    """Drop everything and migrate anew. Everything in the schemas carmenta, search and lab is lost.

    Example: `carmenta-lab db reset --confirm carmenta`
    """
    logins = find_logins()
    name = logins.owner.url.database or ""
    with logins.database() as database:
        held = _counted(database, BRANCHES.values()) if _has_owner(logins) else ""
        typer.echo(
            f"this drops the schemas carmenta, search and lab of {logins.owner.shown()} with everything in them: "
            f"{held or 'no rows'}."
        )
        _confirmed(name, confirm)
        set_up(logins.admin, logins.passwords, branches=() if empty else BRANCHES)
        with database.owner.begin() as connection:
            raw = driver(connection)
            waits_for_lock(raw)
            for schema in reversed(BRANCHES.values()):
                connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
    if empty:
        typer.echo(f"database {name} is empty")
        return
    open_migrated(logins).dispose()
    typer.echo(f"database {name} is empty, revisions {', '.join(heads().values())}")


def _has_owner(logins: Logins) -> bool:
    """Whether the owner's role is there, without which nothing of ours is."""
    with connect(logins.admin) as connection:
        return connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (OWNER,)).fetchone() is not None


@app.command("migrate")
def migrate_(
    target: Annotated[
        str,
        typer.Argument(
            help="head (newest), base (none), one branch as in product@head, or a revision such as search_2."
        ),
    ] = "head",
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL instead of running it.")] = False,
    confirm: Confirm = "",
) -> None:
    """Migrate up or down to a revision. Takes all three branches (product, search, lab), or one.

    Example: `carmenta-lab db migrate product@head`

    Going down drops rows. If these cannot be made again, confirm with the database's name:
    `carmenta-lab db migrate base --confirm carmenta`
    """
    if sql:
        typer.echo(offline_sql(target), nl=False)
        return
    wanted = targets(target)
    logins = find_logins()
    needed = {branch for branch, revision in wanted.items() if revision}
    set_up(logins.admin, logins.passwords, branches=[branch for branch in BRANCHES if branch in needed | {"product"}])
    with logins.database() as database:
        down = [step for step in planned(database.owner, target) if step.down]
        schemas = {BRANCHES[step.branch] for step in down}
        lost = _counted(database, schemas)
        if any(step.branch == "search" and step.after is None for step in down):
            given = _vectors_lost(database)
            lost = "; ".join(
                filter(None, (lost, given and f"vectors that only a load of their folder brings back: {given}"))
            )
        if lost:
            typer.echo(f"going down drops rows of {logins.owner.shown()}: {lost}.")
            _confirmed(logins.owner.url.database or "", confirm)
        done = migrate(database.owner, target)
    for step in done:
        typer.echo(str(step))
    if not done:
        typer.echo("nothing to do")


@app.command()
def maintain(
    months: Annotated[int, typer.Option(help="How many months after this one get a partition.", min=0, max=120)] = 3,
) -> None:
    """Make the next partitions of `events`. Includes this month's if it is missing; a second run changes nothing.

    Example: `carmenta-lab db maintain --months 6`
    """
    with open_lab() as lab, lab.owner_session() as session:
        made = make_event_partitions(session, months)
    for partition in made:
        typer.echo(f"carmenta.{partition.name}: made, {partition.moved} events moved into it")
    if not made:
        typer.echo("nothing to do")


@app.command()
def rebuild(
    confirm: Confirm = "",
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Make token codes for all users, not only for those who have some.")
    ] = False,
) -> None:
    """Drop and rebuild the schema `search`. It has passages, words, vectors, token codes and approximate indexes.

    Example: `carmenta-lab db rebuild`
    """
    with open_lab() as lab:
        if given := _vectors_lost(lab):
            typer.echo(
                f"vectors of models that are not at hand would be lost until their folder is loaded again: {given}."
            )
            _confirmed(lab.name, confirm)
        with progress_bars("rebuilding") as progress:
            made = rebuild_search(lab, tokens, progress)
    typer.echo(str(made))
    for model, count in made.lost.items():
        typer.echo(f"lost: {count:,} vectors of {model}; load the folder that gives them again")


@app.command()
def index(
    kind: Annotated[
        IndexKind,
        typer.Option(
            help="halfvec (a graph in half precision), hnsw (a graph of floats), binary (signs) or ivfflat (lists)."
        ),
    ] = "halfvec",
    user: Annotated[str | None, typer.Option(help="Only over this user's rows.")] = None,
    model: Annotated[str, typer.Option(help="The embedding model whose vectors are indexed.")] = DEFAULT_MODEL,
    drop_it: Annotated[bool, typer.Option("--drop", help="Drop the index instead of building it.")] = False,
    concurrently: Annotated[
        bool, typer.Option(help="Let others write during the build, which takes about twice as long.")
    ] = False,
    memory: Annotated[int | None, typer.Option(help="maintenance_work_mem of the build, in MB.", min=1)] = None,
) -> None:
    """Build an approximate index. It is over the vectors of one model; the strategy `vector_KIND` uses it.

    Example: `carmenta-lab db index --kind halfvec --memory 512`
    """
    table = table_name(model)
    with open_lab() as lab:
        owner = None if user is None else find_user(lab, user)
        called = index_name(table, kind, owner)
        if drop_it:
            drop(lab.owner, table, kind, owner)
            typer.echo(f"{called}: dropped")
            return
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            build(lab.owner, table, KINDS[kind], concurrently, owner, memory)
        for warning in caught:
            print(f"carmenta-lab: {warning.message}", file=sys.stderr)  # noqa: T201
        with lab.owner_session() as session:
            built = next(found for found in listed(session) if found.name == called)
        typer.echo(f"{called}: {built.shown()}, {time.perf_counter() - start:.1f} s")
