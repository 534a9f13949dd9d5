"""Options for work that is spread over processes or machines, and grids of parameters."""

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import typer

from carmenta_lab.errors import UsageError

Workers: TypeAlias = Annotated[
    int | None, typer.Option("--workers", help="Spread the work over this many processes of this machine.")
]
Dask: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--dask", metavar="ADDRESS", help="Spread the work over a Dask cluster: its scheduler, such as tcp://host:8786."
    ),
]
Grid: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--grid", metavar="NAME=A,B", help="A parameter and the values to try; repeat it to try all combinations."
    ),
]


def read_grid(given: Sequence[str] | None) -> dict[str, list[str]]:
    """Name -> values, in the order given; UsageError for what is no name=a,b and for a name given twice."""
    grid: dict[str, list[str]] = {}
    for text in given or ():
        name, equals, values = text.partition("=")
        items = [value.strip() for value in values.split(",") if value.strip()]
        if not equals or not name.strip() or not items:
            raise UsageError(f"--grid expects name=a,b, found {text!r}.")
        if name.strip() in grid:
            raise UsageError(f"--grid names {name.strip()} twice: give all its values at once, as name=a,b.")
        grid[name.strip()] = items
    return grid
