"""On how many questions, and by how much, does each strategy beat the baseline, and on how many does it lose?"""

from math import ceil

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from carmenta_lab.errors import UsageError
from carmenta_lab.evaluation.bootstrap import TIE
from carmenta_lab.experiment import Comparison
from carmenta_lab.figures.page import BLUE, INK, QUIET, RULE, SMALL, TEXT, VERMILION, Page, page, safe
from carmenta_lab.figures.results import bootstrap, circumstances, of_measure, spelt

COLUMNS = 4
NAME_CHARACTERS = 22


def wins_and_losses(comparison: Comparison, measure: str) -> Page:
    """A panel a strategy, best first: a bar for each question, its difference to the baseline, sorted.

    UnknownName lists the measures there are; UsageError when there is nothing but the baseline.
    """
    baseline = comparison.circumstances["baseline"]
    names = [row.strategy for row in of_measure(comparison, measure) if row.strategy != baseline]
    if not names:
        raise UsageError(f"only the baseline {baseline} was compared: name another strategy to see who wins.")
    found = comparison.scores[comparison.scores.measure == measure]
    values = found.pivot(index="query_id", columns="strategy", values="value")
    caption = circumstances(
        comparison,
        f"each bar: one question, its {spelt(measure)} less that of {safe(baseline)}, sorted; ties have no bar",
        "below: the mean difference, " + bootstrap(comparison),
        "blue: won, orange: lost",
    )
    columns = min(COLUMNS, len(names))
    rows = ceil(len(names) / columns)
    figure = page(f"{spelt(measure)} by question against {safe(baseline)}", caption, 9, 1.3 + 1.8 * rows)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        difference = (values[name] - values[baseline]).dropna().sort_values(ascending=False).to_numpy()
        label = f"{spelt(measure)}\ndifference" if axes in panels[::columns] else ""
        _bars(axes, difference, safe(name, NAME_CHARACTERS), label, _mean(comparison, name, measure))
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    return figure


def _bars(axes: Axes, difference: NDArray[np.float64], name: str, label: str, mean: str) -> None:
    """Won questions up from the left, lost ones down to the right."""
    won, lost = int((difference > TIE).sum()), int((difference < -TIE).sum())
    colours = np.where(difference > 0, BLUE, VERMILION)
    axes.bar(np.arange(len(difference)) + 0.5, difference, width=1.0, color=colours, linewidth=0)
    axes.axhline(0, color=INK, linewidth=0.7)
    axes.set_title(name, fontsize=TEXT, color=INK, loc="left")
    axes.set_xlim(0, max(1, len(difference)))
    axes.set_ylim(-1.05, 1.05)
    axes.set_yticks([-1, 0, 1], ["−1", "0", "+1"])
    axes.set_xticks([])
    tally = f"won {won} · lost {lost} · tied {len(difference) - won - lost}"
    axes.set_xlabel(f"{tally}\n{mean}", fontsize=SMALL, color=QUIET)
    axes.set_ylabel(label, fontsize=SMALL, color=INK)
    axes.tick_params(labelsize=SMALL, colors=INK, length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(RULE)


def _mean(comparison: Comparison, name: str, measure: str) -> str:
    table = comparison.differences
    found = table[(table.strategy == name) & (table.measure == measure)].iloc[0]
    return f"{found['mean']:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
