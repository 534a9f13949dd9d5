"""What the models make of the questions: once a model, however many strategies ask for it."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

from carmenta_lab.embedding import load_embedder
from carmenta_lab.experiment.questions import vectors_needed
from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import Retriever
from carmenta_lab.schema.vector import Vector


class Encoded(TypedDict, total=False):
    """What `search` is given of a question beside its text, by the names of its parameters.

    What else a retriever may need of a question becomes one more key here and one more line in `encode`.
    """

    vector: Vector


def encode(retrievers: Mapping[str, Retriever], queries: Sequence[Query]) -> dict[str, dict[str, Encoded]]:
    """Strategy -> query id -> what the strategy needs of the question; strategies of one model share its vectors."""
    vectors = {model: _vectors(model, queries) for model in vectors_needed([r.model for r in retrievers.values()])}
    found: dict[str, dict[str, Encoded]] = {}
    for name, retriever in retrievers.items():
        of_model = vectors.get(retriever.model or "", {})
        found[name] = {query_id: Encoded(vector=vector) for query_id, vector in of_model.items()}
    return found


def _vectors(model: str, queries: Sequence[Query]) -> dict[str, Vector]:
    """One at a time, as a search does it: in a batch a vector differs by rounding."""
    embedder = load_embedder(model)
    return {query.query_id: embedder.embed_query(query.text) for query in queries}
