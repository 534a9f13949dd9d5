"""A retriever that is a Python function, or a class with one method: it is held to what every retriever promises."""

import functools
import inspect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from numbers import Real
from types import CodeType
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from carmenta_lab.errors import UsageError
from carmenta_lab.failure import failure
from carmenta_lab.records import Hit, Query, SourceKind
from carmenta_lab.retrieval.acting import refuse_another
from carmenta_lab.retrieval.retriever import END_OF_TIME, KINDS, SEARCHED, PythonRetriever, Rank, Scored


@dataclass(frozen=True, repr=False)
class _Function(PythonRetriever):
    function: Rank
    units: tuple[str, ...] = SEARCHED

    def rank(self, session: Session, query: Query, k: int) -> Iterable[Scored]:
        return self.function(session, query, k)

    @property
    def executed(self) -> Rank:
        return self.function

    def __repr__(self) -> str:
        code = _code(self.function)
        name = code.co_qualname if code else type(self.function).__name__
        return f"function({name}{'' if self.units == SEARCHED else f', units={self.units!r}'})"


def function(rank: Rank, units: tuple[str, ...] = SEARCHED) -> PythonRetriever:
    """A function of session, query and k as a retriever; see `PythonRetriever.rank` for what it is to return.

    `units` say what it can find: ("turn",) for messages alone. UsageError for what is no function of three arguments.
    """
    if not callable(rank):
        raise UsageError(f"a strategy function is called with session, query and k; {rank!r} cannot be called.")
    try:
        inspect.signature(rank).bind(None, None, 10)
    except TypeError:
        given = inspect.signature(rank)
        name = _named(_code(rank))
        raise UsageError(f"{name} takes {given}; a strategy function is called with session, query and k.") from None
    return _Function(rank, tuple(units))


def _code(function: Any) -> CodeType | None:
    """The code of a function, bound, partial, wrapped or as it is; of an object, that of its `__call__`."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not inspect.isroutine(function):
        function = type(function).__call__
    if inspect.ismethod(function):
        function = function.__func__
    return function.__code__ if inspect.isfunction(function) else None


def _named(code: CodeType | None) -> str:
    """What a sentence says of the strategy: its name, file and line."""
    if code is None:
        return "the strategy"
    return f"the strategy {code.co_qualname} ({code.co_filename}:{code.co_firstlineno})"


def ranked(session: Session, retriever: PythonRetriever, query: Query, k: int) -> tuple[Hit, ...]:
    """What a Python retriever finds, checked; UsageError where it raises or does not keep a promise."""
    code = _code(retriever.executed)
    name = _named(code)
    try:
        found = retriever.rank(session, query, k)
        first = list(islice(found, k + 1)) if isinstance(found, Iterable) else None
    except (Exception, SystemExit) as error:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise
        raise UsageError(f"{name} failed: {failure(error, code.co_filename if code else '')}.") from error
    if first is None:
        raise UsageError(f"{name} returned {_short(found)}: expected pairs of a source's id and a score.")
    if len(first) > k:
        raise UsageError(f"{name} returned more than the {k} sources that it was asked for: return the best of them.")
    scores = [_pair(name, each) for each in first]
    if not scores:
        refuse_another(session, query)
        return ()
    known = _known(session, query, [given for given, _ in scores])
    hits: dict[UUID, tuple[float, _Source]] = {}
    for given, score in scores:
        source = _source(name, session, query, given, known.get(given, []))
        if source.id in hits:
            raise UsageError(f"{name} returned {given} twice: rank each source once, by its best score.")
        hits[source.id] = score, source
    for _, source in hits.values():
        if source.kind not in {KINDS[unit] for unit in retriever.units}:
            units = ", ".join(retriever.units)
            raise UsageError(f"{name} returned the {source.kind} {source.id}, but declares the units {units} alone.")
    best = sorted(hits.values(), key=lambda pair: (-pair[0], pair[1].id))
    return tuple(Hit(source.passage_id, source.id, source.kind, n, score) for n, (score, source) in enumerate(best, 1))


def _pair(name: str, item: Any) -> tuple[UUID | str, float]:
    """One result; UsageError for what is no pair of an id and a finite number."""
    if not isinstance(item, Sequence) or isinstance(item, str) or len(item) != 2:
        raise UsageError(f"{name} returned {_short(item)} among its results: expected pairs of an id and a score.")
    source, score = item
    if not isinstance(source, UUID | str):
        raise UsageError(
            f"{name} returned the id {_short(source)}: expected a uuid, or a text as the dataset gives it."
        )
    if not isinstance(score, Real | Decimal) or isinstance(score, bool) or not math.isfinite(score):
        raise UsageError(f"{name} returned the score {_short(score)} for {source}: expected a finite number.")
    return source, float(score)


def _short(value: object) -> str:
    """A value as it stands in a sentence."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"a {type(value).__name__}"


