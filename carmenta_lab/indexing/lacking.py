"""What a user's index lacks, or holds too much of, found by looking through all of it; and everything built anew.

For what no note says: rows from before there were notes, a table of vectors that is new, an index that was dropped.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from carmenta_lab.embedding import DEFAULT_MODEL, load_embedder
from carmenta_lab.indexing import words
from carmenta_lab.indexing.following import Opens, follow
from carmenta_lab.indexing.sources import KINDS, TABLES, UNITS, below, in_blocks
from carmenta_lab.indexing.vectors import register
from carmenta_lab.indexing.writing import state
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.statement import driver, only
from carmenta_lab.records import SourceKind

BLOCK = 500
"""Sources a transaction."""


class Indexed(NamedTuple):
    """How much was made searchable."""

    sources: int
    passages: int  # that came, or went


SourcesDone = Callable[[int, int], object]
"""Called with the sources done since the last call, and how many there are."""

_WRONG = """
    SELECT s.id FROM carmenta.{table} s WHERE s.user_id = %(user)s AND {lives} AND (
        NOT EXISTS (SELECT FROM search.passages p
            WHERE p.user_id = %(user)s AND p.{kind}_id = s.id AND p.unit = '{unit}')
        OR EXISTS (SELECT FROM search.passages p WHERE p.user_id = %(user)s AND p.{kind}_id = s.id AND ({lacks})))
    UNION ALL
    SELECT s.id FROM carmenta.{table} s WHERE s.user_id = %(user)s AND NOT ({lives})
    AND EXISTS (SELECT FROM search.passages p WHERE p.user_id = %(user)s AND p.{kind}_id = s.id)
    ORDER BY 1
"""
_USER_LIVES = "EXISTS (SELECT FROM carmenta.users u WHERE u.id = %(user)s AND u.deleted_at IS NULL)"
_LIVES = {
    kind: f"s.deleted_at IS NULL AND {_USER_LIVES}"
    + (
        " AND EXISTS (SELECT FROM carmenta.conversations c WHERE c.user_id = %(user)s AND c.id = s.conversation_id "
        "AND c.deleted_at IS NULL)"
        if kind == "message"
        else ""
    )
    for kind in KINDS
}
_FEATURES = {
    kind: "NOT EXISTS (SELECT FROM search.passage_features f WHERE f.user_id = %(user)s AND f.passage_id = p.id"
    + (
        " AND f.conversation_id = s.conversation_id AND f.place = (s.position::bigint << 16) + p.ordinal "
        "AND f.role = s.role)"
        if kind == "message"
        else ")"
    )
    for kind in KINDS
}
_BESIDE = "NOT EXISTS (SELECT FROM search.{table} e WHERE e.user_id = %(user)s AND e.passage_id = p.id)"

_OUTLASTING = """
    SELECT DISTINCT f.unit, f.source_id FROM search.passage_features f WHERE f.user_id = %(user)s
    AND NOT EXISTS (SELECT FROM search.passages p WHERE p.user_id = %(user)s AND p.id = f.passage_id)
"""


class _Note(NamedTuple):
    """What waits for a worker."""

    source_id: UUID
    revision: int
    kind: str


_NOTES = f"SELECT {', '.join(_Note._fields)} FROM search.outbox WHERE user_id = %(user)s"
FOLLOWED = """
    DELETE FROM search.outbox o USING unnest(%(ids)s::uuid[], %(revisions)s::bigint[]) AS seen(id, revision)
    WHERE o.user_id = %(user)s AND o.source_id = seen.id AND o.revision = seen.revision RETURNING 1
