"""Which indexes does the plan of a search use, and what would the search find without approximate ones?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import event
from sqlalchemy.orm import Session

from carmenta_lab.experiment.encoding import Encoded
from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import Retriever
from carmenta_lab.retrieval.search import search


@dataclass(frozen=True)
class _Fixed:
    """A retriever whose route is decided; everything else is the retriever's own."""

    of: Retriever
    way: str

    def route(self, session: Session, query: Query) -> str:
        return self.way

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "of":  # while it is copied or unpickled there is nothing to ask
            raise AttributeError(name)
        return getattr(self.of, name)


def fixed(retriever: Retriever, route: str) -> Retriever:
    """The retriever, confined to one of its routes whatever the counted rows say."""
    return cast("Retriever", _Fixed(retriever, route))


def indexes_used(
    session: Session, retriever: Retriever, query: Query, k: int, encoded: Encoded, route: str
) -> tuple[str, ...]:
    """Names of the indexes in the plans of what a search by this route executes, in their order, each once.

    Every SELECT of the search is explained where it is executed, with its parameters and under the settings in
    force there. Empty: the plans read whole tables. To be called within `as_user(session, query.user_id)`.
    """
    connection = session.connection()
    found: dict[str, None] = {}

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            with cursor.connection.cursor() as other:
                other.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
                found.update(dict.fromkeys(_indexes(other.fetchone()[0][0]["Plan"])))

    event.listen(connection, "before_cursor_execute", explain)
    try:
        search(session, fixed(retriever, route), query, k, **encoded)
    finally:
        event.remove(connection, "before_cursor_execute", explain)
    return tuple(found)


def _indexes(node: Mapping[str, Any]) -> Iterator[str]:
    if "Index Name" in node:
        yield node["Index Name"]
    for child in node.get("Plans", ()):
        yield from _indexes(child)
