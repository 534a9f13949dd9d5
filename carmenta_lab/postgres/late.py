"""A connection that is told what a transaction begins with, or is to forget, with the next statement and not before."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Self, TypeAlias

import psycopg
from psycopg.pq import Format, TransactionStatus
from sqlalchemy import Connection

Setting: TypeAlias = tuple[str, tuple[str, ...]]
"""An expression that sets something for the transaction, and its parameters."""


Heard: TypeAlias = tuple[str, Any]
"""The text of a statement, and its parameters."""


class BinaryCursor(psycopg.Cursor[Any]):
    """A cursor whose results travel in binary: vectors, uuids and times are not printed and parsed."""

    def __init__(self, connection: "LateConnection", *args: Any, **kwargs: Any) -> None:
        super().__init__(connection, *args, **kwargs)
        self.format = Format.BINARY
        self._heard = connection.heard

    def execute(self, query: Any, params: Any = None, **how: Any) -> Self:
        """Execute a statement, as psycopg does; who listens to the connection is told."""
        if self._heard is not None:
            self._heard.append((query.decode() if isinstance(query, bytes) else str(query), params))
        return super().execute(query, params, **how)


class LateConnection(psycopg.Connection[Any]):
    """Whoever asks for a cursor finds what is `late` done; who commits or rolls back need not have it done.

    So a search costs one round trip: within a transaction its settings stay `in_force` for the next search that wants
    the same, and where a transaction was opened to search first, which has not begun then, it is `alone`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cursor_factory = BinaryCursor
        self.late: list[Setting] = []
        self.in_force: object = None  # what the settings that `late` sets back were set for
        self.heard: list[Heard] | None = None  # where what is executed is noted, while somebody listens
        self.sees_each = False  # whether each statement of a transaction sees what was committed before it
        self._first = False  # whether nothing was asked in the transaction yet

    def enter(self, settings: Sequence[Setting]) -> None:
        """A transaction begins, with its first statement, and with these settings."""
        self.late, self.in_force, self._first = list(settings), None, True

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """A cursor, as psycopg gives it."""
        if self.late:
            self.settle()
        return super().cursor(*args, **kwargs)

    @contextmanager
    def hearing(self) -> Iterator[list[Heard]]:
        """What is executed on the connection within the block, by whomever, in its order."""
        before, self.heard = self.heard, []
        try:
            yield self.heard
        finally:
            self.heard = before

    def plain_cursor(self) -> psycopg.Cursor[Any]:
        """A cursor for which nothing is done that is late."""
        return super().cursor()

    def settle(self) -> None:
        """Do what is late; a transaction that has failed cannot, and does after a rollback to a savepoint."""
        if self.pgconn.transaction_status != TransactionStatus.INERROR:
            late, self.late, self.in_force = tuple(self.late), [], None
            super().cursor().execute(*_select(late), prepare=prepares(self))

    def commit(self) -> None:
        """Commit; settings of the transaction end with it."""
        self.late, self.in_force = [], None
        super().commit()

    def rollback(self) -> None:
        """Roll back; settings of the transaction end with it."""
        self.late, self.in_force = [], None
        super().rollback()

    def transaction(self, *args: Any, **kwargs: Any) -> Any:
        """A block, as psycopg gives it; what is late is done before it, so that its end does not undo that."""
        if self.late:
            self.settle()
        return super().transaction(*args, **kwargs)

    @property
    def untouched(self) -> bool:
        """Whether nothing has been executed in a transaction in which each statement sees what others committed.

        Then a statement that only reads may as well be a transaction of its own. Once only: a second one would go
        faster within a transaction. Never so through a pooler.
        """
        return (
            self._first
            and bool(self.late)
            and self.sees_each
            and not self.autocommit
            and self.prepare_threshold is not None
            and self.pgconn.transaction_status == TransactionStatus.IDLE
        )

    def alone(
        self, first: Sequence[str], text: bytes, values: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]]:
        """A statement as a transaction of its own, in one round trip: the row of `first`, and its rows.

        To be called when `untouched`; the transaction is still to begin after it. `first` are expressions that are
        selected after what the transaction begins with.
        """
        late, self._first = self.late, False
        self.autocommit = True
        try:
            before, cursor = super().cursor(), super().cursor()
            with self.pipeline():  # nothing is committed until its end
                before.execute(*_select((*late, *((each, ()) for each in first))), prepare=True)
                cursor.execute(text, values, prepare=True, binary=True)
            [row] = before.fetchall()
            return row[len(late) :], cursor.fetchall()
        finally:
            if self.pgconn.transaction_status == TransactionStatus.IDLE:
                self.autocommit = False


def prepares(connection: psycopg.Connection[Any]) -> bool | None:
    """Whether statements are prepared at once; through a pooler nothing is."""
    return None if connection.prepare_threshold is None else True


def late_connection(connection: Connection) -> LateConnection:
    """The driver's connection of an engine that `connect.engine` made."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, LateConnection)
    return raw


def _select(late: tuple[Setting, ...]) -> tuple[bytes, tuple[str, ...]]:
    return _texts(tuple(text for text, _ in late)), tuple(value for _, given in late for value in given)


@cache
def _texts(expressions: tuple[str, ...]) -> bytes:
    return f"SELECT {', '.join(expressions)}".encode()
