"""What do BM25 and fused strategies cost beyond their bare statement, and against `ts_rank_cd`?"""

from collections.abc import Callable
from dataclasses import replace

import psycopg

from carmenta_lab import strategies
from carmenta_lab.bench.measure import Result, alternate
from carmenta_lab.bench.searching import SEARCHES, Asker, asker, filled
from carmenta_lab.postgres.connect import Database, as_user
from carmenta_lab.retrieval.fulltext import FullTextSearch
from carmenta_lab.retrieval.fusion import ReciprocalRankFusion
from carmenta_lab.retrieval.prepared import prepared
from carmenta_lab.retrieval.retriever import END_OF_TIME, Retriever
from carmenta_lab.retrieval.search import search
from carmenta_lab.retrieval.vector import VectorSearch

COVER = FullTextSearch(match="any")
COVER_HYBRID = ReciprocalRankFusion(parts=(("vector", VectorSearch()), ("fulltext", COVER)))
HYBRIDS = ("hybrid_rrf", "hybrid_zscore")


def bm25(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """BM25 of a user with `rows` passages against its bare statement, and against `ts_rank_cd` of any word."""
    with filled(database, [(0, rows)], seed, words=True):
        return _both(asker(database, 0, seed), "bm25", strategies.load("bm25"), COVER, rows, repeats)


def hybrid(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """The fused strategies that are there, the same way; their counterpart fuses vectors with `ts_rank_cd`."""
    with filled(database, [(0, rows)], seed, words=True):
        one = asker(database, 0, seed)
        there = [name for name in HYBRIDS if name in strategies.names()]
        return [
            result for name in there for result in _both(one, name, strategies.load(name), COVER_HYBRID, rows, repeats)
        ]


def _both(one: Asker, name: str, retriever: Retriever, cover: Retriever, rows: int, repeats: int) -> list[Result]:
    with one.database.app_session() as session, as_user(session, one.query.user_id):
        raw = session.connection().connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        statement = prepared(retriever, retriever.route(session, one.query))  # type: ignore[arg-type]  # frozen
        fixed = {"user_id": one.query.user_id, "asked_at": END_OF_TIME, "config": "pg_catalog.english"}

        def bare() -> None:
            for vector, text in zip(one.vectors, one.texts, strict=True):
                values = statement.values({**fixed, "vector": vector, "text": text}, 17)
                raw.execute(statement.text, values, prepare=True, binary=True).fetchall()

        def through(searched: Retriever) -> Callable[[], None]:
            def ask() -> None:
                for vector, text in zip(one.vectors, one.texts, strict=True):
                    search(session, searched, replace(one.query, text=text), 10, vector)

            return ask

        limit, ours = alternate(bare, through(retriever), repeats, warm_up=3)
        against, again = alternate(through(cover), through(retriever), max(3, repeats // 3))
    what = "the same statement on psycopg, prepared, binary"
    what_cover = "the same with ts_rank_cd of any word in place of BM25"
    return [
        Result(name, limit / SEARCHES, ours / SEARCHES, rows, repeats, what),
        Result(f"{name}_against_ts_rank_cd", against / SEARCHES, again / SEARCHES, rows, repeats, what_cover),
    ]
