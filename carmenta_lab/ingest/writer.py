"""Batches of whole conversations into the tables, several transactions at a time, while others are gathered."""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from carmenta_lab.indexing.passages import Row, Uncut, passages
from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.ingest.apply import Changes
from carmenta_lab.ingest.given import Given, of_messages
from carmenta_lab.ingest.staging import TABLES, columns_of
from carmenta_lab.ingest.statements import (
    ATTACHMENTS,
    CONVERSATIONS,
    MESSAGES_IN_PLACE,
    PIECES,
    TURNS_IN_PLACE,
    USERS,
    insert_new,
)
from carmenta_lab.postgres.copying import copy

WORKERS = 2

SWITCH_SECONDS = 0.0005
"""A thread that has heard from the server waits so long for the one that reads: 5 ms unless told, too long for both."""

UNFLUSHED = "SET LOCAL synchronous_commit = off"
"""A crash may take the last batches, as the log keeps their order; the mark of a finished load is flushed after all."""

_USERS = USERS.format(rows="unnest(%(ids)s::uuid[], %(names)s::text[]) u(id, name)")

_STATEMENTS = (
    ("conversations", "conversations", insert_new("conversations", CONVERSATIONS.format(which="true"))),
    ("messages", "messages", insert_new("messages", MESSAGES_IN_PLACE)),
    ("attachments", "attachments", insert_new("attachments", ATTACHMENTS.format(which="true"))),
    ("messages", "", TURNS_IN_PLACE),
    ("passages", "", PIECES.format(condition="true")),
)
"""Staging table, without rows in which the statement is left out; the table to count; the statement."""


@dataclass
class Batch:
    """Whole conversations, as rows of the staging tables."""

    conversations: list[Row] = field(default_factory=list)
    messages: list[Row] = field(default_factory=list)
    attachments: list[Row] = field(default_factory=list)
    long: list[Uncut] = field(default_factory=list)
    users: list[tuple[bytes, str]] = field(default_factory=list)  # that no earlier batch had
    characters: int = 0


class Writer:
    """Writes batches that nothing in the database stands against: no row of theirs is there.

    Rows go by binary COPY into temporary tables named as those of the stage, and on from there with its statements,
    because COPY does not write into a table with row-level security. At most `WORKERS` batches are being written
    and one waits.
    """

    def __init__(
        self,
        engine: Engine,
        dataset: UUID,
        source: str,
        given: Sequence[Given],
        begin: Callable[[psycopg.Connection[Any]], object],
    ) -> None:
        self.changes = Changes()
        self.vectors = dict.fromkeys((each.vectors.model for each in given), 0)
        self._engine = engine
        self._dataset = dataset
        self._source = source
        self._given = given
        self._begin = begin
        self._begun = False
        self._workers = ThreadPoolExecutor(WORKERS)
        self._connections: SimpleQueue[Connection] = SimpleQueue()
        self._made: set[tuple[psycopg.Connection[Any], str]] = set()  # temporary tables
        self._under_way: set[Future[tuple[Changes, dict[str, int]]]] = set()

    def __enter__(self) -> Self:
        self._switch = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        return self

    def __exit__(self, error: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        """Let the batches under way end, drop the rest, and leave nothing on the connections."""
        sys.setswitchinterval(self._switch)
        self._workers.shutdown(cancel_futures=True)
        while not self._connections.empty():
            with suppress(DBAPIError), self._connections.get() as connection, connection.begin():
                connection.exec_driver_sql("DISCARD TEMP")

    def write(self, batch: Batch, progress: Callable[[int], object]) -> None:
        """Have a batch written; waits while too many are under way, and raises what went wrong with one."""
        if batch.users:
            with self._engine.begin() as connection:
                raw = _raw(connection)
                raw.execute(UNFLUSHED)
                if not self._begun:
                    self._begin(raw)
                keys, names = zip(*batch.users, strict=True)
                values = {"dataset": self._dataset, "ids": [UUID(bytes=key) for key in keys], "names": list(names)}
                added = raw.execute(_USERS, values).fetchone()
                assert added is not None
            self._begun = True
            self.changes.count("users", added=added[0])
        self.wait(WORKERS, progress)
        self._under_way.add(self._workers.submit(self._write, batch))

    def wait(self, most: int, progress: Callable[[int], object]) -> None:
        """Until no more than `most` batches are under way."""
        done = {future for future in self._under_way if future.done()}
        while len(self._under_way) - len(done) > most:
            done |= wait(self._under_way - done, return_when=FIRST_COMPLETED).done
        for future in done:
            self._under_way.remove(future)
            changes, vectors = future.result()
            for model, count in vectors.items():
                self.vectors[model] += count
            for table, counts in changes.items():
                self.changes.count(table, **counts)
            progress(changes["messages"]["added"])

    def _write(self, batch: Batch) -> tuple[Changes, dict[str, int]]:
        """One transaction."""
        rows = {"conversations": batch.conversations, "messages": batch.messages, "attachments": batch.attachments}
        rows["passages"] = list(passages(batch.long))
        changes = Changes()
        connection = self._connection()
        try:
            with connection.begin():
                raw = _raw(connection)
                with raw.pipeline():
                    raw.execute(UNNOTED, (True,))
                    raw.execute(UNFLUSHED)
                for name in rows:
                    if rows[name]:
                        self._stage(raw, name, rows[name])
                with raw.pipeline():  # the server goes on from one to the next while vectors are made ready
                    written = [
                        (counted, raw.execute(statement, {"source": self._source}))
                        for name, counted, statement in _STATEMENTS
                        if rows[name]
                    ]
                    singles = of_messages(batch.messages, rows["passages"]) if self._given else []
                    given = {each.vectors.model: each.write(raw, singles) for each in self._given}
                vectors = {model: sum(cursor.rowcount for cursor in cursors) for model, cursors in given.items()}
                for counted, cursor in written:
                    if counted:
                        changes.count(counted, added=cursor.rowcount)
        finally:
            self._connections.put(connection)
        return changes, vectors

    def _connection(self) -> Connection:
        with suppress(Empty):
            return self._connections.get_nowait()
        return self._engine.connect()

    def _stage(self, raw: psycopg.Connection[Any], name: str, rows: Sequence[Row]) -> None:
        """Copy rows into a temporary table, made when it is first needed: each is truncated at every commit."""
        if (raw, name) not in self._made:
            raw.execute(f"CREATE TEMP TABLE stage_{name} ({TABLES[name]}) ON COMMIT DELETE ROWS")
            self._made.add((raw, name))
        copy(raw, sql.Identifier("pg_temp", f"stage_{name}"), columns_of(name), rows)


def _raw(connection: Connection) -> psycopg.Connection[Any]:
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    return raw
