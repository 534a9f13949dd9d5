"""A statement built and compiled once, then executed where the session is, at the cost of the bare driver."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import psycopg
from sqlalchemy import ClauseElement, ColumnElement, bindparam, literal
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

Row = tuple[Any, ...]

PREFIX = "given_"
"""Of parameters: a name alone may be that of a column that the statement sets."""


def given(name: str, kind: TypeEngine[Any]) -> Any:
    """A parameter in the place of a value: what takes a value of that kind takes it as well."""
    return bindparam(f"{PREFIX}{name}", None, type_=kind, required=False)


def bound(value: Any, kind: TypeEngine[Any] | None = None) -> ColumnElement[Any]:
    """A value, or what `given` made, as an expression."""
    return value if isinstance(value, ColumnElement) else literal(value, kind)


class Prepared:
    """A statement with parameters by name; nothing is built before it is first used.

    It runs in the session's transaction, with the session's pending changes written first, but past SQLAlchemy:
    errors are those of psycopg. On direct connections the server prepares it; through a pooler nothing is prepared.
    """

    def __init__(self, build: Callable[[], ClauseElement]) -> None:
        self._build = build

    @cached_property
    def _compiled(self) -> tuple[str, dict[str, Any], dict[str, Callable[[Any], Any]]]:
        """The SQL, the values that the statement has itself, and what makes values the driver's."""
        compiled = self._build().compile(
            dialect=postgresql.psycopg.dialect(),  # type: ignore[no-untyped-call]
            compile_kwargs={"render_postcompile": True},
        )
        processors: dict[str, Callable[[Any], Any]] = dict(compiled._bind_processors)  # type: ignore[attr-defined]
        own = {k: processors[k](v) if k in processors else v for k, v in (compiled.params or {}).items()}
        return str(compiled), own, processors

    def _execute(self, session: Session, values: Mapping[str, Any]) -> psycopg.Cursor[Row]:
        sql, own, processors = self._compiled
        session.flush()
        raw = session.connection().connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        bare = own.copy()
        for name, value in values.items():
            key = PREFIX + name
            bare[key] = processors[key](value) if key in processors else value
        return raw.execute(sql, bare, prepare=raw.prepare_threshold is not None, binary=True)

    def rows(self, session: Session, values: Mapping[str, Any]) -> list[Row]:
        """All rows."""
        return self._execute(session, values).fetchall()

    def count(self, session: Session, values: Mapping[str, Any]) -> int:
        """How many rows were found or changed."""
        return self._execute(session, values).rowcount

    def scalar(self, session: Session, values: Mapping[str, Any]) -> Any:
        """The first column of the first row; None when there is none."""
        row = self._execute(session, values).fetchone()
        return None if row is None else row[0]
