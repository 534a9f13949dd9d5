"""One strategy over all questions: rankings, latencies after a warm-up, the plans used, and recall against exact."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from carmenta_lab.experiment.encoding import Encoded
from carmenta_lab.experiment.plans import fixed, indexes_used
from carmenta_lab.postgres.connect import Database
from carmenta_lab.records import Query, Ranking, Run
from carmenta_lab.retrieval.retriever import Retriever, exactly
from carmenta_lab.retrieval.search import search

WARM_UP = 10
"""Searches before the clock runs, spread over the questions: connections are open, statements prepared, pages read."""


@dataclass(frozen=True)
class Taken:
    """How some of the questions were searched."""

    questions: int
    indexes: tuple[str, ...]  # of the plan of the first of them; empty: whole tables were read
    recall_of_exact: float | None  # of an approximate route: mean share of the exact top k that it found


@dataclass(frozen=True)
class Executed:
    """A run with what it cost."""

    run: Run
    latency_ms: dict[str, float]  # per query: the search alone, its vector given and its transaction open
    routes: dict[str, Taken]  # by the route's name, in order of appearance

    @property
    def recall_of_exact(self) -> float | None:
        """Mean over all questions that were searched approximately; None where none was."""
        known = [(taken.questions, taken.recall_of_exact) for taken in self.routes.values()]
        shares = [(questions, recall) for questions, recall in known if recall is not None]
        return sum(n * recall for n, recall in shares) / sum(n for n, _ in shares) if shares else None


def execute(
    database: Database,
    strategy: str,
    retriever: Retriever,
    queries: Sequence[Query],
    encoded: Mapping[str, Encoded],
    k: int,
    progress: Callable[[int], object] = lambda done: None,
) -> Executed:
    """Search every question as its user, in the order given: one transaction for questions of one user in a row.

    `encoded` says by query id what the strategy needs beside the text. `progress` is called with the number of
    questions answered since its last call.
    """
    spread = queries[:: max(1, len(queries) // WARM_UP)][:WARM_UP]
    for _ in _searched(database, retriever, spread, encoded, k):
        pass
    rankings: list[Ranking] = []
    latency: dict[str, float] = {}
    for ranking, milliseconds in _searched(database, retriever, queries, encoded, k):
        rankings.append(ranking)
        latency[ranking.query_id] = milliseconds
        progress(1)
    return Executed(Run.of(strategy, rankings), latency, _routes(database, retriever, queries, encoded, rankings, k))


def execute_in_turn(
    database: Database,
    retrievers: Mapping[str, Retriever],
    queries: Sequence[Query],
    encoded: Mapping[str, Encoded],
    k: int,
    progress: Callable[[int], object] = lambda done: None,
) -> dict[str, Executed]:
    """The same for several retrievers, each question by all of them before the next: latencies compare one by one.

    They share what is encoded. The first question of each user is searched once before its clock runs.
    """
    rankings: dict[str, list[Ranking]] = {name: [] for name in retrievers}
    latency: dict[str, dict[str, float]] = {name: {} for name in retrievers}
    for user_id, group in groupby(queries, key=lambda query: query.user_id):
        asked = list(group)
        with database.user_session(user_id) as session:
            for place, query in enumerate((asked[0], *asked)):
                for name, retriever in retrievers.items():
                    start = time.perf_counter()
                    ranking = search(session, retriever, query, k, **encoded.get(query.query_id, Encoded()))
                    if place:
                        latency[name][query.query_id] = (time.perf_counter() - start) * 1000
                        rankings[name].append(ranking)
                progress(int(place > 0))
    return {
        name: Executed(
            Run.of(name, rankings[name]),
            latency[name],
            _routes(database, retriever, queries, encoded, rankings[name], k),
        )
        for name, retriever in retrievers.items()
    }


def _searched(
    database: Database, retriever: Retriever, queries: Sequence[Query], encoded: Mapping[str, Encoded], k: int
) -> Iterator[tuple[Ranking, float]]:
    """Every question's ranking and the milliseconds of its search."""
    for user_id, asked in groupby(queries, key=lambda query: query.user_id):
        with database.user_session(user_id) as session:
            for query in asked:
                given = encoded.get(query.query_id, Encoded())
                start = time.perf_counter()
                ranking = search(session, retriever, query, k, **given)
                yield ranking, (time.perf_counter() - start) * 1000


def _routes(
    database: Database,
    retriever: Retriever,
    queries: Sequence[Query],
    encoded: Mapping[str, Encoded],
    rankings: Sequence[Ranking],
    k: int,
) -> dict[str, Taken]:
    """What every route was used for, with the plan of its first question."""
    found: dict[str, Taken] = {}
    for route in dict.fromkeys(ranking.route for ranking in rankings):
        mine = [(q, ranking) for q, ranking in zip(queries, rankings, strict=True) if ranking.route == route]
        first = mine[0][0]
        given = encoded.get(first.query_id, Encoded())
        with database.user_session(first.user_id) as session:
            indexes = indexes_used(session, retriever, first, k, given, route)
        recall = None
        if (exact := exactly(route)) != route:
            asked = [query for query, _ in mine]
            true = _searched(database, fixed(retriever, exact), asked, encoded, k)
            shares = [_share(best, ranking) for (best, _), (_, ranking) in zip(true, mine, strict=True)]
            recall = sum(shares) / len(shares)
        found[route] = Taken(len(mine), indexes, recall)
    return found


def _share(exact: Ranking, found: Ranking) -> float:
    """Share of the exact sources that were found; nothing to find is found."""
    true = set(exact.sources())
    return len(true & set(found.sources())) / len(true) if true else 1.0
