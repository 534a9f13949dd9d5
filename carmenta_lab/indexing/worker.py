"""Have the index follow what other clients wrote: notes taken by lease, embedded outside of transactions, done once.

Any number of workers at once. One that is killed loses nothing: its leases run out, and what it had not committed is
done again; what it had is not, as notes go in the transaction that writes the index.
"""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from sqlalchemy.exc import DBAPIError

from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.errors import CarmentaError
from carmenta_lab.indexing.following import Opens, follow
from carmenta_lab.indexing.lacking import FOLLOWED, acting
from carmenta_lab.indexing.sources import below, in_blocks
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.statement import driver, only
from carmenta_lab.records import SourceKind

BLOCK = 100
"""Notes taken, and sources written, at a time."""
LEASE = timedelta(minutes=5)
"""So long a block may take; after it others may take its notes."""
ATTEMPTS = 5
"""After so many that failed a note is left, with its error, until its row changes again."""
LEASES = 50
"""The same for workers that were killed and said nothing: most often it was not the note's fault."""
BACK_OFF = timedelta(seconds=10)
"""After the first attempt that failed; each further wait is twice as long."""
USERS_AT_ONCE = 20
IDLE_SECONDS = 1.0
"""How long a worker that finds nothing waits."""


class LeasedNote(NamedTuple):
    """A note that a worker has leased: a source that was written, changed or deleted by another client."""

    source_id: UUID
    kind: str
    revision: int
    removed: bool
    attempts: int  # this one included
    is_given_up: bool  # its leases are used up, and nobody follows it any more


@dataclass
class WorkerReport:
    """Counts of what a worker did."""

    notes: int = 0  # that are gone
    sources: int = 0  # indexed as they are now
    passages: int = 0  # that came or went
    failed: int = 0  # attempts
    errors: list[str] = field(default_factory=list)  # of notes whose attempts are used up


_USERS = "SELECT search.users_with_notes(%s)"
_TAKE = """
    UPDATE search.outbox o SET
        (worker, lease_until, run_after, attempts, error) = (SELECT
            CASE WHEN spent THEN NULL ELSE %(worker)s END, CASE WHEN spent THEN NULL ELSE now() + %(lease)s END,
            CASE WHEN spent THEN 'infinity' ELSE now() + %(lease)s END, attempts + (NOT spent)::int,
            CASE WHEN spent THEN 'no worker was done with it within its lease' ELSE error END
        FROM (SELECT attempts >= %(most)s AS spent) s)
    WHERE o.user_id = %(user)s AND o.source_id IN (
        SELECT source_id FROM search.outbox WHERE user_id = %(user)s AND run_after <= now()
        ORDER BY run_after, source_id LIMIT %(block)s FOR UPDATE SKIP LOCKED)
    RETURNING source_id, kind, revision, removed, attempts, worker IS NULL
"""
_RELEASE = """
    UPDATE search.outbox SET worker = NULL, lease_until = NULL, run_after = now(), attempts = attempts - 1
    WHERE user_id = %(user)s AND worker = %(worker)s
"""
_FAILED = """
    UPDATE search.outbox SET worker = NULL, lease_until = NULL, error = %(error)s,
        run_after = CASE WHEN attempts >= %(most)s THEN 'infinity' ELSE now() + %(wait)s * power(2, attempts - 1) END
    WHERE user_id = %(user)s AND source_id = ANY(%(ids)s) AND worker = %(worker)s
    RETURNING source_id, kind, attempts >= %(most)s
"""


