"""Passages that share words with the question, ranked by cover density; stock PostgreSQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, cast, func, literal, select
from sqlalchemy.dialects.postgresql import REGCONFIG, TSQUERY
from sqlalchemy.orm import Session

from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import CONFIG, SEARCHED, TEXT, Limit, at_most, visible
from carmenta_lab.schema.search.passages import passages

MAX_WORDS = 64
MAX_CHARACTERS = 2_000


def searchable(text: str) -> tuple[str, bool]:
    """The first 64 words (2,000 characters) of a question, and whether something was cut off.

    A tsquery of tens of thousands of words exhausts the server's stack, and nobody asks so.
    """
    words = text.replace("\0", " ").split()
    short = " ".join(words[:MAX_WORDS])[:MAX_CHARACTERS]
    return short, len(words) > MAX_WORDS or len(" ".join(words)) > MAX_CHARACTERS


def all_words() -> ColumnElement[Any]:
    """The question in web-search syntax: all words, "phrases", or, -not."""
    return func.websearch_to_tsquery(cast(CONFIG, REGCONFIG), TEXT)


def any_word() -> ColumnElement[Any]:
    """The question's words joined by OR: a question repeats few of the words of its answer."""
    lexeme = func.unnest(func.tsvector_to_array(func.to_tsvector(cast(CONFIG, REGCONFIG), TEXT))).column_valued(
        "lexeme"
    )
    quoted = literal("'") + func.replace(func.replace(lexeme, "\\", "\\\\"), "'", "''") + literal("'")
    return cast(select(func.coalesce(func.string_agg(quoted, literal(" | ")), "")).scalar_subquery(), TSQUERY)


@dataclass(frozen=True)
class FullTextSearch:
    """Rank by `ts_rank_cd` of the words shared with the question; a question without words finds nothing.

    `match="all"` reads web-search syntax and wants every word, `match="any"` is content with one. A question that
    only excludes words would match everything else and finds nothing either.
    """

    match: Literal["all", "any"] = "all"
    units: tuple[str, ...] = SEARCHED
    normalization: int = 1  # bit mask of ts_rank_cd; 1 divides by 1 + log(length)
    model: None = None

    def route(self, session: Session, query: Query) -> str:
        """Always the same."""
        return "fulltext"

    def statement(self, route: str, limit: Limit = None) -> Select[Any]:
        """One SELECT over the user's passages."""
        return _statement(self.match, self.units, self.normalization, limit)

    def settings(self, route: str) -> Mapping[str, str]:
        """None."""
        return {}


@cache
def _statement(match: str, units: tuple[str, ...], normalization: int, limit: Limit) -> Select[Any]:
    words = (all_words() if match == "all" else any_word()).label("words")
    # two parts of a fusion have one each; without the word PostgreSQL would read the question anew for every row
    asked = select(words).cte("asked", nesting=True).prefix_with("MATERIALIZED")
    p = passages.alias("p")
    score = func.ts_rank_cd(p.c.text_search, asked.c.words, normalization).label("score")
    return (
        select(p.c.id.label("passage_id"), p.c.source_id, p.c.unit, score)
        .select_from(p.join(asked, p.c.text_search.op("@@")(asked.c.words)))
        .where(*visible(p, units), func.querytree(asked.c.words).not_in(["", "T"]))
        .order_by(score.desc(), p.c.id)
        .limit(at_most(limit))
    )
