"""What is ready, into the index; what is gone, out of it: in the transaction that writes the rows themselves.

As the application for one user, or as the owner. Whoever writes an index locks in this order, so that nobody waits in
a circle: conversations, then their messages (memories, documents), then the user's index of words, then notes.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from pgvector import HalfVector
from psycopg.pq import PipelineStatus

from carmenta_lab.indexing import words
from carmenta_lab.indexing.packed import Columns, write_vectors
from carmenta_lab.indexing.ready import CutPassage, PreparedSources
from carmenta_lab.indexing.sources import KINDS, UNITS, by_kind
from carmenta_lab.indexing.token_codes import insert_codes
from carmenta_lab.postgres.postponed import PostponingConnection, prepares
from carmenta_lab.records import SourceKind
from carmenta_lab.schema.search.outbox import AT_ONCE, SETTING

UNNOTED = f"SELECT set_config('{SETTING}', '{AT_ONCE}', %s)"
"""Nothing is noted from here on, by whoever indexes what it writes: the parameter says whether until the commit."""
NOTED = f"SELECT set_config('{SETTING}', '', false)"


class State(NamedTuple):
    """What a user's index consists of, beside passages and words."""

    tables: dict[str, str]  # model -> table of its vectors, of the models that are asked for and known
    coded: bool  # whether passages of this user have codes of tokens


_STATE = """
    SELECT coalesce((SELECT jsonb_object_agg(name, table_name) FROM search.embedding_models
        WHERE name = ANY(%(models)s)), '{}'), EXISTS (SELECT FROM search.token_codes WHERE user_id = %(user)s)
"""
_INSERT = """
    INSERT INTO search.passages
        (user_id, id, unit, ordinal, content, message_id, memory_id, document_id, author, language, created_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_VECTOR = """
    INSERT INTO search.{table} (user_id, passage_id, source_id, created_at, unit, embedding)
    VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (user_id, passage_id) DO NOTHING
"""
_FOUND = """
    SELECT p.id, f.passage_id IS NOT NULL AND p.unit <> 'turn' OR f.role = m.role
        AND f.conversation_id = m.conversation_id AND f.place = (m.position::bigint << 16) + p.ordinal AS right
    FROM search.passages p
    LEFT JOIN search.passage_features f ON f.user_id = %(user)s AND f.passage_id = p.id
    LEFT JOIN carmenta.messages m ON m.user_id = %(user)s AND m.id = p.message_id
    WHERE p.user_id = %(user)s AND p.{kind}_id = ANY(%(ids)s)
"""
_OUTLASTING = """
    SELECT f.passage_id FROM search.passage_features f WHERE f.user_id = %(user)s AND f.source_id = ANY(%(ids)s)
    AND NOT EXISTS (SELECT FROM search.passages p WHERE p.user_id = %(user)s AND p.id = f.passage_id)
