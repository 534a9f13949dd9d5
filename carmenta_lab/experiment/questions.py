"""The questions of a loaded dataset and their judgements, as the lab keeps them."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from carmenta_lab.errors import DatasetError, UnknownName
from carmenta_lab.records import Qrels, Query, SourceKind
from carmenta_lab.schema.lab.measurements import datasets, loaded_users, qrels, queries
from carmenta_lab.schema.search.passages import passages


class Judged(NamedTuple):
    """The judgement of one source for one question."""

    kind: SourceKind
    relevance: int  # 0: not relevant


@dataclass(frozen=True)
class Questions:
    """The questions of a dataset that a run answers, with their judgements."""

    dataset: str
    dataset_id: UUID
    queries: tuple[Query, ...]  # in the order of their file
    judgements: dict[str, dict[UUID, Judged]]  # every query has an entry, if an empty one
    user_names: dict[UUID, str]  # as the dataset gives them
    passages: dict[UUID, int]  # passages of each user

    def qrels(self, kinds: set[SourceKind]) -> Qrels:
        """The relevance of the judged sources of these kinds, by question and source."""
        return {
            query: {source: relevance for source, (kind, relevance) in judged.items() if kind in kinds}
            for query, judged in self.judgements.items()
        }

    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal over the questions and their judgements: equal wherever the same are loaded."""
        whole = sha256()
        for query in self.queries:
            judged = sorted(
                (str(source), relevance) for source, (_, relevance) in self.judgements[query.query_id].items()
            )
            whole.update(repr((query.query_id, query.text, str(query.asked_at), judged)).encode())
        return whole.hexdigest()

    def coverage(self, kinds: set[SourceKind]) -> float:
        """Share of the relevant sources that are of these kinds, 0..1: those that such a strategy can find at all."""
        every = [kind for judged in self.judgements.values() for kind, relevance in judged.values() if relevance > 0]
        return sum(kind in kinds for kind in every) / len(every) if every else 0.0


QUERY_COLUMNS = (
    queries.c.query_id,
    queries.c.user_id,
    queries.c.content,
    queries.c.category,
    queries.c.asked_at,
    queries.c.answers,
    queries.c.language,
)
"""What a `Query` is made of."""


def query_of(row: Row[*tuple[Any, ...]]) -> Query:
    """The question that a row with `QUERY_COLUMNS` holds."""
    return Query(row.query_id, row.user_id, row.content, row.category, row.asked_at, tuple(row.answers), row.language)


def read_questions(session: Session, dataset: str) -> Questions:
    """The questions of a dataset, read by the owner; DatasetError when there is none with a relevant target."""
    found = session.execute(select(datasets.c.id).where(datasets.c.name == dataset)).scalar()
    if found is None:
        raise UnknownName("loaded dataset", dataset, session.scalars(select(datasets.c.name)))
    rows = session.execute(select(*QUERY_COLUMNS).where(queries.c.dataset_id == found).order_by(queries.c.position))
    asked = tuple(query_of(row) for row in rows)
    judgements: dict[str, dict[UUID, Judged]] = {query.query_id: {} for query in asked}
    for row in session.execute(
        select(qrels.c.query_id, qrels.c.source_id, qrels.c.source_kind, qrels.c.relevance)
        .where(qrels.c.dataset_id == found)
        .order_by(qrels.c.query_id, qrels.c.source_id)
    ):
        judgements[row.query_id][row.source_id] = Judged(row.source_kind, row.relevance)
    if not any(relevance > 0 for judged in judgements.values() for _, relevance in judged.values()):
        raise DatasetError(f"the dataset {dataset} has no judged question: queries.jsonl and qrels.tsv are needed.")
    u = loaded_users
    names = session.execute(select(u.c.user_id, u.c.external_id).where(u.c.dataset_id == found))
    user_names = {row.user_id: str(row.external_id) for row in names}
    counts = session.execute(
        select(passages.c.user_id, func.count().label("passages"))
        .where(passages.c.user_id.in_(list(user_names)))
        .group_by(passages.c.user_id)
    )
    return Questions(dataset, found, asked, judgements, user_names, {row.user_id: row.passages for row in counts})


def vectors_needed(models: Sequence[str | None]) -> tuple[str, ...]:
    """The embedding models among these, each once."""
    return tuple(dict.fromkeys(model for model in models if model))
