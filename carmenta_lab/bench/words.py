"""What do BM25 and fused strategies cost beyond their bare statement, and against `ts_rank_cd` of the same words?

A user among 99 others with as many passages each, so that tables, indexes and statistics of the planner are those of a
product, not of a single user. Texts are those of `generate.said`: 32 words on average, common and rare ones as frequent
as in English. Questions are 13 such words about the user's topics, of which eight are no stop words; they are joined by
OR on both sides. `ts_rank_cd` reads the user's rows by their primary key: row-level security keeps the operator `@@`
from an index.
"""

from collections.abc import Callable
from dataclasses import replace

import psycopg

from carmenta_lab import strategies
from carmenta_lab.bench.filling import asked, questions
from carmenta_lab.bench.measure import Result, alternate
from carmenta_lab.bench.searching import SEARCHES, Asker, filled
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

USERS = 100
ASKED = USERS // 2
"""The user who asks, by number."""


def bm25(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """BM25 of a user with `rows` passages against its bare statement, and against `ts_rank_cd`: searches, then bare."""
    with filled(database, [(number, rows) for number in range(USERS)], seed, words=True):
        return _compared(_asker(database, ASKED, seed), "bm25", strategies.load("bm25"), COVER, rows, repeats)


def hybrid(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """The fused strategies that are there, of a user alone; their counterpart fuses vectors with `ts_rank_cd`."""
    with filled(database, [(0, rows)], seed, words=True):
        one = _asker(database, 0, seed)
        there = [name for name in HYBRIDS if name in strategies.names()]
        return [
            result
            for name in there
            for result in _compared(one, name, strategies.load(name), COVER_HYBRID, rows, repeats)
        ]


def _asker(database: Database, number: int, seed: int) -> Asker:
    return Asker(database, number, questions(number, SEARCHES, seed)[0], asked(number, SEARCHES, seed))


def _compared(one: Asker, name: str, retriever: Retriever, cover: Retriever, rows: int, repeats: int) -> list[Result]:
    with one.database.app_session() as session, as_user(session, one.query.user_id):
        raw = session.connection().connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        fixed = {"user_id": one.query.user_id, "asked_at": END_OF_TIME, "config": "pg_catalog.english"}

        def bare(searched: Retriever) -> Callable[[], None]:
            statement = prepared(searched, searched.route(session, one.query))  # type: ignore[arg-type]  # frozen

            def ask() -> None:
                for vector, text in zip(one.vectors, one.texts, strict=True):
                    values = statement.values({**fixed, "vector": vector, "text": text}, 17)
                    raw.execute(statement.text, values, prepare=True, binary=True).fetchall()

            return ask

        def through(searched: Retriever) -> Callable[[], None]:
            def ask() -> None:
                for vector, text in zip(one.vectors, one.texts, strict=True):
                    search(session, searched, replace(one.query, text=text), 10, vector)

            return ask

        what = "the same with ts_rank_cd of any word in place of BM25"
        pairs = [
            (name, bare(retriever), through(retriever), "the same statement on psycopg, prepared, binary"),
            (f"{name}_against_ts_rank_cd", through(cover), through(retriever), what),
        ]
        if retriever.model is None:  # fused ones search under settings, without which the statement is another
            pairs.append((f"{name}_bare_against_ts_rank_cd", bare(cover), bare(retriever), f"{what}, both bare"))
        results = []
        for title, limit, ours, against in pairs:
            limit_ms, ours_ms = alternate(limit, ours, repeats, warm_up=3)
            results.append(Result(title, limit_ms / SEARCHES, ours_ms / SEARCHES, rows, repeats, against))
        return results
