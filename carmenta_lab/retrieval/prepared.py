"""A retriever's statement as text for psycopg, and the one round trip that runs it under its settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import BindParameter, Connection
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DBAPIError

from carmenta_lab.retrieval.retriever import Retriever

_DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]

_OWN_COLUMNS = 4
"""Columns of a statement before those of its parts: passage_id, source_id, unit, score."""

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Prepared:
    """What is the same in every search of one retriever by one route."""

    text: bytes
    fixed: Mapping[str, Any]  # parameters that have their value from the statement
    asked: Mapping[str, Callable[[Any], Any] | None]  # those that each search gives, and how they are packed
    parts: tuple[str, ...]  # names of the columns after the four that every statement has

    def values(self, given: Mapping[str, Any], limit: int) -> dict[str, Any]:
        """The parameters of one search."""
        found = {name: given[name] if pack is None else pack(given[name]) for name, pack in self.asked.items()}
        return {**self.fixed, **found, "limit": limit}


@cache
def prepared(retriever: Retriever, route: str) -> Prepared:
    """Compile a retriever's statement once; through SQLAlchemy's own execution each search would pay for it.

    Lists that never change stand in the text: packed at each search they would cost more than all other parameters.
    """
    statement = retriever.statement(route)
    compiled = statement.compile(dialect=_DIALECT)
    asked = {name: _packing(bound) for name, bound in compiled.binds.items() if bound.required}
    expanded = compiled.construct_expanded_state(dict.fromkeys(asked))
    text, fixed = expanded.statement, {}
    for name, value in expanded.parameters.items():
        if name in asked:
            continue
        if isinstance(value, list):
            text = text.replace(f"%({name})s", sql.Literal(value).as_string().replace("%", "%%"))
        else:
            pack = _packing(compiled.binds[name]) if name in compiled.binds else None
            fixed[name] = value if pack is None else pack(value)
    asked.pop("limit", None)
    columns = [column.name for column in statement.selected_columns]
    return Prepared(text.encode(), fixed, asked, tuple(columns[_OWN_COLUMNS:]))


def _packing(bound: BindParameter[Any]) -> Callable[[Any], Any] | None:
    return bound.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)


@cache
def _around(settings: tuple[tuple[str, str], ...], table: str) -> tuple[bytes, bytes]:
    """Statements that set settings for the transaction, remembering what they were, and that set them back.

    The first also names the finished indexes of the table. A savepoint would do as well, but rolling back makes
    psycopg forget every prepared statement of the connection.
    """
    quoted = [(sql.Literal(name).as_string(), sql.Literal(value).as_string()) for name, value in settings]
    before = ", ".join(f"current_setting({name})" for name, _ in quoted)
    new = ", ".join(f"set_config({name}, {value}, true)" for name, value in quoted)
    old = ", ".join(f"set_config({name}, b.settings ->> {place}, true)" for place, (name, _) in enumerate(quoted))
    oids = f"SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = '{table}'::regclass AND indisvalid"
    indexes = f"array_to_string(ARRAY({oids}), ' ')" if table else "''"
    loaded = "'[1]'::vector IS NULL"  # a setting of pgvector is unknown before it is loaded
    remember = f"set_config('carmenta.before', json_build_array({before})::text, true)"
    recall = "(SELECT current_setting('carmenta.before')::json AS settings) AS b"
    return f"SELECT {indexes}, {loaded}, {remember}, {new}".encode(), f"SELECT {old} FROM {recall}".encode()


def execute(
    connection: Connection, text: bytes, values: Mapping[str, Any], settings: Mapping[str, str], table: str
) -> tuple[Sequence[Row], str]:
    """The rows of a statement, in binary, prepared unless the connection forbids it; and the table's indexes.

    Settings are set before and set back after it, all in one round trip; the indexes are named when there are
    settings. What the server refuses is raised as SQLAlchemy would raise it.
    """
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    prepare = None if raw.prepare_threshold is None else True
    try:
        if not settings:
            return raw.execute(text, values, prepare=prepare, binary=True).fetchall(), ""
        before, after = _around(tuple(settings.items()), table)
        with raw.pipeline():
            first = raw.execute(before, prepare=prepare)
            cursor = raw.execute(text, values, prepare=prepare, binary=True)
            raw.execute(after, prepare=prepare)
        return cursor.fetchall(), str(first.fetchall()[0][0])
    except psycopg.Error as error:
        lost = connection.dialect.is_disconnect(error, connection.connection.dbapi_connection, None)  # type: ignore[arg-type]
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            text.decode(), None, error, psycopg.Error, connection_invalidated=lost, dialect=connection.dialect
        ) from error
