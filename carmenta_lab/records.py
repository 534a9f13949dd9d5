"""Plain values that pass between stages: no SQL, no numpy, no pandas."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from carmenta_lab.display import Table

SourceKind: TypeAlias = Literal["message", "memory", "document"]
"""What a passage stands for, and what judgements are about."""

Progress: TypeAlias = Callable[[str, int, int | None], object]
"""Called with the stage's name, how many were done since the last call, and how many there are if known."""

Qrels: TypeAlias = Mapping[str, Mapping[UUID, int]]
"""query_id -> source id -> relevance; a query without relevant sources has an empty mapping."""


@dataclass(frozen=True, slots=True)
class Query:
    """A question put to one user's passages, as `compare` keeps it and as a strategy of one's own is given it.

    >>> def newest(session, query, k):
    ...     rows = session.execute(
    ...         text("SELECT id FROM carmenta.messages WHERE user_id = :user ORDER BY created_at DESC LIMIT :k"),
    ...         {"user": query.user_id, "k": k},
    ...     )
    ...     return [(row.id, -place) for place, row in enumerate(rows)]
    >>> len(cl.search(lab, nora, "the boat", k=4, strategy=newest).hits)
    4
    """

    query_id: str
    user_id: UUID
    text: str
    category: str = ""
    asked_at: datetime | None = None  # passages later than this are invisible; None: the end of time
    answers: tuple[str, ...] = ()
    language: str = "en"  # ISO 639-1


@dataclass(frozen=True, slots=True)
class Hit:
    """One retrieved source with the passage that earned its rank.

    >>> [first] = cl.search(lab, nora, "Where did we park the bikes?", k=1, strategy="hybrid_rrf").hits
    >>> first.rank, sorted(first.parts)
    (1, ['fulltext', 'vector'])
    """

    passage_id: UUID
    source_id: UUID
    source_kind: SourceKind
    rank: int  # from 1
    score: float  # larger is better
    parts: Mapping[str, float] = field(default_factory=dict)  # the score of every part, by the part's name


WEIGHED = "z:"
"""Before the name of a part: what it adds to the score, beside its raw score under the bare name."""


@dataclass(frozen=True, slots=True)
class HitText:
    """The text of a hit, its source, author and time, as a person reads them."""

    source: str  # as the dataset gives it, else the uuid
    text: str  # without date and author
    author: str | None
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """The hits of one query, best first, each source once; printed, it is a table.

    `texts` are what the hits say. What searches alone, without the face, does not read them: see
    `retrieval.with_texts`.

    >>> ranking = cl.search(lab, nora, "Where did we park the bikes?", k=2, strategy="vector_exact")
    >>> ranking
    <Ranking of 'Where did we park the bikes?': 2 hits, route='exact'>
    """

    query_id: str
    hits: tuple[Hit, ...]
    route: str = ""  # how it was searched: "exact", "hnsw", "fulltext", ...
    note: str = ""  # what the reader must know: "no searchable word in the query", ...
    texts: Mapping[UUID, HitText] = field(default_factory=dict)  # by the hit's passage, once they were asked for

    def sources(self) -> list[UUID]:
        """Source ids, best first."""
        return [hit.source_id for hit in self.hits]

    def table(self) -> Table:
        """A row a hit: rank, score, its parts, and source, date, author and text where they were asked for."""
        parts = any(hit.parts for hit in self.hits)
        said = ["source", "date", "who", "text"] if self.texts else ["kind", "source"]
        heads = ["rank", "score", *said, *(["parts"] if parts else [])]
        rows = [
            [str(hit.rank), f"{hit.score:.3f}", *self._said(hit), *([_parts(hit)] if parts else [])]
            for hit in self.hits
        ]
        count = f"{len(self.hits)} hit{'' if len(self.hits) == 1 else 's'}"
        route = f", route {self.route}" if self.route else ""
        return Table(heads, rows, f"{self.query_id}: {count}{route}", [self.note] if self.note else [])

    def _said(self, hit: Hit) -> list[str]:
        if not self.texts:
            return [hit.source_kind, str(hit.source_id)]
        if (known := self.texts.get(hit.passage_id)) is None:
            return [str(hit.source_id), "", "", "(changed or deleted since the search)"]
        date = known.created_at.date().isoformat() if known.created_at else ""
        return [known.source, date, known.author or f"({hit.source_kind})", known.text]

    def __repr__(self) -> str:
        note = f", note={self.note!r}" if self.note else ""
        return f"<Ranking of {self.query_id!r}: {len(self.hits)} hits, route={self.route!r}{note}>"

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def _parts(hit: Hit) -> str:
    """What each part adds to the score where that is known, else its own score; parts of no effect are left out."""
    weighed = {name.removeprefix(WEIGHED): value for name, value in hit.parts.items() if name.startswith(WEIGHED)}
    shown = (weighed or hit.parts).items()
    return ", ".join(f"{name} {value:{'+' if weighed else ''}.3f}" for name, value in shown if abs(value) >= 0.0005)


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
    p: float = 1.0  # how often chance alone would give as large a difference, 0 to 1
