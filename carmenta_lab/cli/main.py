"""The command line: `carmenta-lab COMMAND`. An error is one sentence; exit code 2 is wrong usage, 1 is failure."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from typer.core import TyperCommand

from carmenta_lab.cli import lists
from carmenta_lab.cli.compare import compare
from carmenta_lab.cli.completing import bench_names, dataset_names, policy_names, strategy_names
from carmenta_lab.cli.contexts import compare_contexts
from carmenta_lab.cli.db import app as db_app
from carmenta_lab.cli.explain import explain
from carmenta_lab.cli.importing import import_set
from carmenta_lab.cli.progress import loading, progress_bars
from carmenta_lab.cli.schema import schema
from carmenta_lab.cli.worker import worker
from carmenta_lab.cli.workers import Dask, Grid, Workers, read_grid
from carmenta_lab.errors import CarmentaError, UsageError
from carmenta_lab.settings import read_settings

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _version(asked: bool) -> None:
    """Print the version and exit."""
    if asked:
        from importlib.metadata import version

        typer.echo(f"carmenta-lab {version('carmenta-lab')}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Design, try out and measure the PostgreSQL data layer of an assistant that remembers."""


app.command()(lists.datasets)
app.command()(lists.users)
app.command()(lists.strategies)
app.command()(lists.policies)
app.add_typer(db_app, name="db")
app.command()(schema)
app.command("compare-contexts")(compare_contexts)
app.command()(worker)

User = Annotated[str, typer.Option(help="The user: the id that the dataset gives, or a uuid.")]
InDataset = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="The dataset of the user, when several datasets have a user of this id.",
        autocompletion=dataset_names,
    ),
]
Strategy = Annotated[
    str | None,
    typer.Option(
        help="A name from `carmenta-lab strategies`, or the path of a file of your own. When not given: the best "
        "measured strategy that the user's data allow.",
        autocompletion=strategy_names,
    ),
]
PolicyName = Annotated[
    str | None,
    typer.Option(
        help="A name from `carmenta-lab policies`, or the path of a file of your own. When not given: the best "
        "measured policy that the user's data allow.",
        autocompletion=policy_names,
    ),
]


def _parameters(given: list[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"-p expects name=value, found {text!r}.")
        pairs[name.strip()] = value
    return pairs


@app.command()
def run(
    notebooks: Annotated[
        list[str] | None, typer.Argument(help="Names such as 03_retrieval. When not given: all.")
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", help="A parameter, as name=value; a list is a,b,c. Repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder for the executed notebooks and index.html.")] = Path("runs"),
    grid: Grid = None,
    workers: Workers = None,
    dask: Dask = None,
) -> None:
    """Execute notebooks. Writes the executed files, an HTML page of each, and an index.html.

    Example: `carmenta-lab run 03_retrieval -p k=20 -p strategies=vector_exact,hybrid_rrf --out runs`

    Several values of a parameter: `carmenta-lab run 03_retrieval --grid k=5,10 --workers 2`, each in its own folder.
    """
    from carmenta_lab import runner
    from carmenta_lab.experiment.workers import executor
    from carmenta_lab.postgres.lab import open_lab

    values = _parameters(parameter or [])
    tried = read_grid(grid)
    paths = [runner.find(name) for name in (notebooks or runner.names())]
    for combination in runner.combinations(values, tried):
        runner.check(paths, combination)
    with progress_bars("starting the database"):
        open_lab().dispose()
    with executor(workers, dask) as spread, progress_bars("executing") as progress:
        done = runner.run(notebooks or (), values, out, progress, tried, spread)
    for executed in done:
        typer.echo(f"{executed.html}  {executed.title}")
    typer.echo(f"{out / 'index.html'}")


@app.command()
def load(
    folder: Annotated[
        str,
        typer.Argument(help="A dataset under data/ by name, or the path of a folder.", autocompletion=dataset_names),
    ],
    name: Annotated[str | None, typer.Option(help="The dataset's name. When not given: the folder's name.")] = None,
    reject_scope: Annotated[
        Literal["line", "conversation"] | None,
        typer.Option(
            help="Whether a bad line is left out alone or with its whole conversation. When not given: as in the "
            "last load, and alone in the first."
        ),
    ] = None,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Also write token codes, which `evidence` and `late_interaction` need.")
    ] = False,
    as_json: lists.Json = False,
) -> None:
    """Load a dataset folder. Rows are added, updated and deleted to match it; loading it again changes nothing.

    Example: `carmenta-lab load ./my-chats --name chats`
    """
    from carmenta_lab.postgres.lab import open_lab

    with open_lab() as lab:
        report = loading(lab, folder, name, reject_scope, tokens=tokens)
    if as_json:
        found: dict[str, Any] = {"dataset": report.dataset, "unchanged": report.unchanged, "changes": report.changes}
        found |= {"rejects": [str(reject) for reject in report.rejects], "mended": report.mended}
        found |= {"rejects_file": str(report.rejects_file or "") or None, "embedded": report.embedded}
        found |= {"tokens": report.tokens, "token_bytes": report.token_bytes}
        typer.echo(json.dumps(found))
        return
    for line in report.lines():
        typer.echo(line)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="The question.")],
    user: User,
    strategy: Strategy = None,
    k: Annotated[int, typer.Option(help="The number of hits, 1 to 1000.")] = 10,
    dataset: InDataset = None,
    as_json: lists.Json = False,
) -> None:
    """Search a user's data for a question. Finds messages, memories and documents.

    Example: `carmenta-lab search "which allergy does Saga have" --user nora --strategy vector_exact`
    """
    from carmenta_lab import face
    from carmenta_lab.names import user as find_user
    from carmenta_lab.postgres.lab import open_lab
    from carmenta_lab.retrieval.best import best_strategy
    from carmenta_lab.strategies import load as load_strategy

    if strategy:
        load_strategy(strategy)  # so that an unknown name is told before a server starts
    with open_lab() as lab:
        found = find_user(lab, user, dataset)
        if not strategy:
            with found.session() as session:
                strategy = best_strategy(session, found.id)
        ranking = face.search(lab, found, query, k=k, strategy=strategy)
    if as_json:
        hits = [
            {
                "rank": hit.rank,
                "score": hit.score,
                "source": said.source,
                "source_kind": hit.source_kind,
                "created_at": said.created_at.isoformat() if said.created_at else None,
                "author": said.author,
                "text": said.text,
                "parts": dict(hit.parts),
            }
            for hit in ranking.hits
            if (said := ranking.texts.get(hit.passage_id)) is not None
        ]
        typer.echo(json.dumps({"strategy": strategy, "route": ranking.route, "note": ranking.note, "hits": hits}))
        return
    from carmenta_lab.cli.tables import show

    show([ranking.table()])
    typer.echo(f"strategy {strategy}")