"""
"""Takes notes away, but for those that were raised since they were read."""


def lacking(
    raw: psycopg.Connection[Any], user: UUID, models: Sequence[str] = (DEFAULT_MODEL,)
) -> tuple[list[tuple[SourceKind, UUID]], set[UUID]]:
    """The sources that the index does not hold as they are now, and the ids of those whose words were left behind."""
    what = state(raw, user, models)
    tables = [*what.tables.values(), *(["token_codes"] if what.coded else [])]
    found: list[tuple[SourceKind, UUID]] = []
    for kind in KINDS:
        lacks = " OR ".join([_FEATURES[kind], *(_BESIDE.format(table=table) for table in tables)])
        names = {"table": TABLES[kind], "kind": kind, "unit": UNITS[kind], "lives": _LIVES[kind], "lacks": lacks}
        found += [(kind, id) for (id,) in raw.execute(_WRONG.format(**names), {"user": user}, binary=True)]
    kinds = {unit: kind for kind, unit in UNITS.items()}
    outlasting = raw.execute(_OUTLASTING, {"user": user}, binary=True).fetchall()
    known = set(found)
    found += [(kinds[unit], id) for unit, id in outlasting if (kinds[unit], id) not in known]
    return found, {id for _, id in outlasting}


def repair(
    database: Database,
    user_id: UUID,
    models: Sequence[str] = (DEFAULT_MODEL,),
    progress: SourcesDone = lambda done, total: None,
) -> Indexed:
    """Bring a user's index up to their rows, whatever happened to either; returns what was made.

    As the application, for this user alone, in short transactions. Passages come out as a load makes them, their ids
    included, so that a ranking after it is the one that a load would give. Notes that were there are followed as well.
    A model that nothing was embedded with yet is registered, by the owner.
    """
    for model in models:
        register(database.owner, model, load_embedder(model).dim)
    opens = acting(database, user_id)
    with opens() as raw:
        notes = list(map(_Note._make, raw.execute(_NOTES, {"user": user_id}, binary=True)))
        wanted, outlasting = lacking(raw, user_id, models)
    known = set(wanted)
    noted: list[tuple[SourceKind, UUID]] = [
        (kind, note.source_id) for note in notes for kind in KINDS if kind == note.kind
    ]
    wanted += [each for each in noted if each not in known]
    changes = sources = 0
    for block in in_blocks(wanted, BLOCK):
        gone = {id for _, id in block} & outlasting
        made = follow(opens, user_id, block, models, gone)
        sources, changes = sources + made.sources, changes + made.changes
        progress(len(block), len(wanted))
    with opens() as raw:
        ids, revisions = [note.source_id for note in notes], [note.revision for note in notes]
        raw.execute(FOLLOWED, {"user": user_id, "ids": ids, "revisions": revisions})
    return Indexed(sources, changes)


def acting(database: Database, user_id: UUID) -> Opens:
    """A function that opens transactions of the application for one user, each committed at its end."""

    @contextmanager
    def opens() -> Iterator[psycopg.Connection[Any]]:
        with database.user_connection(user_id) as connection:
            yield driver(connection)

    return opens


def rebuild(
    database: Database,
    models: Sequence[str] = (DEFAULT_MODEL,),
    *,
    tokens: bool = False,
    users: Sequence[UUID] | None = None,
    progress: SourcesDone = lambda done, total: None,
) -> Indexed:
    """Build the index of all living rows, as when the schema `search` was dropped and made again; returns what came.

    By the owner, user by user, many texts at a time; what is there already stays. Cut off, it goes on where it was.
    `tokens` says that codes of single tokens are wanted as well. What folders had brought vectors for, of models that
    are not named, is had again by loading them.
    """
    for model in models:
        register(database.owner, model, load_embedder(model).dim)

    @contextmanager
    def opens() -> Iterator[psycopg.Connection[Any]]:
        with database.owner.begin() as connection:
            yield driver(connection)

    with opens() as raw:
        everybody = [user for (user,) in raw.execute(_EVERYBODY, {"users": None if users is None else list(users)})]
        total = int(only(raw.execute(_SOURCES, {"users": everybody})))
    sources = changes = 0
    for user in everybody:
        with opens() as raw:
            wanted = below(raw, user, "user", user)
        for block in in_blocks(wanted, BLOCK):
            made = follow(opens, user, block, models, tokens=tokens, indexed=False)
            sources, changes = sources + made.sources, changes + made.changes
            progress(len(block), total)
        with opens() as raw:
            words.rebuild(raw, user)
    with database.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in ("passages", "passage_features", "postings"):
            connection.exec_driver_sql(f"ANALYZE search.{table}")
    return Indexed(sources, changes)


_EVERYBODY = """
    SELECT id FROM carmenta.users WHERE deleted_at IS NULL AND (%(users)s::uuid[] IS NULL OR id = ANY(%(users)s))
    ORDER BY id
"""
_SOURCES = "SELECT " + " + ".join(
    f"(SELECT count(*) FROM carmenta.{table} WHERE user_id = ANY(%(users)s))" for table in TABLES.values()
)
