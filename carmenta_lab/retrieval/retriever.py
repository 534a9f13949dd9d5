"""What every retriever declares, and how one that ranks by SQL says its statement."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TypeAlias
from uuid import UUID

from sqlalchemy import ARRAY, Integer, Select, Text, bindparam, func, literal, or_
from sqlalchemy import UUID as UUIDType
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import FromClause

from carmenta_lab.records import Query, SourceKind
from carmenta_lab.schema.base import INDEXED_CHARACTERS
from carmenta_lab.schema.vector import HalfVec

SEARCHED = ("turn", "memory", "section")
"""The units a strategy searches unless it names others."""

KINDS: Mapping[str, SourceKind] = {
    "turn": "message",
    "memory": "memory",
    "section": "document",
}
"""What a hit in a passage of this unit stands for."""

END_OF_TIME = datetime(9999, 12, 31, tzinfo=UTC)

USER = bindparam("user_id", type_=UUIDType)
ASKED_AT = bindparam("asked_at", type_=TIMESTAMP(timezone=True))
LIMIT = bindparam("limit", type_=Integer)
VECTOR = bindparam("vector", type_=HalfVec())
LANGUAGE = bindparam("language", type_=Text)
TEXT = bindparam("text", type_=Text)


@dataclass(frozen=True)
class AtLeast:
    """A LIMIT of what the parameter `limit` says, and never below `rows`."""

    rows: int


Limit: TypeAlias = int | AtLeast | None
"""How many passages a statement returns at most; None: as the parameter `limit` says."""


Need: TypeAlias = Literal["vector", "question", "tokens"]
"""What a retriever wants made of a question beside its text, which every one is given.

"vector": the text as a vector of the retriever's model. "question": the text read, as `retrieval.question.Question`
says; text and vector are then those without the names of participants. "tokens": with that, the codes of its tokens.
"""

VECTOR_NEEDED: frozenset[Need] = frozenset({"vector"})
NOTHING_NEEDED: frozenset[Need] = frozenset()


class Declared(Protocol):
    """What a retriever declares, however it ranks; a frozen value, so that printed it is its configuration.

    Whoever inherits has the members with a body. Whoever does not writes all of them: nothing is guessed.
    """

    @property
    def units(self) -> tuple[str, ...]:
        """The units it searches, of `SEARCHED`; they say which kinds of sources it can find."""

    @property
    def model(self) -> str | None:
        """The embedding model whose vectors it reads; a dataset is loaded with it before a comparison."""
        return None

    @property
    def needs(self) -> frozenset[Need]:
        """What it wants made of a question; nothing else is computed, and nothing else is given."""
        return NOTHING_NEEDED

    def shortened(self, text: str) -> tuple[str, bool]:
        """The part of a question's text that it searches, and whether anything was cut off."""
        return text[:INDEXED_CHARACTERS], len(text) > INDEXED_CHARACTERS

    def route(self, session: Session, query: Query) -> str:
        """How this query is to be searched, decided from counted rows: a name that a ranking carries."""

    def variants(self) -> Mapping[str, "Variant"]:
        """Each part that can be switched off -> the retriever without it. Empty: it is of one piece."""
        return {}

    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """The tables of the schema `search` that it reads -> which of its parts each serves."""
        return {}


class SqlRetriever(Declared, Protocol):
    """Ranks the passages of one user by one SELECT, which `search` executes."""

    def statement(self, route: str, limit: Limit = None) -> Select[Any]:
        """Passages best first: passage_id, source_id, unit, score (larger is better), then a column a part.

        Fewer passages than the limit say that there are no more. Parameters: user_id, asked_at, limit (unless a
        number is given here), text, language, `vector` if it is needed, and if the question is, all that
        `Question.parameters` names. Pure: compiled and explained without rows. Equal scores are ordered by id.
        """

    def settings(self, route: str) -> Mapping[str, str]:
        """Settings that the statement needs, by name; they hold for the statement alone."""
        return {}


PYTHON = "python"
"""The route of every retriever that is no statement."""

Scored: TypeAlias = tuple[UUID | str, float]
"""A source, by its uuid or by the id that its dataset gives it, and its score: larger is better."""

Rank: TypeAlias = Callable[[Session, Query, int], Iterable[Scored]]
"""The best `k` sources for a query, in any order; see `PythonRetriever.rank`."""


class PythonRetriever(Declared):
    """Ranks the sources of one user in Python: by another engine, a model, a file, or statements of its own.

    Inherit as a frozen dataclass, whose fields are the parameters, and write `rank`; for one function without
    parameters there is `retrieval.python.function`.
    """

    @property
    def units(self) -> tuple[str, ...]:
        """The units it can find, all by default; recall is measured over these kinds of sources."""
        return SEARCHED

    def route(self, session: Session, query: Query) -> str:
        """Always `python`."""
        return PYTHON

    @abstractmethod
    def rank(self, session: Session, query: Query, k: int) -> Iterable[Scored]:
        """At most `k` sources of the query's user, each once, with finite scores; equal ones are ordered by uuid.

        The session acts for the user and sees that user's rows alone. What is later than `query.asked_at` is not to be
        returned. Whatever is computed of the question counts to the time of the search.
        """

    @property
    def executed(self) -> Callable[..., Iterable[Scored]]:
        """What is called, so that an error can say its file and line."""
        return type(self).rank


Retriever: TypeAlias = SqlRetriever | PythonRetriever
"""What `search` takes."""


@dataclass(frozen=True)
class Variant:
    """A retriever without one of its parts."""

    retriever: Retriever
    note: str = ""  # what else had to change


def visible(table: FromClause, units: tuple[str, ...]) -> tuple[ColumnElement[bool], ...]:
    """Conditions that confine a search to the user, the units, and what was there when the question was asked.

    The user is named although row-level security names him as well: the condition is an index condition, and
    holds as owner too.
    """
    allowed = bindparam("units_" + "_".join(units), list(units), type_=ARRAY(Text))
    return (
        table.c.user_id == USER,
        table.c.unit == allowed.any_(),
        or_(table.c.created_at.is_(None), table.c.created_at <= ASKED_AT),
    )


def at_most(limit: Limit) -> ColumnElement[int]:
    """The LIMIT of a statement: fixed, or by the parameter `limit`."""
    if isinstance(limit, AtLeast):
        return func.greatest(LIMIT, literal(limit.rows))
    return LIMIT if limit is None else literal(limit)


OWN = "own_"
"""Begins the name of a route through an index over the rows of one user alone."""

_INDEXES = ("hnsw", "halfvec", "binary", "ivfflat")
APPROXIMATE = (*_INDEXES, *(OWN + kind for kind in _INDEXES))
"""Routes through an index that may not find all there is; whoever knows one knows the route `exact`."""


def exactly(route: str) -> str:
    """The route in which every approximate index is replaced by exact search."""
    return "+".join("exact" if way in APPROXIMATE else way for way in route.split("+"))


def kinds(retriever: Retriever) -> set[SourceKind]:
    """The kinds of sources a retriever can find."""
    return {KINDS[unit] for unit in retriever.units}