@dataclass(frozen=True)
class _Source:
    """A row that a result names."""

    id: UUID
    kind: SourceKind
    passage_id: UUID  # its first that the question may see; its own id while it has none
    seen: bool  # whether it was there when the question was asked


_OF_KIND = """
    SELECT s.id, s.external_id, '{kind}' AS kind, coalesce(p.id, s.id) AS passage_id,
        coalesce(p.created_at, s.created_at, '-infinity') <= :asked_at AS seen
    FROM carmenta.{table} s LEFT JOIN LATERAL (
        SELECT id, created_at FROM search.passages p WHERE p.user_id = :user_id AND p.{column} = s.id
        ORDER BY coalesce(created_at, '-infinity') > :asked_at, ordinal LIMIT 1
    ) p ON true
    WHERE s.user_id = :user_id AND s.deleted_at IS NULL AND {found}
"""
_TABLES: tuple[tuple[SourceKind, str, str], ...] = (
    ("message", "messages", "message_id"),
    ("memory", "memories", "memory_id"),
    ("document", "documents", "document_id"),
)
_BY_ID = "s.id = ANY (CAST(:ids AS uuid[]))"
_BY_GIVEN = f"({_BY_ID} OR s.external_id = ANY (CAST(:given AS text[])))"


def _known(session: Session, query: Query, ids: Sequence[UUID | str]) -> dict[UUID | str, list[_Source]]:
    """The sources that each id names. Ids as a dataset has them are in no index, so they are sought only if given."""
    given = [each for each in ids if isinstance(each, str)]
    by_uuid: dict[UUID, set[UUID | str]] = {}
    for each in ids:
        if (uuid := _uuid(each)) is not None:
            by_uuid.setdefault(uuid, set()).add(each)
    found = _BY_GIVEN if given else _BY_ID
    every = (_OF_KIND.format(kind=kind, table=table, column=column, found=found) for kind, table, column in _TABLES)
    values = {"user_id": query.user_id, "asked_at": query.asked_at or END_OF_TIME, "ids": [*by_uuid]}
    rows = session.execute(text(" UNION ALL ".join(every)), values | ({"given": given} if given else {}))
    known: dict[UUID | str, list[_Source]] = {}
    for row in rows:
        source = _Source(row.id, row.kind, row.passage_id, row.seen)
        for each in by_uuid.get(row.id, set()) | ({row.external_id} & {*given}):
            known.setdefault(each, []).append(source)
    return known


def _uuid(given: UUID | str) -> UUID | None:
    try:
        return UUID(given) if isinstance(given, str) else given
    except ValueError:
        return None


def _source(name: str, session: Session, query: Query, given: UUID | str, known: list[_Source]) -> _Source:
    """The one source that an id names; UsageError for none, for several, and for one of later."""
    if not known:
        refuse_another(session, query)
        raise UsageError(f"{name} returned {given}, which is no message, memory or document of the query's user.")
    if len(known) > 1:
        several = " and ".join(f"the {source.kind} {source.id}" for source in known)
        raise UsageError(f"{name} returned {given}, which names {several}: return the uuid of the one that is meant.")
    if not known[0].seen:
        raise UsageError(
            f"{name} returned {given}, which is later than the question, asked at {query.asked_at}: leave out what was "
            "created after query.asked_at."
        )
    return known[0]
