"""What does a search cost beyond its bare prepared statement?"""

from uuid import UUID, uuid5

import psycopg
from pgvector import HalfVector
from psycopg import sql

from carmenta_lab.bench.generate import texts, vectors
from carmenta_lab.bench.measure import Result, alternate
from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.ingest.embed import _COLUMNS, register
from carmenta_lab.ingest.staging import copy
from carmenta_lab.postgres.connect import Database, as_user
from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import END_OF_TIME, SEARCHED
from carmenta_lab.retrieval.search import search
from carmenta_lab.retrieval.vector import VectorSearch

DIM = 384
SEARCHES = 20
"""Searches a measurement."""

_BARE = """
    SELECT passage_id, source_id, unit, embedding <=> %(vector)s AS distance FROM carmenta.{table}
    WHERE user_id = %(user_id)s AND unit = ANY(%(units)s) AND (created_at IS NULL OR created_at <= %(asked_at)s)
    ORDER BY distance, passage_id LIMIT 10
"""


_STAGED = (("id", "uuid"), ("content", "text"))


def fill(database: Database, user: UUID, rows: int, seed: int) -> str:
    """A user with that many passages and vectors; returns the table of the vectors."""
    table = register(database.owner, DEFAULT_MODEL, DIM)
    ids = [uuid5(user, str(i)) for i in range(rows)]
    with database.owner.begin() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        raw.execute("DELETE FROM carmenta.users WHERE id = %s", (user,))
        raw.execute("INSERT INTO carmenta.users (id, name) VALUES (%s, 'bench')", (user,))
        raw.execute("CREATE TEMP TABLE stage_bench (id uuid, content text) ON COMMIT DROP")
        copy(raw, sql.Identifier("stage_bench"), _STAGED, zip(ids, texts(rows, seed), strict=True))
        raw.execute(
            "INSERT INTO carmenta.memories (user_id, id, category, content) "
            "SELECT %s, id, 'knowledge', content FROM stage_bench",
            (user,),
        )
        raw.execute(
            "INSERT INTO carmenta.passages (user_id, id, unit, ordinal, content, memory_id) "
            "SELECT %s, id, 'memory', 0, content, id FROM stage_bench",
            (user,),
        )
        raw.execute(f"CREATE TEMP TABLE stage_vectors ON COMMIT DROP AS SELECT * FROM carmenta.{table} WITH NO DATA")
        every = zip(ids, vectors(rows, DIM, seed), strict=True)
        copied = ((user, key, key, None, "memory", HalfVector(vector)) for key, vector in every)
        copy(raw, sql.Identifier("stage_vectors"), _COLUMNS, copied)
        raw.execute(f"INSERT INTO carmenta.{table} SELECT * FROM stage_vectors")
    with database.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"VACUUM ANALYZE carmenta.{table}")
        connection.exec_driver_sql("VACUUM ANALYZE carmenta.passages")
    return table


def searching(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Exact top 10 of a user's vectors: `search` against the bare statement, both in one open transaction."""
    return [_measure(database, size, repeats, seed) for size in (600, rows)]


def _measure(database: Database, rows: int, repeats: int, seed: int) -> Result:
    user = uuid5(UUID(int=7), str(rows))
    bare = _BARE.format(table=fill(database, user, rows, seed))
    asked = vectors(SEARCHES, DIM, seed + 1)
    query, retriever = Query("bench", user, "bench"), VectorSearch()
    with database.app_session() as session, as_user(session, user):
        raw = session.connection().connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        values = {"user_id": user, "units": list(SEARCHED), "asked_at": END_OF_TIME}

        def limit() -> None:
            for vector in asked:
                raw.execute(bare, values | {"vector": HalfVector(vector)}, prepare=True, binary=True).fetchall()

        def ours() -> None:
            for vector in asked:
                search(session, retriever, query, 10, vector)

        limit_ms, ours_ms = alternate(limit, ours, repeats, warm_up=3)
    with database.owner.begin() as connection:
        connection.exec_driver_sql("DELETE FROM carmenta.users WHERE id = %s", (user,))
    what = "the same question as a prepared statement on psycopg, binary"
    return Result(f"search_{rows}", limit_ms / SEARCHES, ours_ms / SEARCHES, rows, repeats, what)
