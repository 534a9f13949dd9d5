"""Strategies against each other on the questions of a dataset: quality with intervals, latency, circumstances."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

import numpy as np
import pandas as pd

from carmenta_lab import strategies as registry
from carmenta_lab.embedding import load_embedder
from carmenta_lab.errors import UsageError
from carmenta_lab.evaluation import interval, paired, parse, score, unjudged
from carmenta_lab.experiment.circumstances import circumstances
from carmenta_lab.experiment.questions import Questions, read_questions, vectors_needed
from carmenta_lab.experiment.running import Executed, execute
from carmenta_lab.experiment.store import store
from carmenta_lab.postgres.connect import Database
from carmenta_lab.retrieval.retriever import Retriever, kinds
from carmenta_lab.schema.vector import Vector

SEED = 7

Progress = Callable[[str, int, int | None], object]


@dataclass(frozen=True)
class Comparison:
    """Tidy frames of one comparison."""

    dataset: str
    queries: int  # judged ones
    strategies: tuple[str, ...]
    quality: pd.DataFrame  # strategy, measure, mean, low, high
    categories: pd.DataFrame  # strategy, category, measure, mean, queries
    differences: pd.DataFrame  # strategy, baseline, measure, mean, low, high, won, lost, tied
    latency: pd.DataFrame  # strategy, p50_ms, p95_ms, rows_returned, routes, coverage, recall_of_exact
    scores: pd.DataFrame  # strategy, query_id, user, category, measure, value
    circumstances: dict[str, Any]
    runs: dict[str, Executed] = field(repr=False)
    questions: Questions = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain values."""
        found: dict[str, Any] = {}
        for name in self.strategies:
            quality = self.quality[self.quality.strategy == name].set_index("measure")[["mean", "low", "high"]]
            entry: dict[str, Any] = {str(measure): row for measure, row in quality.to_dict(orient="index").items()}
            cost = self.latency[self.latency.strategy == name].iloc[0]
            entry["latency_ms"] = {"p50": float(cost.p50_ms), "p95": float(cost.p95_ms)}
            entry["rows_returned"] = float(cost.rows_returned)
            entry["routes"] = cost.routes
            entry["coverage"] = float(cost.coverage)
            entry["recall_of_exact"] = None if pd.isna(cost.recall_of_exact) else float(cost.recall_of_exact)
            found[name] = entry
        differences = self.differences.to_dict(orient="records")
        return {
            "dataset": self.dataset,
            "queries": self.queries,
            "strategies": found,
            "differences": differences,
            "circumstances": self.circumstances,
        }


def compare(
    database: Database,
    dataset: str,
    strategies: Sequence[str],
    measures: Sequence[str] = ("ndcg@10", "recall@10"),
    k: int = 10,
    *,
    baseline: str | None = None,
    resample: Literal["query", "user"] = "query",
    seed: int = SEED,
    keep: bool = True,
    progress: Progress = lambda stage, done, total: None,
) -> Comparison:
    """Run strategies over the judged questions of a loaded dataset.

    Strategies are names or paths of files; the first is the baseline unless another is named. Intervals are
    bootstrapped over questions, or over users (wider: they speak about other users). `keep` stores runs, hits and
    scores in the lab. Deterministic but for latency and for what an approximate index finds. UsageError when `k`
    is below the depth of a measure.
    """
    if not strategies:
        raise UsageError("no strategy to compare: name at least one.")
    parsed = [parse(name) for name in measures]
    for measure in parsed:
        if measure.k is not None and measure.k > k:
            raise UsageError(f"{measure} looks at {measure.k} hits and k is {k}: raise k to {measure.k} or more.")
    retrievers: dict[str, Retriever] = {registry.title(name): registry.load(name) for name in strategies}
    baseline = registry.title(baseline or strategies[0])
    if baseline not in retrievers:
        raise UsageError(f"the baseline {baseline} is not among the strategies: {', '.join(retrievers)}.")
    with database.owner_session() as session:
        questions = read_questions(session, dataset)
    runs, rows = {}, []
    vectors = {model: _embed(model, questions) for model in vectors_needed([r.model for r in retrievers.values()])}
    for name, retriever in retrievers.items():
        progress(name, 0, len(questions.queries))
        runs[name] = execute(
            database,
            name,
            retriever,
            questions.queries,
            vectors.get(retriever.model or "", {}),
            k,
            lambda done, name=name: progress(name, done, len(questions.queries)),  # type: ignore[misc]
        )
        for found in score(questions.qrels(kinds(retriever)), runs[name].run, parsed):
            rows.append((name, found.query_id, found.measure, found.value))
    scores = _labelled(pd.DataFrame(rows, columns=["strategy", "query_id", "measure", "value"]), questions)
    everything = questions.qrels({"message", "memory", "document"})
    result = Comparison(
        dataset=dataset,
        queries=len(everything) - unjudged(everything),
        strategies=tuple(retrievers),
        quality=_quality(scores, seed, resample),
        categories=_categories(scores),
        differences=_differences(scores, baseline, seed, resample),
        latency=_latency(runs, retrievers, questions),
        scores=scores,
        circumstances=circumstances(database, questions, {name: repr(r) for name, r in retrievers.items()})
        | {"k": k, "seed": seed, "resample": resample, "baseline": baseline, "unjudged_queries": unjudged(everything)},
        runs=runs,
        questions=questions,
    )
    if keep:
        store(database, result, {name: repr(retriever) for name, retriever in retrievers.items()})
    return result


