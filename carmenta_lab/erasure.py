"""How is a person, or a conversation, forgotten? Every row that holds or derives from the content goes at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psycopg
from sqlalchemy import Engine, Row, text
from sqlalchemy.orm import Session

from carmenta_lab.errors import UsageError
from carmenta_lab.ids import Ids
from carmenta_lab.indexing.writing import UNNOTED, remove
from carmenta_lab.ingest.staging import lock_key, sweep
from carmenta_lab.postgres.late import late_connection

ELSEWHERE = (
    "the server's log, its write-ahead log, and freed space until VACUUM FULL and ANALYZE",
    "dumps, backups and replicas, until they expire; after a restore, forget again",
    "outputs of notebooks and exported files",
)
"""What no transaction reaches."""

OF_A_CONVERSATION = (
    "the profile, where what was said has found its way into it",
    "documents the user saved from it, and messages of other conversations that repeat it",
)


@dataclass(frozen=True)
class Forgotten:
    """What was removed, and where else the content may still be."""

    rows: Mapping[str, int]  # "carmenta.messages" -> rows removed; tables without any are left out
    objects: tuple[tuple[str | None, str], ...]  # bucket and key of files in object storage, to be deleted there
    origins: tuple[str, ...]  # folders the content was loaded from: another load would bring it back
    rejects_files: tuple[Path, ...]  # may hold rejected lines of it
    elsewhere: tuple[str, ...] = field(repr=False)  # other places, in words

    @property
    def total(self) -> int:
        """All rows removed."""
        return sum(self.rows.values())


def forget_user(owner: Engine, user_id: UUID, rejects_folder: Path | None = None) -> Forgotten:
    """Remove a person with everything that is theirs, in one transaction; UsageError when there is no such person.

    What killed loads left in a staging schema goes as well; while a load of their dataset is under way, which would
    bring them back, that is a UsageError. Questions put in their name go with their judgements, hits and scores.
    `rejects_folder` is where loads wrote rejected lines; files there that may hold some of this person's are named,
    and left.
    """
    values = {"user": user_id}
    with Session(owner) as session, session.begin():
        found = session.execute(text("SELECT source FROM carmenta.users WHERE id = :user FOR UPDATE"), values)
        user = found.one_or_none()
        if user is None:
            raise UsageError(f"there is no user {user_id}; give the id as carmenta.users has it.")
        _sweep(session, user)
        objects = _objects(session, "true", values)
        before = _held(session, user_id)
        judged = _forget_questions(session, "q.user_id = :user", values)
        session.execute(text(UNNOTED.replace("%s", ":local")), {"local": True})
        session.execute(text("DELETE FROM carmenta.users WHERE id = :user"), values)
        rows = judged | _difference(before, _held(session, user_id))
        return Forgotten(rows, objects, *_loaded(session, user, rejects_folder), ELSEWHERE)


def forget_conversation(
    owner: Engine, user_id: UUID, conversation_id: UUID, rejects_folder: Path | None = None
) -> Forgotten:
    """Remove a conversation with what was learned, made and logged from it; UsageError when there is none.

    As with a person, what killed loads left goes, and a load under way stands against it. In one transaction: its
    messages and all that hangs on them, memories extracted from them (a fact that such a memory had replaced holds
    again), artifacts made in it, its background queries and events, and the questions whose judgements name any of it.
    """
    values = {"user": user_id, "conversation": conversation_id}
    here = "user_id = :user AND conversation_id = :conversation"
    said = f"(SELECT id FROM carmenta.messages WHERE {here})"
    learned = f"(SELECT id FROM carmenta.memories WHERE user_id = :user AND source_message_id IN {said})"
    judged_on_it = (
        "q.user_id = :user AND EXISTS (SELECT FROM lab.qrels j WHERE j.dataset_id = q.dataset_id "
        f"AND j.query_id = q.query_id AND (j.source_id IN {said} OR j.source_id IN {learned}))"
    )
    with Session(owner) as session, session.begin():
        found = session.execute(
            text("SELECT source FROM carmenta.conversations WHERE user_id = :user AND id = :conversation FOR UPDATE"),
            values,
        )
        conversation = found.one_or_none()
        if conversation is None:
            raise UsageError(f"the user {user_id} has no conversation {conversation_id}.")
        _sweep(session, conversation)
        objects = _objects(session, f"message_id IN {said}", values)
        before = _held(session, user_id)
        rows = _forget_questions(session, judged_on_it, values)
        _unindex(session, f"message_id IN {said} OR memory_id IN {learned}", values)
        for statement in (
            f"DELETE FROM carmenta.memories WHERE user_id = :user AND id IN {learned}",
            "DELETE FROM carmenta.artifacts WHERE user_id = :user "
            f"AND id IN (SELECT id FROM carmenta.artifacts WHERE {here})",
            f"DELETE FROM carmenta.background_queries WHERE {here}",
            "DELETE FROM carmenta.conversations WHERE user_id = :user AND id = :conversation",
            "DELETE FROM search.outbox WHERE user_id = :user AND source_id = :conversation",
        ):
            session.execute(text(statement), values)
        rows |= _difference(before, _held(session, user_id))
        places = _loaded(session, conversation, rejects_folder)
        return Forgotten(rows, objects, *places, ELSEWHERE + OF_A_CONVERSATION)


def _unindex(session: Session, which: str, values: Mapping[str, UUID]) -> None:
    """Take the words, vectors and codes of passages out of the index, and note nothing of what is deleted then."""
    session.execute(text(UNNOTED.replace("%s", ":local")), {"local": True})
    raw = late_connection(session.connection())
    found = session.scalars(text(f"SELECT id FROM search.passages WHERE user_id = :user AND ({which})"), values).all()
    remove(raw, values["user"], found)
    sources = "SELECT id FROM carmenta.messages WHERE user_id = :user AND conversation_id = :conversation"
    session.execute(text(f"DELETE FROM search.outbox WHERE user_id = :user AND source_id IN ({sources})"), values)


def _sweep(session: Session, row: Row[str | None]) -> None:
    """Drop what killed loads left in the database; UsageError while a load of this source is under way."""
    raw = session.connection().connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    sweep(raw)
    if row[0] is None:
        return
    key = lock_key(Ids(row[0]).dataset)  # held to the end, so that no load begins meanwhile
    if not session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key}):
        raise UsageError(
            f"the dataset {row[0]!r} is being loaded, which would bring back what is forgotten: wait for the load's "
            "end, or stop it, and forget then."
        )


def _objects(session: Session, which: str, values: Mapping[str, UUID]) -> tuple[tuple[str | None, str], ...]:
    rows = session.execute(
        text(
            "SELECT bucket, key FROM carmenta.attachments "
            f"WHERE user_id = :user AND key IS NOT NULL AND {which} ORDER BY bucket, key"
        ),
        values,
    )
    return tuple((row.bucket, row.key) for row in rows)


def _forget_questions(session: Session, which: str, values: Mapping[str, UUID]) -> dict[str, int]:
    """Delete questions with what judges and runs say of them; returns the counts per table."""
    counts = session.execute(
        text(
            f"""
            WITH queries AS (DELETE FROM lab.queries q WHERE {which} RETURNING q.dataset_id, q.query_id),
            of_run AS (SELECT r.id, q.query_id FROM queries q JOIN lab.runs r ON r.dataset_id = q.dataset_id),
            qrels AS (DELETE FROM lab.qrels WHERE (dataset_id, query_id) IN (TABLE queries) RETURNING 1),
            hits AS (DELETE FROM lab.hits WHERE (run_id, query_id) IN (TABLE of_run) RETURNING 1),
            scores AS (DELETE FROM lab.scores WHERE (run_id, query_id) IN (TABLE of_run) RETURNING 1)
            SELECT (SELECT count(*) FROM queries) AS queries, (SELECT count(*) FROM qrels) AS qrels,
                (SELECT count(*) FROM hits) AS hits, (SELECT count(*) FROM scores) AS scores
            """
        ),
        values,
    ).one()
    return {f"lab.{name}": count for name, count in counts._mapping.items() if count}


def _held(session: Session, user_id: UUID) -> dict[str, int]:
    """Table -> rows of one user, for every table that has any: those of embedding models, made later, as well.

    `lab.loaded` holds ids of a user's rows and nothing else; those of a conversation stay until the next load.
    """
    tables = session.execute(
        text(
            "SELECT c.oid::regclass::text AS name, a.attname AS key FROM pg_class c JOIN pg_attribute a "
            "ON a.attrelid = c.oid AND (a.attname = 'user_id' OR c.oid = 'carmenta.users'::regclass "
            "AND a.attname = 'id') WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition "
            "AND (c.relnamespace IN ('carmenta'::regnamespace, 'search'::regnamespace) "
            "OR c.oid = 'lab.loaded'::regclass) ORDER BY 1"
        )
    ).all()
    counts = " UNION ALL ".join(
        f"SELECT '{table.name}', count(*) FROM {table.name} WHERE {table.key} = :user" for table in tables
    )
    return {name: count for name, count in session.execute(text(counts), {"user": user_id}) if count}


def _difference(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {name: count - after.get(name, 0) for name, count in before.items() if count > after.get(name, 0)}


def _loaded(
    session: Session, row: Row[str | None], rejects_folder: Path | None
) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """The folder that a row came from, and the file of lines rejected there."""
    datasets = session.execute(
        text("SELECT id, origin FROM lab.datasets WHERE name = :source"), {"source": row[0]}
    ).all()
    files = [rejects_folder / f"{dataset.id}.rejects.jsonl" for dataset in datasets] if rejects_folder else []
    return tuple(dataset.origin for dataset in datasets), tuple(file for file in files if file.exists())
