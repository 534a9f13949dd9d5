"""The one place where a retriever is asked: a statement is executed, or a function called, and hits come of it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
from psycopg.errors import UndefinedTable
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from carmenta_lab.embedding import load_embedder
from carmenta_lab.errors import CarmentaError, DimensionMismatch, UsageError
from carmenta_lab.records import Hit, Query, Ranking
from carmenta_lab.retrieval.acting import check_acting
from carmenta_lab.retrieval.prepared import execute, prepared
from carmenta_lab.retrieval.python import ranked
from carmenta_lab.retrieval.question import Question, participants, read_question
from carmenta_lab.retrieval.retriever import (
    APPROXIMATE,
    END_OF_TIME,
    KINDS,
    PythonRetriever,
    Retriever,
    SqlRetriever,
    exactly,
)
from carmenta_lab.retrieval.routing import Decision, forget, recall, remember
from carmenta_lab.schema.vector import Vector

MAX_K = 1_000

MAX_EMBEDDED_CHARACTERS = 10_000
"""More than any encoder here reads of a question."""

DIMENSIONS = re.compile(r"different halfvec dimensions (\d+) and (\d+)")


def search(
    session: Session | Connection,
    retriever: Retriever,
    query: Query,
    k: int = 10,
    vector: Vector | None = None,
    question: Question | None = None,
) -> Ranking:
    """The `k` best sources for a question, each once; fewer when no more are found.

    To be called within `Database.user_session`, `Database.user_connection` or `as_user` of the query's user. `vector`
    is the question's, if it is at hand; else it is computed where the retriever needs it. So is `question` (see
    `understand`); who needs it takes the vector from it as well. Nothing else on the connection sees its settings.
    UsageError for an empty question, for k outside 1..1000, for a vector that is zero, when nothing is embedded with
    the strategy's model, and when the session acts for somebody else; DimensionMismatch for a vector of another
    dimension than those it is compared with; UsageError when a retriever in Python raises or breaks a promise.
    """
    mended = _mended(query.text)
    if mended != query.text:
        query = replace(query, text=mended)
    if not query.text.strip():
        raise UsageError("the query is empty: give it at least one word.")
    if not 1 <= k <= MAX_K:
        raise UsageError(f"k must be 1 to {MAX_K}, not {k}.")
    if isinstance(retriever, PythonRetriever):
        hits = ranked(_session(session), retriever, query, k)
        return Ranking(query.query_id, hits, retriever.route(_session(session), query))
    if "question" in retriever.needs:
        question = question or understand(_session(session), retriever, query)
        vector = question.vector
    else:
        question = None
    parameters, note = _parameters(retriever, query, vector, question)
    try:
        route, hits = _routed(session, retriever, query, parameters, k)
    except DBAPIError as error:
        if refusal := _refused(error, retriever.model):
            raise refusal from None
        raise
    if len(hits) < k and (exact := exactly(route)) != route:
        note = f"the index found {len(hits)} of {k}, so the search was made again without it"
        route, hits = exact, _hits(_connection(session), retriever, exact, parameters, k)[0]
    if not hits:
        note = _why_nothing(_session(session), query, parameters) or note
    return Ranking(query.query_id, hits, route, note)


def _connection(session: Session | Connection) -> Connection:
    bound = session.bind if isinstance(session, Session) and not session.in_transaction() else session
    if isinstance(bound, Connection):  # of a session as well, which has nothing to write and need not begin
        return bound
    assert isinstance(session, Session)
    return session.connection()


def _session(session: Session | Connection) -> Session:
    """A session within the transaction of a connection."""
    return session if isinstance(session, Session) else Session(session)


def understand(session: Session, retriever: Retriever, query: Query) -> Question:
    """What a retriever that needs the question is given; to be called within `as_user(session, query.user_id)`."""
    short = replace(query, text=_mended(query.text)[:MAX_EMBEDDED_CHARACTERS])
    return read_question(short, participants(session, query), retriever.model, retriever.needs)


def query_vector(model: str, query: Query) -> Vector:
    """The vector that a search with the model computes of a question, shape (dim,)."""
    return load_embedder(model).embed_query(_mended(query.text)[:MAX_EMBEDDED_CHARACTERS])


def _mended(text: str) -> str:
    """A text without NUL, halves of characters replaced: as texts are loaded."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _refused(error: DBAPIError, model: str | None) -> CarmentaError | None:
    """What a search with a model that nothing is embedded with, or with a vector of another length, is told."""
    if model is not None and isinstance(error.orig, UndefinedTable):
        return UsageError(f"nothing is embedded with the model {model}: load a dataset with it first.")
    if match := DIMENSIONS.search(str(error.orig)):
        return DimensionMismatch(int(match[1]), int(match[2]), "the query's vector")
    return None


