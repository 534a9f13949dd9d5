"""Approximate indexes over a table of vectors: build, drop, size, presence. No part of the migrations."""

from dataclasses import dataclass

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from carmenta_lab.errors import UsageError
from carmenta_lab.schema.base import OWNER, PRODUCT


@dataclass(frozen=True)
class HNSW:
    """A graph over cosine distance; more links (`m`) and breadth (`ef_construction`) buy recall."""

    m: int = 16  # links a node, 2..100
    ef_construction: int = 64  # candidates kept while building, at least 2 m

    def __post_init__(self) -> None:
        """Refuse what the index would."""
        if not 2 <= self.m <= 100 or not 2 * self.m <= self.ef_construction <= 1000:
            raise UsageError(
                f"HNSW needs m from 2 to 100 and ef_construction from 2 m to 1000; "
                f"found m={self.m}, ef_construction={self.ef_construction}."
            )

    def definition(self, table: str) -> str:
        """What follows CREATE INDEX."""
        return (
            f"{name(table, 'hnsw')} ON {PRODUCT}.{table} USING hnsw (embedding halfvec_cosine_ops) "
            f"WITH (m = {self.m}, ef_construction = {self.ef_construction})"
        )


def name(table: str, kind: str) -> str:
    """The name of an approximate index."""
    return f"ann_{kind}_{table}"[:63]


def build(owner: Engine, table: str, index: HNSW, concurrently: bool = False) -> None:
    """Build an index where it is missing; `concurrently` lets others write meanwhile and takes about twice as long.

    An index left invalid by a build that was cut off is dropped first. UsageError when there is no such table.
    """
    with owner.connect() as connection:
        if connection.scalar(text("SELECT to_regclass(:name)"), {"name": f"{PRODUCT}.{table}"}) is None:
            raise UsageError(f"there is no table {PRODUCT}.{table} to index: load a dataset with its model first.")
        invalid = connection.scalar(
            text("SELECT NOT i.indisvalid FROM pg_index i WHERE i.indexrelid = to_regclass(:name)"),
            {"name": f"{PRODUCT}.{name(table, 'hnsw')}"},
        )
        connection.rollback()
        if invalid:
            drop(owner, table, "hnsw")
    if not concurrently:
        with owner.begin() as connection:
            connection.exec_driver_sql(f"CREATE INDEX IF NOT EXISTS {index.definition(table)}")
        return
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"SET ROLE {OWNER}")
        try:
            connection.exec_driver_sql(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index.definition(table)}")
        finally:
            connection.exec_driver_sql("RESET ROLE")


def drop(owner: Engine, table: str, kind: str) -> None:
    """Drop an index if it is there."""
    with owner.begin() as connection:
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {PRODUCT}.{name(table, kind)}")


def present(session: Session, table: str, kind: str) -> bool:
    """Whether a finished index is there."""
    statement = text(
        "SELECT coalesce(bool_or(i.indisvalid), false) FROM pg_index i WHERE i.indexrelid = to_regclass(:n)"
    )
    return bool(session.scalar(statement, {"n": f"{PRODUCT}.{name(table, kind)}"}))


def size_bytes(session: Session, table: str, kind: str) -> int:
    """Its size on disk; 0 when it is not there."""
    statement = text("SELECT coalesce(pg_relation_size(to_regclass(:n)), 0)")
    return int(session.scalar(statement, {"n": f"{PRODUCT}.{name(table, kind)}"}) or 0)
