"""The result of a comparison: tidy frames made of scores per question, and plain values to read an earlier run from."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from carmenta_lab import display
from carmenta_lab.evaluation import holm, interval, paired
from carmenta_lab.experiment.questions import Questions
from carmenta_lab.experiment.searching import ExecutedRun
from carmenta_lab.experiment.tables import changes_tables, comparison_table, comparison_tables
from carmenta_lab.retrieval.retriever import Retriever, kinds

DIGITS = 10
"""Of a score in JSON, where an earlier run is read from: finer than what counts as a tie."""

DIFFERENCE = ["mean", "low", "high", "won", "lost", "tied", "p", "p_holm"]

INTERVAL = ["mean", "low", "high"]
_LIST = re.compile(r"\[\n\s+[^\[\]{}]*?\n\s*\]")
"""A list of plain values as `json.dumps` spreads it; no string of JSON holds a line break."""


@dataclass(frozen=True)
class Comparison:
    """Tidy frames of one comparison; printed, it is a table of strategies by measures.

    >>> result = cl.compare(lab, "sample_de", strategies=["fulltext", "fulltext_or"], measures=["recall@10"])
    >>> result
    <Comparison on 'sample_de': 34 questions, fulltext, fulltext_or>
    >>> print(result)  # doctest: +ELLIPSIS
    sample_de: 34 judged questions, mean [95 % interval]
    ...
    """

    dataset: str
    queries: int  # judged ones
    strategies: tuple[str, ...]
    quality: pd.DataFrame  # strategy, measure, mean, low, high
    users: pd.DataFrame  # strategy, user, measure, mean, low, high, queries
    categories: pd.DataFrame  # strategy, category, measure, mean, low, high, queries
    differences: pd.DataFrame  # strategy, baseline, measure, mean, low, high, won, lost, tied, p, p_holm
    changes: pd.DataFrame  # against an earlier run: the same columns but baseline
    latency: pd.DataFrame  # strategy, p50_ms, p95_ms, rows_returned, routes, indexes, coverage, recall_of_exact
    routes: pd.DataFrame  # strategy, route, queries, indexes, recall_of_exact
    scores: pd.DataFrame  # strategy, query_id, user, category, measure, value
    circumstances: dict[str, Any]
    runs: dict[str, ExecutedRun] = field(repr=False)
    questions: Questions = field(repr=False)

    def __repr__(self) -> str:
        return f"<Comparison on {self.dataset!r}: {self.queries} questions, {', '.join(self.strategies)}>"

    def __str__(self) -> str:
        return display.text(self._shown())

    def _repr_html_(self) -> str:
        return display.html(self._shown())

    def _shown(self) -> list[display.Table]:
        return [comparison_table(self), *changes_tables(self)]

    def tables(self) -> list[display.Table]:
        """All tables of the comparison: the printed one, routes, paired differences, categories and users."""
        return comparison_tables(self)

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain values; `scores` holds one number a question, in the order of `questions.ids`."""
        ids = [query.query_id for query in self.questions.queries]
        return {
            "dataset": self.dataset,
            "queries": self.queries,
            "measures": self.quality.measure.unique().tolist(),
            "strategies": {name: self._strategy(name, ids) for name in self.strategies},
            "differences": self.differences.to_dict(orient="records"),
            "changes": self.changes.to_dict(orient="records"),
            "questions": {"fingerprint": self.questions.fingerprint(), "ids": ids},
            "circumstances": self.circumstances,
        }

    def json_text(self) -> str:
        """`to_json` as text, indented, a list of plain values on one line."""
        text = json.dumps(self.to_json(), indent=2, ensure_ascii=False)
        return _LIST.sub(lambda match: re.sub(r"\n\s*", " ", match[0]).replace("[ ", "[").replace(" ]", "]"), text)

    def _strategy(self, name: str, ids: list[str]) -> dict[str, Any]:
        quality = self.quality[self.quality.strategy == name].set_index("measure")[INTERVAL]
        entry: dict[str, Any] = {str(measure): row for measure, row in quality.to_dict(orient="index").items()}
        cost = self.latency[self.latency.strategy == name].iloc[0]
        entry["latency_ms"] = {"p50": float(cost.p50_ms), "p95": float(cost.p95_ms)}
        entry["rows_returned"] = float(cost.rows_returned)
        entry["routes"] = cost.routes
        entry["coverage"] = float(cost.coverage)
        entry["recall_of_exact"] = None if pd.isna(cost.recall_of_exact) else float(cost.recall_of_exact)
        entry["plans"] = {
            route: {"queries": t.questions, "indexes": list(t.indexes), "recall_of_exact": t.recall_of_exact}
            for route, t in self.runs[name].routes.items()
        }
        entry["users"] = _nested(self.users[self.users.strategy == name], "user")
        entry["categories"] = _nested(self.categories[self.categories.strategy == name], "category")
        mine = self.scores[self.scores.strategy == name]
        entry["scores"] = {
            str(measure): _in_order(dict(zip(group.query_id, group.value, strict=True)), ids)
            for measure, group in mine.groupby("measure", sort=False)
        }
        return entry


def _nested(rows: pd.DataFrame, column: str) -> dict[str, Any]:
    """label -> measure -> mean, low, high, queries."""
    found: dict[str, Any] = {}
    for row in rows[[column, "measure", *INTERVAL, "queries"]].to_dict(orient="records"):
        found.setdefault(str(row.pop(column)), {})[row.pop("measure")] = row
    return found


def _in_order(values: dict[str, float], ids: list[str]) -> list[float | None]:
    """A value for every question, None where the strategy is not judged on it."""
    return [round(values[query_id], DIGITS) if query_id in values else None for query_id in ids]


