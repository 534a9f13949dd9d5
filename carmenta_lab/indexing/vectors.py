"""Vectors for the passages that lack one, and the narrow table that holds a model's vectors."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from sqlalchemy import Engine, select
from sqlalchemy.schema import CreateTable

from carmenta_lab.embedding import Embedder
from carmenta_lab.errors import DimensionMismatch
from carmenta_lab.indexing.packed import UNITS, Columns, write_vectors
from carmenta_lab.indexing.token_codes import EncodedPassage, write_codes
from carmenta_lab.postgres.roles import waits_for_lock
from carmenta_lab.postgres.statement import driver, only
from carmenta_lab.schema.base import SEARCH
from carmenta_lab.schema.search.passages import embedding_ddl, embedding_models, embedding_table

BLOCK_PASSAGES = 2_048
CODED_PASSAGES = 1_024
"""With the vectors of all their tokens, up to 400 kB each, held at once."""


def table_name(model: str) -> str:
    """The name of the table of a model's vectors: short enough for indexes named after it.

    The long names of two models may begin alike, so a long one is cut and ends in a part of its hash.
    """
    name = re.sub(r"[^a-z0-9]+", "_", model.lower()).strip("_")
    return "embeddings_" + (name if len(name) <= 40 else f"{name[:31]}_{sha256(model.encode()).hexdigest()[:8]}")


def register(owner: Engine, model: str, dim: int) -> str:
    """Register a model and create the table of its vectors, once; returns the table's name.

    DimensionMismatch when the model is registered with another dimension.
    """
    name = table_name(model)
    with owner.begin() as connection:
        raw = driver(connection)
        waits_for_lock(raw)
        known = connection.scalar(select(embedding_models.c.dim).where(embedding_models.c.name == model))
        if known is not None and known != dim:
            raise DimensionMismatch(known, dim, f"the model {model}")
        if known is None:
            connection.execute(CreateTable(embedding_table(name, dim)))
            for statement in embedding_ddl(name):
                connection.exec_driver_sql(statement)
            connection.execute(embedding_models.insert().values(name=model, dim=dim, table_name=name))
    return name


class _Lacking(NamedTuple):
    """A passage that has no vector."""

    user_id: UUID
    id: UUID
    source_id: UUID
    created_at: datetime | None
    unit: str
    content: str
    author: str | None
    language: str


def lacking(connection: psycopg.Connection[Any], table: str, users: Sequence[UUID]) -> int:
    """How many passages of these users have no vector in the table."""
    return int(only(connection.execute(_lacking("count(*)", table, ""), {"users": list(users), "units": list(UNITS)})))


def _lacking(what: str, table: str, rest: str) -> str:
    return (
        f"SELECT {what} FROM {SEARCH}.passages p WHERE p.user_id = ANY(%(users)s) AND p.unit = ANY(%(units)s) "
        f"AND NOT EXISTS (SELECT FROM {SEARCH}.{table} e WHERE e.user_id = p.user_id AND e.passage_id = p.id) {rest}"
    )


def embed_lacking(
    connection: psycopg.Connection[Any],
    table: str,
    embedder: Embedder,
    users: Sequence[UUID],
    commit: Callable[[], None],
    progress: Callable[[int], object],
    tokens: bool = False,
) -> tuple[int, int]:
    """Embed the passages that lack a vector; returns how many, and how many of them got token codes.

    Each block is a transaction. Rows are written in the order of users, which is the order in which they are read. With
    `tokens` the model is asked once for both, so that codes cost little more.
    """
    statement = _lacking(
        ", ".join(f"p.{name}" for name in _Lacking._fields),
        table,
        "AND (p.user_id, p.id) > (%(user)s, %(id)s) ORDER BY p.user_id, p.id LIMIT %(block)s",
    )
    user = id = UUID(int=0)  # the last that is done
    done = coded = 0
    block = CODED_PASSAGES if tokens else BLOCK_PASSAGES
    while True:
        values = {"users": list(users), "units": list(UNITS), "user": user, "id": id, "block": block}
        rows = list(map(_Lacking._make, connection.execute(statement, values)))
        if not rows:
            return done, coded
        texts = [row.content for row in rows]
        if tokens:
            vectors, found = embedder.embed_tokens(texts, progress)
            encoded = [EncodedPassage(row.user_id, row.id, row.content, row.author, row.language) for row in rows]
            coded += write_codes(connection, encoded, found)
        else:
            vectors = embedder.embed(texts, progress)
        beside = Columns(
            [row.user_id.bytes for row in rows],
            [row.id.bytes for row in rows],
            [row.source_id.bytes for row in rows],
            [row.created_at for row in rows],
            [row.unit for row in rows],
        )
        write_vectors(connection, table, beside, vectors)
        commit()
        user, id = rows[-1].user_id, rows[-1].id
        done += len(rows)
