"""Results as tables in a terminal."""

from collections.abc import Sequence

import pandas as pd
from rich.table import Column, Table

from carmenta_lab.bench.measure import Result
from carmenta_lab.experiment.comparison import Comparison
from carmenta_lab.retrieval.texts import Shown

SHOWN_CHARACTERS = 240
SHOWN_USERS = 12


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
    """Quality and cost; routes and plans; paired differences; by category; by user, where they are few."""
    first = str(result.quality.measure.iloc[0])
    tables = [_quality_table(result), _routes_table(result.routes)]
    base = result.circumstances["baseline"]
    if len(result.differences):
        tables.append(_paired_table(result.differences, f"difference to {base} on the same questions"))
    if (earlier := result.circumstances["earlier"]) is not None:
        new = [name for name in result.strategies if name not in set(result.changes.strategy)]
        absent = f" (not in it: {', '.join(new)})" if new else ""
        tables.append(_paired_table(result.changes, f"difference to itself in {earlier}{absent}"))
    tables.append(_by_table(result.categories, "category", first, result.strategies))
    if result.users.user.nunique() <= SHOWN_USERS:
        tables.append(_by_table(result.users, "user", first, result.strategies))
    return tables


def _quality_table(result: Comparison) -> Table:
    measures = list(dict.fromkeys(result.quality.measure))
    title = f"{result.dataset}: {result.queries} judged questions, mean [95 % interval]"
    table = _table(["strategy", *measures, "p50 ms", "p95 ms", "hits"], title)
    for name in result.strategies:
        rows = result.quality[result.quality.strategy == name].set_index("measure")
        cost = result.latency[result.latency.strategy == name].iloc[0]
        cells = [f"{rows.loc[m, 'mean']:.3f} [{rows.loc[m, 'low']:.3f}, {rows.loc[m, 'high']:.3f}]" for m in measures]
        table.add_row(name, *cells, f"{cost.p50_ms:.1f}", f"{cost.p95_ms:.1f}", f"{cost.rows_returned:.1f}")
    return table


def _routes_table(routes: pd.DataFrame) -> Table:
    heads = ["strategy", "route", "questions", "indexes of the plan", "recall of exact"]
    table = _table(heads, "how it was searched")
    for strategy, route, queries, indexes, recall in routes.itertuples(index=False):
        share = "" if recall is None or pd.isna(recall) else f"{recall:.3f}"
        table.add_row(str(strategy), str(route), str(queries), str(indexes) or "none", share)
    return table


def _paired_table(differences: pd.DataFrame, title: str) -> Table:
    table = _table(["strategy", "measure", "difference", "95 % interval", "won", "lost", "tied"], title)
    for row in differences.itertuples():
        interval = f"[{row.low:+.3f}, {row.high:+.3f}]"
        cells = [str(row.strategy), str(row.measure), f"{row.mean:+.3f}", interval]
        table.add_row(*cells, str(row.won), str(row.lost), str(row.tied))
    return table


def _by_table(frame: pd.DataFrame, column: str, measure: str, strategies: Sequence[str]) -> Table:
    """A row a strategy, a column a category or user with the number of its questions."""
    wide = frame[frame.measure == measure]
    counts = wide.groupby(column, sort=True).queries.max()
    heads = [f"{label or '(none)'} ({count})" for label, count in counts.items()]
    table = _table(["strategy", *heads], f"{measure} by {column} (questions)")
    means = dict(zip(zip(wide.strategy, wide[column], strict=True), wide["mean"], strict=True))
    for name in strategies:
        found = [means.get((name, label)) for label in counts.index]
        table.add_row(name, *("" if value is None else f"{value:.3f}" for value in found))
    return table


def _table(heads: Sequence[str], title: str) -> Table:
    """An empty table whose first column stays whole and whose words are folded rather than cut."""
    first, *rest = heads
    columns = [Column(first, no_wrap=True), *(Column(head, overflow="fold") for head in rest)]
    return Table(*columns, title=title)


def bench_table(results: Sequence[Result]) -> Table:
    """Ours against the limit."""
    kept = Column("bench", no_wrap=True), Column("ratio", no_wrap=True)
    table = Table(kept[0], "rows", "limit ms", "ours ms", kept[1], "the limit")
    for r in results:
        cells = (f"{r.limit_ms:.2f}", f"{r.ours_ms:.2f}", f"{r.ratio:.2f}", r.what)
        table.add_row(r.name, str(r.rows), *cells)
    return table
