"""One strategy over all questions: rankings and latencies, after a warm-up."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from carmenta_lab.postgres.connect import Database, as_user
from carmenta_lab.records import Query, Ranking, Run
from carmenta_lab.retrieval.retriever import Retriever
from carmenta_lab.retrieval.search import search
from carmenta_lab.retrieval.vector import VectorSearch
from carmenta_lab.schema.vector import Vector

WARM_UP = 10
"""Searches before the clock runs: connections are open, statements prepared, pages read."""


@dataclass(frozen=True)
class Executed:
    """A run with what it cost."""

    run: Run
    latency_ms: dict[str, float]  # per query: the search alone, its vector given and its transaction open
    recall_of_exact: float | None  # of an approximate route: share of the exact top k that it found


def execute(
    database: Database,
    strategy: str,
    retriever: Retriever,
    queries: tuple[Query, ...],
    vectors: dict[str, Vector],
    k: int,
    progress: Callable[[int], object],
) -> Executed:
    """Search every question as its user, in the order given."""
    rankings: list[Ranking] = []
    latency: dict[str, float] = {}
    for timed in (False, True):
        for query in queries if timed else queries[:WARM_UP]:
            with database.app_session() as session, as_user(session, query.user_id):
                start = time.perf_counter()
                ranking = search(session, retriever, query, k, vectors.get(query.query_id))
                elapsed = time.perf_counter() - start
            if timed:
                rankings.append(ranking)
                latency[query.query_id] = elapsed * 1000
                progress(1)
    return Executed(Run.of(strategy, rankings), latency, _recall(database, retriever, queries, vectors, rankings, k))


def _recall(
    database: Database,
    retriever: Retriever,
    queries: tuple[Query, ...],
    vectors: dict[str, Vector],
    rankings: list[Ranking],
    k: int,
) -> float | None:
    """Share of the exact nearest that approximate rankings found; None where none was approximate."""
    if not isinstance(retriever, VectorSearch):
        return None
    exact = replace(retriever, index=None)
    shares = []
    for query, ranking in zip(queries, rankings, strict=True):
        if ranking.route == "exact":
            continue
        with database.app_session() as session, as_user(session, query.user_id):
            true = search(session, exact, query, k, vectors.get(query.query_id)).sources()
        shares.append(len(set(true) & set(ranking.sources())) / max(1, len(true)))
    return sum(shares) / len(shares) if shares else None
