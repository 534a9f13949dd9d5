"""Several rankings of one question merged into one, in the statement that makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from sqlalchemy import Select, func, literal, select, union, union_all
from sqlalchemy.dialects.postgresql import aggregate_order_by, distinct_on
from sqlalchemy.orm import Session

from carmenta_lab.errors import UsageError
from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import (
    NOTHING_NEEDED,
    AtLeast,
    Limit,
    Need,
    PythonRetriever,
    SqlRetriever,
    Variant,
    at_most,
)


@dataclass(frozen=True)
class Fusion(SqlRetriever):
    """Retrievers whose statements become one; they share the question's vector, and so one model."""

    parts: tuple[tuple[str, SqlRetriever], ...]  # name -> retriever

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        for name, part in self.parts:
            if isinstance(part, PythonRetriever):
                raise UsageError(f"a fusion is one SQL statement, and its part {name} ranks in Python: {part!r}.")
        models = {part.model for _, part in self.parts if part.model}
        if len(models) > 1:
            raise UsageError(f"the parts of a fusion share one vector of the question, found {' and '.join(models)}.")
        if len({name for name, _ in self.parts}) < max(1, len(self.parts)):
            raise UsageError("a fusion has one part or more, each of a name of its own.")

    @property
    def units(self) -> tuple[str, ...]:
        """Every unit that any part searches."""
        return tuple(dict.fromkeys(unit for _, part in self.parts for unit in part.units))

    @property
    def model(self) -> str | None:
        """The embedding model of the part that compares vectors; None where none does."""
        return next((part.model for _, part in self.parts if part.model), None)

    @cached_property
    def needs(self) -> frozenset[Need]:
        """Everything that any part wants made of the question."""
        return NOTHING_NEEDED.union(*(part.needs for _, part in self.parts))

    def shortened(self, text: str) -> tuple[str, bool]:
        """As much of the text as every part searches: the shortest of what the parts take."""
        cut = False
        for _, part in self.parts:
            text, shorter = part.shortened(text)
            cut = cut or shorter
        return text, cut

    def variants(self) -> Mapping[str, Variant]:
        """The fusion without each of its parts, as long as one part is left."""
        left = {name: tuple(pair for pair in self.parts if pair[0] != name) for name, _ in self.parts}
        return {name: Variant(replace(self, parts=parts)) for name, parts in left.items() if parts}

    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """The tables that the parts read, each with the names of these parts."""
        found: dict[str, tuple[str, ...]] = {}
        for name, part in self.parts:
            for table in part.tables():
                found[table] = (*found.get(table, ()), name)
        return found


@dataclass(frozen=True)
class ReciprocalRankFusion(Fusion):
    """Score a source by the sum of 1 / (60 + its rank) over the parts that found it.

    Cormack, Clarke and Buettcher, SIGIR 2009. Ranks are those of sources, from 1: a source counts once a part,
    with its best passage. Each part contributes its first `depth` passages, or as many as it takes to find k sources.
    """

    constant: int = 60
    depth: int = 40

    def route(self, session: Session, query: Query) -> str:
        """The parts' routes, joined by +."""
        return "+".join(part.route(session, query) for _, part in self.parts)

    def statement(self, route: str, limit: Limit = None) -> Select[Any]:
        """One SELECT whose CTEs are the parts."""
        return _statement(self, route, limit)

    def settings(self, route: str) -> Mapping[str, str]:
        """The settings that the parts need, together."""
        routes = route.split("+")
        return {k: v for (_, part), way in zip(self.parts, routes, strict=True) for k, v in part.settings(way).items()}


@cache
def _statement(fusion: ReciprocalRankFusion, route: str, limit: Limit) -> Select[Any]:
    ranked, found = [], []
    depth = AtLeast(fusion.depth) if limit is None else limit
    for (name, part), way in zip(fusion.parts, route.split("+"), strict=True):
        passages = part.statement(way, depth).cte(name)
        found.append(select(passages.c.passage_id, passages.c.source_id, passages.c.unit))
        sources = (
            select(passages.c.passage_id, passages.c.source_id, passages.c.unit, passages.c.score)
            .ext(distinct_on(passages.c.source_id))
            .order_by(passages.c.source_id, passages.c.score.desc(), passages.c.passage_id)
            .subquery()
        )
        rank = func.row_number().over(order_by=(sources.c.score.desc(), sources.c.passage_id))
        ranked.append(select(sources, rank.label("rank"), literal(name).label("part")))
    every = union_all(*ranked).subquery("every")
    score = func.sum(1.0 / (fusion.constant + every.c.rank)).label("score")
    best = func.array_agg(aggregate_order_by(every.c.passage_id, every.c.rank, every.c.passage_id))[1]
    columns = [func.max(every.c.score).filter(every.c.part == name).label(name) for name, _ in fusion.parts]
    fused = select(every.c.source_id, score, best.label("best"), *columns).group_by(every.c.source_id).subquery("fused")
    p = union(*found).subquery("p")
    return (
        select(p.c.passage_id, p.c.source_id, p.c.unit, fused.c.score, *[fused.c[name] for name, _ in fusion.parts])
        .join_from(p, fused, p.c.source_id == fused.c.source_id)
        .order_by(fused.c.score.desc(), p.c.source_id, p.c.passage_id != fused.c.best, p.c.passage_id)
        .limit(at_most(limit))
    )
