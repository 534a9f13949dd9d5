"""Approximate indexes over a table of vectors: build, find, drop, size. No part of the migrations."""

import math
import warnings
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from sqlalchemy import Boolean, Connection, Engine, Integer, text
from sqlalchemy.orm import Session

from carmenta_lab.errors import UsageError
from carmenta_lab.indexing.kinds import ApproximateIndex, IndexKind, IVFFlat
from carmenta_lab.schema.base import OWNER, SEARCH

MB = 1 << 20


class GraphMemoryWarning(UserWarning):
    """A graph that does not fit into `maintenance_work_mem`: built on disk, it takes several times as long."""


@dataclass(frozen=True)
class BuiltIndex:
    """An approximate index on disk."""

    name: str
    table: str
    method: str
    bytes: int
    finished: bool  # not cut off while it was built

    def shown(self) -> str:
        """The method and the size of the index, in words."""
        return f"{self.method}, {self.bytes / 1e6:.1f} MB" + ("" if self.finished else ", unfinished")


def name(table: str, kind: IndexKind, user: UUID | None = None) -> str:
    """The name of an approximate index: over the table, or over one user's rows."""
    if user is None:
        return f"ann_{kind}_{table}"[:63]
    return f"ann_{kind}_{sha256(f'{user} {table}'.encode()).hexdigest()[:16]}"


def build(
    owner: Engine,
    table: str,
    index: ApproximateIndex,
    concurrently: bool = False,
    user: UUID | None = None,
    memory_mb: int | None = None,
) -> None:
    """Build an index where it is missing; `concurrently` lets others write meanwhile and takes about twice as long.

    `user` indexes that user's rows alone; `memory_mb` is the `maintenance_work_mem` of the build, the server's
    setting unless told, and never less than IVFFlat's k-means takes. GraphMemoryWarning says how much would hold the
    graph when it does not fit. An index left invalid by a build that was cut off is dropped first. UsageError when
    there is no such table.
    """
    called = f"{SEARCH}.{name(table, index.kind, user)}"
    with owner.begin() as connection:
        if connection.scalar(text("SELECT to_regclass(:n)"), {"n": f"{SEARCH}.{table}"}) is None:
            raise UsageError(f"there is no table {SEARCH}.{table} to index: load a dataset with its model first.")
        state = connection.scalar(
            text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:n)"), {"n": called}
        )
        if state:
            return
        rows, dim = _measure(connection, table, user)
        if isinstance(index, IVFFlat):  # it would be refused with less
            memory_mb = _enough(connection, index.memory_bytes(rows, dim), memory_mb)
        _warn(connection, table, index, rows, dim, memory_mb)
    if state is False:
        drop(owner, table, index.kind, user)
    where = "" if user is None else f" WHERE user_id = '{user}'"
    rest = f"IF NOT EXISTS {called.split('.')[1]} ON {SEARCH}.{table} {index.definition(rows, dim)}{where}"
    if not concurrently:
        with owner.begin() as connection:
            if memory_mb:
                connection.exec_driver_sql(f"SET LOCAL maintenance_work_mem = '{memory_mb}MB'")
            connection.exec_driver_sql(f"CREATE INDEX {rest}")
        return
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"SET ROLE {OWNER}")
        try:
            if memory_mb:
                connection.exec_driver_sql(f"SET maintenance_work_mem = '{memory_mb}MB'")
            connection.exec_driver_sql(f"CREATE INDEX CONCURRENTLY {rest}")
        finally:
            connection.exec_driver_sql("RESET maintenance_work_mem")
            connection.exec_driver_sql("RESET ROLE")


def _measure(connection: Connection, table: str, user: UUID | None) -> tuple[int, int]:
    """Rows to be indexed and their dimension."""
    where = "" if user is None else " WHERE user_id = :user"
    rows = connection.scalar(text(f"SELECT count(*) FROM {SEARCH}.{table}{where}"), {"user": user} if user else {})
    dim = connection.scalar(
        text("SELECT atttypmod FROM pg_attribute WHERE attrelid = to_regclass(:n) AND attname = 'embedding'"),
        {"n": f"{SEARCH}.{table}"},
    )
    return int(rows or 0), int(dim or 0)


