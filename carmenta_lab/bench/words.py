"""What do BM25 and fused strategies cost beyond their bare statement, and against `ts_rank_cd`?"""

from collections.abc import Callable
from dataclasses import replace

import psycopg
from sqlalchemy.orm import Session

from carmenta_lab import indexes, strategies
from carmenta_lab.bench.measure import Result, alternate
from carmenta_lab.bench.searching import SEARCHES, Asker, asker, filled
from carmenta_lab.indexes import KINDS
from carmenta_lab.postgres.connect import Database, as_user
from carmenta_lab.retrieval.fulltext import FullTextSearch
from carmenta_lab.retrieval.fusion import ReciprocalRankFusion
from carmenta_lab.retrieval.prepared import prepared
from carmenta_lab.retrieval.retriever import END_OF_TIME, Retriever
from carmenta_lab.retrieval.search import search
from carmenta_lab.retrieval.vector import VectorSearch

COVER = FullTextSearch(match="any")
COVER_HYBRID = ReciprocalRankFusion(parts=(("vector", VectorSearch(index="halfvec")), ("fulltext", COVER)))
HYBRIDS = ("hybrid_bm25", "hybrid_rrf", "hybrid_zscore")


def bm25(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """BM25 of a user with `rows` passages against its bare statement, and against `ts_rank_cd` of any word."""
    with filled(database, [(0, rows)], seed, words=True):
        return _both(asker(database, 0, seed), "bm25", strategies.load("bm25"), COVER, rows, repeats)


def hybrid(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """The fused strategies that are there, the same way, beside a graph; the counterpart fuses it with `ts_rank_cd`."""
    with filled(database, [(0, rows)], seed, words=True) as table:
        indexes.build(database.owner, table, KINDS["halfvec"], memory_mb=512)
        one = asker(database, 0, seed)
        there = [name for name in HYBRIDS if name in strategies.names()]
        return [
            result for name in there for result in _both(one, name, strategies.load(name), COVER_HYBRID, rows, repeats)
        ]


def _both(one: Asker, name: str, retriever: Retriever, cover: Retriever, rows: int, repeats: int) -> list[Result]:
    with one.database.app_session() as session, as_user(session, one.query.user_id):
        raw = session.connection().connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        statement = prepared(retriever, route := retriever.route(session, one.query))  # type: ignore[arg-type]  # frozen
        fixed = {"user_id": one.query.user_id, "asked_at": END_OF_TIME, "config": "pg_catalog.english"}
        raw.execute("SELECT '[1]'::vector")
        for setting, value in retriever.settings(route).items():
            raw.execute("SELECT set_config(%s, %s, true)", (setting, value))

        def bare() -> None:
            for vector, text in zip(one.vectors, one.texts, strict=True):
                values = statement.values({**fixed, "vector": vector, "text": text}, 17)
                raw.execute(statement.text, values, prepare=True, binary=True).fetchall()

        limit, ours = alternate(bare, _through(session, one, retriever), repeats, warm_up=3)
    with one.database.app_session() as session, as_user(session, one.query.user_id):
        asked = [_through(session, one, searched) for searched in (cover, retriever)]
        against, again = alternate(asked[0], asked[1], max(3, repeats // 3))
    what = "the same statement on psycopg, prepared, binary"
    what_cover = "the same with ts_rank_cd of any word in place of BM25"
    return [
        Result(name, limit / SEARCHES, ours / SEARCHES, rows, repeats, what),
        Result(f"{name}_against_ts_rank_cd", against / SEARCHES, again / SEARCHES, rows, repeats, what_cover),
    ]


def _through(session: Session, one: Asker, searched: Retriever) -> Callable[[], None]:
    def ask() -> None:
        for vector, text in zip(one.vectors, one.texts, strict=True):
            search(session, searched, replace(one.query, text=text), 10, vector)

    return ask
