"""Progress bars for what takes longer than a second, on standard error, so that standard output has results only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from rich import progress as rich_progress
from rich.console import Console

from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.ingest.load import LoadReport, load
from carmenta_lab.postgres.connect import Database
from carmenta_lab.records import Progress
from carmenta_lab.settings import read_settings


@contextmanager
def progress_bars(title: str) -> Iterator[Progress]:
    """A bar for each stage; call what is given with the stage, how many more are done, and how many in all."""
    columns = (
        rich_progress.SpinnerColumn(),
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeElapsedColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, rich_progress.TaskID] = {"": bars.add_task(title, total=None)}

        def advance(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], advance=done, total=total)

        yield advance


def loading(
    database: Database,
    folder: str,
    name: str | None = None,
    reject_scope: Literal["line", "conversation"] | None = None,
    models: tuple[str, ...] = (DEFAULT_MODEL,),
    tokens: bool = False,
) -> LoadReport:
    """Load a folder with progress bars; rejects are written to a file in the home folder."""
    with progress_bars("loading") as progress:
        return load(
            database,
            folder,
            name,
            models=models,
            tokens=tokens,
            reject_scope=reject_scope,
            rejects_folder=read_settings().home_folder / "rejects",
            progress=progress,
        )
