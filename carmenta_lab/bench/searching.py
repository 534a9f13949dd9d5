"""What does a search cost beyond its bare prepared statement: exact, by index, filtered, in a session of its own?"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any
from uuid import UUID

import psycopg
from numpy.typing import NDArray
from pgvector import HalfVector
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from carmenta_lab.bench.filling import fill, questions, user_id
from carmenta_lab.bench.measure import Result, alternate
from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.kinds import KINDS
from carmenta_lab.indexing.vectors import table_name
from carmenta_lab.postgres.connect import Database
from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import END_OF_TIME, SEARCHED, Retriever
from carmenta_lab.retrieval.search import search
from carmenta_lab.retrieval.vector import VectorSearch

SEARCHES = 20
"""Searches a measurement."""

EXACT = VectorSearch()
GRAPH = VectorSearch(index="halfvec", ef_search=100, exact_up_to=0)

_NEAREST = """
    SELECT passage_id, source_id, unit, {distance} AS distance FROM search.{table}
    WHERE user_id = %(user_id)s AND unit = ANY(%(units)s) AND (created_at IS NULL OR created_at <= %(asked_at)s)
    ORDER BY distance, passage_id LIMIT 10
"""

_SAME = "the same question as a prepared statement on psycopg, binary, its transaction open"


@dataclass(frozen=True)
class Asker:
    """One user's questions, ours and bare, over one open transaction."""

    database: Database
    number: int
    vectors: NDArray[Any]
    texts: list[str]

    @cached_property
    def query(self) -> Query:
        """A question of this user."""
        return Query("bench", user_id(self.number), "bench")

    @contextmanager
    def bare(self, table: str, retriever: VectorSearch) -> Iterator[Callable[[], None]]:
        """The nearest vectors as a prepared statement; what the index needs is set once, before."""
        route = retriever.index or "exact"
        distance = "embedding <=> %(vector)s" if retriever.index else "(embedding <=> %(vector)s) + 0"
        statement = _NEAREST.format(table=table, distance=distance).encode()
        values = {"user_id": user_id(self.number), "units": list(SEARCHED), "asked_at": END_OF_TIME}
        with self.database.user_session(user_id(self.number)) as session:
            raw = session.connection().connection.driver_connection
            assert isinstance(raw, psycopg.Connection)
            raw.execute("SELECT '[1]'::vector")
            for name, value in retriever.settings(route).items():
                raw.execute("SELECT set_config(%s, %s, true)", (name, value))

            def ask() -> None:
                for vector in self.vectors:
                    given = values | {"vector": HalfVector(vector)}
                    raw.execute(statement, given, prepare=True, binary=True).fetchall()

            yield ask

    @contextmanager
    def ours(self, retriever: Retriever) -> Iterator[Callable[[], None]]:
        """The same through `search`, in one session."""
        with self.database.user_session(user_id(self.number)) as session:

            def ask() -> None:
                for vector in self.vectors:
                    search(session, retriever, self.query, 10, vector)

            yield ask

    def opened(self, retriever: Retriever, way: Callable[[UUID], AbstractContextManager[Session | Connection]]) -> None:
        """The same with a transaction opened for each search."""
        for vector in self.vectors:
            with way(self.query.user_id) as session:
                search(session, retriever, self.query, 10, vector)


@contextmanager
def filled(database: Database, sizes: list[tuple[int, int]], seed: int, words: bool = False) -> Iterator[str]:
    """Users (number, rows) and nobody else for the time of a bench; gives the table of their vectors."""
    empty(database)
    try:
        yield fill(database, sizes, seed, words)
    finally:
        empty(database)


def empty(database: Database) -> None:
    """Take away all users, and the approximate indexes of the benches' vectors."""
    with database.owner.begin() as connection:
        connection.exec_driver_sql("TRUNCATE carmenta.users, lab.datasets CASCADE")
    for kind in KINDS:
        approximate.drop(database.owner, table_name(DEFAULT_MODEL), kind)


def asker(database: Database, number: int, seed: int) -> Asker:
    """The questions of a generated user."""
    return Asker(database, number, *questions(number, SEARCHES, seed))


def _result(name: str, pair: tuple[float, float], rows: int, repeats: int, what: str = _SAME) -> Result:
    return Result(name, pair[0] / SEARCHES, pair[1] / SEARCHES, rows, repeats, what)


def searching(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Top 10 of a user with `rows` vectors, who are all there are: exact and through a graph; and of one with 600."""
    found = []
    with filled(database, [(0, 600), (1, rows)], seed) as table:
        approximate.build(database.owner, table, KINDS["halfvec"], memory_mb=512)
        for number, size, name, retriever in (
            (0, 600, "search_600", EXACT),
            (1, rows, "search_exact", EXACT),
            (1, rows, "search_index", GRAPH),
        ):
            one = asker(database, number, seed)
            with one.bare(table, retriever) as limit, one.ours(retriever) as ours:
                found.append(_result(name, alternate(limit, ours, repeats, warm_up=3), size, repeats))
                if retriever is GRAPH:
                    for kind, way in (("connection", database.user_connection), ("session", database.user_session)):
                        opens = partial(way, late=True)
                        pair = alternate(limit, partial(one.opened, GRAPH, opens), repeats, warm_up=3)
                        found.append(_result(f"search_{kind}", pair, size, repeats))
    return found


def filtered(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """A user with 1 % of the rows among users of as many: exact against bare, and against an iterative index scan."""
    size = max(10, rows // 100)
    with filled(database, [(number, size) for number in range(100)], seed) as table:
        approximate.build(database.owner, table, KINDS["halfvec"], memory_mb=512)
        one = asker(database, 50, seed)
        with one.bare(table, EXACT) as limit, one.ours(EXACT) as ours, one.ours(GRAPH) as graph:
            first = _result("filtered", alternate(limit, ours, repeats, warm_up=3), size, repeats)
            against = alternate(graph, ours, max(3, repeats // 3), warm_up=1)
    return [first, _result("filtered_against_index", against, size, repeats, "an iterative scan of the graph index")]