app.command()(compare)
app.command()(explain)
app.command("import")(import_set)


@app.command()
def context(
    user: User,
    query: Annotated[str, typer.Option(help="The question that the context is for.")],
    conversation: Annotated[
        str | None, typer.Option(help="The conversation in which it is asked. When not given: the latest.")
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="The most tokens, the question included. When not given: the policy's.")
    ] = None,
    policy: PolicyName = None,
    dataset: InDataset = None,
    as_json: lists.Json = False,
) -> None:
    """Show what a language model would see. Lists profile, conversation, hits and question, and what was left out.

    Example: `carmenta-lab context --user nora --query "what did we decide about the roof" --budget 2000`
    """
    from carmenta_lab import face
    from carmenta_lab.names import user as find_user
    from carmenta_lab.postgres.lab import open_lab

    with open_lab() as lab:
        found = find_user(lab, user, dataset)
        result = face.assemble(
            lab, found, query, conversation=conversation or None, policy=policy, budget_tokens=budget
        )
    typer.echo(json.dumps(result.to_json()) if as_json else result.explain())


class _WithBenches(TyperCommand):
    """A command whose help ends with what each bench measures; benches are read only when it is asked for."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        from carmenta_lab.bench import benches

        lines = [f"- `{one.name}`{' (long)' if one.long else ''}: {one.summary}" for one in benches().values()]
        self.epilog = "\n".join(("Benches; those marked (long) run only when they are named:", "", *lines))
        super().format_help(ctx, formatter)


@app.command(cls=_WithBenches)
def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names of benches. When not given: all that are not long.", autocompletion=bench_names),
    ] = None,
    rows: Annotated[
        int | None, typer.Option(help="The number of rows to measure with. When not given: each bench's own.", min=100)
    ] = None,
    workers: Workers = None,
    dask: Dask = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")] = None,
) -> None:
    """Measure our speed beside a limit. Both run in turns, in a database of their own on the embedded server.

    A ratio of 1.3 means that ours takes 30 % longer than the limit. The last column says what the limit is.

    Example: `carmenta-lab bench search --rows 5000`
    """
    from carmenta_lab.bench import run as measure
    from carmenta_lab.cli.tables import bench_table, show
    from carmenta_lab.experiment.workers import executor

    with executor(workers, dask) as spread, progress_bars("measuring"):
        results, circumstances = measure(names or (), rows, executor=spread)
    if json_file is not None:
        found = {"benches": {r.name: r.to_json() for r in results}, "circumstances": circumstances}
        json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    show([bench_table(results)])


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Turn the errors that can be expected into one sentence on standard error and an exit code."""
    import psycopg
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except CarmentaError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"carmenta-lab: {error}", markup=False)
        sys.exit(error.exit_code)
    except (DBAPIError, psycopg.Error) as error:
        origin = getattr(error, "orig", error)
        first = str(origin).strip().splitlines()[0] if str(origin).strip() else type(origin).__name__
        print(f"carmenta-lab: the database refused the statement or the connection was lost: {first}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"carmenta-lab: {error.strerror or error}{where}.", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        print("carmenta-lab: stopped; what was committed is kept.", file=sys.stderr)  # noqa: T201
        sys.exit(130)


def main() -> None:
    """Entry point of `carmenta-lab`."""
    with _one_sentence():
        read_settings()
        app(prog_name="carmenta-lab")  # whatever started it: a shell completes by this name
