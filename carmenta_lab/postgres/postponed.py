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

    def __init__(self, connection: "PostponingConnection", *args: Any, **kwargs: Any) -> None:
        super().__init__(connection, *args, **kwargs)
        self.format = Format.BINARY
        self._heard = connection.heard

    def execute(self, query: Any, params: Any = None, **how: Any) -> Self:
        """Execute a statement as psycopg does, and tell it to `hearing`."""
        if self._heard is not None:
            self._heard.append((query.decode() if isinstance(query, bytes) else str(query), params))
        return super().execute(query, params, **how)


class PostponingConnection(psycopg.Connection[Any]):
    """A connection that sends settings, which are `postponed`, with the next statement and not by themselves.

    They are executed before anybody gets a cursor, and need not be executed before a commit or a rollback. So a search
    costs one round trip: within a transaction its settings stay `in_force` for the next search that wants the same, and
    a search that is first in a transaction may be a transaction of its own (`alone`).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cursor_factory = BinaryCursor
        self.postponed: list[Setting] = []
        self.in_force: object = None  # what the settings that `postponed` sets back were set for
        self.heard: list[Heard] | None = None  # where what is executed is noted, while somebody listens
        self.sees_each = False  # whether each statement of a transaction sees what was committed before it
        self._first = False  # whether nothing was asked in the transaction yet

    def enter(self, settings: Sequence[Setting]) -> None:
        """Begin a transaction for the driver: these settings are postponed to its first statement."""
        self.postponed, self.in_force, self._first = list(settings), None, True

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """A cursor as psycopg gives it; what is postponed is executed first."""
        if self.postponed:
            self.settle()
        return super().cursor(*args, **kwargs)

    @contextmanager
    def hearing(self) -> Iterator[list[Heard]]:
        """The statements that are executed on the connection within the block, by whomever, in their order."""
        before, self.heard = self.heard, []
        try:
            yield self.heard
        finally:
            self.heard = before

    def plain_cursor(self) -> psycopg.Cursor[Any]:
        """A cursor as psycopg gives it; what is postponed stays so."""
        return super().cursor()

    def settle(self) -> None:
        """Execute what is postponed; in a failed transaction nothing, until it is rolled back to a savepoint."""
        if self.pgconn.transaction_status != TransactionStatus.INERROR:
            postponed, self.postponed, self.in_force = tuple(self.postponed), [], None
            super().cursor().execute(*_select(postponed), prepare=prepares(self))

    def commit(self) -> None:
        """Commit; postponed settings are dropped, because the transaction that they were for has ended."""
        self.postponed, self.in_force = [], None
        super().commit()

    def rollback(self) -> None:
        """Roll back; postponed settings are dropped, because the transaction that they were for has ended."""
        self.postponed, self.in_force = [], None
        super().rollback()

    def transaction(self, *args: Any, **kwargs: Any) -> Any:
        """A block as psycopg gives it; what is postponed is executed before, so that a rollback does not undo it."""
        if self.postponed:
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
            and bool(self.postponed)
            and self.sees_each
            and not self.autocommit
            and self.prepare_threshold is not None
            and self.pgconn.transaction_status == TransactionStatus.IDLE
        )

    def alone(
        self, first: Sequence[str], text: bytes, values: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]]:
        """Execute a read in a transaction of its own, in one round trip; returns the values of `first`, and the rows.

        To be called when `untouched`; the transaction is still to begin after it. `first` are expressions that are
        selected after what the transaction begins with.
        """
        postponed, self._first = self.postponed, False
        self.autocommit = True
        try:
            before, cursor = super().cursor(), super().cursor()
            with self.pipeline():  # nothing is committed until its end
                before.execute(*_select((*postponed, *((each, ()) for each in first))), prepare=True)
                cursor.execute(text, values, prepare=True, binary=True)
            [row] = before.fetchall()
            return row[len(postponed) :], cursor.fetchall()
        finally:
            if self.pgconn.transaction_status == TransactionStatus.IDLE:
                self.autocommit = False


def prepares(connection: psycopg.Connection[Any]) -> bool | None:
    """The `prepare` argument for this connection's statements: True on direct connections; None through a pooler."""
    return None if connection.prepare_threshold is None else True


def postponing_connection(connection: Connection) -> PostponingConnection:
    """The driver's connection behind a connection of an engine that `connect.engine` made."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, PostponingConnection)
    return raw


def _select(postponed: tuple[Setting, ...]) -> tuple[bytes, tuple[str, ...]]:
    return _texts(tuple(text for text, _ in postponed)), tuple(value for _, given in postponed for value in given)


@cache
def _texts(expressions: tuple[str, ...]) -> bytes:
    return f"SELECT {', '.join(expressions)}".encode()
