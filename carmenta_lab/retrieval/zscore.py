"""Fusion by standard scores: how many standard deviations above the user's average is a passage, part by part?"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, cast

from sqlalchemy import Double, Select, bindparam, column, text
from sqlalchemy.orm import Session

from carmenta_lab.records import Query
from carmenta_lab.retrieval.bm25 import COLUMNS, rows_at_most
from carmenta_lab.retrieval.fusion import Fusion
from carmenta_lab.retrieval.retriever import LIMIT, Limit, Need

EVERY = 1_000_000
"""All passages of a user: a mean over the best alone would say nothing."""


@dataclass(frozen=True)
class ZScoreFusion(Fusion):
    """The sum of each part's (score - mean) / standard deviation over all passages of the user.

    Lee, SIGIR 1997, with the standard score as normalisation. A passage that a part did not find has 0 from it; one of
    the parts should score every passage. The names of participants are left out of the question, as they say who
    wrote, not what.
    """

    @cached_property
    def needs(self) -> frozenset[Need]:
        """The question read, and what any part wants."""
        return super().needs | {"question"}

    def route(self, session: Session, query: Query) -> str:
        """The parts' routes, joined by +; approximate ones would leave out what the mean is taken over."""
        return "+".join("exact" if part.model else part.route(session, query) for _, part in self.parts)

    def statement(self, route: str, limit: Limit = None) -> Select[Any]:
        """One SELECT whose CTEs are the parts."""
        return cast("Select[Any]", _statement(self, route, limit))

    def settings(self, route: str) -> Mapping[str, str]:
        """One plan for all questions: planning takes as long as searching."""
        return {"plan_cache_mode": "force_generic_plan"}


@cache
def _statement(fusion: ZScoreFusion, route: str, limit: Limit) -> Any:
    names = [name for name, _ in fusion.parts]
    ways = zip(fusion.parts, route.split("+"), strict=True)
    ctes = [part.statement(way, EVERY).cte(name) for (name, part), way in ways]
    found = " UNION ALL ".join(
        f"""SELECT passage_id, source_id, unit, {", ".join("score" if n == name else "NULL::float8" for n in names)} """
        f'FROM "{name}"'
        for name in names
    )
    listed = ", ".join(f'"{name}"' for name in names)  # quoted: a part may be called `any` or `order`
    merged = ", ".join(f'coalesce(max("{name}"), 0) AS "{name}"' for name in names)
    spread = ", ".join(f'avg("{n}") AS "{n}_mean", greatest(stddev_pop("{n}"), 1e-9) AS "{n}_deviation"' for n in names)
    z = {name: f'(f."{name}" - s."{name}_mean") / s."{name}_deviation"' for name in names}
    parts = ", ".join([*(f'f."{name}"' for name in names), *(f'{z[name]} AS "z:{name}"' for name in names)])
    sql = text(f"""
    , fused AS MATERIALIZED (
        SELECT passage_id, source_id, unit, {merged}
        FROM ({found}) every (passage_id, source_id, unit, {listed}) GROUP BY 1, 2, 3
    ), average AS (SELECT {spread} FROM fused)
    SELECT f.passage_id, f.source_id, f.unit, {" + ".join(z.values())} AS score, {parts}
    FROM fused f CROSS JOIN average s ORDER BY score DESC, f.passage_id LIMIT {rows_at_most(limit)}""")
    bound = sql if isinstance(limit, int) else sql.bindparams(bindparam(LIMIT.key, type_=LIMIT.type))
    return bound.columns(*COLUMNS, *(column(p + n, Double) for p in ("", "z:") for n in names)).add_cte(*ctes)
