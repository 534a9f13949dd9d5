"""Nearest vectors of one user: exact, or through an HNSW index where the user's rows are many."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from sqlalchemy import ColumnElement, Double, Select, Table, func, literal, select
from sqlalchemy.orm import Session

from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.errors import UsageError
from carmenta_lab.indexes import present
from carmenta_lab.ingest.embed import table_name
from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import END_OF_TIME, SEARCHED, VECTOR, Limit, at_most, visible
from carmenta_lab.schema.passages import embedding_table


@cache
def vectors_of(model: str) -> Table:
    """The table of a model's vectors."""
    return embedding_table(table_name(model), dim=None)


@dataclass(frozen=True)
class VectorSearch:
    """Rank by cosine similarity of the question's vector and the passages'; score = 1 - cosine distance.

    With `index="hnsw"` users of more than `exact_up_to` vectors are searched through the index with an iterative
    scan, all others exactly (recall 1.0). The default bound is a choice; no bench here has measured it yet.
    """

    model: str = DEFAULT_MODEL
    units: tuple[str, ...] = SEARCHED
    index: Literal["hnsw"] | None = None
    ef_search: int = 100  # candidates kept while searching the graph, 1..1000
    exact_up_to: int = 10_000  # vectors of the user

    def __post_init__(self) -> None:
        """Refuse what the index would."""
        if not 1 <= self.ef_search <= 1000:
            raise UsageError(f"ef_search must be 1 to 1000, not {self.ef_search}.")

    def route(self, session: Session, query: Query) -> str:
        """`hnsw` above `exact_up_to` counted vectors that the question may see, when the index is there."""
        if self.index is None:
            return "exact"
        table = vectors_of(self.model)
        some = select(literal(1)).where(*visible(table, self.units)).limit(self.exact_up_to + 1).subquery()
        values = {"user_id": query.user_id, "asked_at": query.asked_at or END_OF_TIME}
        count = session.scalar(select(func.count()).select_from(some), values) or 0
        if count <= self.exact_up_to:
            return "exact"
        return "hnsw" if present(session, table.name, "hnsw") else "exact"

    def statement(self, route: str, limit: Limit = None) -> Select[Any]:
        """One SELECT over the narrow table; `+ 0` keeps every index out of the exact one."""
        return _statement(self.model, self.units, route, limit)

    def settings(self, route: str) -> Mapping[str, str]:
        """None for an exact search; for the index, its breadth and a plan that cannot avoid it."""
        if route == "exact":
            return {}
        return {
            "hnsw.ef_search": str(self.ef_search),
            "hnsw.iterative_scan": "strict_order",
            "hnsw.max_scan_tuples": "2147483647",  # until there are enough rows, or work_mem is used up
            "enable_sort": "off",
            "enable_seqscan": "off",
            "enable_bitmapscan": "off",
            "plan_cache_mode": "force_generic_plan",
        }


@cache
def _statement(model: str, units: tuple[str, ...], route: str, limit: Limit) -> Select[Any]:
    e = vectors_of(model).alias("e")
    nearness: ColumnElement[Any] = e.c.embedding.op("<=>", return_type=Double())(VECTOR)
    distance = nearness + literal(0.0) if route == "exact" else nearness
    near = (
        select(e.c.passage_id, e.c.source_id, e.c.unit, distance.label("distance"))
        .where(*visible(e, units))
        .order_by(distance, e.c.passage_id)
        .limit(at_most(limit))
        .subquery("near")
    )
    return select(near.c.passage_id, near.c.source_id, near.c.unit, (1 - near.c.distance).label("score")).order_by(
        near.c.distance, near.c.passage_id
    )