def labelled(scores: pd.DataFrame, questions: Questions) -> pd.DataFrame:
    """Scores (strategy, query_id, measure, value) with the question's user and category."""
    users = {query.query_id: questions.user_names[query.user_id] for query in questions.queries}
    categories = {query.query_id: query.category for query in questions.queries}
    scores.insert(2, "user", scores.query_id.map(users))
    scores.insert(3, "category", scores.query_id.map(categories))
    return scores


def quality(scores: pd.DataFrame, seed: int, resample: str) -> pd.DataFrame:
    """The frame of means: strategy, measure, mean, low, high."""
    rows = []
    for (strategy, measure), group in scores.groupby(["strategy", "measure"], sort=False):
        found = interval(group.value.tolist(), seed, group.user.tolist() if resample == "user" else None)
        rows.append((strategy, measure, found.mean, found.low, found.high))
    return pd.DataFrame(rows, columns=["strategy", "measure", "mean", "low", "high"])


def by(scores: pd.DataFrame, column: str, seed: int) -> pd.DataFrame:
    """The frame of means by user or category: strategy, user or category, measure, mean, low, high, queries.

    The interval of each is drawn over its questions alone.
    """
    rows = []
    for (strategy, label, measure), group in scores.groupby(["strategy", column, "measure"], sort=False):
        found = interval(group.value.tolist(), seed)
        rows.append((strategy, label, measure, found.mean, found.low, found.high, len(group)))
    return pd.DataFrame(rows, columns=["strategy", column, "measure", "mean", "low", "high", "queries"])


def differences(scores: pd.DataFrame, baseline: str, seed: int, resample: str) -> pd.DataFrame:
    """The frame of paired differences: strategy, baseline, measure, and the columns DIFFERENCE.

    Each is over the questions that both are judged on. `p` is that of the difference alone; `p_holm` is corrected for
    all strategies that were held against the baseline by the same measure.
    """
    base = scores[scores.strategy == baseline].set_index(["query_id", "measure"]).value
    others = scores[scores.strategy != baseline]
    found = _paired(others, others.strategy, base, seed, resample)
    found.insert(1, "baseline", baseline)
    return found


def changes(scores: pd.DataFrame, before: pd.DataFrame, seed: int, resample: str) -> pd.DataFrame:
    """The frame of differences to an earlier run: strategy, measure, and the columns DIFFERENCE.

    `before` has strategy, query_id, measure, value; a strategy that is not in it has no row.
    """
    known = scores[scores.strategy.isin(before.strategy.unique())].round({"value": DIGITS})
    parts = []
    for strategy, mine in known.groupby("strategy", sort=False):
        base = before[before.strategy == strategy].set_index(["query_id", "measure"]).value
        parts.append(_paired(mine, mine.strategy, base, seed, resample))
    if not parts:
        return pd.DataFrame(columns=["strategy", "measure", *DIFFERENCE])
    found = pd.concat(parts, ignore_index=True)
    return found.assign(p_holm=corrected(found, "measure"))


def _paired(scores: pd.DataFrame, names: pd.Series, base: pd.Series, seed: int, resample: str) -> pd.DataFrame:
    """One row a strategy and measure; `base` is indexed by question and measure."""
    values = base.reindex(pd.MultiIndex.from_frame(scores[["query_id", "measure"]])).to_numpy()
    both = scores.assign(base=values).dropna(subset="base")
    rows = []
    for (strategy, measure), group in both.groupby([names, "measure"], sort=False):
        users = group.user.tolist() if resample == "user" else None
        d = paired(group.value.tolist(), group.base.tolist(), seed, users)
        rows.append((strategy, measure, d.mean, d.low, d.high, d.won, d.lost, d.tied, d.p))
    found = pd.DataFrame(rows, columns=["strategy", "measure", *DIFFERENCE[:-1]])
    return found.assign(p_holm=corrected(found, "measure"))


def corrected(differences: pd.DataFrame, family: str) -> pd.Series:
    """The p-values corrected by Holm for all rows of one family: a measure, or a budget."""
    if differences.empty:
        return differences.p
    return differences.groupby(family, sort=False).p.transform(lambda chances: holm(chances.tolist()))


def latency(runs: Mapping[str, ExecutedRun], retrievers: Mapping[str, Retriever], questions: Questions) -> pd.DataFrame:
    """The frame of costs: strategy, p50_ms, p95_ms, rows_returned, routes, indexes, coverage, recall_of_exact.

    `recall_of_exact` is None where every question was searched exactly.
    """
    rows = []
    for name, executed in runs.items():
        p50, p95 = (float(np.percentile(list(executed.latency_ms.values()), p)) for p in (50, 95))
        returned = fmean(len(ranking.hits) for ranking in executed.run.rankings.values())
        ways = ", ".join(sorted(executed.routes))
        used = ", ".join(dict.fromkeys(index for taken in executed.routes.values() for index in taken.indexes))
        coverage = questions.coverage(kinds(retrievers[name]))
        rows.append((name, p50, p95, returned, ways, used, coverage, executed.recall_of_exact))
    columns = ["strategy", "p50_ms", "p95_ms", "rows_returned", "routes", "indexes", "coverage", "recall_of_exact"]
    return pd.DataFrame(rows, columns=columns)


def routes(runs: Mapping[str, ExecutedRun]) -> pd.DataFrame:
    """The frame of routes: strategy, route, queries, indexes, recall_of_exact.

    `indexes` are those of the plan, joined by commas; `recall_of_exact` is None for an exact route.
    """
    rows = [
        (name, route, taken.questions, ", ".join(taken.indexes), taken.recall_of_exact)
        for name, executed in runs.items()
        for route, taken in executed.routes.items()
    ]
    return pd.DataFrame(rows, columns=["strategy", "route", "queries", "indexes", "recall_of_exact"])
