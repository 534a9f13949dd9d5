"""Plain values that pass between stages: no SQL, no numpy, no pandas."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

SourceKind: TypeAlias = Literal["message", "memory", "document"]
"""What a passage stands for, and what judgements are about."""

Qrels: TypeAlias = Mapping[str, Mapping[UUID, int]]
"""query_id -> source id -> relevance; a query without relevant sources has an empty mapping."""


@dataclass(frozen=True, slots=True)
class Query:
    """A question put to one user's passages."""

    query_id: str
    user_id: UUID
    text: str
    category: str = ""
    asked_at: datetime | None = None  # passages later than this are invisible; None: the end of time
    answers: tuple[str, ...] = ()
    language: str = "en"  # ISO 639-1


@dataclass(frozen=True, slots=True)
class Hit:
    """One retrieved source with the passage that earned its rank."""

    passage_id: UUID
    source_id: UUID
    source_kind: SourceKind
    rank: int  # from 1
    score: float  # larger is better
    parts: Mapping[str, float] = field(default_factory=dict)  # the score of every part, by the part's name


@dataclass(frozen=True, slots=True)
class Ranking:
    """The hits of one query, best first, each source once."""

    query_id: str
    hits: tuple[Hit, ...]
    route: str = ""  # how it was searched: "exact", "hnsw", "fulltext", ...
    note: str = ""  # what the reader must know: "no searchable word in the query", ...

    def sources(self) -> list[UUID]:
        """Source ids, best first."""
        return [hit.source_id for hit in self.hits]


@dataclass(frozen=True, slots=True)
class Run:
    """The rankings of all queries by one strategy."""

    strategy: str
    rankings: Mapping[str, Ranking]

    @classmethod
    def of(cls, strategy: str, rankings: Iterable[Ranking]) -> "Run":
        """Collect rankings by their query."""
        return cls(strategy, {ranking.query_id: ranking for ranking in rankings})


@dataclass(frozen=True, slots=True)
class Score:
    """The value of one measure for one query."""

    query_id: str
    measure: str  # "ndcg@10"
    value: float


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the bounds of its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference to a baseline: positive where the strategy is better."""

    mean: float
    low: float
    high: float
    won: int
    lost: int
    tied: int
