"""One strategy over all questions: what the model makes of them, rankings, latencies, plans, recall against exact."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias, TypedDict

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from carmenta_lab.experiment.questions import vectors_needed
from carmenta_lab.postgres.connect import Database, as_user
from carmenta_lab.postgres.statement import driver, only
from carmenta_lab.records import Query, Ranking, Run
from carmenta_lab.retrieval.question import Question
from carmenta_lab.retrieval.retriever import Limit, Need, PythonRetriever, Retriever, SqlRetriever, Variant, exactly
from carmenta_lab.retrieval.search import query_vector, search, understand
from carmenta_lab.schema.vector import Vector


class EncodedQuestion(TypedDict, total=False):
    """What `search` is given of a question beside its text, by the names of its parameters."""

    vector: Vector
    question: Question


def encode(
    database: Database, retrievers: Mapping[str, Retriever], queries: Sequence[Query]
) -> dict[str, dict[str, EncodedQuestion]]:
    """What each strategy needs of each question, by strategy and query id.

    Strategies of one model share its vectors.
    """
    plain = {name: r.model for name, r in retrievers.items() if "vector" in r.needs and "question" not in r.needs}
    vectors = {model: _vectors(model, queries) for model in vectors_needed([*plain.values()])}
    found: dict[str, dict[str, EncodedQuestion]] = {}
    read: dict[_Key, Question] = {}
    for name, retriever in retrievers.items():
        of_model = vectors.get(plain.get(name) or "", {})
        found[name] = {query_id: EncodedQuestion(vector=vector) for query_id, vector in of_model.items()}
        if "question" in retriever.needs:
            found[name] = _questions(database, retriever, queries, read)
    return found


def _vectors(model: str, queries: Sequence[Query]) -> dict[str, Vector]:
    """One at a time, as a search does it: in a batch a vector differs by rounding."""
    return {query.query_id: query_vector(model, query) for query in queries}


_Key: TypeAlias = tuple[str, str | None, frozenset[Need]]
"""Query id, model, and what is needed: all that a question's reading depends on."""


def _questions(
    database: Database, retriever: Retriever, queries: Sequence[Query], read: dict[_Key, Question]
) -> dict[str, EncodedQuestion]:
    """The model is asked once for each question, whichever strategy came first; `read` keeps what it said."""
    found = {}
    with database.app_session() as session:
        for query in queries:
            key = query.query_id, retriever.model, retriever.needs
            if key not in read:
                with as_user(session, query.user_id):
                    read[key] = understand(session, retriever, query)
            found[query.query_id] = EncodedQuestion(question=read[key])
    return found


@dataclass(frozen=True)
class _Fixed(SqlRetriever):
    """A retriever whose route is decided; everything else is the retriever's own."""

    of: SqlRetriever
    way: str

    @property
    def units(self) -> tuple[str, ...]:
        return self.of.units

    @property
    def model(self) -> str | None:
        return self.of.model

    @property
    def needs(self) -> frozenset[Need]:
        return self.of.needs

    def shortened(self, text: str) -> tuple[str, bool]:
        return self.of.shortened(text)

    def route(self, session: Session, query: Query) -> str:
        return self.way

    def variants(self) -> Mapping[str, Variant]:
        return {name: Variant(fixed(each.retriever, self.way), each.note) for name, each in self.of.variants().items()}

    def tables(self) -> Mapping[str, tuple[str, ...]]:
        return self.of.tables()

    def statement(self, route: str, limit: Limit = None) -> Select[Any]:
        return self.of.statement(route, limit)

    def settings(self, route: str) -> Mapping[str, str]:
        return self.of.settings(route)


def fixed(retriever: Retriever, route: str) -> Retriever:
    """The retriever, confined to one of its routes whatever the counted rows say; one in Python has one alone."""
    return retriever if isinstance(retriever, PythonRetriever) else _Fixed(retriever, route)


def indexes_used(
    session: Session, retriever: Retriever, query: Query, k: int, encoded: EncodedQuestion, route: str
) -> tuple[str, ...]:
    """Names of the indexes in the plans of what a search by this route executes, in their order, each once.

    Every SELECT that reaches the server is explained with its parameters, under the settings of the route. Empty:
    the plans read whole tables. To be called within `as_user(session, query.user_id)`, at the end of a
    transaction: the settings stay until it ends.
    """
    raw = driver(session)
    with raw.hearing() as heard:
        search(session, fixed(retriever, route), query, k, **encoded)
    settings = {} if isinstance(retriever, PythonRetriever) else retriever.settings(route)
    if settings:
        session.execute(select(*(func.set_config(name, value, True) for name, value in settings.items())))
    found: dict[str, None] = {}
    for text, parameters in heard:
        if text.lstrip().upper().startswith(("SELECT", "WITH")):
            [plan] = only(raw.execute(f"EXPLAIN (FORMAT JSON) {text}".encode(), parameters))
            found.update(dict.fromkeys(_indexes(plan["Plan"])))
    return tuple(found)


