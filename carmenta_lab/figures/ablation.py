"""Which part of a strategy earns its place, and on which kind of question?"""

from textwrap import fill

import numpy as np
from matplotlib import colormaps

from carmenta_lab.experiment.ablation import Ablation
from carmenta_lab.figures.intervals import IntervalRow, draw_intervals
from carmenta_lab.figures.page import BLUE, INK, QUIET, SMALL, TEXT, VERMILION, Page, page, plain, safe
from carmenta_lab.figures.results import bootstrap, circumstances, spelt

LOSS, GAIN, UNSURE = "worse without it", "better without it", "no clear difference"
VERDICTS = {LOSS: (BLUE, "v"), GAIN: (VERMILION, "^"), UNSURE: (QUIET, "o")}
"""What the paired difference says -> colour and mark."""

LEAST = 0.01
"""The narrowest half of a scale of differences: rounding must not look like a finding."""


def ablation(found: Ablation) -> Page:
    """What is lost without each part, with the 95 % interval of the paired difference; the greatest loss on top."""
    rows = found.table.to_dict(orient="records")
    caption = circumstances(found.comparison, bootstrap(found.comparison)) + (
        f" · paired differences to {safe(found.strategy)}, which has {found.whole:.3f}"
    )
    title = f"{spelt(found.measure)} without one part"
    figure = page(title, caption, 8, 1.9 + 0.32 * len(rows))
    axes = figure.subplots()
    plain(axes, f"difference in {spelt(found.measure)} (left: it is missed)", "switched off", grid="x")
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    shown = []
    for row in rows:
        verdict = LOSS if row["high"] < 0 else GAIN if row["low"] > 0 else UNSURE
        value = f"{row['difference']:+.3f}  [{row['low']:+.3f}, {row['high']:+.3f}]"
        value = value if row["won"] + row["lost"] else "no question changes"
        shown.append(IntervalRow(row["without"], row["difference"], row["low"], row["high"], verdict, value))
    axes.set_xlim(min(-LEAST, 1.08 * found.table.low.min()), max(LEAST, 1.08 * found.table.high.max()))
    axes.locator_params(axis="x", nbins=7)
    draw_intervals(figure, axes, shown, VERDICTS)
    return figure


def ablation_by_category(found: Ablation) -> Page:
    """The loss without each part by category of question: a number on its shade, bold where the interval excludes 0."""
    counts = found.categories.groupby("category", sort=False).queries.max()
    order = found.table.without
    by_both = found.categories.set_index(["without", "category"])
    table = by_both.difference.unstack().reindex(index=order, columns=counts.index)
    sure = ((by_both.low > 0) | (by_both.high < 0)).unstack().reindex(index=order, columns=counts.index)
    values = table.to_numpy(float)
    caption = circumstances(
        found.comparison,
        "bold: the 95 % interval of the paired difference within the category leaves out 0",
        f"of {values.size} cells some are bold by chance",
    )
    title = f"What {safe(found.strategy)} loses without one of its parts, in {spelt(found.measure)}"
    figure = page(title, caption, max(8.0, 2.4 + 0.8 * len(counts)), 2.2 + 0.34 * len(table))
    axes = figure.subplots()
    plain(axes, "category (number of questions)", "switched off")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    most = max(LEAST, float(np.abs(values).max()))
    axes.imshow(values, cmap=colormaps["RdBu"].reversed(), vmin=-most, vmax=most, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if abs(value) > 0.6 * most else INK
        weight = "bold" if sure.iloc[row, column] else "normal"
        shown = "0" if round(value, 3) == 0 else f"{value:+.3f}"
        axes.text(column, row, shown, ha="center", va="center", fontsize=TEXT, color=colour, fontweight=weight)
    heads = [f"{fill(safe(str(name)) or '(none)', 11)}\n({counts[name]})" for name in counts.index]
    axes.set_xticks(range(len(heads)), heads)
    axes.set_yticks(range(len(table)), [safe(name) for name in table.index])
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    return figure
