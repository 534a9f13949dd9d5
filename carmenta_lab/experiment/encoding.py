"""What the models make of the questions: once a model, however many strategies ask for it."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypedDict

from carmenta_lab.embedding import load_embedder
from carmenta_lab.experiment.questions import vectors_needed
from carmenta_lab.postgres.connect import Database, as_user
from carmenta_lab.records import Query
from carmenta_lab.retrieval.question import Question
from carmenta_lab.retrieval.retriever import Need, Retriever
from carmenta_lab.retrieval.search import understand
from carmenta_lab.schema.vector import Vector


class Encoded(TypedDict, total=False):
    """What `search` is given of a question beside its text, by the names of its parameters."""

    vector: Vector
    question: Question


def encode(
    database: Database, retrievers: Mapping[str, Retriever], queries: Sequence[Query]
) -> dict[str, dict[str, Encoded]]:
    """Strategy -> query id -> what the strategy needs of the question; strategies of one model share its vectors."""
    plain = {name: r.model for name, r in retrievers.items() if "vector" in r.needs and "question" not in r.needs}
    vectors = {model: _vectors(model, queries) for model in vectors_needed([*plain.values()])}
    found: dict[str, dict[str, Encoded]] = {}
    read: dict[_Key, Question] = {}
    for name, retriever in retrievers.items():
        of_model = vectors.get(plain.get(name) or "", {})
        found[name] = {query_id: Encoded(vector=vector) for query_id, vector in of_model.items()}
        if "question" in retriever.needs:
            found[name] = _questions(database, retriever, queries, read)
    return found


def _vectors(model: str, queries: Sequence[Query]) -> dict[str, Vector]:
    """One at a time, as a search does it: in a batch a vector differs by rounding."""
    embedder = load_embedder(model)
    return {query.query_id: embedder.embed_query(query.text) for query in queries}


_Key: TypeAlias = tuple[str, str | None, frozenset[Need]]
"""Query id, model, and what is needed: all that a question's reading depends on."""


def _questions(
    database: Database, retriever: Retriever, queries: Sequence[Query], read: dict[_Key, Question]
) -> dict[str, Encoded]:
    """The model is asked once for each question, whichever strategy came first; `read` keeps what it said."""
    found = {}
    with database.app_session() as session:
        for query in queries:
            key = query.query_id, retriever.model, retriever.needs
            if key not in read:
                with as_user(session, query.user_id):
                    read[key] = understand(session, retriever, query)
            found[query.query_id] = Encoded(question=read[key])
    return found
