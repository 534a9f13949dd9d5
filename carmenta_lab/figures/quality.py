"""Which strategy is better, and is the difference to the baseline clear?"""

from carmenta_lab.experiment import Comparison
from carmenta_lab.figures.page import BLUE, INK, QUIET, SMALL, TEXT, VERMILION, Page, page, plain, safe
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
    names = [row.strategy for row in rows]
    verdicts = [_verdict(comparison, name, measure) for name in names]
    line = next(row.mean for row in rows if row.strategy == baseline)
    axes.axvline(line, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for y, row in enumerate(rows):
        colour, mark = VERDICTS[verdicts[y]]
        axes.plot([row.low, row.high], [y, y], color=colour, linewidth=2.2, solid_capstyle="round")
        axes.plot(row.mean, y, mark, color=colour, markersize=8, markeredgecolor="white", clip_on=False)
        value = f"{row.mean:.3f}  [{row.low:.3f}, {row.high:.3f}]"
        axes.text(1.02, y, value, transform=axes.get_yaxis_transform(), va="center", fontsize=TEXT, color=INK)
    axes.set_yticks(range(len(names)), [safe(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, max(1.08 * max(row.high for row in rows), 0.01))
    present = [verdict for verdict in VERDICTS if verdict in verdicts]
    handles = [
        axes.plot([], [], VERDICTS[verdict][1], color=VERDICTS[verdict][0], markersize=8, label=verdict)[0]
        for verdict in present
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(present), frameon=False, fontsize=SMALL)
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
