"""Vectors and what stands beside them into a model's table: arrays that numpy packs, and one INSERT for a block."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.types.string import BytesBinaryDumper

from carmenta_lab.schema.base import SEARCH

UNITS = ("turn", "memory", "section")
"""The units that get a vector."""

BLOCK_ROWS = 4_096
"""At 4,000 dimensions 32 MB."""

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # from which the server counts
_NUMBER = {unit: number for number, unit in enumerate(UNITS, start=1)}
_INSERT = f"""
    INSERT INTO {SEARCH}.{{table}} AS t (user_id, passage_id, source_id, created_at, unit, embedding)
    SELECT user_id, passage_id, source_id, nullif(created_at, '-infinity'), (%s::text[])[unit], embedding
    FROM (SELECT unnest(%s::uuid[]) AS user_id, unnest(%s::uuid[]) AS passage_id, unnest(%s::uuid[]) AS source_id,
        unnest(%s::timestamptz[]) AS created_at, unnest(%s::int2[]) AS unit, unnest(%s::halfvec[]) AS embedding) given
"""
OnConflict: TypeAlias = Literal["refuse", "keep", "update"]
"""For a passage that has a vector: an error, the old one stays, or the new one takes its place where it differs."""

_CONFLICTS: dict[OnConflict, str] = {
    "refuse": "",
    "keep": "ON CONFLICT (user_id, passage_id) DO NOTHING",
    "update": "ON CONFLICT (user_id, passage_id) DO UPDATE SET embedding = excluded.embedding "
    "WHERE t.embedding <> excluded.embedding",
}


class Columns(NamedTuple):
    """The columns that stand beside vectors, a value for each vector; ids are the 16 bytes of their uuids."""

    users: Sequence[bytes]
    passages: Sequence[bytes]
    sources: Sequence[bytes]
    times: Sequence[datetime | None]
    units: Sequence[str]

    def part(self, block: slice) -> "Columns":
        """The columns of a slice of the rows."""
        return Columns(
            self.users[block], self.passages[block], self.sources[block], self.times[block], self.units[block]
        )


class _Packed(bytes):
    """An array as it travels."""


class _PackedDumper(BytesBinaryDumper):
    """Sends an array as it is; the statement says of which type it is."""

    oid = 0


def write_vectors(
    connection: psycopg.Connection[Any],
    table: str,
    beside: Columns,
    vectors: NDArray[np.floating],
    on_conflict: OnConflict = "refuse",
) -> list[psycopg.Cursor[Any]]:
    """Insert rows into the table of a model's vectors, a vector each; returns cursors whose `rowcount` is written rows.

    With `on_conflict="refuse"` an existing row is an error, with "keep" it stays and is not counted, with "update" it
    is counted where its vector differs. COPY does not write into a table with row-level security, and a temporary table
    would be written for nothing.
    """
    connection.adapters.register_dumper(_Packed, _PackedDumper)
    written = []
    for start in range(0, len(vectors), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        values = _packed(connection, beside.part(block), vectors[block])
        statement = _INSERT.format(table=table) + _CONFLICTS[on_conflict]
        written.append(connection.execute(statement, (list(UNITS), *values)))
    return written


def _packed(connection: psycopg.Connection[Any], beside: Columns, vectors: NDArray[np.floating]) -> list[_Packed]:
    rows, dim = vectors.shape
    ids = [np.frombuffer(b"".join(keys), "V16") for keys in (beside.users, beside.passages, beside.sources)]
    # numpy's "no time" is the smallest number, which the server reads as -infinity
    since = np.array([None if at is None else at - _EPOCH for at in beside.times], "m8[us]").astype(np.int64)
    halves = np.zeros(rows, [("dim", ">u2"), ("unused", ">u2"), ("numbers", ">f2", dim)])
    halves["dim"], halves["numbers"] = dim, vectors.astype(np.float16, copy=False)
    units = np.array([_NUMBER[unit] for unit in beside.units], ">i2")
    kinds = ("uuid", "uuid", "uuid", "timestamptz", "int2", "halfvec")
    columns = (*ids, since.astype(">i8"), units, halves)
    return [_array(connection.adapters.types[kind].oid, found) for kind, found in zip(kinds, columns, strict=True)]


def _array(oid: int, values: NDArray[Any]) -> _Packed:
    """An array of one dimension without nulls: a header, then each value after its length."""
    found = np.empty(len(values), [("bytes", ">i4"), ("value", values.dtype)])
    found["bytes"], found["value"] = values.dtype.itemsize, values
    return _Packed(np.array([1, 0, oid, len(values), 1], ">i4").tobytes() + found.tobytes())
