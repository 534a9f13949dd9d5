"""`carmenta-lab compare`: strategies on the judged questions of a dataset, as tables, JSON or a gate."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from carmenta_lab.cli.completing import dataset_names, strategy_lists
from carmenta_lab.cli.progress import loading, progress_bars
from carmenta_lab.cli.workers import Dask, Grid, Workers, read_grid
from carmenta_lab.errors import UsageError, WorseThanBaseline


def compare(
    dataset: Annotated[
        str,
        typer.Option(help="A dataset under data/ by name, or the path of a folder.", autocompletion=dataset_names),
    ] = "sample",
    strategies: Annotated[
        str,
        typer.Option(
            help="Names or paths, separated by commas. When not given: all of `carmenta-lab strategies`.",
            autocompletion=strategy_lists,
        ),
    ] = "",
    measures: Annotated[
        str, typer.Option(help="Of ndcg@K, recall@K, success@K, mrr and ap, separated by commas.")
    ] = "ndcg@10,recall@10",
    k: Annotated[int, typer.Option(help="Hits for each question, 1 to 1000.")] = 10,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="The strategy that the others are compared with, or the JSON file of an earlier run: then each "
            "strategy is compared with itself. When not given: the first strategy named, else vector_exact."
        ),
    ] = None,
    fail_if_worse: Annotated[
        float | None,
        typer.Option(help="Exit with 1 when a measure is lower than the baseline's by more than this, 0 to 1."),
    ] = None,
    resample: Annotated[
        Literal["query", "user"],
        typer.Option(
            help="What the bootstrap draws for intervals: single questions (query), or all questions of a user (user)."
        ),
    ] = "query",
    grid: Grid = None,
    workers: Workers = None,
    dask: Dask = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result to this file; - prints it.")
    ] = None,
) -> None:
    """Compare strategies on judged questions. The dataset is loaded first if needed.

    Example: `carmenta-lab compare --dataset sample --strategies vector_exact,hybrid_rrf --json result.json`

    With several values of a parameter: `carmenta-lab compare --strategies bm25 --grid k1=0.9,1.2 --grid b=0.4,0.75`

    To fail when quality dropped: `carmenta-lab compare --baseline result.json --fail-if-worse 0.02`
    """
    from carmenta_lab import strategies as registry
    from carmenta_lab.cli.tables import show
    from carmenta_lab.experiment.compare import compare as measure
    from carmenta_lab.experiment.kept import worse
    from carmenta_lab.experiment.questions import vectors_needed
    from carmenta_lab.experiment.workers import executor
    from carmenta_lab.postgres.lab import open_lab
    from carmenta_lab.retrieval.grid import cells

    names = [name.strip() for name in strategies.split(",") if name.strip()]
    if not names:
        names = sorted(registry.names(), key=lambda name: name != "vector_exact")
    if grid:
        names = cells({name: registry.load(name) for name in names}, read_grid(grid))
    models = vectors_needed([registry.load(name).model for name in names])
    wanted = [name.strip() for name in measures.split(",") if name.strip()]
    if fail_if_worse is not None and not 0 <= fail_if_worse <= 1:
        raise UsageError(f"--fail-if-worse expects 0 to 1, found {fail_if_worse:g}.")
    with executor(workers, dask) as spread, open_lab() as lab:
        loaded = loading(lab, dataset, models=models, tokens=any(registry.needs_tokens(name) for name in names))
        with progress_bars("comparing") as progress:
            result = measure(
                lab,
                loaded.dataset,
                names,
                wanted,
                k,
                baseline=baseline,
                resample=resample,
                executor=spread,
                progress=progress,
            )
    if str(json_file) == "-":
        typer.echo(result.json_text())
    else:
        if json_file is not None:
            _write(json_file, result.json_text())
        show(result.tables())
    if fail_if_worse is not None and (lost := worse(result, fail_if_worse)):
        raise WorseThanBaseline(" ".join(lost))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from None