def _embed(model: str, questions: Questions) -> dict[str, Vector]:
    """The vector of every question, by its id."""
    embedder = load_embedder(model)
    return {query.query_id: embedder.embed_query(query.text) for query in questions.queries}


def _labelled(scores: pd.DataFrame, questions: Questions) -> pd.DataFrame:
    users = {query.query_id: questions.user_names[query.user_id] for query in questions.queries}
    categories = {query.query_id: query.category for query in questions.queries}
    scores.insert(2, "user", scores.query_id.map(users))
    scores.insert(3, "category", scores.query_id.map(categories))
    return scores


def _quality(scores: pd.DataFrame, seed: int, resample: str) -> pd.DataFrame:
    rows = []
    for (strategy, measure), group in scores.groupby(["strategy", "measure"], sort=False):
        found = interval(group.value.tolist(), seed, group.user.tolist() if resample == "user" else None)
        rows.append((strategy, measure, found.mean, found.low, found.high))
    return pd.DataFrame(rows, columns=["strategy", "measure", "mean", "low", "high"])


def _categories(scores: pd.DataFrame) -> pd.DataFrame:
    groups = scores.groupby(["strategy", "category", "measure"], sort=False).value.agg(["mean", "count"])
    return groups.reset_index().rename(columns={"count": "queries"})


def _differences(scores: pd.DataFrame, baseline: str, seed: int, resample: str) -> pd.DataFrame:
    """Paired over the questions that both strategies are judged on."""
    rows = []
    base = scores[scores.strategy == baseline].set_index(["query_id", "measure"]).value
    for (strategy, measure), group in scores.groupby(["strategy", "measure"], sort=False):
        if strategy == baseline:
            continue
        both = group.assign(base=[base.get((query, measure), np.nan) for query in group.query_id]).dropna(subset="base")
        users = both.user.tolist() if resample == "user" else None
        d = paired(both.value.tolist(), both.base.tolist(), seed, users)
        rows.append((strategy, baseline, measure, d.mean, d.low, d.high, d.won, d.lost, d.tied))
    columns = ["strategy", "baseline", "measure", "mean", "low", "high", "won", "lost", "tied"]
    return pd.DataFrame(rows, columns=columns)


def _latency(runs: dict[str, Executed], retrievers: dict[str, Retriever], questions: Questions) -> pd.DataFrame:
    rows = []
    for name, executed in runs.items():
        milliseconds = list(executed.latency_ms.values())
        rankings = executed.run.rankings.values()
        routes = ", ".join(sorted({ranking.route for ranking in rankings}))
        returned = fmean(len(ranking.hits) for ranking in rankings)
        p50, p95 = (float(np.percentile(milliseconds, p)) for p in (50, 95))
        coverage = questions.coverage(kinds(retrievers[name]))
        rows.append((name, p50, p95, returned, routes, coverage, executed.recall_of_exact))
    columns = ["strategy", "p50_ms", "p95_ms", "rows_returned", "routes", "coverage", "recall_of_exact"]
    return pd.DataFrame(rows, columns=columns)