def _indexes(node: Mapping[str, Any]) -> Iterator[str]:
    """Of what is searched: names that begin with pg_ are the catalogue's, and `pk_outbox` is that of the notes."""
    if "Index Name" in node and not node["Index Name"].startswith(("pg_", "pk_outbox")):
        yield node["Index Name"]
    for child in node.get("Plans", ()):
        yield from _indexes(child)


WARM_UP = 10
"""Searches before the clock runs, spread over the questions: connections are open, statements prepared, pages read."""


@dataclass(frozen=True)
class RouteUse:
    """How the questions that took one route were searched."""

    questions: int
    indexes: tuple[str, ...]  # of the plan of the first of them; empty: whole tables were read
    recall_of_exact: float | None  # of an approximate route: mean share of the exact top k that it found


@dataclass(frozen=True)
class ExecutedRun:
    """The run of one strategy, with its latencies and routes."""

    run: Run
    latency_ms: dict[str, float]  # per query: the search alone, its vector given and its transaction open
    routes: dict[str, RouteUse]  # by the route's name, in order of appearance

    @property
    def recall_of_exact(self) -> float | None:
        """Mean recall over all questions that were searched approximately, 0..1; None where none was."""
        known = [(taken.questions, taken.recall_of_exact) for taken in self.routes.values()]
        shares = [(questions, recall) for questions, recall in known if recall is not None]
        return sum(n * recall for n, recall in shares) / sum(n for n, _ in shares) if shares else None


def execute(
    database: Database,
    strategy: str,
    retriever: Retriever,
    queries: Sequence[Query],
    encoded: Mapping[str, EncodedQuestion],
    k: int,
    progress: Callable[[int], object] = lambda done: None,
) -> ExecutedRun:
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
    return ExecutedRun(Run.of(strategy, rankings), latency, _routes(database, retriever, queries, encoded, rankings, k))


def execute_in_turn(
    database: Database,
    retrievers: Mapping[str, Retriever],
    queries: Sequence[Query],
    encoded: Mapping[str, EncodedQuestion],
    k: int,
    progress: Callable[[int], object] = lambda done: None,
) -> dict[str, ExecutedRun]:
    """Search every question by all retrievers before the next question, so that latencies compare pairwise.

    Like `execute`, for several retrievers, which share what is encoded. The first question of each user is searched
    once before its clock runs.
    """
    rankings: dict[str, list[Ranking]] = {name: [] for name in retrievers}
    latency: dict[str, dict[str, float]] = {name: {} for name in retrievers}
    for user_id, group in groupby(queries, key=lambda query: query.user_id):
        asked = list(group)
        with database.user_session(user_id) as session:
            for place, query in enumerate((asked[0], *asked)):
                for name, retriever in retrievers.items():
                    start = time.perf_counter()
                    ranking = search(session, retriever, query, k, **encoded.get(query.query_id, EncodedQuestion()))
                    if place:
                        latency[name][query.query_id] = (time.perf_counter() - start) * 1000
                        rankings[name].append(ranking)
                progress(int(place > 0))
    return {
        name: ExecutedRun(
            Run.of(name, rankings[name]),
            latency[name],
            _routes(database, retriever, queries, encoded, rankings[name], k),
        )
        for name, retriever in retrievers.items()
    }


def _searched(
    database: Database, retriever: Retriever, queries: Sequence[Query], encoded: Mapping[str, EncodedQuestion], k: int
) -> Iterator[tuple[Ranking, float]]:
    """Every question's ranking and the milliseconds of its search."""
    for user_id, asked in groupby(queries, key=lambda query: query.user_id):
        with database.user_session(user_id) as session:
            for query in asked:
                given = encoded.get(query.query_id, EncodedQuestion())
                start = time.perf_counter()
                ranking = search(session, retriever, query, k, **given)
                yield ranking, (time.perf_counter() - start) * 1000


def _routes(
    database: Database,
    retriever: Retriever,
    queries: Sequence[Query],
    encoded: Mapping[str, EncodedQuestion],
    rankings: Sequence[Ranking],
    k: int,
) -> dict[str, RouteUse]:
    """What every route was used for, with the plan of its first question."""
    found: dict[str, RouteUse] = {}
    for route in dict.fromkeys(ranking.route for ranking in rankings):
        mine = [(q, ranking) for q, ranking in zip(queries, rankings, strict=True) if ranking.route == route]
        first = mine[0][0]
        given = encoded.get(first.query_id, EncodedQuestion())
        with database.user_session(first.user_id) as session:
            indexes = indexes_used(session, retriever, first, k, given, route)
        recall = None
        if (exact := exactly(route)) != route:
            asked = [query for query, _ in mine]
            true = _searched(database, fixed(retriever, exact), asked, encoded, k)
            shares = [_share(best, ranking) for (best, _), (_, ranking) in zip(true, mine, strict=True)]
            recall = sum(shares) / len(shares)
        found[route] = RouteUse(len(mine), indexes, recall)
    return found


def _share(exact: Ranking, found: Ranking) -> float:
    """Share of the exact sources that were found; nothing to find is found."""
    true = set(exact.sources())
    return len(true & set(found.sources())) / len(true) if true else 1.0
