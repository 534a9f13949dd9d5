"""Which strategy is better, and is the difference to the baseline clear?"""

from carmenta_lab.experiment import Comparison
from carmenta_lab.figures.intervals import IntervalRow, draw_intervals
from carmenta_lab.figures.page import BLUE, INK, QUIET, VERMILION, Page, page, plain, safe
from carmenta_lab.figures.results import bootstrap, circumstances, of_measure, spelt

VERDICTS = {
    "better": (BLUE, "^"),
    "worse": (VERMILION, "v"),
    "no clear difference": (QUIET, "o"),
    "baseline": (INK, "D"),
}
"""What the paired difference to the baseline says -> colour and mark."""


def quality(comparison: Comparison, measure: str) -> Page:
    """Strategies best first, each with its mean, its 95 % interval, and whether it differs from the baseline.

    Colour and mark follow the interval of the paired difference, which is narrower than the intervals shown: those
    of two strategies may overlap although one is clearly better on the same questions.
    """
    rows = of_measure(comparison, measure)
    baseline = comparison.circumstances["baseline"]
    caption = circumstances(comparison, bootstrap(comparison)) + (
        f" · better or worse: the 95 % interval of the paired difference to {safe(baseline)} leaves out 0"
    )
    figure = page(f"{spelt(measure)} by strategy", caption, 8, 1.9 + 0.32 * len(rows))
    axes = figure.subplots()
    plain(axes, f"{spelt(measure)}, mean over the questions (larger is better)", "strategy", grid="x")
    line = next(row.mean for row in rows if row.strategy == baseline)
    axes.axvline(line, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.set_xlim(0, max(1.08 * max(row.high for row in rows), 0.01))
    shown = []
    for row in rows:
        value = f"{row.mean:.3f}  [{row.low:.3f}, {row.high:.3f}]"
        verdict = _verdict(comparison, row.strategy, measure)
        shown.append(IntervalRow(row.strategy, row.mean, row.low, row.high, verdict, value))
    draw_intervals(figure, axes, shown, VERDICTS)
    return figure


def _verdict(comparison: Comparison, strategy: str, measure: str) -> str:
    """The key of `VERDICTS` for one strategy."""
    if strategy == comparison.circumstances["baseline"]:
        return "baseline"
    table = comparison.differences
    found = table[(table.strategy == strategy) & (table.measure == measure)].iloc[0]
    if found.low > 0:
        return "better"
    return "worse" if found.high < 0 else "no clear difference"
