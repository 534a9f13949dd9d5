"""Passages and vectors for the rows that lack them: those an application wrote, and those whose deletion was undone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from pgvector import HalfVector

from carmenta_lab.embedding import DEFAULT_MODEL, load_embedder
from carmenta_lab.ids import passage_key
from carmenta_lab.indexing import words
from carmenta_lab.indexing.packed import UNITS
from carmenta_lab.indexing.passages import as_written, header, pieces
from carmenta_lab.indexing.token_codes import encode_lacking, has_codes
from carmenta_lab.indexing.vectors import register
from carmenta_lab.postgres.connect import Database

BLOCK = 500
"""Sources, or passages, a transaction."""

NOBODY = UUID(int=0)


class Indexed(NamedTuple):
    """What was made."""

    passages: int
    vectors: int


_LACKING = """
    SELECT s.id, s.created_at, s.utc_offset, s.language, s.content, {shown} AS shown, {author} AS author
    FROM carmenta.{table} s {join}
    WHERE s.user_id = %(user)s AND s.deleted_at IS NULL AND s.id > %(after)s
    AND EXISTS (SELECT FROM carmenta.users u WHERE u.id = s.user_id AND u.deleted_at IS NULL)
    AND NOT EXISTS (SELECT FROM search.passages p
        WHERE p.user_id = s.user_id AND p.{source} = s.id AND p.unit = '{unit}')
    ORDER BY s.id LIMIT %(block)s FOR SHARE
"""
_IN_A_LIVING_CONVERSATION = (
    "JOIN carmenta.conversations c ON c.user_id = s.user_id AND c.id = s.conversation_id AND c.deleted_at IS NULL"
)
_UNITS = (
    ("turn", "messages", "message_id", "coalesce(nullif(s.author, ''), initcap(s.role))", "s.author"),
    ("memory", "memories", "memory_id", "NULL::text", "NULL::text"),
    ("section", "documents", "document_id", "s.name", "NULL::text"),
)
"""Unit, its sources and their column in `passages`, whose name stands before the text, whose it is."""

_INSERT = """
    INSERT INTO search.passages (user_id, id, unit, ordinal, content, {source}, author, language, created_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_UNEMBEDDED = """
    SELECT p.id, p.content FROM search.passages p
    WHERE p.user_id = %(user)s AND p.unit = ANY(%(units)s) AND p.id > %(after)s
    AND NOT EXISTS (SELECT FROM search.{table} e WHERE e.user_id = p.user_id AND e.passage_id = p.id)
    ORDER BY p.id LIMIT %(block)s
"""
_EMBED = """
    INSERT INTO search.{table} (user_id, passage_id, source_id, created_at, unit, embedding)
    SELECT p.user_id, p.id, p.source_id, p.created_at, p.unit, %s FROM search.passages p
    WHERE p.user_id = %s AND p.id = %s FOR KEY SHARE ON CONFLICT DO NOTHING
"""


def index_lacking(database: Database, user_id: UUID, models: Sequence[str] = (DEFAULT_MODEL,)) -> Indexed:
    """Cut and embed what a user's living rows lack in the search index; returns how much was made.

    As the application, for this user alone, in short transactions. Passages come out as a load makes them, their
    ids included, so that a ranking after an undone deletion is the one before it. What is deleted softly meanwhile
    stays out. A model that is not known yet is registered, by the owner; where the user's passages have codes of
    single tokens, those that lack them get theirs, by the owner as well.
    """
    passages = sum(_cut(database, user_id, *unit) for unit in _UNITS)
    vectors = sum(_embed(database, user_id, model) for model in models)
    _encode(database, user_id)
    return Indexed(passages, vectors)


def _encode(database: Database, user_id: UUID) -> None:
    with database.owner.connect() as connection, connection.begin():
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        if has_codes(raw, user_id):
            encode_lacking(raw, load_embedder(DEFAULT_MODEL), [user_id], lambda: None, lambda count: None)


@contextmanager
def _acting(database: Database, user_id: UUID) -> Iterator[psycopg.Connection[Any]]:
    """A transaction of the application for one user."""
    with database.user_session(user_id) as session:
        raw = session.connection().connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        yield raw


def _cut(database: Database, user_id: UUID, unit: str, table: str, source: str, shown: str, author: str) -> int:
    join = _IN_A_LIVING_CONVERSATION if table == "messages" else ""
    lacking = _LACKING.format(unit=unit, table=table, source=source, shown=shown, author=author, join=join)
    after, made = NOBODY, 0
    while True:
        with _acting(database, user_id) as raw:
            rows = raw.execute(lacking, {"user": user_id, "after": after, "block": BLOCK}).fetchall()
            if not rows:
                return made
            times = [as_written(row[1], row[2]) for row in rows]
            cut = pieces([(header(at, row[5]), row[4]) for at, row in zip(times, rows, strict=True)])
            values = [
                (
                    *(user_id, UUID(bytes=passage_key(id.bytes, unit, n, piece, at, author, language)), unit, n, piece),
                    *(id, author, language, at),
                )
                for (id, _, _, language, _, _, author), at, found in zip(rows, times, cut, strict=True)
                for n, piece in enumerate(found)
            ]
            with raw.cursor() as cursor:
                cursor.executemany(_INSERT.format(source=source), values)
            words.add(raw, user_id, [row[1] for row in values])
        after = rows[-1][0]
        made += len(values)


def _embed(database: Database, user_id: UUID, model: str) -> int:
    embedder = load_embedder(model)
    table = register(database.owner, model, embedder.dim)
    after, made = NOBODY, 0
    while True:
        with _acting(database, user_id) as raw:
            values = {"user": user_id, "units": list(UNITS), "after": after, "block": BLOCK}
            rows = raw.execute(_UNEMBEDDED.format(table=table), values).fetchall()
        if not rows:
            return made
        vectors = embedder.embed([content for _, content in rows])
        with _acting(database, user_id) as raw, raw.cursor() as cursor:
            named = zip(vectors, rows, strict=True)
            cursor.executemany(_EMBED.format(table=table), [(HalfVector(v), user_id, row[0]) for v, row in named])
            made += cursor.rowcount
        after = rows[-1][0]
