"""At which scale does which method pay? Latency, recall, throughput, build time and size as the rows grow."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from carmenta_lab.figures.page import BLUE, GREEN, INK, ORANGE, PURPLE, QUIET, SKY, SMALL, VERMILION, Page, page, plain
from carmenta_lab.scale.methods import RECALL, Latency, Scale, Storage, Throughput

STYLES: dict[str, tuple[str, str]] = {
    "exact": (INK, "o-"),
    "hnsw": (BLUE, "o-"),
    "halfvec": (SKY, "s-"),
    "binary": (GREEN, "^-"),
    "ivfflat": (ORANGE, "v-"),
    "bm25": (VERMILION, "D-"),
    "ts_rank_cd": (PURPLE, "X-"),
    "hybrid": (QUIET, "P--"),
}
"""Method -> colour and marker; words differ from vectors by more than colour."""

WIDTH, HEIGHT = 10.0, 4.6

Measured = TypeVar("Measured", Latency, Throughput, Storage)


class _Point(NamedTuple):
    x: float
    y: float
    hollow: bool


def scale_latency(scale: Scale) -> Page:
    """Median latency by the passages of the user, in the largest database; and by all rows, for a user of one size."""
    most = max(row.rows for row in scale.searched)
    size = _common(scale)
    hollow = f"indexes as wide as a recall of {RECALL:g} takes; hollow: not reached"
    figure = page("How long does a search take?", _caption(scale, f"left: {most:,} rows in all", hollow), WIDTH, HEIGHT)
    left, right = figure.subplots(1, 2, sharey=True)
    last = [row for row in scale.answers if row.rows == most]
    _draw(left, last, lambda row: row.user_rows, lambda row: row.p50_ms, _missed)
    plain(left, "passages of the user", "median latency in ms (smaller is better)", grid="both")
    same = [row for row in scale.answers if row.user_rows == size]
    _draw(right, same, lambda row: row.rows, lambda row: row.p50_ms, _missed)
    plain(right, f"passages of all users, the user's {size:,}", "", grid="both")
    for axes in (left, right):
        _logarithmic(axes, "both")
    _legend(figure, scale.searched)
    return figure


def scale_recall(scale: Scale) -> Page:
    """What indexes miss at their usual breadth, by the user's share of all rows; and questions answered a second."""
    most = max(row.rows for row in scale.searched)
    wide = f"left: at the usual breadth, right: as wide as a recall of {RECALL:g} takes, or was tried"
    figure = page("What do indexes miss, and how many can ask at once?", _caption(scale, wide), WIDTH, HEIGHT)
    left, right = figure.subplots(1, 2)
    usual = [row for row in scale.searched if row.rows == most and row.wider == 1]
    _draw(left, usual, lambda row: row.user_rows / row.rows, lambda row: row.recall)
    plain(left, f"the user's share of {most:,} rows", "recall at 10 against exact search", grid="both")
    _logarithmic(left, "x")
    left.set_ylim(0, 1.04)
    served = [row for row in scale.served if row.rows == most]
    _draw(right, served, lambda row: row.clients, lambda row: row.per_second)
    plain(right, "clients that ask at once", "questions a second (larger is better)", grid="both")
    _logarithmic(right, "both")
    right.set_xticks(sorted({row.clients for row in served}))
    _legend(figure, scale.searched)
    return figure


def scale_cost(scale: Scale) -> Page:
    """Seconds to make, and megabytes on disk, of what each method keeps beside the passages."""
    figure = page("What does a method cost before the first search?", _caption(scale), WIDTH, HEIGHT)
    left, right = figure.subplots(1, 2)
    made = [row for row in scale.stored if row.method != "exact"]
    _draw(left, made, lambda row: row.rows, lambda row: row.build_s)
    plain(left, "passages of all users", "seconds to build (smaller is better)", grid="both")
    _draw(right, scale.stored, lambda row: row.rows, lambda row: row.megabytes)
    plain(right, "passages of all users", "megabytes on disk; exact: the vectors", grid="both")
    for axes in (left, right):
        _logarithmic(axes, "both")
    _legend(figure, scale.stored)
    return figure


def _common(scale: Scale) -> int:
    """The largest size of a user that was measured in most of the databases."""
    totals = {size: len({r.rows for r in scale.searched if r.user_rows == size}) for size in _sizes(scale)}
    return max(size for size, count in totals.items() if count == max(totals.values()))


def _sizes(scale: Scale) -> set[int]:
    return {row.user_rows for row in scale.searched}


def _missed(row: Latency) -> bool:
    return row.recall is not None and row.recall < RECALL


def _draw(
    axes: Axes,
    rows: Sequence[Measured],
    x: Callable[[Measured], float],
    y: Callable[[Measured], float | None],
    hollow: Callable[[Measured], bool] = lambda row: False,
) -> None:
    """A line for each method that has points; what has no y is left out."""
    for method, (colour, marker) in STYLES.items():
        own = [(row, y(row)) for row in rows if row.method == method]
        points = sorted(_Point(x(row), up, hollow(row)) for row, up in own if up is not None)
        if points:
            across, up = [point.x for point in points], [point.y for point in points]
            axes.plot(across, up, marker, color=colour, label=method, markersize=6, linewidth=1.5, alpha=0.9)
            empty = [point for point in points if point.hollow]
            axes.plot(
                [point.x for point in empty],
                [point.y for point in empty],
                marker[0],
                color="white",
                markeredgecolor=colour,
                markersize=6,
            )


def _logarithmic(axes: Axes, which: str) -> None:
    """Plain numbers, one a decade or three where they are few."""
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        if which in (name, "both"):
            (axes.set_xscale if name == "x" else axes.set_yscale)("log")
            low, high = axes.get_xlim() if name == "x" else axes.get_ylim()
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 40 * low else (1,), numticks=30))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10f}".rstrip("0").rstrip(".")))


def _legend(figure: Page, rows: Sequence[Latency] | Sequence[Storage]) -> None:
    there = {row.method for row in rows}
    handles: dict[str, Artist] = {}
    for axes in figure.axes:
        lines, labels = axes.get_legend_handles_labels()
        handles.update(zip(labels, lines, strict=True))
    names = [name for name in STYLES if name in handles and name in there]
    figure.legend(
        handles=[handles[name] for name in names],
        labels=names,
        loc="outside right upper",
        frameon=False,
        fontsize=SMALL,
        labelcolor=INK,
    )


def _caption(scale: Scale, *more: str) -> str:
    found = scale.circumstances
    parts = [
        f"PostgreSQL {found['postgres']}, pgvector {found['pgvector']}, {found['cores']} cores, seed {found['seed']}",
        "load average {:g} to {:g}".format(*found["load_average"]),
        "generated rows: for speed, not for quality",
        "10 hits, 384 dimensions, transaction open",
    ]
    return " · ".join((*parts, *more))
