"""Progress bars for what takes longer than a second, on standard error, so that standard output has results only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.ingest.load import LoadReport, load
from carmenta_lab.postgres.connect import Database
from carmenta_lab.settings import read_settings

Step = Callable[[str, int, int | None], object]


@contextmanager
def steps(title: str) -> Iterator[Step]:
    """A bar for each stage; call the function given with the stage, how many more are done, and how many in all."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, TaskID] = {"": progress.add_task(title, total=None)}

        def step(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], advance=done, total=total)

        yield step


def loading(
    database: Database,
    folder: str,
    name: str | None = None,
    reject_scope: Literal["line", "conversation"] | None = None,
    models: tuple[str, ...] = (DEFAULT_MODEL,),
    tokens: bool = False,
) -> LoadReport:
    """Load a folder with progress bars; rejects are written to a file in the home folder."""
    with steps("loading") as progress:
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
