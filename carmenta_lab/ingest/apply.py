"""From the stage to the tables: what is new is added, what changed is updated, what is gone is deleted."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from typing import Any, TypeAlias
from uuid import UUID

import psycopg

from carmenta_lab.ingest.statements import (
    ASSIGN,
    ATTACHMENTS,
    CONVERSATIONS,
    IN_BATCH,
    LONG_TURNS,
    MESSAGES,
    OTHER_PIECES,
    STALE_PIECES,
    STALE_TURNS,
    TURNS,
    UNDEAD_PIECES,
    UNDEAD_TURNS,
    USERS,
    VANISHED,
    VANISHED_ATTACHMENTS,
    VANISHED_CONVERSATIONS,
    VANISHED_MESSAGES,
    VANISHED_USERS,
    insert_new,
    upsert,
)

BATCH_MESSAGES = 5_000
WORKERS = 2


class Changes(dict[str, dict[str, int]]):
    """Table -> added, updated, deleted."""

    def count(self, table: str, added: int = 0, updated: int = 0, deleted: int = 0) -> None:
        """Add to a table's counts."""
        found = self.setdefault(table, {"added": 0, "updated": 0, "deleted": 0})
        for key, number in (("added", added), ("updated", updated), ("deleted", deleted)):
            found[key] += number


Insert: TypeAlias = Callable[..., None]


def _inserter(connection: psycopg.Connection[Any], changes: Changes, again: bool) -> Insert:
    def insert(table: str, select: str, **values: object) -> None:
        if not again:
            changes.count(table, added=connection.execute(insert_new(table, select), values).rowcount)
            return
        row = connection.execute(upsert(table, select), values).fetchone()
        assert row is not None
        changes.count(table, added=row[0], updated=row[1])

    return insert


def apply(
    connection: psycopg.Connection[Any],
    dataset: UUID,
    source: str,
    again: bool,
    committed: Callable[[], None],
    connect: Callable[[], AbstractContextManager[psycopg.Connection[Any]]],
    progress: Callable[[int], object],
) -> Changes:
    """Bring the tables to match the stage; `committed` ends a transaction and begins the next.

    Conversations are applied whole, many a transaction, two transactions at a time on connections that `connect`
    opens: a load that is cut off leaves no half conversation and goes on where it was. `again` says that an
    earlier load left rows, which may have changed or vanished.
    """
    changes = Changes()
    if again:
        gone, _ = (connection.execute(statement, {"dataset": dataset}).rowcount for statement in VANISHED_USERS)
        changes.count("users", deleted=gone)
        for table in ("memories", "profiles", "documents", "messages", "conversations"):
            given = "" if table == "profiles" else "AND t.external_id IS NOT NULL"
            given += f" {VANISHED_CONVERSATIONS}" if table == "messages" else ""
            gone = connection.execute(VANISHED.format(table=table, given=given)).rowcount
            changes.count(table, deleted=gone)
    given = USERS.format(rows="(SELECT id, external_id FROM stage_users) u(id, name)")
    added = connection.execute(given, {"dataset": dataset}).fetchone()
    assert added is not None
    changes.count("users", added=added[0])
    batches = _batches(connection)
    committed()
    workers = ThreadPoolExecutor(WORKERS)
    try:
        under_way = {workers.submit(_apply_batch, connect, source, again, batch): size for batch, size in batches}
        for done in as_completed(under_way):
            for table, counts in done.result().items():
                changes.count(table, **counts)
            progress(under_way[done])
    finally:
        workers.shutdown(cancel_futures=True)
    _apply_rest(connection, dataset, again, _inserter(connection, changes, again))
    committed()
    return changes


