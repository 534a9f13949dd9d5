"""Staging tables that a folder streams into, by binary COPY, before anything is decided."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from carmenta_lab.postgres.copying import copy

BATCH_ROWS = 5_000

TABLES = {
    "users": "id uuid, external_id text",
    "conversations": "id uuid, user_id uuid, external_id text, title text, status text, visibility text, batch int4",
    "messages": "line int4, place int4, id uuid, user_id uuid, conversation_id uuid, parent_id uuid, position int4, "
    "role text, author text, model text, parts jsonb, content text, content_for_llm text, language text, "
    "external_id text, created_at timestamptz, utc_offset int2, header text, passage_id uuid",
    "attachments": "line int4, id uuid, user_id uuid, message_id uuid, name text, media_type text, bucket text, "
    "key text, size_bytes int8, sha256 bytea",
    "passages": "line int4, user_id uuid, id uuid, unit text, ordinal int4, content text, message_id uuid, "
    "memory_id uuid, document_id uuid, author text, language text, created_at timestamptz",
    "documents": "line int4, id uuid, user_id uuid, path text, name text, content text, tags text[], source_type text, "
    "language text, external_id text, created_at timestamptz, utc_offset int2",
    "memories": "line int4, id uuid, user_id uuid, category text, content text, confidence float4, "
    "source_message_id uuid, superseded_by uuid, language text, external_id text, created_at timestamptz, "
    "utc_offset int2",
    "profiles": "line int4, id uuid, user_id uuid, content text",
    "queries": "line int4, query_id text, user_id uuid, content text, category text, asked_at timestamptz, "
    "answers text[], language text",
    "targets": "id uuid",
    "qrels": "line int4, query_id text, target_id text, message_id uuid, memory_id uuid, document_id uuid, "
    "relevance int4",
}
"""Name without its prefix `stage_` -> columns."""


def columns_of(name: str) -> list[tuple[str, str]]:
    """Name and type of the columns of a staging table that are copied; a uuid travels as its 16 bytes."""
    pairs = [column.split() for column in TABLES[name].split(", ")]
    return [(column, "bytea" if kind == "uuid" else kind) for column, kind in pairs if column != "batch"]


class Stage:
    """The staging tables of one load, in a schema of its own that several connections can read.

    Rows are gathered and copied in batches by a thread, so that memory stays flat and parsing goes on meanwhile:
    until `finish` returns, nobody else may use the connection. The thread makes the tables too, those `beside` as well.
    """

    def __init__(self, connection: psycopg.Connection[Any], schema: str, beside: Mapping[str, str]) -> None:
        self.connection = connection
        self.schema = schema
        self._rows: dict[str, list[Any]] = {name: [] for name in TABLES}
        self._columns = {name: columns_of(name) for name in TABLES}
        self._writer = ThreadPoolExecutor(1)
        self._written: Future[None] | None = self._writer.submit(self._make, {**TABLES, **beside})

    def add(self, table: str, row: Sequence[Any]) -> None:
        """Put one row, its values in the order of the table's columns."""
        rows = self._rows[table]
        rows.append(row)
        if len(rows) >= BATCH_ROWS:
            self._flush(table)

    def finish(self) -> None:
        """Copy what is left and let the planner know."""
        for table in self._rows:
            self._flush(table)
        self._wait()
        self.connection.execute(
            "ANALYZE stage_conversations, stage_messages (conversation_id, id), stage_passages (id)"
        )

    def stop(self) -> None:
        """Let the thread end what it is at, and write no more: the connection is the caller's again."""
        self._writer.shutdown(cancel_futures=True)

    def drop(self) -> None:
        """Remove the tables."""
        self.stop()
        self.connection.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")
        self.connection.execute("RESET search_path")

    def _make(self, tables: Mapping[str, str]) -> None:
        self.connection.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")  # of a load that was cut off
        self.connection.execute(f"CREATE SCHEMA {self.schema}")
        self.connection.execute(in_schema(self.schema))
        for name, columns in tables.items():
            self.connection.execute(f"CREATE UNLOGGED TABLE stage_{name} ({columns})")

    def _wait(self) -> None:
        if self._written is not None:
            self._written.result()
            self._written = None

    def _flush(self, table: str) -> None:
        if rows := self._rows[table]:
            self._wait()
            place = sql.Identifier(self.schema, f"stage_{table}")
            self._written = self._writer.submit(copy, self.connection, place, self._columns[table], rows)
            self._rows[table] = []


def in_schema(schema: str, local: bool = False) -> str:
    """A statement that lets a session, or with `local` a transaction, find the staging tables by their names."""
    return f"SELECT set_config('search_path', '{schema}, ' || current_setting('search_path'), {str(local).lower()})"


def sweep(connection: psycopg.Connection[Any]) -> None:
    """Drop what killed loads left behind, as it holds personal data: a stage whose dataset nobody is loading."""
    rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ '^stage_[0-9a-f]{32}$'").fetchall()
    for (schema,) in rows:
        key = lock_key(UUID(schema.removeprefix("stage_")))
        if connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone() == (True,):
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
            connection.execute("SELECT pg_advisory_unlock(%s)", (key,))


def lock_key(dataset: UUID) -> int:
    """The advisory lock that a load of this dataset holds."""
    return int.from_bytes(dataset.bytes[:8], "big", signed=True)
