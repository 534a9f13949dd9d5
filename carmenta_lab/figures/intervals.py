"""Rows of points with their intervals, each by the colour and mark of its verdict and with its figures at the right."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from carmenta_lab.figures.page import INK, SMALL, TEXT, safe


class IntervalRow(NamedTuple):
    """One row of a figure of intervals, counted from the top."""

    name: str
    at: float
    low: float
    high: float
    verdict: str
    figures: str  # what is written beside it


def draw_intervals(
    figure: Figure, axes: Axes, rows: Sequence[IntervalRow], verdicts: Mapping[str, tuple[str, str]]
) -> None:
    """Draw the rows, and a legend of the verdicts (-> colour and mark) that occur."""
    for y, row in enumerate(rows):
        colour, mark = verdicts[row.verdict]
        axes.plot([row.low, row.high], [y, y], color=colour, linewidth=2.2, solid_capstyle="round")
        axes.plot(row.at, y, mark, color=colour, markersize=8, markeredgecolor="white", clip_on=False)
        axes.text(1.02, y, row.figures, transform=axes.get_yaxis_transform(), va="center", fontsize=TEXT, color=INK)
    axes.set_yticks(range(len(rows)), [safe(row.name) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    handles = [
        axes.plot([], [], mark, color=colour, markersize=8, label=verdict)[0]
        for verdict, (colour, mark) in verdicts.items()
        if any(row.verdict == verdict for row in rows)
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False, fontsize=SMALL)
