"""`carmenta-lab worker`: index what other clients wrote, until it is stopped."""

import signal
from datetime import timedelta
from threading import Event
from types import FrameType
from typing import Annotated

import typer


def worker(
    once: Annotated[bool, typer.Option("--once", help="Exit when nothing is left to do.")] = False,
    name: Annotated[
        str | None, typer.Option(help="The worker's name in its leases. When not given: the host and the process.")
    ] = None,
    lease: Annotated[
        float, typer.Option(help="Seconds after which another worker may take over a block of notes.", min=1)
    ] = 300,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="The embedding model whose vectors are written. Repeatable. When not given: the bundled one."
        ),
    ] = None,
) -> None:
    """Index the changes of other clients. New, changed and deleted rows; any number of workers may run at once.

    Ctrl-C and SIGTERM stop it after the current block. Example: `carmenta-lab worker --once`
    """
    from carmenta_lab.embedding import DEFAULT_MODEL
    from carmenta_lab.indexing.worker import WorkerReport, run
    from carmenta_lab.postgres.lab import open_lab

    stop = Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    told = 0

    def tell(done: WorkerReport) -> None:
        nonlocal told
        for error in done.errors[told:]:
            typer.echo(f"given up: {error}", err=True)
        told = len(done.errors)

    with open_lab() as lab:
        models = model or [DEFAULT_MODEL]
        done = run(lab, once=once, name=name, models=models, stop=stop, progress=tell, lease=timedelta(seconds=lease))
    tell(done)
    typer.echo(
        f"{done.notes} notes done, {done.sources} sources indexed, {done.passages} passages added or removed, "
        f"{done.failed} attempts failed"
    )
