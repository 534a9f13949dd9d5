"""BM25 over the postings of a user: inverse document frequency and length normalisation, in stock PostgreSQL."""

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
    SqlRetriever,
)
from carmenta_lab.schema.search.lexical import ASKED_TF, LENGTH, SLOT, TF, UNIT, UNIT_CODES

View: TypeAlias = Literal["own", "answer"]
"""What stands for a passage: its own text; that and the questions of the message before it."""


def lexemes(content: str = ":text") -> str:
    """The words of the question, or of a part of it, as an array."""
    return f"tsvector_to_array(carmenta.lexemes(:language, {content}))"


def entries_of(words: str) -> str:
    """Rows (n, entries) of an array of words, by number: their postings, row by row, and the entries of the tail.

    `words` is an expression that reads no row. Each word is looked up by the table's key, whatever the planner's
    statistics say of a user; nothing is looked for in the tail when there is none.
    """
    return f"""
        SELECT w.n, t.entries FROM unnest({words}) WITH ORDINALITY w (lexeme, n)
        CROSS JOIN LATERAL (
            SELECT entries FROM search.postings WHERE user_id = :user_id AND lexeme = w.lexeme OFFSET 0) t
        UNION ALL SELECT u.n, u.entries FROM search.word_index i
        CROSS JOIN LATERAL search.unmerged_words(:user_id, {words}) u
        WHERE i.user_id = :user_id AND i.posted_slot < i.next_slot"""


@dataclass(frozen=True)
class BM25(SqlRetriever):
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
        """`bm25`: there is one way to search."""
        return "bm25"

    def statement(self, route: str, limit: Limit = None) -> Select[Any]:
        """One SELECT over the postings of the question's words, and over the passages that have none yet."""
        return cast("Select[Any]", _statement(self, limit))

    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """The posting lists, and the table that says when each passage was written."""
        return {"postings": ("words",), "passage_features": ("visibility",)}


def words(retriever: BM25) -> str:
    """CTEs `entry` (n, entries), `word` (n, idf), `total` (n, average): the question's words by number, and statistics.

    Wherever a statement reads the question or its time, it does so in a subquery of its own. Else the planner would see
    how many words there are, and a connection that began with short questions would plan every one anew, for ever;
    that takes longer than the search. It would do the same if the number of the user's passages showed in its costs;
    hence the subqueries that end in OFFSET 0.
    """
    asked = " + asked_length" if retriever.view == "answer" else ""
    used = _used(retriever)
    df = f"(SELECT count(*) FROM unnest(entries) e WHERE {used})" if used else "cardinality(entries)"
    return f"""
    total AS MATERIALIZED (
        SELECT coalesce(sum(passages), 0)::float8 AS n,
            greatest(1, sum(length{asked})::float8 / sum(passages)) AS average
        FROM search.lexical_statistics WHERE user_id = :user_id AND unit IN ({_quoted(retriever.units)})
    ), asked AS MATERIALIZED (SELECT {lexemes()} AS lexemes
    ), entry AS MATERIALIZED ({entries_of("(SELECT lexemes FROM asked)")}
    ), word AS MATERIALIZED (
        SELECT n, {_rarity("sum(df)::float8")} AS idf FROM (SELECT n, {df} AS df FROM entry) held GROUP BY n
    )"""


def _rarity(df: str) -> str:
    """A word's inverse document frequency."""
    return f"ln(1 + ((SELECT n FROM total) - {df} + .5) / ({df} + .5))"


def share() -> str:
    """A score as a share of what all words of the question could reach at the most, those that nobody used included."""
    unknown = f"(SELECT cardinality(lexemes) FROM asked) - count(*)) * {_rarity('0')}"
    return f"s.score / (SELECT greatest(coalesce(sum(idf), 0) + ({unknown}, 1e-9) FROM word)"


def _score(retriever: BM25, tf: str, length: str) -> str:
    """One word's part of a score: idf tf / (tf + k1 (1 - b + b length / average)), with one division by tf."""
    flat, slope = retriever.k1 * (1 - retriever.b), retriever.k1 * retriever.b
    return f"idf / (1 + ({flat} + {slope} / (SELECT average FROM total) * ({length})) / ({tf}))"


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _used(retriever: BM25) -> str:
    """The condition on an entry `e` that it is one of this view and these units; empty where all are."""
    own = f"(e >> {TF}) & 255 > 0"
    codes = ", ".join(str(UNIT_CODES[unit]) for unit in retriever.units)
    units = f"(e >> {UNIT}) & 3 IN ({codes})"
    parts = [*([] if retriever.view == "answer" else [own])]
    parts += [] if set(retriever.units) == set(UNIT_CODES) else [units]
    return " AND ".join(parts)


def _scored(retriever: BM25) -> str:
    """CTE `scored` (slot, score), in single precision: sums of the same numbers in another order differ in the last.

    Equal texts must have equal scores, however and in whatever order they were indexed.
    """
    both, used = retriever.view == "answer", _used(retriever)
    tf = f"((e >> {TF}) & 255)" + (f" + ((e >> {ASKED_TF}) & 255)" if both else "")
    length = f"((e >> {LENGTH}) & 1023)" + (" + (e & 1023)" if both else "")
    return f"""
    scored AS (
        SELECT (e >> {SLOT})::int AS slot, sum({_score(retriever, tf, length)})::real::float8 AS score
        FROM (SELECT unnest(entries) AS e, idf FROM entry JOIN word USING (n)) every
        {f"WHERE {used} " if used else ""}GROUP BY 1
    )"""


def rows_at_most(limit: Limit) -> str:
    """What stands after LIMIT in a statement written as text."""
    if isinstance(limit, AtLeast):
        return f"greatest(:limit, {limit.rows})"
    return ":limit" if limit is None else str(limit)


def ranked(retriever: BM25, limit: Limit, score: str = "s.score") -> str:
    """The whole statement as text; `score` is an expression over `s` (slot, score) and `word`.

    Of passages with equal scores those with the lowest ids are returned, not those indexed first: a conversation ranks
    the same whether it was written message by message or loaded.
    """
    return f"""
    WITH {words(retriever)}, {_scored(retriever)}, top AS (
        SELECT s.slot, {score} AS score FROM scored s
        WHERE (SELECT :asked_at) >= '{END_OF_TIME.isoformat()}' OR EXISTS (
            SELECT FROM search.passage_features f WHERE f.user_id = :user_id AND f.slot = s.slot
            AND (f.created_at IS NULL OR f.created_at <= :asked_at) OFFSET 0)
        ORDER BY 2 DESC FETCH FIRST ({rows_at_most(limit)}) ROWS WITH TIES
    )
    SELECT f.passage_id, f.source_id, f.unit, top.score FROM top CROSS JOIN LATERAL (
        SELECT passage_id, source_id, unit FROM search.passage_features
        WHERE user_id = :user_id AND slot = top.slot LIMIT 1) f
    ORDER BY top.score DESC, f.passage_id LIMIT {rows_at_most(limit)}"""


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
