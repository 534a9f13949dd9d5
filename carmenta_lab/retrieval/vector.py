"""Nearest vectors of one user: exact, or through an approximate index where the user's rows are many."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pgvector.sqlalchemy import HALFVEC
from pgvector.sqlalchemy import VECTOR as FloatVec
from sqlalchemy import BigInteger, ColumnElement, Double, Select, Table, bindparam, case, cast, func, literal, select
from sqlalchemy.dialects.postgresql import BIT
from sqlalchemy.orm import Session

from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.errors import DimensionMismatch, UsageError
from carmenta_lab.indexing.approximate import FOUND, names_for
from carmenta_lab.indexing.kinds import KINDS, IndexKind
from carmenta_lab.indexing.packed import UNITS
from carmenta_lab.indexing.vectors import table_name
from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import (
    END_OF_TIME,
    OWN,
    SEARCHED,
    USER,
    VECTOR,
    VECTOR_NEEDED,
    Limit,
    Need,
    SqlRetriever,
    at_most,
    visible,
)
from carmenta_lab.schema.search.passages import embedding_table

EXACT_UP_TO: Mapping[IndexKind, int] = {"hnsw": 7_000, "halfvec": 6_500, "ivfflat": 11_000, "binary": 22_000}
"""Vectors of a user up to which exact search is the faster one. Two runs of `carmenta-lab bench crossover` over a table
of 100,000 rows put the crossing at 7,400 and 6,800 (hnsw), 6,500 and 6,000 (halfvec), 10,700 and 11,200 (ivfflat),
22,100 and 21,600 (binary); over 300,000 rows at 7,600 (halfvec). Recall@10 from there on was at least .95."""
EXACT_UP_TO_OWN = 4_000
"""The same for an index over the rows of that user alone: 4,100 and 3,700, and 4,800 in the larger table."""
FUSED_UP_TO = 7_000
"""The same for the 60 candidates of a fusion, `fused` in that bench: 6,100 in a run of 100,000 rows in which ten hits
crossed at 2,800. Recall of the exact candidates was at least .98 at every size."""


@cache
def vectors_of(model: str) -> Table:
    """The table of a model's vectors."""
    return embedding_table(table_name(model), dim=None)


@dataclass(frozen=True)
class VectorSearch(SqlRetriever):
    """Rank by cosine similarity of the question's vector and the passages'; score = 1 - cosine distance.

    With an `index` users of more than `exact_up_to` vectors are searched through it with an iterative scan, all
    others exactly (recall 1.0). What the index gives is ranked by the stored vectors: scores of all routes agree.
    An index over the rows of that user alone is used before the common one.
    """

    model: str = DEFAULT_MODEL
    units: tuple[str, ...] = SEARCHED
    index: IndexKind | None = None
    exact_up_to: int | None = None  # vectors of the user; as measured unless told
    ef_search: int = 100  # candidates kept while searching a graph, 1..1000
    probes: int = 10  # lists of an IVFFlat index read at first, 1..32768; the root of the lists is usual
    candidates: int = 12  # times as many hits as are wanted are taken from a binary index, and ranked again
    dim: int = 384  # of the model's vectors; an index over a cast names it

    def __post_init__(self) -> None:
        """Refuse what the server would."""
        if self.index not in (None, *KINDS):
            raise UsageError(f"index must be one of {', '.join(KINDS)}, or None; found {self.index!r}.")
        for name, most in (("ef_search", 1000), ("probes", 32_768), ("candidates", 100)):
            if not 1 <= (value := getattr(self, name)) <= most:
                raise UsageError(f"{name} must be 1 to {most}, not {value}.")

    @property
    def needs(self) -> frozenset[Need]:
        """The question's vector."""
        return VECTOR_NEEDED

    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """The table of the model's vectors."""
        return {table_name(self.model): ("vectors",)}

    def route(self, session: Session, query: Query) -> str:
        """The index's kind above `exact_up_to` counted vectors that the question may see, if it is there."""
        if self.index is None:
            return "exact"
        every = query.asked_at is None and {*self.units} >= {*UNITS}
        found = session.execute(_counted(self.model, None if every else self.units), self._bounds(query)).one_or_none()
        if found is None or not found.many:
            return "exact"
        if found.dim != self.dim:
            raise DimensionMismatch(found.dim, self.dim, f"the strategy over the vectors of {self.model}")
        return f"{OWN}{self.index}" if found.own else self.index

    def _bounds(self, query: Query) -> dict[str, object]:
        """Parameters of the count; a bound that was told holds for every index."""
        assert self.index is not None
        told = self.exact_up_to
        return {
            "user_id": query.user_id,
            "asked_at": query.asked_at or END_OF_TIME,
            "names": names_for(table_name(self.model), self.index, query.user_id),
            "bound": EXACT_UP_TO[self.index] if told is None else told,
            "own_bound": EXACT_UP_TO_OWN if told is None else told,
        }

    def statement(self, route: str, limit: Limit = None) -> Select[Any]:
        """One SELECT over the narrow table; `+ 0` keeps every index out of the exact one."""
        if route == "exact":
            return _exact(self.model, self.units, limit)
        return _indexed(self.model, self.units, self.dim, route.removeprefix(OWN), self.candidates, limit)

    def settings(self, route: str) -> Mapping[str, str]:
        """Empty for an exact search; for an index, its breadth and a plan that cannot avoid it."""
        if route == "exact":
            return {}
        breadth = {
            "hnsw.ef_search": str(self.ef_search),
            "hnsw.iterative_scan": "relaxed_order",
            "hnsw.max_scan_tuples": "2147483647",  # until there are enough rows, or work_mem is used up
        }
        if route.removeprefix(OWN) == "ivfflat":
            breadth = {"ivfflat.probes": str(self.probes), "ivfflat.iterative_scan": "relaxed_order"}
            breadth["ivfflat.max_probes"] = "32768"
        return breadth | {
            "enable_sort": "off",  # whatever does not come from the index in order would have to be sorted
            # one plan for all users saves planning; only a plan for this user sees the index over this user's rows
            "plan_cache_mode": "force_custom_plan" if route.startswith(OWN) else "force_generic_plan",
        }


