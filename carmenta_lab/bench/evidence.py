"""What does `evidence` cost beyond the two searches that find its candidates, and through the graph of many vectors?"""

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from uuid import UUID

import numpy as np
import psycopg
from numpy.typing import NDArray
from pgvector import Bit
from psycopg import sql
from sqlalchemy.orm import Session

from carmenta_lab import strategies
from carmenta_lab.bench.generate import texts, vectors, write_folder
from carmenta_lab.bench.ingest import write_vectors
from carmenta_lab.bench.measure import Result, alternate
from carmenta_lab.bench.searching import empty
from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.experiment.searching import fixed
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.kinds import KINDS
from carmenta_lab.indexing.vectors import table_name
from carmenta_lab.ingest.load import load
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.copying import copy
from carmenta_lab.records import Query, Ranking
from carmenta_lab.retrieval.question import Question
from carmenta_lab.retrieval.retriever import Retriever
from carmenta_lab.retrieval.search import search, understand

CODES = 13
"""Codes a message: as many as short chat messages have after stop words."""
BITS = 384
FEW = 600
"""Messages of a user whose search is as good as free."""
ASKED = 10

STRATEGIES = ("evidence", "evidence_lean")
_COLUMNS = (("user_id", "uuid"), ("passage_id", "uuid"), ("codes", "bit[]"), ("question_codes", "bit[]"))


def evidence(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Users of 600 and of `rows` messages in conversations: each strategy against one exact and one BM25 search.

    Then for the larger one, under a graph, the strategy as it is against itself with exact candidates. Vectors and
    codes are generated, as they cost the same to compare; what the query's own vectors cost is left out.
    """
    return [result for size in (FEW, rows) for result in _measure(database, size, repeats, seed)]


def _measure(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    empty(database)
    try:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / f"bench-evidence-{rows}"
            write_folder(folder, rows, users=1, seed=seed)
            write_vectors(folder, rows, seed, DEFAULT_MODEL)
            load(database, folder, models=())
        _write_codes(database, seed)
        found = _compared(database, rows, repeats, seed)
        if rows > FEW:
            approximate.build(database.owner, table_name(DEFAULT_MODEL), KINDS["halfvec"], memory_mb=512)
            found += _through_the_graph(database, rows, repeats, seed)
        return found
    finally:
        empty(database)


def _write_codes(database: Database, seed: int) -> None:
    with database.owner.begin() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        keys = raw.execute("SELECT user_id, id FROM search.passages ORDER BY user_id, id").fetchall()
        drawn = np.random.default_rng(seed).integers(0, 256, (len(keys), CODES, BITS // 8), np.uint8)
        raw.execute("CREATE TEMP TABLE drawn ON COMMIT DROP AS SELECT * FROM search.token_codes WITH NO DATA")
        coded = (
            (user, key, [Bit(code.tobytes()) for code in codes]) for (user, key), codes in zip(keys, drawn, strict=True)
        )
        copy(raw, sql.Identifier("drawn"), _COLUMNS, ((*row, row[2][:2]) for row in coded))
        raw.execute("INSERT INTO search.token_codes SELECT * FROM drawn")
    with database.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def _asked(database: Database, seed: int) -> tuple[UUID, list[Query], NDArray[np.float32]]:
    """The only user, her questions, and vectors for them about the topics of her messages."""
    with database.owner_session() as session:
        user: UUID = session.connection().exec_driver_sql("SELECT id FROM carmenta.users").scalar_one()
    said = [" ".join(words.split()[:8]) for words in texts(ASKED, seed + 1)]
    return user, [Query(f"q{n}", user, words) for n, words in enumerate(said)], vectors(ASKED, BITS, seed, stream=1)


def _understood(
    session: Session, strategy: Retriever, queries: list[Query], near: NDArray[np.float32]
) -> list[tuple[Query, Question]]:
    """The questions as the strategy reads them, with generated vectors."""
    return [(q, replace(understand(session, strategy, q), vector=v)) for q, v in zip(queries, near, strict=True)]


def _through_the_graph(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    user, queries, near = _asked(database, seed)
    found = []
    with database.user_session(user) as session:
        for name in STRATEGIES:
            strategy = strategies.load(name)
            asked = _understood(session, strategy, queries, near)

            def ask(searched: Retriever, asked: list[tuple[Query, Question]] = asked) -> list[Ranking]:
                return [search(session, searched, query, 10, question=question) for query, question in asked]

            ways = [partial(ask, searched) for searched in (fixed(strategy, "exact"), strategy)]
            exact, graph = (way() for way in ways)
            shares = [len({*a.sources()} & {*b.sources()}) / len(a.hits) for a, b in zip(exact, graph, strict=True)]
            limit_ms, ours_ms = alternate(ways[0], ways[1], repeats, warm_up=2)
            what = f"the same with exact candidates, of whose hits {graph[0].route} finds {fmean(shares):.3f}"
            found.append(Result(f"{name}_{rows}_near", limit_ms / ASKED, ours_ms / ASKED, rows, repeats, what))
    return found


def _compared(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    vector, words = strategies.load("vector_exact"), strategies.load("bm25")
    user, queries, near = _asked(database, seed)
    found = []
    with database.user_session(user) as session:
        for name in STRATEGIES:
            strategy = strategies.load(name)
            asked = _understood(session, strategy, queries, near)

            def limit(asked: list[tuple[Query, Question]] = asked) -> None:
                for query, question in asked:
                    search(session, vector, query, 10, question.vector)
                    search(session, words, query, 10)

            def ours(asked: list[tuple[Query, Question]] = asked, strategy: Retriever = strategy) -> None:
                for query, question in asked:
                    search(session, strategy, query, 10, question=question)

            limit_ms, ours_ms = alternate(limit, ours, repeats, warm_up=2)
            what = "one exact vector search and one BM25 search of the same user"
            found.append(Result(f"{name}_{rows}", limit_ms / ASKED, ours_ms / ASKED, rows, repeats, what))
    return found
