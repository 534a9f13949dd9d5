"""The one place where a retriever's statement is executed."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from psycopg.errors import UndefinedTable
from sqlalchemy import Connection, Row, Select, TextClause, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from carmenta_lab.embedding import load_embedder
from carmenta_lab.errors import CarmentaError, DimensionMismatch, UsageError
from carmenta_lab.records import Hit, Query, Ranking
from carmenta_lab.retrieval.fulltext import searchable
from carmenta_lab.retrieval.retriever import END_OF_TIME, KINDS, Retriever, exactly
from carmenta_lab.schema.base import LANGUAGES
from carmenta_lab.schema.vector import Vector

MAX_K = 1_000

MAX_EMBEDDED_CHARACTERS = 10_000
"""More than any encoder here reads of a question."""

PARAMETERS = ("user_id", "asked_at", "text", "config", "vector")

DIMENSIONS = re.compile(r"different halfvec dimensions (\d+) and (\d+)")

PART_COLUMNS = 4
"""Columns of a statement before those of its parts: passage_id, source_id, unit, score."""


def search(session: Session, retriever: Retriever, query: Query, k: int = 10, vector: Vector | None = None) -> Ranking:
    """The `k` best sources for a question, each once; fewer when no more are found.

    To be called within `as_user(session, query.user_id)`. `vector` is the question's, if it is at hand; else it is
    computed. Leaves no setting behind. UsageError for an empty question, for k outside 1..1000, for a vector that
    is zero, when nothing is embedded with the strategy's model, and when the session acts for somebody else;
    DimensionMismatch for a vector of another dimension than those it is compared with.
    """
    query = replace(query, text=_mended(query.text))
    if not query.text.strip():
        raise UsageError("the query is empty: give it at least one word.")
    if not 1 <= k <= MAX_K:
        raise UsageError(f"k must be 1 to {MAX_K}, not {k}.")
    parameters, note = _parameters(retriever, query, vector)
    try:
        route = retriever.route(session, query)
        hits = _hits(session, retriever, route, parameters, k)
    except DBAPIError as error:
        if refusal := _refused(error, retriever.model):
            raise refusal from None
        raise
    if len(hits) < k and (exact := exactly(route)) != route:
        note = f"the index found {len(hits)} of {k}, so the search was made again without it"
        route, hits = exact, _hits(session, retriever, exact, parameters, k)
    if not hits:
        note = _why_nothing(session, query, parameters) or note
    return Ranking(query.query_id, hits, route, note)


def _mended(text: str) -> str:
    """A text without NUL, halves of characters replaced: as texts are loaded."""
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _refused(error: DBAPIError, model: str | None) -> CarmentaError | None:
    """What a search with a model that nothing is embedded with, or with a vector of another length, is told."""
    if model is not None and isinstance(error.orig, UndefinedTable):
        return UsageError(f"nothing is embedded with the model {model}: load a dataset with it first.")
    if match := DIMENSIONS.search(str(error.orig)):
        return DimensionMismatch(int(match[1]), int(match[2]), "the query's vector")
    return None


def _parameters(retriever: Retriever, query: Query, vector: Vector | None) -> tuple[dict[str, Any], str]:
    short, cut = searchable(query.text)
    values: dict[str, Any] = {
        "user_id": query.user_id,
        "asked_at": query.asked_at or END_OF_TIME,
        "text": short,
        "config": "pg_catalog." + LANGUAGES.get(query.language, "simple"),
    }
    if retriever.model is not None:
        if vector is None:
            vector = load_embedder(retriever.model).embed_query(query.text[:MAX_EMBEDDED_CHARACTERS])
        norm = float(np.linalg.norm(vector))
        if vector.ndim != 1 or not np.isfinite(norm) or norm == 0:
            raise UsageError("the query's vector must be one row of finite numbers that are not all zero.")
        values["vector"] = vector / norm  # so that it fits the range of half precision
    return values, "the query is long: only its beginning was searched" if cut else ""


def _hits(session: Session, retriever: Retriever, route: str, parameters: dict[str, Any], k: int) -> tuple[Hit, ...]:
    """Passages collapsed to sources; asks for more passages while sources repeat and more may come."""
    statement, names = _prepared(retriever, route)  # type: ignore[arg-type]  # retrievers are frozen, so hashable
    wanted = {name: parameters[name] for name in names}
    settings = retriever.settings(route)
    connection = session.connection()
    limit = 2 * k + 10
    while True:
        rows = _execute(connection, statement, wanted | {"limit": limit}, settings)
        best: dict[Any, Row[Any]] = {}
        for row in rows:
            best.setdefault(row.source_id, row)
        if len(best) >= k or len(rows) < limit:
            break
        limit *= 4
    return tuple(_hit(row, rank) for rank, row in enumerate(list(best.values())[:k], start=1))


@cache
def _prepared(retriever: Retriever, route: str) -> tuple[Select[Any], tuple[str, ...]]:
    """A retriever's statement and the names of the parameters it takes; the limit is set for each call."""
    statement = retriever.statement(route)
    return statement, tuple(name for name in statement.compile().params if name in PARAMETERS)


def _execute(
    connection: Connection, statement: Any, values: dict[str, Any], settings: Mapping[str, str]
) -> list[Row[Any]]:
    """Run a statement under its settings, all set in one statement and set back afterwards.

    A savepoint would do as well, but rolling back makes psycopg forget every prepared statement of the connection.
    """
    if not settings:
        return list(connection.execute(statement, values))
    there, back = _switch(tuple(settings))
    before = connection.execute(there, {f"v{n}": value for n, value in enumerate(settings.values())}).one()
    rows = list(connection.execute(statement, values))
    connection.execute(back, {f"v{n}": before[n + 1] for n in range(len(settings))})
    return rows


@cache
def _switch(names: tuple[str, ...]) -> tuple[TextClause, TextClause]:
    """A statement that says what settings are and sets them, and one that sets them back.

    A setting of pgvector is unknown before it is loaded, which the first column sees to.
    """
    old = ", ".join(f"current_setting('{name}') AS old{n}" for n, name in enumerate(names))
    new = ", ".join(f"set_config('{name}', :v{n}, true)" for n, name in enumerate(names))
    return text(f"SELECT '[1]'::vector IS NULL, {old}, {new}"), text(f"SELECT {new}")


def _hit(row: Row[Any], rank: int) -> Hit:
    parts = {name: float(row[i]) for i, name in list(enumerate(row._fields))[PART_COLUMNS:] if row[i] is not None}
    return Hit(row.passage_id, row.source_id, KINDS[row.unit], rank, float(row.score), parts)


def _why_nothing(session: Session, query: Query, parameters: dict[str, Any]) -> str:
    """Tell a question without words, and refuse a session that cannot see this user's rows."""
    row = session.execute(
        text(
            "SELECT current_setting('carmenta.user_id', true), current_user, "
            "querytree(websearch_to_tsquery(CAST(:config AS regconfig), :text)) IN ('', 'T')"
        ),
        {"config": parameters["config"], "text": parameters["text"]},
    ).one()
    if row[1] == "carmenta_app" and row[0] != str(query.user_id):
        raise UsageError(
            "the session does not act for the query's user: search within as_user(session, query.user_id)."
        )
    return "the query has no searchable word" if row[2] else ""