def _memory(connection: Connection, memory_mb: int | None) -> int:
    """Bytes that a build may take."""
    setting = connection.scalar(text("SELECT pg_size_bytes(current_setting('maintenance_work_mem'))"))
    return memory_mb * MB if memory_mb else int(setting or 0)


def _enough(connection: Connection, needs: int, memory_mb: int | None) -> int | None:
    """What is told or set, or as much as is needed where that is too little."""
    return memory_mb if _memory(connection, memory_mb) >= 1.1 * needs else math.ceil(1.1 * needs / MB)


def _warn(
    connection: Connection, table: str, index: ApproximateIndex, rows: int, dim: int, memory_mb: int | None
) -> None:
    has, needs = _memory(connection, memory_mb), index.memory_bytes(rows, dim)
    if needs > has:
        enough = math.ceil(needs * 1.1 / MB)
        warnings.warn(
            f"the {index.kind} graph over {rows:,} rows of {table} takes about {math.ceil(needs / MB)} MB and "
            f"maintenance_work_mem is {has // MB} MB, so the build is several times slower: give it {enough} MB.",
            GraphMemoryWarning,
            stacklevel=3,
        )


def drop(owner: Engine, table: str, kind: IndexKind, user: UUID | None = None) -> None:
    """Drop an approximate index; nothing happens when it is not there."""
    with owner.begin() as connection:
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {SEARCH}.{name(table, kind, user)}")


FOUND = (
    text(
        "SELECT a.atttypmod AS dim, i.indpred IS NOT NULL AS own "
        "FROM unnest(CAST(:names AS text[])) AS given(name) "
        "JOIN pg_index i ON i.indexrelid = to_regclass(given.name) AND i.indisvalid "
        "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = 'embedding' "
        "ORDER BY own DESC LIMIT 1"
    )
    .columns(dim=Integer, own=Boolean)
    .subquery("found")
)
"""Of the finished indexes of these names the one over a single user's rows, else the common one."""


FINISHED = text(
    "SELECT c.relname AS name, pg_get_indexdef(i.indexrelid) AS definition FROM pg_index i "
    "JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = to_regnamespace('search') "
    "AND c.relname LIKE 'ann\\_%' AND i.indisvalid ORDER BY c.relname"
)
"""Every finished approximate index, and the statement that makes it."""


def names_for(table: str, kind: IndexKind, user: UUID) -> list[str]:
    """The names of the indexes that can serve a user's search, for `FOUND`."""
    return [f"{SEARCH}.{name(table, kind, of)}" for of in (user, None)]


def present(session: Session, table: str, kind: IndexKind, user: UUID | None = None) -> bool:
    """Whether the index is there and was built to its end."""
    statement = text(
        "SELECT coalesce(bool_or(i.indisvalid), false) FROM pg_index i WHERE i.indexrelid = to_regclass(:n)"
    )
    return bool(session.scalar(statement, {"n": f"{SEARCH}.{name(table, kind, user)}"}))


def size_bytes(session: Session, table: str, kind: IndexKind, user: UUID | None = None) -> int:
    """The size of the index on disk in bytes; 0 when it is not there."""
    statement = text("SELECT coalesce(pg_relation_size(to_regclass(:n)), 0)")
    return int(session.scalar(statement, {"n": f"{SEARCH}.{name(table, kind, user)}"}) or 0)


def listed(session: Session) -> list[BuiltIndex]:
    """All approximate indexes, by name."""
    rows = session.execute(
        text(
            "SELECT c.relname, t.relname AS of, am.amname, pg_relation_size(c.oid) AS bytes, i.indisvalid "
            "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid "
            "JOIN pg_am am ON am.oid = c.relam WHERE c.relnamespace = to_regnamespace(:schema) "
            "AND c.relname LIKE 'ann\\_%' ORDER BY c.relname"
        ),
        {"schema": SEARCH},
    )
    return [BuiltIndex(*row) for row in rows]
