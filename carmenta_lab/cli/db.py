"""`carmenta-lab db ...`: the server and the schema."""

import json
import sys
import time
import warnings
from typing import Annotated, Literal

import typer
from sqlalchemy import text

from carmenta_lab import embedded
from carmenta_lab.app.operations import make_event_partitions
from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.errors import CarmentaError, UsageError
from carmenta_lab.indexing.approximate import build, drop, listed
from carmenta_lab.indexing.approximate import name as index_name
from carmenta_lab.indexing.kinds import KINDS, Kind
from carmenta_lab.indexing.vectors import table_name
from carmenta_lab.names import find_user
from carmenta_lab.postgres.lab import find_way, open_lab, prepare, revisions, way_by_url
from carmenta_lab.postgres.migrate import BRANCHES, heads, migrate, offline_sql, targets
from carmenta_lab.postgres.roles import set_up
from carmenta_lab.settings import read_settings

app = typer.Typer(help="The server and the schema.", no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def up() -> None:
    """Start the embedded server (or reach the one by URL) and migrate where needed.

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
        raise UsageError("CARMENTA_DATABASE_URL names a server that is not ours to stop; unset it first.")
    typer.echo("stopped" if embedded.stop(settings.home_folder) else "was not running")


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False) -> None:
    """Say what is there, without starting anything.

    Example: `carmenta-lab db status`
    """
    settings = read_settings()
    found: dict[str, object] = {"home": str(settings.home_folder), "running": True}
    if settings.database_url:
        found["server"] = way_by_url(settings).app.shown()
    else:
        server = embedded.status(settings.home_folder)
        found["server"] = "embedded"
        found["running"] = server is not None
        if server is not None:
            found |= {"pid": server.pid, "data": str(server.data_folder)}
    if found["running"]:
        try:
            way = find_way(settings)
            found["revisions"] = revisions(way)
            if found["revisions"] == heads():
                with way.database() as database, database.owner_session() as session:
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
    role: Annotated[Literal["app", "owner"], typer.Option(help="app (row-level security binds it) or owner.")] = "app",
) -> None:
    """Print a URL for other clients, its password included.

    Example: `psql "$(carmenta-lab db url)"`
    """
    way = find_way()
    prepare(way).dispose()
    host = way.app if role == "app" else way.owner
    typer.echo(host.url.set(drivername="postgresql").render_as_string(hide_password=False))


@app.command()
def reset(
    confirm: Annotated[str, typer.Option(help="The database's name; asked for where it is not given.")] = "",
    empty: Annotated[bool, typer.Option("--empty", help="Leave the database empty instead of migrating anew.")] = False,
) -> None:
    """Drop the schemas carmenta, search and lab with everything in them, and migrate anew.

    Example: `carmenta-lab db reset --confirm carmenta`
    """
    way = find_way()
    name = way.owner.url.database or ""
    typer.echo(f"this drops the schemas carmenta, search and lab of {way.owner.shown()}, with everything in them.")
    if not confirm and sys.stdin.isatty():
        confirm = typer.prompt(f"To go on, type the name of the database ({name})")
    if confirm != name:
        given = f"{confirm!r} is not its name" if confirm else "nothing was confirmed"
        raise UsageError(f"nothing was dropped: {given}; confirm with --confirm {name}.")
    set_up(way.admin, way.passwords, branches=() if empty else BRANCHES)
    with way.database() as database, database.owner.begin() as connection:
        for schema in reversed(BRANCHES.values()):
            connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
    if empty:
        typer.echo(f"database {name} is empty")
        return
    prepare(way).dispose()
    typer.echo(f"database {name} is empty, revisions {', '.join(heads().values())}")


@app.command("migrate")
def migrate_(
    target: Annotated[
        str, typer.Argument(help="head, base, product@head, search@base, ..., or a revision of a branch.")
    ] = "head",
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL instead of running it.")] = False,
) -> None:
    """Bring the schema to a revision: all branches (product, search, lab), or one.

    Example: `carmenta-lab db migrate product@head`
    """
    if sql:
        typer.echo(offline_sql(target), nl=False)
        return
    wanted = targets(target)
    way = find_way()
    set_up(way.admin, way.passwords, branches=[branch for branch, revision in wanted.items() if revision])
    with way.database() as database:
        steps = migrate(database.owner, target)
    for step in steps:
        typer.echo(str(step))
    if not steps:
        typer.echo("nothing to do")


@app.command()
def maintain(
    months: Annotated[
        int, typer.Option(help="How many months after this one have a partition ready.", min=0, max=120)
    ] = 3,
) -> None:
    """Make the partitions of events that are missing, this month's and those ahead; doing it twice changes nothing.

    Example: `carmenta-lab db maintain --months 6`
    """
    with open_lab() as lab, lab.owner_session() as session:
        made = make_event_partitions(session, months)
    for partition in made:
        typer.echo(f"carmenta.{partition.name}: made, {partition.moved} events moved into it")
    if not made:
        typer.echo("nothing to do")


@app.command()
def index(
    kind: Annotated[Kind, typer.Option(help="halfvec, hnsw (as floats), binary (signs) or ivfflat.")] = "halfvec",
    user: Annotated[str | None, typer.Option(help="Over this user's rows alone: for one who has many.")] = None,
    model: Annotated[str, typer.Option(help="Whose vectors.")] = DEFAULT_MODEL,
    drop_it: Annotated[bool, typer.Option("--drop", help="Drop it instead.")] = False,
    concurrently: Annotated[bool, typer.Option(help="Let others write meanwhile; takes about twice as long.")] = False,
    memory: Annotated[int | None, typer.Option(help="maintenance_work_mem of the build, in MB.", min=1)] = None,
) -> None:
    """Build an approximate index over the vectors of a model, after a load; `vector_KIND` searches through it.

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