"""
_FORGET = "DELETE FROM search.outbox WHERE user_id = %s AND source_id = ANY(%s) AND NOT removed"


def at_once(raw: psycopg.Connection[Any]) -> None:
    """Write no notes for workers until `noted_again` or the end of the transaction: it writes the index itself."""
    _set(raw, AT_ONCE)


def noted_again(raw: psycopg.Connection[Any]) -> None:
    """Write notes for workers again in the rest of this transaction."""
    _set(raw, "")


def _set(raw: psycopg.Connection[Any], value: str) -> None:
    setting = f"set_config('{SETTING}', '{value}', true)"
    if isinstance(raw, PostponingConnection):
        raw.postponed.append((setting, ()))  # with the next statement, or never if there is none
    else:
        raw.execute(f"SELECT {setting}")


def state(raw: psycopg.Connection[Any], user: UUID, models: Sequence[str]) -> State:
    """The tables of vectors and codes that are to be written for a user."""
    return asked_state(raw, user, models)()


def asked_state(raw: psycopg.Connection[Any], user: UUID, models: Sequence[str]) -> Callable[[], State]:
    """`state` in two steps, for a pipeline: the statement is sent now, its result read when the value is called."""
    cursor = raw.execute(_STATE, {"user": user, "models": list(models)}, prepare=prepares(raw), binary=True)

    def known() -> State:
        [(tables, coded)] = cursor.fetchall()
        return State(tables, coded)

    return known


def add(raw: psycopg.Connection[Any], user: UUID, ready: PreparedSources, known: State) -> None:
    """Index sources that have no passages yet: their passages, vectors, codes and words."""
    _insert(raw, user, ready.passages, _INSERT)
    add_vectors(raw, user, ready, known)
    words.add(raw, user, [passage.id for passage in ready.passages])


def _insert(raw: psycopg.Connection[Any], user: UUID, passages: Sequence[CutPassage], statement: str) -> None:
    rows = []
    for id, ordinal, content, source in passages:
        sources = [source.id if source.kind == kind else None for kind in KINDS]  # a column each
        beside = source.author, source.language, source.created_at
        rows.append((user, id, UNITS[source.kind], ordinal, content, *sources, *beside))
    if len(rows) == 1:
        raw.execute(statement, rows[0], prepare=prepares(raw))
    elif rows:
        with raw.cursor() as cursor:
            cursor.executemany(statement, rows)


def add_vectors(raw: psycopg.Connection[Any], user: UUID, ready: PreparedSources, known: State) -> None:
    """Write the vectors of the embedded passages, for models that are registered, and codes where the user has some."""
    passages = ready.embedded
    if not passages:
        return
    for model, table in known.tables.items():
        if model not in ready.vectors:
            continue
        if len(passages) == 1:  # a live message: packing an array costs three times as much
            (one,) = passages
            row = user, one.id, one.source.id, one.source.created_at, one.unit, HalfVector(ready.vectors[model][0])
            raw.execute(_VECTOR.format(table=table), row, prepare=prepares(raw))
        else:
            columns = Columns(
                [user.bytes] * len(passages),
                [passage.id.bytes for passage in passages],
                [passage.source.id.bytes for passage in passages],
                [passage.source.created_at for passage in passages],
                [passage.unit for passage in passages],
            )
            write_vectors(raw, table, columns, ready.vectors[model], on_conflict="keep")
    if known.coded and ready.tokens is not None:
        insert_codes(raw, user, passages, ready.tokens)


def remove(raw: psycopg.Connection[Any], user: UUID, ids: Sequence[UUID]) -> None:
    """Take passages out of the index, with their words, vectors and codes."""
    if ids:
        with words.removed(raw, user, ids):
            _delete(raw, user, ids)


def _delete(raw: psycopg.Connection[Any], user: UUID, ids: Sequence[UUID]) -> None:
    statement = "DELETE FROM search.passages WHERE user_id = %s AND id = ANY(%s)"
    raw.execute(statement, (user, list(ids)), prepare=prepares(raw))


def found(raw: psycopg.Connection[Any], user: UUID, wanted: Iterable[tuple[SourceKind, UUID]]) -> dict[UUID, bool]:
    """The passages of these sources that are in the index, and whether their words are indexed as the source is now."""
    there: dict[UUID, bool] = {}
    for kind, ids in by_kind(wanted).items():
        values = {"user": user, "ids": ids}
        rows = raw.execute(_FOUND.format(kind=kind), values, prepare=prepares(raw), binary=True)
        there |= {id: bool(right) for id, right in rows.fetchall()}
    return there


def replace(
    raw: psycopg.Connection[Any],
    user: UUID,
    wanted: Sequence[tuple[SourceKind, UUID]],
    ready: PreparedSources,
    known: State,
    removed: Collection[UUID] = (),
    indexed: bool = True,
) -> int:
    """Make the index hold exactly the passages of `ready` for these sources; returns how many passages came or went.

    The sources are held by the caller (`read_living`). `removed` are the ids of sources whose words may have outlasted
    their passages. Unless `indexed`, the words are left to the caller, by `words.rebuild`.
    """
    there = found(raw, user, wanted)
    made = {passage.id for passage in ready.passages}
    stale = [id for id, right in there.items() if id not in made or (indexed and not right)]
    if removed:
        lost = raw.execute(_OUTLASTING, {"user": user, "ids": list(removed)}, binary=True)
        stale += [id for (id,) in lost]
    new = [passage for passage in ready.passages if passage.id not in there]
    with words.removed(raw, user, stale) if stale else nullcontext():
        if gone := [id for id in stale if id not in made]:
            _delete(raw, user, gone)
        _insert(raw, user, new, f"{_INSERT} ON CONFLICT DO NOTHING")
        add_vectors(raw, user, ready, known)
        if indexed:
            words.add(raw, user, [p.id for p in ready.passages if p.id not in there or not there[p.id]])
    return len(new) + len(stale)


def forget_notes(raw: psycopg.Connection[Any], user: UUID, ids: Sequence[UUID]) -> None:
    """Delete the notes of rows that the index now follows; to be called last, because notes are locked last."""
    raw.execute(_FORGET, (user, list(ids)), prepare=prepares(raw))


def pipelined(raw: psycopg.Connection[Any]) -> Any:
    """A pipeline of the driver, whose statements travel together; nothing new where one is open already."""
    return nullcontext() if raw.pgconn.pipeline_status != PipelineStatus.OFF else raw.pipeline()
