"""BM25 over the posting lists of a user: inverse document frequency and length normalisation, in stock PostgreSQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias, cast

from sqlalchemy import UUID as UUIDType
from sqlalchemy import Double, Select, Text, bindparam, column, text
from sqlalchemy.orm import Session

from carmenta_lab.errors import UsageError
from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import (
    ASKED_AT,
    END_OF_TIME,
    LANGUAGE,
    LIMIT,
    SEARCHED,
    TEXT,
    USER,
    AtLeast,
    Limit,
)
from carmenta_lab.schema.lexical import ASKED_TF, LENGTH, SLOT, TF, UNIT, UNIT_CODES

View: TypeAlias = Literal["own", "answer", "window", "conversation"]
"""What stands for a passage: its own text; that and the questions of the message before it; it and its neighbours;
its whole conversation."""


@dataclass(frozen=True)
class BM25:
    """Rank by Okapi BM25 of the words shared with the question, statistics of this user's passages alone.

    Robertson and Zaragoza, 2009, with the inverse document frequency of Lucene, ln(1 + (N - df + .5) / (df + .5)),
    and without the constant factor k1 + 1: a score is at most the sum of the words' inverse document frequencies.
    """

    k1: float = 0.9  # saturation of repeated words, from 0
    b: float = 0.4  # how much long passages are damped, 0..1
    view: View = "own"
    units: tuple[str, ...] = SEARCHED
    model: None = None

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.k1 < 0 or not 0 <= self.b <= 1:
            raise UsageError(f"BM25 needs k1 from 0 and b from 0 to 1, not k1={self.k1}, b={self.b}.")
        if unknown := [unit for unit in self.units if unit not in UNIT_CODES]:
            raise UsageError(f"BM25 has no words of the unit {unknown[0]!r}; it has {', '.join(UNIT_CODES)}.")

    def route(self, session: Session, query: Query) -> str:
        """Always the same."""
        return "bm25"

    def statement(self, route: str, limit: Limit = None) -> Select[Any]:
        """One SELECT over the posting lists of the question's words."""
        return cast("Select[Any]", _statement(self, limit))

    def settings(self, route: str) -> Mapping[str, str]:
        """None."""
        return {}


def words(retriever: BM25) -> str:
    """CTEs `word` (lexeme, entries, idf) and `total` (n, average): the question's words and the user's statistics.

    Wherever a statement reads the question or its time, it does so in a subquery of its own. Else the planner would see
    how many words there are, and a connection that began with short questions would plan every one anew, for ever;
    that takes longer than the search.
    """
    asked = " + asked_length" if retriever.view == "answer" else ""
    whole = set(retriever.units) == set(UNIT_CODES) and retriever.view == "answer"
    df = "cardinality(t.entries)" if whole else f"(SELECT count(*) FROM unnest(t.entries) e WHERE {_used(retriever)})"
    return f"""
    total AS MATERIALIZED (
        SELECT coalesce(sum(passages), 0)::float8 AS n,
            greatest(1, sum(length{asked})::float8 / sum(passages)) AS average
        FROM carmenta.lexical_statistics WHERE user_id = :user_id AND unit IN ({_quoted(retriever.units)})
    ), word AS MATERIALIZED (
        SELECT w.lexeme, t.entries, ln(1 + (total.n - d.df + .5) / (d.df + .5)) AS idf
        FROM unnest((SELECT tsvector_to_array(carmenta.lexemes(:language, :text)))) w (lexeme)
        CROSS JOIN total
        LEFT JOIN carmenta.postings t ON t.user_id = :user_id AND t.lexeme = w.lexeme
        CROSS JOIN LATERAL (SELECT coalesce({df}, 0)::float8 AS df) d
    )"""


def _score(retriever: BM25, idf: str, tf: str, length: str, average: str) -> str:
    """One word's part of a score: idf tf / (tf + k1 (1 - b + b length / average)), with one division by tf."""
    flat, slope = retriever.k1 * (1 - retriever.b), retriever.k1 * retriever.b
    return f"{idf} / (1 + ({flat} + {slope} / {average} * ({length})) / ({tf}))"


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _used(retriever: BM25) -> str:
    """The condition on an entry `e` that it is one of this view and these units."""
    own = f"(e >> {TF}) & 255 > 0"
    codes = ", ".join(str(UNIT_CODES[unit]) for unit in retriever.units)
    units = f"(e >> {UNIT}) & 3 IN ({codes})"
    parts = [*([] if retriever.view == "answer" else [own])]
    parts += [] if set(retriever.units) == set(UNIT_CODES) else [units]
    return " AND ".join(parts) or "true"


