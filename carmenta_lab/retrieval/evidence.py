"""Candidates by meaning and by words, then a weighted sum of signals: fixed weights, no training, one statement."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import ARRAY, Boolean, Double, Integer, Select, Text, bindparam, column, select, text
from sqlalchemy.orm import Session

from carmenta_lab.errors import UsageError
from carmenta_lab.records import Query
from carmenta_lab.retrieval.bm25 import COLUMNS, BM25, ranked
from carmenta_lab.retrieval.retriever import ASKED_AT, CONFIG, LIMIT, TEXT, USER, VECTOR, AtLeast, Limit, at_most
from carmenta_lab.retrieval.signals import Signal
from carmenta_lab.retrieval.signals.beside import CTES
from carmenta_lab.retrieval.vector import VectorSearch, vectors_of
from carmenta_lab.schema.passages import token_codes
from carmenta_lab.schema.vector import Codes

PARAMETERS = (
    USER,
    ASKED_AT,
    TEXT,
    CONFIG,
    VECTOR,
    LIMIT,
    bindparam("codes", type_=Codes(384)),
    bindparam("code_words", type_=ARRAY(Text)),
    bindparam("speaker", type_=Text),
    bindparam("months", type_=ARRAY(Integer)),
    bindparam("years", type_=ARRAY(Integer)),
    bindparam("days", type_=ARRAY(Integer)),
    bindparam("asks_when", type_=Boolean),
    bindparam("time_pattern", type_=Text),
    bindparam("speaking", type_=Text),
)

LINK = 0.5
"""How far a memory and the message it was learned from lift each other: half of what one is better."""


@dataclass(frozen=True)
class Evidence:
    """Rank by a weighted sum of signals over the candidates of a vector search and of BM25.

    Each finds `depth` candidates, or as many as hits are wanted; the messages from which found memories were
    learned join them. A memory and its message lift each other; a superseded memory stands below its successor;
    a passage that repeats a better one word for word goes to the end.
    """

    signals: tuple[Signal, ...]
    vector: VectorSearch = field(default_factory=VectorSearch)
    words: BM25 = field(default_factory=lambda: BM25(view="answer"))
    depth: int = 100  # candidates of each search

    reads_question = True

    @property
    def units(self) -> tuple[str, ...]:
        """The units of both searches."""
        return tuple(dict.fromkeys((*self.vector.units, *self.words.units)))

    @property
    def model(self) -> str:
        """The model of the vectors."""
        return self.vector.model

    @property
    def tokens(self) -> bool:
        """Whether a signal reads codes of single tokens."""
        return any(signal.tokens for signal in self.signals)

    def route(self, session: Session, query: Query) -> str:
        """The vector search's; UsageError when the user's passages have no token codes and a signal needs them."""
        if self.tokens:
            some = select(token_codes.c.passage_id).where(token_codes.c.user_id == query.user_id).limit(1)
            if session.execute(some).first() is None:
                raise UsageError(
                    "this user's passages have no token codes: load the dataset with a strategy that needs them "
                    "(carmenta-lab load FOLDER --tokens), or search with evidence_lean."
                )
        return self.vector.route(session, query)

    def statement(self, route: str, limit: Limit = None) -> Select[Any]:
        """One SELECT: candidates, signals, sum."""
        return _statement(self, route, limit)

    def settings(self, route: str) -> Mapping[str, str]:
        """Those of the vector search."""
        return self.vector.settings(route)


@cache
def _statement(retriever: Evidence, route: str, limit: Limit) -> Any:
    depth = AtLeast(retriever.depth)
    nearest = retriever.vector.statement(route, depth).cte("nearest")
    worded = text(ranked(retriever.words, depth, share(retriever.words)))
    known = worded.columns(*COLUMNS).cte("worded")
    sql = text(_sql(retriever, limit))
    used = [p for p in PARAMETERS if f":{p.key}" in sql.text]
    parts = [column(prefix + signal.name, Double) for prefix in ("", "z:") for signal in retriever.signals]
    bound = sql.bindparams(*(bindparam(p.key, type_=p.type) for p in used))
    return bound.columns(*COLUMNS, *parts).add_cte(nearest, known)


def share(words: BM25) -> str:
    """BM25 as a share of what the question's words could reach at the most."""
    return "s.score / (SELECT greatest(sum(idf), 1e-9) FROM word)"


def _sql(retriever: Evidence, limit: Limit) -> str:
    signals = retriever.signals
    table = f"carmenta.{vectors_of(retriever.model).name}"
    needed = dict.fromkeys(name for signal in signals for name in signal.needs)
    ctes = "".join(CTES[name] for name in needed) + "".join(signal.ctes(table) for signal in signals)
    joins = " ".join(dict.fromkeys(signal.join() for signal in signals))
    values = ", ".join(f"({signal.value()})::float8 AS {signal.name}" for signal in signals)
    total = " + ".join(f"{signal.weight} * {signal.name}" for signal in signals)
    parts = ", ".join(f"r.{signal.name}" for signal in signals)
    weighed = ", ".join(f'{signal.weight} * r.{signal.name} AS "z:{signal.name}"' for signal in signals)
    at_most_rows = f"greatest(:limit, {limit.rows})" if isinstance(limit, AtLeast) else ":limit" if limit is None else limit
    return f"""
    WITH found AS MATERIALIZED (
        SELECT passage_id, max(nearness) AS nearness, max(words) AS words FROM (
            SELECT passage_id, score AS nearness, NULL AS words FROM nearest
            UNION ALL SELECT passage_id, NULL, score FROM worded
        ) every GROUP BY 1
    ), learned AS MATERIALIZED (
        SELECT p.memory_id, m.source_message_id AS message_id FROM found f
        JOIN carmenta.passages p ON p.user_id = :user_id AND p.id = f.passage_id AND p.memory_id IS NOT NULL
        JOIN carmenta.memories m ON m.user_id = :user_id AND m.id = p.memory_id AND m.source_message_id IS NOT NULL
    ), candidate AS MATERIALIZED (
        SELECT n.*, f.nearness, f.words FROM (
            SELECT * FROM found UNION ALL
            SELECT p.id, NULL, NULL FROM learned l JOIN carmenta.passages p ON p.user_id = :user_id
            AND p.message_id = l.message_id WHERE p.id NOT IN (SELECT passage_id FROM found)
        ) f JOIN carmenta.passage_features n ON n.user_id = :user_id AND n.passage_id = f.passage_id
        AND (n.created_at IS NULL OR n.created_at <= :asked_at)
    ), {ctes} valued AS MATERIALIZED (
        SELECT c.passage_id, c.source_id, c.unit, {values} FROM candidate c {joins}
    ), summed AS MATERIALIZED (SELECT v.*, {total} AS total FROM valued v),
    best AS MATERIALIZED (SELECT source_id, max(total) AS total FROM summed GROUP BY 1),
    lifted AS MATERIALIZED (
        SELECT source_id, max(other) AS other FROM (
            SELECT l.memory_id AS source_id, b.total AS other FROM learned l JOIN best b ON b.source_id = l.message_id
            UNION ALL
            SELECT l.message_id, b.total FROM learned l JOIN best b ON b.source_id = l.memory_id
        ) pairs GROUP BY 1
    )
    SELECT r.passage_id, r.source_id, r.unit, r.total + coalesce({LINK} * greatest(0, l.other - r.total), 0) AS score,
        {parts}, {weighed}
    FROM summed r LEFT JOIN lifted l ON l.source_id = r.source_id
    ORDER BY score DESC, r.passage_id LIMIT {at_most_rows}"""