def _parameters(
    retriever: SqlRetriever, query: Query, vector: Vector | None, question: Question | None
) -> tuple[dict[str, Any], str]:
    asked = query.text if question is None else question.text
    short, cut = retriever.shortened(asked)
    cut = cut or (question is not None and len(query.text) > MAX_EMBEDDED_CHARACTERS)
    values: dict[str, Any] = {} if question is None else dict(question.parameters())
    values |= {
        "user_id": query.user_id,
        "asked_at": query.asked_at or END_OF_TIME,
        "text": short,
        "language": query.language,
    }
    if "vector" in retriever.needs:
        if vector is None:
            assert retriever.model is not None
            vector = load_embedder(retriever.model).embed_query(asked[:MAX_EMBEDDED_CHARACTERS])
        norm = float(np.linalg.norm(vector))
        if vector.ndim != 1 or not np.isfinite(norm) or norm == 0:
            raise UsageError("the query's vector must be one row of finite numbers that are not all zero.")
        values["vector"] = vector / norm  # so that it fits the range of half precision
    return values, "the query is long: only its beginning was searched" if cut else ""


def _routed(
    session: Session | Connection, retriever: SqlRetriever, query: Query, parameters: dict[str, Any], k: int
) -> tuple[str, tuple[Hit, ...]]:
    """The route and what it found; a route remembered holds while the indexes are those it was chosen with."""
    connection = _connection(session)
    key = retriever, query.user_id, query.asked_at
    known = recall(connection.engine, key)
    route = known.route if known else retriever.route(_session(session), query)
    hits, indexes = _hits(connection, retriever, route, parameters, k)
    if known is not None and known.indexes != indexes:
        forget(connection.engine, key)
        return _routed(session, retriever, query, parameters, k)
    if known is None and exactly(route) != route:
        remember(connection.engine, key, Decision(route, indexes))
    return route, hits


def _hits(
    connection: Connection, retriever: SqlRetriever, route: str, parameters: dict[str, Any], k: int
) -> tuple[tuple[Hit, ...], str]:
    """Passages collapsed to sources, and the indexes; asks for more while sources repeat and more may come.

    What the index may hold in an old form is left out, as other clients have changed or deleted it since.
    """
    statement = prepared(retriever, route)  # type: ignore[arg-type]  # retrievers are frozen, so hashable
    limit = k + (k // 5 if route in APPROXIMATE else k // 2 + 2)  # a row that an index gives costs ten of a sort
    while True:
        rows, indexes = execute(connection, statement, statement.values(parameters, limit))
        best: dict[UUID, Hit] = {}
        noted = None
        for passage, source, unit, score, *of_parts, noted in rows:
            if noted is None and source not in best:
                scores = _scores(statement.parts, of_parts) if of_parts else {}
                best[source] = Hit(passage, source, KINDS[unit], len(best) + 1, float(score), scores)
            if len(best) == k:
                break
        if len(best) == k or len(rows) < limit or noted == "user":
            return tuple(best.values()), indexes
        limit *= 4


def _scores(parts: tuple[str, ...], found: Sequence[float | None]) -> dict[str, float]:
    """The score of each part that found the passage."""
    return {name: float(score) for name, score in zip(parts, found, strict=True) if score is not None}


def _why_nothing(session: Session, query: Query, parameters: dict[str, Any]) -> str:
    """Tell a question without words, and refuse a session that cannot see this user's rows."""
    row = session.execute(
        text(
            "SELECT current_setting('carmenta.user_id', true) AS person, current_user AS role, "
            "querytree(carmenta.websearch(:language, :text)) IN ('', 'T') AS wordless"
        ),
        {"language": parameters["language"], "text": parameters["text"]},
    ).one()
    check_acting(query, row.person, row.role)
    return "the query has no searchable word" if row.wordless else ""
