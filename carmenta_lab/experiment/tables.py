"""How is a result printed? Frames become tables: the best in bold, what differs beyond chance marked."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from carmenta_lab.display import MARKS, Cell, Table
from carmenta_lab.evaluation.bootstrap import TIE

if TYPE_CHECKING:
    from carmenta_lab.experiment.ablation import Ablation
    from carmenta_lab.experiment.comparison import Comparison
    from carmenta_lab.experiment.contexts import ContextComparison

LEVEL = 0.05
"""A difference whose corrected p is below this is no chance."""

SHOWN_USERS = 12


def comparison_table(result: "Comparison") -> Table:
    """Strategies by measures: mean [low, high]; then what they cost."""
    measures = list(dict.fromkeys(result.quality.measure))
    rows = _by_name(result.quality, "strategy", "measure")
    marks = _marks(result.differences, "strategy", "measure")
    best = {measure: max(rows[name, measure]["mean"] for name in result.strategies) for measure in measures}
    lines: list[list[str | Cell]] = []
    for name in result.strategies:
        cost = result.latency[result.latency.strategy == name].iloc[0]
        cells = [_mean(rows[name, m], best[m], len(result.strategies), marks.get((name, m), "")) for m in measures]
        lines.append([name, *cells, f"{cost.p50_ms:.1f}", f"{cost.p95_ms:.1f}", f"{cost.rows_returned:.1f}"])
    title = f"{result.dataset}: {result.queries} judged questions, mean [95 % interval]"
    heads = ["strategy", *measures, "p50 ms", "p95 ms", "hits"]
    notes = [*_notes(result.circumstances["baseline"], len(result.strategies)), *_covered(result)]
    return Table(heads, lines, title, notes)


def comparison_tables(result: "Comparison") -> list[Table]:
    """Quality and cost; routes and plans; paired differences; by category; by user, where they are few."""
    first = str(result.quality.measure.iloc[0])
    tables = [comparison_table(result), _routes(result.routes)]
    base = result.circumstances["baseline"]
    if len(result.differences):
        tables.append(paired_table(result.differences, f"difference to {base} on the same questions"))
    tables += changes_tables(result)
    tables.append(_by(result.categories, "category", first, result.strategies))
    if result.users.user.nunique() <= SHOWN_USERS:
        tables.append(_by(result.users, "user", first, result.strategies))
    return tables


def changes_tables(result: "Comparison") -> list[Table]:
    """The table of differences to an earlier run; none when no earlier run was given."""
    if (earlier := result.circumstances["earlier"]) is None:
        return []
    new = [name for name in result.strategies if name not in set(result.changes.strategy)]
    absent = f" (not in it: {', '.join(new)})" if new else ""
    return [paired_table(result.changes, f"difference to itself in {earlier}{absent}")]


def paired_table(differences: pd.DataFrame, title: str) -> Table:
    """Paired differences with their intervals and tallies."""
    heads = ["strategy", "measure", "difference", "95 % interval", "won", "lost", "tied"]
    rows = []
    for row in differences.to_dict(orient="records"):
        mark = _mark(row)
        cells = [row["strategy"], row["measure"], f"{row['mean']:+.3f}{' ' if mark else ''}{mark}", _bounds(row)]
        rows.append([*cells, str(row["won"]), str(row["lost"]), str(row["tied"])])
    return Table(heads, rows, title)


def contexts_tables(result: "ContextComparison") -> list[Table]:
    """Policies by budgets: the evidence held, with intervals, and what of all targets; then the paired differences."""
    heads = ["policy", *(f"{budget:,} tokens" for budget in result.budgets)]
    rows = _by_name(result.evidence, "policy", "budget")
    marks = _marks(result.differences, "policy", "budget")
    count = len(result.policies)
    best = {budget: max(rows[name, budget]["mean"] for name in result.policies) for budget in result.budgets}
    held: list[list[str | Cell]] = [
        [name, *(_mean(rows[name, b], best[b], count, marks.get((name, b), "")) for b in result.budgets)]
        for name in result.policies
    ]
    title = f"{result.dataset}: share of the evidence of {result.queries} questions, mean [95 % interval]"
    tables = [Table(heads, held, title, _notes(result.circumstances["baseline"], count))]
    if not (result.scores.evidence == result.scores.every_target).all():
        every = [
            [name, *(f"{rows[name, budget]['every_target']:.3f}" for budget in result.budgets)]
            for name in result.policies
        ]
        tables.append(Table(heads, every, "memories and documents counted as well"))
    if len(result.differences):
        base = result.differences.baseline.iloc[0]
        found = _by_name(result.differences, "policy", "budget")
        others = [
            [name, *(_against(found[name, budget]) for budget in result.budgets)]
            for name in result.policies
            if name != base
        ]
        tables.append(Table(heads, others, f"against {base}: difference [95 % interval], won/lost"))
    return tables


def ablation_table(found: "Ablation") -> Table:
    """A row a part that was switched off, the greatest loss first."""
    rows = []
    for row in found.table.to_dict(orient="records"):
        row["mean"] = row["difference"]
        mark = _mark(row)
        tally = f"{row['won']}/{row['lost']}/{row['tied']}"
        shown = f"{row['mean']:+.3f} {_bounds(row)}{' ' if mark else ''}{mark}"
        rows.append([row["without"], shown, tally, f"{row['time']:.2f}", row["note"]])
    title = (
        f"{found.strategy} without one of its parts: {found.measure} of the whole {found.whole:.3f}, "
        f"{found.comparison.queries} questions"
    )
    heads = ["without", "difference [95 % interval]", "won/lost/tied", "time of the whole", "note"]
    return Table(heads, rows, title, [_marked(found.strategy, len(rows))])


def _by_name(frame: pd.DataFrame, name: str, column: str) -> dict[tuple[Any, Any], dict[str, Any]]:
    return {(row[name], row[column]): {str(k): v for k, v in row.items()} for row in frame.to_dict(orient="records")}


def _marks(differences: pd.DataFrame, name: str, column: str) -> dict[tuple[Any, Any], str]:
    return {key: _mark(row) for key, row in _by_name(differences, name, column).items()}


def _mark(row: Mapping[Any, Any]) -> str:
    return MARKS[row["mean"] > 0] if row["p_holm"] < LEVEL else ""


def _mean(row: Mapping[str, Any], best: float, compared: int, mark: str) -> Cell:
    shown = f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]{' ' if mark else ''}{mark}"
    return Cell(shown, compared > 1 and row["mean"] >= best - TIE)


def _bounds(row: Mapping[Any, Any]) -> str:
    return f"[{row['low']:+.3f}, {row['high']:+.3f}]"


def _against(row: Mapping[str, Any]) -> str:
    return f"{row['mean']:+.3f} {_bounds(row)}, {row['won']}/{row['lost']}"


def _notes(baseline: str, compared: int) -> list[str]:
    return (
        [_marked(baseline, compared - 1), "the best of a column in bold, in plain text with *"] if compared > 1 else []
    )


def _covered(result: "Comparison") -> list[str]:
    """A sentence for each strategy that cannot find all kinds of sources: its means are over less."""
    asked = result.scores.groupby("strategy").query_id.nunique()
    return [
        f"{row['strategy']} is measured by the {100 * row['coverage']:.0f} % of the evidence that is of the kinds it "
        f"can find, over {asked.get(row['strategy'], 0)} of {result.queries} questions"
        for row in result.latency.to_dict(orient="records")
        if row["coverage"] < 1
    ]


def _marked(baseline: str, compared: int) -> str:
    corrected = f", Holm-corrected for {compared} comparisons" if compared > 1 else ""
    return (
        f"{MARKS[True]} better, {MARKS[False]} worse than {baseline} beyond chance "
        f"(p < {LEVEL:g} of the paired difference{corrected})"
    )


def _routes(routes: pd.DataFrame) -> Table:
    heads = ["strategy", "route", "questions", "indexes of the plan", "recall of exact"]
    rows = []
    for strategy, route, queries, indexes, recall in routes.itertuples(index=False):
        share = "" if recall is None or pd.isna(recall) else f"{recall:.3f}"
        rows.append([str(strategy), str(route), str(queries), str(indexes) or "none", share])
    return Table(heads, rows, "how it was searched")


def _by(frame: pd.DataFrame, column: str, measure: str, strategies: Sequence[str]) -> Table:
    """A row a strategy, a column a category or user with the number of its questions."""
    wide = frame[frame.measure == measure]
    counts = wide.groupby(column, sort=True).queries.max()
    heads = ["strategy", *(f"{label or '(none)'} ({count})" for label, count in counts.items())]
    means = dict(zip(zip(wide.strategy, wide[column], strict=True), wide["mean"], strict=True))
    rows = [[name, *_shown(means.get((name, label)) for label in counts.index)] for name in strategies]
    return Table(heads, rows, f"{measure} by {column} (questions)")


def _shown(values: Iterable[float | None]) -> list[str]:
    return ["" if value is None else f"{value:.3f}" for value in values]
