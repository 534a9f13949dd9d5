"""One way to execute what is asked often: a statement compiled once, its rows typed, its errors SQLAlchemy's.

Through SQLAlchemy's own execution each call would pay for building and compiling again. A statement is an SQLAlchemy
expression whose parameters are made by `given`, or a text with psycopg's `%(name)s`:

    _RECENT = Rows(MessageLine, lambda: recent_statement(given("user_id", Uuid()), given("limit", Integer())))
    _RECENT.all(session, {"user_id": user_id, "limit": 20})            # list[MessageLine]
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, cast

import psycopg
from psycopg import sql
from sqlalchemy import BindParameter, ClauseElement, ColumnElement, Connection, bindparam, literal
from sqlalchemy.dialects.postgresql.psycopg import PGCompiler_psycopg, PGDialect_psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from carmenta_lab.postgres.postponed import PostponingConnection, postponing_connection, prepares


class _Compiler(PGCompiler_psycopg):
    """Writes lists that never change into the text: packed at each call they would cost more than all else."""

    def visit_bindparam(self, bindparam: BindParameter[Any], *args: Any, **kwargs: Any) -> str:
        if isinstance(bindparam.value, list) and not bindparam.expanding:
            return sql.Literal(bindparam.value).as_string().replace("%", "%%")
        return str(super().visit_bindparam(bindparam, *args, **kwargs))  # type: ignore[no-untyped-call]


class _Dialect(PGDialect_psycopg):
    statement_compiler = _Compiler
    supports_statement_cache = True


DIALECT = _Dialect()  # type: ignore[no-untyped-call]

Where: TypeAlias = Session | Connection
"""In whose transaction something is executed."""

PREFIX = "given_"
"""Of parameters: a name alone may be that of a column that the statement sets."""


RowT = TypeVar("RowT", bound=tuple[Any, ...])
"""A NamedTuple: its fields have the names of the statement's columns, in their order."""

OtherT = TypeVar("OtherT", bound=tuple[Any, ...])
"""That of a second statement."""


def given(name: str, kind: TypeEngine[Any]) -> Any:
    """A parameter that is given when the statement is executed, usable where a value of that type is."""
    return bindparam(f"{PREFIX}{name}", None, type_=kind, required=False)


def bound(value: Any, kind: TypeEngine[Any] | None = None) -> ColumnElement[Any]:
    """A value, or a parameter made by `given`, as an expression of SQLAlchemy."""
    return value if isinstance(value, ColumnElement) else literal(value, kind)


def packing(parameter: BindParameter[Any]) -> Callable[[Any], Any] | None:
    """The function that turns a value of the parameter's type into one that psycopg takes.

    None where none is needed.
    """
    return parameter.type.dialect_impl(DIALECT).bind_processor(DIALECT)


def driver(where: Where) -> PostponingConnection:
    """The driver's connection behind a session or connection of one of our engines, within its transaction."""
    return postponing_connection(where.connection() if isinstance(where, Session) else where)


def translated(error: psycopg.Error, where: Where, text: str) -> DBAPIError:
    """A block in which errors of the driver are raised as SQLAlchemy's; a lost connection is taken out of its pool."""
    connection = where.connection() if isinstance(where, Session) else where
    lost = connection.dialect.is_disconnect(error, connection.connection.dbapi_connection, None)  # type: ignore[arg-type]
    if lost:
        connection.invalidate(error)
    made = DBAPIError.instance(
        text, None, error, psycopg.Error, connection_invalidated=lost, dialect=connection.dialect
    )
    assert isinstance(made, DBAPIError)
    return made


def only(cursor: psycopg.Cursor[Any]) -> Any:
    """The one value of the one row that a statement returned."""
    [(value,)] = cursor.fetchall()
    return value


class Compiled(NamedTuple):
    """A compiled statement: its text for psycopg, and how its parameters are named and converted."""

    text: str
    own: Mapping[str, Any]  # the values that the statement has itself
    names: Mapping[str, str]  # of parameters that are given -> as they stand in the text
    packs: Mapping[str, Callable[[Any], Any]]  # of a parameter in the text -> what makes its value the driver's


