"""Passages that hold the question's words, or words spelled like them; pg_trgm, stock PostgreSQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import REAL, Select, func, literal, select
from sqlalchemy.orm import Session

from carmenta_lab.errors import UsageError
from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import LANGUAGE, SEARCHED, TEXT, Limit, SqlRetriever, at_most, visible
from carmenta_lab.schema.search.passages import passages

MAX_WORDS = 64
MAX_CHARACTERS = 2_000
"""So much of a question is searched: each of its words is compared with every passage of the user."""


@dataclass(frozen=True)
class TrigramSearch(SqlRetriever):
    """Rank by how well each word of the question is spelled in the passage; score = mean over its words, above 0 to 1.

    A word counts from `threshold` on, pg_trgm's similarity of its stem and the likest stretch of the passage, as
    (similarity - threshold) / (1 - threshold). The function is called, not its operator, which obeys a setting:
    an index would serve neither under row-level security. So every passage of the user is read.
    """

    threshold: float = 0.6  # 0 up to, not including, 1
    units: tuple[str, ...] = SEARCHED
    model: None = None

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if not 0 <= self.threshold < 1:
            raise UsageError(f"threshold must be at least 0 and below 1, not {self.threshold}.")

    def shortened(self, text: str) -> tuple[str, bool]:
        """The first 64 words, of 2,000 characters at the most."""
        words = text.split()
        short = " ".join(words[:MAX_WORDS])[:MAX_CHARACTERS]
        return short, len(words) > MAX_WORDS or len(" ".join(words)) > MAX_CHARACTERS

    def route(self, session: Session, query: Query) -> str:
        """`trigram`: there is one way to search."""
        return "trigram"

    def statement(self, route: str, limit: Limit = None) -> Select[Any]:
        """One SELECT over the user's passages."""
        return _statement(self.threshold, self.units, limit)

    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """The passages themselves."""
        return {"passages": ("spelling",)}


@cache
def _statement(threshold: float, units: tuple[str, ...], limit: Limit) -> Select[Any]:
    words = func.tsvector_to_array(func.carmenta.lexemes(LANGUAGE, TEXT)).label("words")
    asked = select(words).cte("asked", nesting=True).prefix_with("MATERIALIZED")  # read once, not for every row
    p = passages.alias("p")
    word = func.unnest(asked.c.words).column_valued("word")
    likeness = func.word_similarity(word, p.c.content, type_=REAL)
    above = func.greatest(likeness - literal(threshold, REAL), literal(0.0, REAL))
    mean = select(func.avg(above) / (1 - threshold)).correlate(asked, p).scalar_subquery()
    alike = (
        select(p.c.id.label("passage_id"), p.c.source_id, p.c.unit, mean.label("score"))
        .select_from(p.join(asked, literal(True)))
        .where(*visible(p, units))
        .offset(0)  # so that the score is computed once a passage
        .subquery("alike")
    )
    return (
        select(alike).where(alike.c.score > 0).order_by(alike.c.score.desc(), alike.c.passage_id).limit(at_most(limit))
    )
