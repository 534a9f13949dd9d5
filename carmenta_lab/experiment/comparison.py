"""The result of a comparison: tidy frames, and the same as plain values that an earlier run can be read from."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from carmenta_lab import display
from carmenta_lab.experiment.frames import DIGITS
from carmenta_lab.experiment.questions import Questions
from carmenta_lab.experiment.running import Executed
from carmenta_lab.experiment.tables import changes_tables, comparison_table, comparison_tables

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
    runs: dict[str, Executed] = field(repr=False)
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
        """What is printed of it, and routes, paired differences, categories and users as well."""
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
