"""One question under several strategies: the top hits, every signal's part of them, and where the evidence stands."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from carmenta_lab import display
from carmenta_lab.display import MARKED, Table
from carmenta_lab.errors import UsageError
from carmenta_lab.experiment.questions import QUERY_COLUMNS, query_of
from carmenta_lab.records import WEIGHED, Hit, Query, SourceKind
from carmenta_lab.retrieval.retriever import Retriever
from carmenta_lab.retrieval.search import search
from carmenta_lab.retrieval.texts import HitWithText, texts
from carmenta_lab.schema.lab.measurements import datasets, qrels, queries
from carmenta_lab.schema.product.conversations import messages
from carmenta_lab.schema.product.knowledge import documents
from carmenta_lab.schema.product.memory import memories

DEPTH = 200
"""How far down the evidence is looked for."""

SOURCES = {"message": messages, "memory": memories, "document": documents}


@dataclass(frozen=True)
class Part:
    """One signal of one hit, as it is and as it adds to the score."""

    name: str
    raw: float | None
    weighed: float | None  # what it adds to the score, where the strategy says so


@dataclass(frozen=True)
class JudgedSource:
    """A relevant source of the question, and by strategy the hit that found it; None where none did within `depth`."""

    source_id: UUID
    source: str  # as the dataset gives it
    kind: SourceKind
    relevance: int
    text: str
    hits: Mapping[str, Hit | None]


@dataclass(frozen=True)
class Explanation:
    """A question, the first hits of each strategy, and its evidence if it is judged; printed, two tables.

    >>> found = cl.explain(lab, "nora-q15", strategies="vector_exact", k=2)
    >>> found
    <Explanation of 'nora-q15': vector_exact>
    """

    query: Query
    judged: bool
    depth: int  # ranks looked at for evidence
    tops: Mapping[str, Sequence[HitWithText]]
    notes: Mapping[str, str]  # route, and what the reader must know
    evidence: tuple[JudgedSource, ...]

    def tables(self) -> list[Table]:
        """The hits side by side, evidence marked; then, of a judged question, the evidence and its ranks."""
        relevant = {e.source_id for e in self.evidence}
        depth = max((len(tops) for tops in self.tops.values()), default=0)
        rows = [
            [
                str(place + 1),
                *(_shown(tops[place], relevant) if place < len(tops) else "" for tops in self.tops.values()),
            ]
            for place in range(depth)
        ]
        heads = ["rank", *(f"{name} ({self.notes[name]})" for name in self.tops)]
        found = [Table(heads, rows, self.query.text, [f"{MARKED} evidence"] if relevant else [])]
        if self.judged:
            ranks = [
                [e.source, str(e.relevance), e.text, *(str(hit.rank) if hit else "" for hit in e.hits.values())]
                for e in self.evidence
            ]
            title = (
                f"evidence, and its ranks among the first {self.depth}" if ranks else "no source answers this question"
            )
            found.append(Table(["source", "relevance", "text", *self.tops], ranks, title))
        return found

    def __repr__(self) -> str:
        about = self.query.query_id if self.judged else self.query.text
        return f"<Explanation of {about!r}: {', '.join(self.tops)}>"

    def __str__(self) -> str:
        return display.text(self.tables())

    def _repr_html_(self) -> str:
        return display.html(self.tables())

    def to_json(self) -> dict[str, Any]:
        """The explanation as plain values."""
        return {
            "query": {"id": self.query.query_id, "text": self.query.text, "category": self.query.category},
            "strategies": {
                name: {"route": self.notes[name], "hits": [_hit(shown) for shown in tops]}
                for name, tops in self.tops.items()
            },
            "judged": self.judged,
            "depth": self.depth,
            "evidence": [
                {"source": e.source, "source_kind": e.kind, "relevance": e.relevance, "text": e.text}
                | {"ranks": {name: hit and hit.rank for name, hit in e.hits.items()}}
                | {"parts": {name: dict(hit.parts) if hit else None for name, hit in e.hits.items()}}
                for e in self.evidence
            ],
        }


def _shown(shown: HitWithText, relevant: Container[UUID]) -> str:
    """A hit in its place, evidence marked."""
    return f"{MARKED + ' ' if shown.hit.source_id in relevant else ''}{shown.source}: {shown.text}"


def parts_of(hit: Hit) -> list[Part]:
    """The signals of a hit, raw and weighed side by side, in the order the strategy gives them."""
    names = dict.fromkeys(name.removeprefix(WEIGHED) for name in hit.parts)
    return [Part(name, hit.parts.get(name), hit.parts.get(WEIGHED + name)) for name in names]


def loaded_query(session: Session, query_id: str, dataset: str | None = None) -> Query | None:
    """The loaded question of that id, read by the owner; None when there is none.

    UsageError when several datasets have one and none is named.
    """
    found = select(datasets.c.name, *QUERY_COLUMNS).join(datasets, datasets.c.id == queries.c.dataset_id)
    found = found.where(queries.c.query_id == query_id).order_by(datasets.c.name)
    rows = session.execute(found if dataset is None else found.where(datasets.c.name == dataset)).all()
    if len(rows) > 1:
        sources = ", ".join(row.name for row in rows)
        raise UsageError(f"several datasets have a question {query_id!r}: {sources}. Say which with --dataset.")
    return query_of(rows[0]) if rows else None


class RelevantSource(NamedTuple):
    """A source that is judged relevant to a question."""

    source_id: UUID
    kind: SourceKind
    relevance: int  # 1 or more


def relevant_sources(session: Session, query: Query) -> list[RelevantSource]:
    """The sources that are relevant to a loaded question, the most relevant first; read by the owner."""
    of_query = (queries.c.dataset_id == qrels.c.dataset_id) & (queries.c.query_id == qrels.c.query_id)
    rows = session.execute(
        select(qrels.c.source_id, qrels.c.source_kind, qrels.c.relevance)
        .join(queries, of_query)
        .where(qrels.c.query_id == query.query_id, queries.c.user_id == query.user_id, qrels.c.relevance > 0)
        .order_by(qrels.c.relevance.desc(), qrels.c.source_id)
    )
    return [RelevantSource(row.source_id, row.source_kind, row.relevance) for row in rows]


def explain(
    session: Session,
    query: Query,
    retrievers: Mapping[str, Retriever],
    k: int = 5,
    judged: Sequence[RelevantSource] | None = None,
) -> Explanation:
    """Search by every strategy and set the results side by side; to be called within `as_user`.

    `judged` are the relevant sources of the question (see `relevant_sources`); None when it is no judged question.
    """
    depth = max(k, DEPTH) if judged and k > 0 else k  # the search refuses what is no k
    rankings = {name: search(session, retriever, query, depth) for name, retriever in retrievers.items()}
    tops = {name: texts(session, query.user_id, ranking.hits[:k]) for name, ranking in rankings.items()}
    notes = {name: ranking.route + (f"; {ranking.note}" if ranking.note else "") for name, ranking in rankings.items()}
    found = []
    for source_id, kind, relevance in judged or ():
        hits = {name: next((h for h in r.hits if h.source_id == source_id), None) for name, r in rankings.items()}
        table = SOURCES[kind]
        mine = (table.c.user_id == query.user_id, table.c.id == source_id)
        row = session.execute(select(table.c.external_id, table.c.content).where(*mine)).one_or_none()
        given, text = (row.external_id, row.content) if row is not None else (None, "(deleted)")
        found.append(JudgedSource(source_id, str(given or source_id), kind, relevance, text, hits))
    return Explanation(query, judged is not None, depth, tops, notes, tuple(found))


def _hit(shown: HitWithText) -> dict[str, Any]:
    hit = shown.hit
    parts = {part.name: {"raw": part.raw, "weighed": part.weighed} for part in parts_of(hit)}
    return {
        "rank": hit.rank,
        "score": hit.score,
        "source": shown.source,
        "source_kind": hit.source_kind,
        "created_at": shown.created_at.isoformat() if shown.created_at else None,
        "text": shown.text,
        "parts": parts,
    }