@cache
def _counted(model: str, units: tuple[str, ...] | None) -> Select[Any]:
    """Whether an index is there, and whether a question may see more vectors than the bound; counted no further.

    Units of None: it may see all that the user has, and the key alone is read, at a fraction of the cost.
    """
    table = vectors_of(model)
    bounds = bindparam("own_bound", type_=BigInteger), bindparam("bound", type_=BigInteger)
    limit = case((FOUND.c.own, bounds[0]), else_=bounds[1])
    conditions = visible(table, units) if units else (table.c.user_id == USER,)
    some = select(table.c.user_id).where(*conditions).limit(limit + 1).correlate(FOUND).subquery()
    count = select(func.count()).select_from(some).correlate(FOUND).scalar_subquery()
    return select(FOUND.c.dim, FOUND.c.own, (count > limit).label("many"))


def _cosine(embedding: ColumnElement[Any]) -> ColumnElement[Any]:
    """The cosine distance, as a value that no index gives."""
    return embedding.op("<=>", return_type=Double())(VECTOR) + literal(0.0)


@cache
def _exact(model: str, units: tuple[str, ...], limit: Limit) -> Select[Any]:
    e = vectors_of(model).alias("e")
    distance = _cosine(e.c.embedding)
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


@cache
def _indexed(model: str, units: tuple[str, ...], dim: int, route: str, candidates: int, limit: Limit) -> Select[Any]:
    """The nearest by the index, which may give them out of order, ranked by the vectors as they are stored.

    Which of several at one distance are the last to be taken is the index's choice: ordered by id as well, PostgreSQL
    16 would not use the index at all, as it sorts what an index gives by distance wholly or not.
    """
    e = vectors_of(model).alias("e")
    order = _order(e.c.embedding, route, dim)
    wanted = at_most(limit)
    near = select(e.c.passage_id, e.c.source_id, e.c.unit, e.c.embedding).where(*visible(e, units))
    found = near.order_by(order).limit(wanted * candidates if route == "binary" else wanted).subquery("near")
    distance = _cosine(found.c.embedding)
    return (
        select(found.c.passage_id, found.c.source_id, found.c.unit, (1 - distance).label("score"))
        .order_by(distance, found.c.passage_id)
        .limit(wanted)
    )


def _order(embedding: ColumnElement[Any], route: str, dim: int) -> ColumnElement[Any]:
    """The distance that an index of this kind is made for."""
    if route == "halfvec":
        return embedding.op("<=>")(VECTOR)
    if route == "hnsw":
        return cast(embedding, FloatVec(dim)).op("<=>")(cast(VECTOR, FloatVec(dim)))
    if route == "ivfflat":
        return cast(func.l2_normalize(embedding), HALFVEC(dim)).op("<#>")(VECTOR)
    if route == "binary":
        signs = cast(func.binary_quantize(VECTOR), BIT(dim))
        return cast(func.binary_quantize(embedding), BIT(dim)).op("<~>")(signs)
    raise UsageError(f"a search by vectors has no route {route!r}: it is exact, or one of {', '.join(KINDS)}.")
