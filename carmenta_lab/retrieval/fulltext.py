"""Passages that share words with the question, ranked by cover density; stock PostgreSQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import LANGUAGE, SEARCHED, TEXT, Limit, SqlRetriever, at_most, visible
from carmenta_lab.schema.search.passages import passages

MAX_WORDS = 1_024
"""For each of them `ts_rank_cd` takes 64 kB for every passage that it ranks: of more, the first are searched."""


def all_words() -> ColumnElement[Any]:
    """The question in web-search syntax: all words, "phrases", or, -not; its words cut as those of the texts."""
    return func.carmenta.websearch(LANGUAGE, TEXT)


def any_word() -> ColumnElement[Any]:
    """The question's words joined by OR: a question repeats few of the words of its answer."""
    return func.carmenta.any_word(LANGUAGE, TEXT)


@dataclass(frozen=True)
class FullTextSearch(SqlRetriever):
    """Rank by `ts_rank_cd` of the words shared with the question; a question without words finds nothing.

    `match="all"` reads web-search syntax and wants every word, `match="any"` is content with one. A question that
    only excludes words would match everything else and finds nothing either.
    """

    match: Literal["all", "any"] = "all"
    units: tuple[str, ...] = SEARCHED
    normalization: int = 1  # bit mask of ts_rank_cd; 1 divides by 1 + log(length)
    model: None = None

    def shortened(self, text: str) -> tuple[str, bool]:
        """The first INDEXED_CHARACTERS of the text; of those the database takes the first 1,024 different words."""
        short, cut = super().shortened(text)
        return short, cut or (len(short) > MAX_WORDS and len(set(short.lower().split())) > MAX_WORDS)

    def route(self, session: Session, query: Query) -> str:
        """`fulltext`: there is one way to search."""
        return "fulltext"

    def statement(self, route: str, limit: Limit = None) -> Select[Any]:
        """One SELECT over the user's passages."""
        return _statement(self.match, self.units, self.normalization, limit)

    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """The passages themselves."""
        return {"passages": ("words",)}


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
