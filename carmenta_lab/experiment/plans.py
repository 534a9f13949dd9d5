"""Which indexes does the plan of a search use, and what would the search find without approximate ones?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from carmenta_lab.experiment.encoding import Encoded
from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import Limit, Need, PythonRetriever, Retriever, SqlRetriever, Variant
from carmenta_lab.retrieval.search import search


@dataclass(frozen=True)
class _Fixed(SqlRetriever):
    """A retriever whose route is decided; everything else is the retriever's own."""

    of: SqlRetriever
    way: str

    @property
    def units(self) -> tuple[str, ...]:
        return self.of.units

    @property
    def model(self) -> str | None:
        return self.of.model

    @property
    def needs(self) -> frozenset[Need]:
        return self.of.needs

    def shortened(self, text: str) -> tuple[str, bool]:
        return self.of.shortened(text)

    def route(self, session: Session, query: Query) -> str:
        return self.way

    def variants(self) -> Mapping[str, Variant]:
        return {name: Variant(fixed(each.retriever, self.way), each.note) for name, each in self.of.variants().items()}

    def tables(self) -> Mapping[str, tuple[str, ...]]:
        return self.of.tables()

    def statement(self, route: str, limit: Limit = None) -> Select[Any]:
        return self.of.statement(route, limit)

    def settings(self, route: str) -> Mapping[str, str]:
        return self.of.settings(route)


def fixed(retriever: Retriever, route: str) -> Retriever:
    """The retriever, confined to one of its routes whatever the counted rows say; one in Python has one alone."""
    return retriever if isinstance(retriever, PythonRetriever) else _Fixed(retriever, route)


def indexes_used(
    session: Session, retriever: Retriever, query: Query, k: int, encoded: Encoded, route: str
) -> tuple[str, ...]:
    """Names of the indexes in the plans of what a search by this route executes, in their order, each once.

    Every SELECT that reaches the server is explained with its parameters, under the settings of the route. Empty:
    the plans read whole tables. To be called within `as_user(session, query.user_id)`, at the end of a
    transaction: the settings stay until it ends.
    """
    connection = session.connection()
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    executed: list[tuple[str, Any]] = []

    class Recording(raw.cursor_factory):  # type: ignore[name-defined, misc]
        def execute(self, query: Any, params: Any = None, **how: Any) -> Any:
            text = query.decode() if isinstance(query, bytes) else str(query)
            executed.append((text, params))
            return super().execute(query, params, **how)

    plain, raw.cursor_factory = raw.cursor_factory, Recording
    try:
        search(session, fixed(retriever, route), query, k, **encoded)
    finally:
        raw.cursor_factory = plain
    settings = {} if isinstance(retriever, PythonRetriever) else retriever.settings(route)
    if settings:
        session.execute(select(*(func.set_config(name, value, True) for name, value in settings.items())))
    found: dict[str, None] = {}
    for text, parameters in executed:
        if text.lstrip().upper().startswith(("SELECT", "WITH")):
            [(plan,)] = raw.execute(f"EXPLAIN (FORMAT JSON) {text}".encode(), parameters).fetchall()
            found.update(dict.fromkeys(_indexes(plan[0]["Plan"])))
    return tuple(found)


def _indexes(node: Mapping[str, Any]) -> Iterator[str]:
    """Of what is searched: names that begin with pg_ are the catalogue's, and `pk_outbox` is that of the notes."""
    if "Index Name" in node and not node["Index Name"].startswith(("pg_", "pk_outbox")):
        yield node["Index Name"]
    for child in node.get("Plans", ()):
        yield from _indexes(child)