def _apply_batch(
    connect: Callable[[], AbstractContextManager[psycopg.Connection[Any]]], source: str, again: bool, batch: int
) -> Changes:
    """One transaction: some conversations with all that hangs on them."""
    changes = Changes()
    values = {"batch": batch, "source": source}
    kept = " ON CONFLICT DO NOTHING" if again else ""
    with connect() as connection:
        insert = _inserter(connection, changes, again)
        insert("conversations", CONVERSATIONS.format(which=IN_BATCH), **values)
        insert("messages", MESSAGES, **values)
        insert("attachments", ATTACHMENTS.format(which=IN_BATCH), **values)
        if again:
            connection.execute(STALE_TURNS, values)
            for table, statement in (("messages", VANISHED_MESSAGES), ("attachments", VANISHED_ATTACHMENTS)):
                changes.count(table, deleted=connection.execute(statement, values).rowcount)
        connection.execute(TURNS + kept, values)
        connection.execute(LONG_TURNS + kept, values)
        if again:
            connection.execute(UNDEAD_TURNS, values)
    return changes


def _batches(connection: psycopg.Connection[Any]) -> list[tuple[int, int]]:
    """Number and messages of each batch of conversations."""
    connection.execute(ASSIGN, (BATCH_MESSAGES,))
    sizes = connection.execute(
        "SELECT c.batch, count(*) FROM stage_messages m JOIN stage_conversations c ON c.id = m.conversation_id "
        "GROUP BY 1 ORDER BY 1"
    ).fetchall()
    if len(sizes) > 1:
        connection.execute("CREATE INDEX ON stage_messages (conversation_id)")
        connection.execute("CREATE INDEX ON stage_messages (id)")
        connection.execute("CREATE INDEX ON stage_passages (message_id)")
        connection.execute("ANALYZE stage_conversations")
    return [(int(batch), int(size)) for batch, size in sizes]


def _apply_rest(connection: psycopg.Connection[Any], dataset: UUID, again: bool, insert: Insert) -> None:
    if again:  # a path may have moved from one document to another
        connection.execute(
            "DELETE FROM carmenta.documents d USING stage_documents s "
            "WHERE d.user_id = s.user_id AND d.id = s.id AND d.path <> s.path::ltree"
        )
    insert(
        "documents",
        "SELECT user_id, id, path::ltree, name, content, tags, source_type, language, external_id, created_at, "
        "utc_offset FROM stage_documents ORDER BY user_id, line",
    )
    insert(
        "memories",
        "SELECT user_id, id, category, content, confidence, source_message_id, superseded_by, language, external_id, "
        "created_at, utc_offset FROM stage_memories ORDER BY user_id, line",
    )
    insert("profiles", "SELECT user_id, id, content FROM stage_profiles")
    if again:
        connection.execute(STALE_PIECES)
    connection.execute(OTHER_PIECES + (" ON CONFLICT DO NOTHING" if again else ""))
    if again:
        connection.execute(UNDEAD_PIECES)
    for table in ("qrels", "queries"):
        connection.execute(f"DELETE FROM lab.{table} WHERE dataset_id = %s", (dataset,))
    connection.execute(
        "INSERT INTO lab.queries "
        "(dataset_id, query_id, user_id, content, position, category, asked_at, answers, language) "
        "SELECT %s, query_id, user_id, content, line, category, asked_at, answers, language "
        "FROM stage_queries ORDER BY line",
        (dataset,),
    )
    connection.execute(
        "INSERT INTO lab.qrels (dataset_id, query_id, source_id, source_kind, relevance) "
        "SELECT %s, j.query_id, coalesce(m.id, k.id, d.id), "
        "CASE WHEN m.id IS NOT NULL THEN 'message' WHEN k.id IS NOT NULL THEN 'memory' ELSE 'document' END, relevance "
        "FROM stage_qrels j LEFT JOIN (SELECT id FROM stage_messages UNION SELECT id FROM stage_targets) m "
        "ON m.id = j.message_id "
        "LEFT JOIN stage_memories k ON k.id = j.memory_id LEFT JOIN stage_documents d ON d.id = j.document_id",
        (dataset,),
    )
