"""One way to bring the index up to what rows say now, for a worker, a repair, an undone deletion and a rebuild."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

import psycopg

from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.indexing.ready import PreparedSources, make_ready
from carmenta_lab.indexing.sources import by_kind, read_living
from carmenta_lab.indexing.writing import State, at_once, replace, state
from carmenta_lab.records import SourceKind

Opens: TypeAlias = Callable[[], AbstractContextManager[psycopg.Connection[Any]]]
"""Opens a transaction that may write the user's index, and commits it."""


class IndexChanges(NamedTuple):
    """What `follow` did to the index."""

    sources: int  # that live, and are in the index now
    changes: int  # passages that came or went


_KNOWN = """
    SELECT p.id FROM search.passages p WHERE p.user_id = %(user)s AND p.{kind}_id = ANY(%(ids)s) {conditions}
"""
_BESIDE = "AND EXISTS (SELECT FROM search.{table} e WHERE e.user_id = %(user)s AND e.passage_id = p.id)"


def known_passages(
    raw: psycopg.Connection[Any], user: UUID, wanted: Sequence[tuple[SourceKind, UUID]], what: State
) -> set[UUID]:
    """The passages of these sources that have all their vectors, and codes where the user has some."""
    tables = [*what.tables.values(), *(["token_codes"] if what.coded else [])]
    conditions = " ".join(_BESIDE.format(table=table) for table in tables)
    return {
        id
        for kind, ids in by_kind(wanted).items()
        for (id,) in raw.execute(
            _KNOWN.format(kind=kind, conditions=conditions), {"user": user, "ids": ids}, binary=True
        ).fetchall()
    }


def read_sources(
    raw: psycopg.Connection[Any],
    user: UUID,
    wanted: Sequence[tuple[SourceKind, UUID]],
    models: Sequence[str],
    tokens: bool = False,
) -> tuple[Callable[[], PreparedSources], State]:
    """The living sources and what is known of their passages; the function that is returned embeds them.

    It needs no connection, so that no transaction is open while texts are embedded.
    """
    what = state(raw, user, models)
    what = State(what.tables, what.coded or tokens)
    sources = list(read_living(raw, user, wanted).values())
    known = known_passages(raw, user, wanted, what)
    asked = tuple(model for model in models if model in what.tables)
    if what.coded and DEFAULT_MODEL not in asked:
        asked = (*asked, DEFAULT_MODEL)
    return lambda: make_ready(sources, asked, known), what


def follow(
    opens: Opens,
    user: UUID,
    wanted: Sequence[tuple[SourceKind, UUID]],
    models: Sequence[str] = (DEFAULT_MODEL,),
    removed: Collection[UUID] = (),
    last: Callable[[psycopg.Connection[Any]], object] = lambda raw: None,
    *,
    tokens: bool = False,
    indexed: bool = True,
) -> IndexChanges:
    """Make the index hold what these sources say now, and nothing of those that are deleted.

    The sources are read in one transaction, embedded outside of any, and written in another, together with what `last`
    does; those that changed in between are read again. Doing it twice changes nothing. `tokens` makes codes for a user
    who has none; unless `indexed`, the words are left to the caller.
    """
    while True:
        with opens() as raw:
            embed, what = read_sources(raw, user, wanted, models, tokens)
        ready = embed()
        with opens() as raw:
            at_once(raw)
            if not settled(raw, user, wanted, ready, what):
                continue
            changes = replace(raw, user, wanted, ready, what, removed, indexed)
            last(raw)
        return IndexChanges(len(ready.sources), changes)


def settled(
    raw: psycopg.Connection[Any],
    user: UUID,
    wanted: Sequence[tuple[SourceKind, UUID]],
    ready: PreparedSources,
    what: State,
) -> bool:
    """Lock the sources; whether they are still what was embedded, and their other passages still complete."""
    now = read_living(raw, user, wanted, hold=True)
    if now != {(each.kind, each.id): each for each in ready.sources}:
        return False
    embedded = {passage.id for passage in ready.embedded}
    return {passage.id for passage in ready.passages} - embedded <= known_passages(raw, user, wanted, what)
