"""What does a strategy's quality cost in time?"""

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from carmenta_lab.experiment import Comparison
from carmenta_lab.figures.labels import Point, name_points
from carmenta_lab.figures.page import BLUE, INK, Page, page, plain, safe
from carmenta_lab.figures.results import bootstrap, circumstances, of_measure, spelt

SPREAD = 8
"""The slowest this many times the fastest or more: the axis is logarithmic."""


def quality_against_latency(comparison: Comparison, measure: str) -> Page:
    """Every strategy at its median latency and its mean quality with the 95 % interval; good is up and left."""
    rows = of_measure(comparison, measure)
    cost = dict(zip(comparison.latency.strategy.tolist(), comparison.latency.p50_ms.tolist(), strict=True))
    caption = circumstances(
        comparison,
        bootstrap(comparison),
        "latency: of the search alone, its vector given and its transaction open, after a warm-up",
        f"{comparison.circumstances['cores']} cores",
    )
    figure = page(f"{spelt(measure)} against latency", caption, 8, 4.2 + 0.18 * max(0, len(rows) - 6))
    axes = figure.subplots()
    plain(axes, "median latency of a search in ms (smaller is better)", spelt(measure), grid="both")
    baseline = comparison.circumstances["baseline"]
    points = []
    for row in rows:
        latency_ms = cost[row.strategy]
        colour = INK if row.strategy == baseline else BLUE
        axes.plot([latency_ms] * 2, [row.low, row.high], color=colour, linewidth=1.2, alpha=0.45)
        axes.plot(latency_ms, row.mean, "o", color=colour, markersize=8, markeredgecolor="white", clip_on=False)
        name = safe(row.strategy) + (" (baseline)" if row.strategy == baseline else "")
        points.append(Point(latency_ms, row.mean, row.low, row.high, name, colour))
    axes.set_ylim(0, max(1.15 * max(row.high for row in rows), 0.01))
    _limits(axes, min(cost.values()), max(cost.values()))
    name_points(figure, axes, points)
    return figure


def _limits(axes: Axes, fastest: float, slowest: float) -> None:
    """From 0, or logarithmic where the latencies spread; plain numbers on the axis in both cases."""
    if slowest < SPREAD * fastest:
        axes.set_xlim(0, 1.25 * slowest)
        return
    axes.set_xscale("log")
    axes.set_xlim(fastest / 1.6, slowest * 1.8)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if slowest < 50 * fastest else (1,), numticks=30))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
