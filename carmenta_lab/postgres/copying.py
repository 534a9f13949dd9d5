"""Rows into a table by binary COPY."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb


def jsonb(value: object) -> Jsonb | None:
    """A value for a jsonb column."""
    return None if value is None else Jsonb(value, dumps=msgspec.json.encode)


def copy(
    connection: psycopg.Connection[Any], table: sql.Composable, columns: Sequence[tuple[str, str]], rows: Iterable[Any]
) -> None:
    """Binary COPY of rows into (name, type) columns of a table."""
    names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(table, names)
    with connection.cursor() as cursor, cursor.copy(statement) as stream:
        stream.set_types([kind for _, kind in columns])
        for row in rows:
            stream.write_row(row)
