"""Results as tables in a terminal."""

from collections.abc import Sequence

from rich.table import Column, Table

from carmenta_lab.bench.measure import Result
from carmenta_lab.experiment.compare import Comparison
from carmenta_lab.retrieval.texts import Shown

SHOWN_CHARACTERS = 240


def hits_table(shown: Sequence[Shown]) -> Table:
    """Hits, best first, with the beginning of what they say."""
    parts = list(dict.fromkeys(name for s in shown for name in s.hit.parts))
    table = Table("rank", "score", *parts, "source", "passage", show_lines=False)
    for s in shown:
        text = " ".join(s.text.split())
        cut = text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
        values = [f"{s.hit.parts[name]:.3f}" if name in s.hit.parts else "" for name in parts]
        table.add_row(str(s.hit.rank), f"{s.hit.score:.3f}", *values, f"{s.hit.source_kind} {s.source}", cut)
    return table


def comparison_tables(result: Comparison) -> list[Table]:
    """Quality with intervals and cost; paired differences; per category."""
    measures = list(dict.fromkeys(result.quality.measure))
    title = f"{result.dataset}: {result.queries} judged questions, mean [95 % interval]"
    quality = Table("strategy", *measures, "p50 ms", "p95 ms", "hits", "route", title=title)
    for name in result.strategies:
        rows = result.quality[result.quality.strategy == name].set_index("measure")
        cost = result.latency[result.latency.strategy == name].iloc[0]
        cells = [f"{rows.loc[m, 'mean']:.3f} [{rows.loc[m, 'low']:.3f}, {rows.loc[m, 'high']:.3f}]" for m in measures]
        quality.add_row(
            name, *cells, f"{cost.p50_ms:.1f}", f"{cost.p95_ms:.1f}", f"{cost.rows_returned:.1f}", cost.routes
        )
    tables = [quality]
    if len(result.differences):
        base = result.differences.baseline.iloc[0]
        paired = Table(
            "strategy", "measure", "difference", "95 % interval", "won", "lost", "tied", title=f"against {base}"
        )
        for row in result.differences.itertuples():
            interval = f"[{row.low:+.3f}, {row.high:+.3f}]"
            cells = [str(row.strategy), str(row.measure), f"{row.mean:+.3f}", interval]
            paired.add_row(*cells, str(row.won), str(row.lost), str(row.tied))
        tables.append(paired)
    first = measures[0]
    wide = result.categories[result.categories.measure == first]
    by_category = Table("category", "questions", *result.strategies, title=f"{first} by category")
    for category, group in wide.groupby("category", sort=True):
        means = group.set_index("strategy")["mean"]
        cells = [f"{means[name]:.3f}" if name in means else "" for name in result.strategies]
        by_category.add_row(str(category), str(group.queries.max()), *cells)
    return [*tables, by_category]


def bench_table(results: Sequence[Result]) -> Table:
    """Ours against the limit."""
    columns = [Column("bench", no_wrap=True), "rows", "limit ms", "ours ms", Column("ratio", no_wrap=True), "the limit"]
    table = Table(*columns)
    for r in results:
        cells = (f"{r.limit_ms:.2f}", f"{r.ours_ms:.2f}", f"{r.ratio:.2f}", r.what)
        table.add_row(r.name, str(r.rows), *cells)
    return table
