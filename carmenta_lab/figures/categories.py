"""Which strategy is good at which kind of question?"""

from textwrap import fill

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from numpy.typing import NDArray

from carmenta_lab.experiment import Comparison
from carmenta_lab.figures.page import INK, SMALL, TEXT, Page, page, plain, safe
from carmenta_lab.figures.results import circumstances, of_measure, spelt

EVERY = "all questions"


def by_category(comparison: Comparison, measure: str) -> Page:
    """The mean of every strategy in every category as a number on its shade; the best of a category in bold."""
    rows = of_measure(comparison, measure)
    found = comparison.categories[comparison.categories.measure == measure]
    counts = found.groupby("category", sort=False).queries.max()
    table = found.pivot_table(index="strategy", columns="category", values="mean", sort=False)
    table = table.reindex(index=[row.strategy for row in rows], columns=counts.index)
    table[EVERY] = [row.mean for row in rows]
    caption = circumstances(
        comparison, "bold: the best of its column", "an empty cell: nothing judged that it searches"
    )
    width = max(8.0, 2.2 + 0.8 * table.shape[1])
    figure = page(f"{spelt(measure)} by category of question", caption, width, 2.2 + 0.42 * len(table))
    axes = figure.subplots()
    plain(axes, "category (number of questions)", "strategy")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    values = table.to_numpy(float)
    colours = colormaps["Blues"].with_extremes(bad="white")
    axes.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=0, vmax=1, aspect="auto")
    _numbers(axes, values)
    heads = [f"{fill(safe(str(name)) or '(none)', 11)}\n({counts[name]})" for name in counts.index]
    axes.set_xticks(range(table.shape[1]), [*heads, f"{fill(EVERY, 11)}\n({comparison.queries})"])
    axes.set_yticks(range(len(table)), [safe(name) for name in table.index])
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    for edge in np.arange(0.5, len(table) - 1):
        axes.axhline(edge, color="white", linewidth=2)
    for edge in np.arange(0.5, table.shape[1] - 1):
        axes.axvline(edge, color="white", linewidth=6 if edge > table.shape[1] - 2 else 2)
    return figure


def _numbers(axes: Axes, values: NDArray[np.float64]) -> None:
    """Write every value, white on dark shades; bold where no other of its column is larger."""
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        shown = np.round(values[:, column], 2)
        best = len(values) > 1 and shown[row] == np.nanmax(shown) and np.nanmin(shown) < np.nanmax(shown)
        colour, weight = "white" if value > 0.55 else INK, "bold" if best else "normal"
        number = f"{value:.2f}"
        axes.text(column, row, number, ha="center", va="center", fontsize=TEXT, color=colour, fontweight=weight)