def own_name() -> str:
    """A name for a worker: its host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def run(
    database: Database,
    *,
    once: bool = False,
    name: str | None = None,
    models: Sequence[str] = (DEFAULT_MODEL,),
    stop: Event | None = None,
    progress: Callable[[WorkerReport], object] = lambda done: None,
    lease: timedelta = LEASE,
) -> WorkerReport:
    """Work until `stop` is set, or with `once` until nothing is due; the block under way is finished.

    With `once` notes that other workers hold are waited for, so that nothing is left when it returns, but for notes
    whose attempts have failed: they are tried again when they are due.
    """
    done, name, stop = WorkerReport(), name or own_name(), stop or Event()
    while not stop.is_set():
        users = _due(database)
        for user in users:
            while not stop.is_set() and _block(database, user, name, models, done, lease, stop):
                progress(done)
        if users:
            continue
        if once and not _held(database):
            break
        stop.wait(IDLE_SECONDS if not once else 0.1)
    return done


def _due(database: Database) -> list[UUID]:
    with database.app.begin() as connection:
        return [user for (user,) in driver(connection).execute(_USERS, (USERS_AT_ONCE,), binary=True)]


def _held(database: Database) -> bool:
    """Whether other workers have notes under way."""
    with database.app.begin() as connection:
        return bool(only(driver(connection).execute("SELECT search.notes_held()")))


class _Stopped(Exception):
    """The worker is to end, in the middle of what is noted of a whole conversation or user."""


def _block(
    database: Database,
    user: UUID,
    name: str,
    models: Sequence[str],
    done: WorkerReport,
    lease: timedelta,
    stop: Event,
) -> bool:
    """Take some notes of a user and do what they ask; False when there was none."""
    opens = acting(database, user)
    with opens() as raw:
        values = {"user": user, "worker": name, "lease": lease, "block": BLOCK, "most": LEASES}
        taken = list(map(LeasedNote._make, raw.execute(_TAKE, values, binary=True)))
    done.errors += [
        f"{note.kind} {note.source_id} of user {user}: no worker was done with it within its lease"
        for note in taken
        if note.is_given_up
    ]
    notes = [note for note in taken if not note.is_given_up]
    if not notes:
        return bool(taken)
    try:
        _follow(opens, user, notes, models, done, stop)
    except _Stopped:
        with opens() as raw:
            raw.execute(_RELEASE, {"user": user, "worker": name})
    except (CarmentaError, DBAPIError, psycopg.Error) as error:
        if len(notes) > 1:  # one of them is at fault, and the others must not wait for it
            for note in notes:
                try:
                    _follow(opens, user, [note], models, done, stop)
                except (CarmentaError, DBAPIError, psycopg.Error) as own:
                    _fail(opens, user, [note], name, own, done)
        else:
            _fail(opens, user, notes, name, error, done)
    return True


def _follow(
    opens: Opens, user: UUID, notes: Sequence[LeasedNote], models: Sequence[str], done: WorkerReport, stop: Event
) -> None:
    """The index follows what is noted; a note goes with the last of its sources, unless it was raised meanwhile."""
    single = [note for note in notes if note.kind not in ("user", "conversation")]
    if single:
        wanted: list[tuple[SourceKind, UUID]] = [(note.kind, note.source_id) for note in single]  # type: ignore[misc]
        _done(opens, user, wanted, single, models, done)
    for note in notes:
        if note.kind == "user" or note.kind == "conversation":
            with opens() as raw:
                every = below(raw, user, "user" if note.kind == "user" else "conversation", note.source_id)
            blocks = in_blocks(every, BLOCK) or [[]]
            for number, block in enumerate(blocks, start=1):
                if stop.is_set() and number > 1:
                    raise _Stopped
                _done(opens, user, block, [note] if number == len(blocks) else [], models, done)


def _done(
    opens: Opens,
    user: UUID,
    wanted: Sequence[tuple[SourceKind, UUID]],
    notes: Sequence[LeasedNote],
    models: Sequence[str],
    done: WorkerReport,
) -> None:
    gone = 0

    def last(raw: psycopg.Connection[Any]) -> None:
        nonlocal gone
        ids, revisions = [note.source_id for note in notes], [note.revision for note in notes]
        gone = len(raw.execute(FOLLOWED, {"user": user, "ids": ids, "revisions": revisions}).fetchall()) if ids else 0

    removed = {note.source_id for note in notes if note.removed}
    made = follow(opens, user, wanted, models, removed, last)
    done.notes += gone
    done.sources += made.sources
    done.passages += made.changes


def _fail(
    opens: Opens, user: UUID, notes: Sequence[LeasedNote], name: str, error: Exception, done: WorkerReport
) -> None:
    """Keep why, and try again later; never any more once the attempts are used up."""
    said = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
    values = {
        "user": user,
        "ids": [note.source_id for note in notes],
        "worker": name,
        "error": said[0],
        "most": ATTEMPTS,
        "wait": BACK_OFF,
    }
    with opens() as raw:
        rows = raw.execute(_FAILED, values).fetchall()
    done.failed += len(rows)
    done.errors += [f"{kind} {id} of user {user}: {said[0]}" for id, kind, given_up in rows if given_up]