def _own(retriever: BM25) -> str:
    """CTE `scored` (slot, score) where a passage stands for itself."""
    both = retriever.view == "answer"
    tf = f"((e >> {TF}) & 255)" + (f" + ((e >> {ASKED_TF}) & 255)" if both else "")
    length = f"((e >> {LENGTH}) & 1023)" + (" + (e & 1023)" if both else "")
    score = _score(retriever, "idf", tf, length, "(SELECT average FROM total)")
    return f"""
    scored AS (
        SELECT (e >> {SLOT})::int AS slot, sum({score}) AS score
        FROM (SELECT unnest(entries) AS e, idf FROM word) every WHERE {_used(retriever)} GROUP BY 1
    )"""


def _views(retriever: BM25) -> str:
    """CTEs that end in `scored` where several passages make one text."""
    window = retriever.view == "window"
    shown = (
        "slot AS doc, unnest(ARRAY[slot, lag(slot) OVER w, lead(slot) OVER w]) AS slot"
        if window
        else "min(slot) OVER w AS doc, slot"
    )
    order = " ORDER BY place" if window else ""
    score = _score(retriever, "ln(1 + (c.n - y.df + .5) / (y.df + .5))", "u.tf", "s.length", "c.average")
    scored = "d.doc AS slot, d.score FROM document d" if window else "slot, score FROM document JOIN member USING (doc)"
    return f"""
    member AS MATERIALIZED (
        SELECT {shown} FROM carmenta.passage_features
        WHERE user_id = :user_id AND unit IN ({_quoted(retriever.units)})
        WINDOW w AS (PARTITION BY coalesce(conversation_id, passage_id){order})
    ), size AS MATERIALIZED (
        SELECT m.doc, sum(f.length)::float8 AS length FROM member m
        JOIN carmenta.passage_features f ON f.user_id = :user_id AND f.slot = m.slot GROUP BY 1
    ), used AS MATERIALIZED (
        SELECT m.doc, word.lexeme, sum((e >> {TF}) & 255)::float8 AS tf FROM word CROSS JOIN unnest(word.entries) e
        JOIN member m ON m.slot = (e >> {SLOT})::int WHERE {_used(retriever)} GROUP BY 1, 2
    ), frequency AS (SELECT lexeme, count(*)::float8 AS df FROM used GROUP BY 1),
    corpus AS (SELECT count(*)::float8 AS n, avg(length) AS average FROM size),
    document AS (
        SELECT u.doc, sum({score}) AS score
        FROM used u JOIN size s USING (doc) JOIN frequency y USING (lexeme) CROSS JOIN corpus c GROUP BY 1
    ), scored AS (SELECT {scored})"""


def rows_at_most(limit: Limit) -> str:
    """What stands after LIMIT in a statement written as text."""
    if isinstance(limit, AtLeast):
        return f"greatest(:limit, {limit.rows})"
    return ":limit" if limit is None else str(limit)


def ranked(retriever: BM25, limit: Limit, score: str = "s.score") -> str:
    """The whole statement as text; `score` is an expression over `s` (slot, score) and `word`."""
    body = _own(retriever) if retriever.view in ("own", "answer") else _views(retriever)
    return f"""
    WITH {words(retriever)}, {body}, top AS (
        SELECT s.slot, {score} AS score FROM scored s
        WHERE (SELECT :asked_at) >= '{END_OF_TIME.isoformat()}' OR EXISTS (
            SELECT FROM carmenta.passage_features f WHERE f.user_id = :user_id AND f.slot = s.slot
            AND (f.created_at IS NULL OR f.created_at <= :asked_at))
        ORDER BY 2 DESC, 1 LIMIT {rows_at_most(limit)}
    )
    SELECT f.passage_id, f.source_id, f.unit, top.score FROM top CROSS JOIN LATERAL (
        SELECT passage_id, source_id, unit FROM carmenta.passage_features
        WHERE user_id = :user_id AND slot = top.slot LIMIT 1) f
    ORDER BY top.score DESC, f.passage_id"""


COLUMNS = (
    column("passage_id", UUIDType),
    column("source_id", UUIDType),
    column("unit", Text),
    column("score", Double),
)


@cache
def _statement(retriever: BM25, limit: Limit) -> Any:
    sql = text(ranked(retriever, limit))
    names = [USER, ASKED_AT, TEXT, LANGUAGE, *([] if isinstance(limit, int) else [LIMIT])]
    return sql.bindparams(*(bindparam(p.key, type_=p.type) for p in names)).columns(*COLUMNS)