def compiled(statement: ClauseElement) -> Compiled:
    """Compile a statement into text for psycopg and the conversions of its parameters."""
    made = statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
    assert isinstance(made, SQLCompiler)
    packs = {name: pack for name, one in made.binds.items() if (pack := packing(one)) is not None}
    values = made.params or {}
    own = {name: packs[name](value) if name in packs else value for name, value in values.items()}
    names = {name.removeprefix(PREFIX): name for name in own if name.startswith(PREFIX)}
    return Compiled(str(made), own, names, packs)


def _ready_driver(where: Where) -> PostponingConnection:
    """The driver's connection, what is pending in the session written."""
    if isinstance(where, Session):
        where.flush()
    return driver(where)


class Statement:
    """A statement that is built and compiled when it is first used; `Rows`, `Value` and `Change` say what it returns.

    It runs in the transaction of a session, whose pending changes are written first, or of a connection. On direct
    connections the server prepares it at once; through a pooler nothing is prepared. Results travel in binary. Whatever
    the server refuses is raised as `sqlalchemy.exc.DBAPIError`.
    """

    def __init__(self, build: Callable[[], ClauseElement] | str) -> None:
        self._build = build

    @cached_property
    def _ready(self) -> Compiled:
        if isinstance(self._build, str):
            return Compiled(self._build, {}, {}, {})
        return compiled(self._build())

    @property
    def text(self) -> str:
        """The text that psycopg is given."""
        return self._ready.text

    def cursor(self, where: Where, values: Mapping[str, Any]) -> psycopg.Cursor[Any]:
        """Execute the statement; the cursor has its rows and their count."""
        raw = _ready_driver(where)
        try:
            return self._sent(raw, values)
        except psycopg.Error as error:
            raise translated(error, where, self.text) from error

    def _sent(self, raw: PostponingConnection, values: Mapping[str, Any]) -> psycopg.Cursor[Any]:
        text, own, names, packs = self._ready
        if own:
            found = dict(own)
            for name, value in values.items():
                key = names.get(name, name)
                found[key] = packs[key](value) if key in packs else value
            values = found
        return raw.execute(text, values, prepare=prepares(raw), binary=True)


class Rows(Statement, Generic[RowT]):
    """A statement that returns rows of one type, a NamedTuple with its columns."""

    def __init__(self, row: type[RowT], build: Callable[[], ClauseElement] | str) -> None:
        super().__init__(build)
        self._make: Callable[[Sequence[Any]], RowT] = partial(tuple.__new__, row)  # `_make` looks at each row's length
        self._fields: tuple[str, ...] = cast("Any", row)._fields
        self._checked = False

    def all(self, where: Where, values: Mapping[str, Any]) -> list[RowT]:
        """All rows, in the statement's order."""
        return self._rows(self.cursor(where, values))

    def _rows(self, cursor: psycopg.Cursor[Any]) -> list[RowT]:
        if not self._checked:
            self._check(cursor.description or ())
        return list(map(self._make, cursor.fetchall()))

    def first(self, where: Where, values: Mapping[str, Any]) -> RowT | None:
        """The first row; None when there is none."""
        return next(iter(self.all(where, values)), None)

    def _check(self, columns: Sequence[psycopg.Column]) -> None:
        found = tuple(column.name for column in columns)
        assert found == self._fields, f"rows of {self._fields} are read from columns {found}"
        self._checked = True


def both(
    where: Where, values: Mapping[str, Any], first: Rows[RowT], second: Rows[OtherT]
) -> tuple[list[RowT], list[OtherT]]:
    """The rows of two statements with the same parameters, in one round trip together with postponed settings."""
    raw = _ready_driver(where)
    try:
        with raw.pipeline():
            one, other = first._sent(raw, values), second._sent(raw, values)
        return first._rows(one), second._rows(other)
    except psycopg.Error as error:
        raise translated(error, where, f"{first.text};\n{second.text}") from error


class Value(Statement):
    """A statement that returns one column."""

    def get(self, where: Where, values: Mapping[str, Any]) -> Any:
        """The value in the first row; None when there is none."""
        for value, *_ in self.cursor(where, values):
            return value
        return None

    def each(self, where: Where, values: Mapping[str, Any]) -> list[Any]:
        """The value in each row."""
        return [value for value, *_ in self.cursor(where, values).fetchall()]


class Change(Statement):
    """A statement that inserts, updates or deletes rows."""

    def count(self, where: Where, values: Mapping[str, Any]) -> int:
        """Execute the statement; returns how many rows it changed."""
        return self.cursor(where, values).rowcount
