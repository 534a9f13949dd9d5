"""Results as tables in a terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Console

from carmenta_lab.bench.measure import Result
from carmenta_lab.display import Table, screen


def show(tables: Iterable[Table]) -> None:
    """Print tables, as wide as the terminal."""
    console = Console(highlight=False, width=screen())
    for table in tables:
        console.print(table.drawn())


def bench_table(results: Sequence[Result]) -> Table:
    """The table of bench results: ours beside the limit."""
    rows = [[r.name, str(r.rows), f"{r.limit_ms:.2f}", f"{r.ours_ms:.2f}", f"{r.ratio:.2f}", r.what] for r in results]
    return Table(["bench", "rows", "limit ms", "ours ms", "ratio", "the limit"], rows)
