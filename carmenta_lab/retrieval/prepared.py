"""A retriever's statement as text for psycopg, and the one round trip that runs it under its settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection
from sqlalchemy.sql.compiler import SQLCompiler

from carmenta_lab.indexing.vectors import table_name
from carmenta_lab.postgres.postponed import Setting, prepares
from carmenta_lab.postgres.statement import DIALECT, driver, packing, translated
from carmenta_lab.retrieval.retriever import SqlRetriever
from carmenta_lab.schema.base import SEARCH

_OWN_COLUMNS = 4
"""Columns of a statement before those of its parts: passage_id, source_id, unit, score."""

Row = tuple[Any, ...]

_GUARDED = """
    SELECT found.*, CASE WHEN (SELECT EXISTS (SELECT FROM {schema}.outbox o WHERE o.user_id = %(user_id)s))
        THEN {schema}.noted(%(user_id)s, found.source_id) END AS noted
    FROM ({statement}) found
"""
"""A statement whose rows say as well what is noted of their source: the kind of the note, null where there is none.

Such a row may be of an old form of its source, or of one that is gone. Whether anything is noted is asked once; where
nothing is, as ever where a worker runs, that is all it costs.
"""


@dataclass(frozen=True)
class Prepared:
    """What is the same in every search of one retriever by one route."""

    text: bytes  # its rows have one more column than the statement: what is noted of the source
    fixed: Mapping[str, Any]  # parameters that have their value from the statement
    asked: Mapping[str, Callable[[Any], Any] | None]  # those that each search gives, and how they are packed
    parts: tuple[str, ...]  # names of the columns after the four that every statement has
    around: "Around | None"  # where it needs settings

    def values(self, given: Mapping[str, Any], limit: int) -> dict[str, Any]:
        """The parameters of one search."""
        found = {name: given[name] if pack is None else pack(given[name]) for name, pack in self.asked.items()}
        return {**self.fixed, **found, "limit": limit}


@cache
def prepared(retriever: SqlRetriever, route: str) -> Prepared:
    """Compile a retriever's statement once; through SQLAlchemy's own execution each search would pay for it."""
    statement = retriever.statement(route)
    compiled = statement.compile(dialect=DIALECT)
    assert isinstance(compiled, SQLCompiler)
    asked = {name: packing(bound) for name, bound in compiled.binds.items() if bound.required}
    expanded = compiled.construct_expanded_state(dict.fromkeys(asked))
    fixed = {}
    for name, value in expanded.parameters.items():
        if name not in asked:
            pack = packing(compiled.binds[name]) if name in compiled.binds else None
            fixed[name] = value if pack is None else pack(value)
    asked.pop("limit", None)
    columns = [column.name for column in statement.selected_columns]
    settings = retriever.settings(route)
    table = f"{SEARCH}.{table_name(retriever.model)}" if retriever.model else ""
    around = Around.of(settings, table) if settings else None
    text = _GUARDED.format(statement=expanded.statement, schema=SEARCH)
    return Prepared(text.encode(), fixed, asked, tuple(columns[_OWN_COLUMNS:]), around)


@dataclass(frozen=True)
class Around:
    """What is selected before and after a statement that needs settings."""

    first: tuple[str, ...]  # expressions: finished indexes of the table, pgvector loaded, the settings set
    before: bytes  # the same, remembering what the settings were
    after: tuple[Setting, ...]  # sets them back

    @classmethod
    def of(cls, settings: Mapping[str, str], table: str) -> "Around":
        """How these settings are set and set back.

        A savepoint would do to set them back, but rolling back makes psycopg forget every prepared statement of the
        connection.
        """
        quoted = [(sql.Literal(name).as_string(), sql.Literal(value).as_string()) for name, value in settings.items()]
        was = ", ".join(f"current_setting({name})" for name, _ in quoted)
        remembered = "current_setting('carmenta.before')::json"
        after = [(f"set_config({name}, {remembered} ->> {at}, true)", ()) for at, (name, _) in enumerate(quoted)]
        oids = f"SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = '{table}'::regclass AND indisvalid"
        indexes = f"array_to_string(ARRAY({oids}), ' ')" if table else "''"
        loaded = "'[1]'::vector IS NULL"  # a setting of pgvector is unknown before it is loaded
        new = [f"set_config({name}, {value}, true)" for name, value in quoted]
        remember = f"set_config('carmenta.before', json_build_array({was})::text, true)"
        before = f"SELECT {', '.join((indexes, loaded, remember, *new))}"
        return cls((indexes, loaded, *new), before.encode(), tuple(after))


@dataclass(frozen=True)
class _InForce:
    """What the connection's settings are set for, and the indexes there were: locked until the transaction ends."""

    around: Around
    indexes: str


def execute(connection: Connection, statement: Prepared, values: Mapping[str, Any]) -> tuple[Sequence[Row], str]:
    """The rows of a statement, in binary, prepared unless the connection forbids it; and the table's indexes.

    Settings are set before it in the same round trip, unless they are in force from the statement before; they are set
    back before anything else is executed. The indexes are named when there are settings. What the server refuses is
    raised as SQLAlchemy would raise it.
    """
    raw = driver(connection)
    prepare = prepares(raw)
    text, around = statement.text, statement.around
    try:
        if raw.untouched:
            found, rows = raw.alone(() if around is None else around.first, text, values)
            return rows, str(found[0]) if found else ""
        if around is None:
            return raw.execute(text, values, prepare=prepare, binary=True).fetchall(), ""
        known = raw.in_force
        if isinstance(known, _InForce) and known.around is around:
            return raw.plain_cursor().execute(text, values, prepare=prepare, binary=True).fetchall(), known.indexes
        with raw.pipeline():
            first = raw.execute(around.before, prepare=prepare)
            cursor = raw.execute(text, values, prepare=prepare, binary=True)
        raw.postponed = list(around.after)
        [(indexes, *_)] = first.fetchall()
        known = raw.in_force = _InForce(around, str(indexes))
        return cursor.fetchall(), known.indexes
    except psycopg.Error as error:
        raise translated(error, connection, text.decode()) from error
