"""What would the model see for this query? Reads, searches and packs."""

from uuid import UUID

from sqlalchemy.orm import Session

from carmenta_lab.context import policies
from carmenta_lab.context.counter import BundledCounter, Counter
from carmenta_lab.context.material import Found, Material
from carmenta_lab.context.packing import pack
from carmenta_lab.context.policy import Policy
from carmenta_lab.context.reading import read_found, read_profile, read_tail
from carmenta_lab.context.value import Context
from carmenta_lab.embedding import load_embedder
from carmenta_lab.errors import UsageError
from carmenta_lab.records import Query
from carmenta_lab.retrieval import search
from carmenta_lab.retrieval.retriever import Retriever
from carmenta_lab.retrieval.search import MAX_EMBEDDED_CHARACTERS
from carmenta_lab.schema.vector import Vector

OWN = "custom"
"""The name in the result of a policy that is given as a value."""


def assemble(
    session: Session,
    query: Query,
    *,
    conversation_id: UUID | None = None,
    policy: Policy | str = "default",
    budget_tokens: int | None = None,
    counter: Counter | None = None,
    vector: Vector | None = None,
) -> Context:
    """The context of a query, within the budget (the policy's, unless one is given), the query included.

    To be called within `as_user(session, query.user_id)`. `policy` is a name, the path of a file, or a value;
    without `conversation_id` it is the user's latest conversation. Nothing later than `query.asked_at` is seen;
    profiles have no history and are always seen. `vector` is the query's under the policy's model, if it is at hand.
    UsageError for an empty query, an unknown conversation or policy, and a budget too small for the query.
    """
    if not query.text.strip():
        raise UsageError("the query is empty: give it at least one word.")
    name = policies.title(policy) if isinstance(policy, str) else OWN
    policy = policies.load(policy) if isinstance(policy, str) else policy
    budget = policy.budget_tokens if budget_tokens is None else budget_tokens
    if budget < 1:
        raise UsageError(f"the budget must be at least 1 token, not {budget}.")
    counter = counter or BundledCounter()
    profile, profile_source = read_profile(session, query)
    said = read_tail(session, query, conversation_id, policy.messages, budget)
    found = _retrieve(session, query, policy, vector)
    return pack(Material(query, profile, profile_source, said, found), policy, budget, counter, name)


def _retrieve(session: Session, query: Query, policy: Policy, vector: Vector | None) -> tuple[Found, ...]:
    """Memories, else passages."""
    retrievers = [retriever for retriever in (policy.memories, policy.passages) if retriever is not None]
    if vector is None and len({retriever.model for retriever in retrievers}) == 1:
        vector = _vector(query, retrievers[0])
    for retriever in retrievers:
        ranking = search(session, retriever, query, policy.k, vector if retriever.model else None)
        if found := read_found(session, query, ranking):
            return found
    return ()


def _vector(query: Query, retriever: Retriever) -> Vector | None:
    """The query's vector, so that two searches under one model need it once."""
    if retriever.model is None:
        return None
    return load_embedder(retriever.model).embed_query(query.text[:MAX_EMBEDDED_CHARACTERS])
