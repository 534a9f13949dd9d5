"""From the stage to the tables: what is new is added, what changed is updated, what is gone is deleted."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg

BATCH_MESSAGES = 20_000

COLUMNS = {
    "conversations": "title, status, visibility, source, external_id, started_at, last_message_at",
    "messages": "conversation_id, parent_id, position, role, author, model, parts, content, content_for_llm, language, "
    "external_id, created_at",
    "attachments": "message_id, name, media_type, bucket, key, size_bytes, sha256",
    "documents": "path, name, content, tags, source_type, language, external_id, created_at",
    "memories": "category, content, confidence, source_message_id, superseded_by, language, external_id, created_at",
    "profiles": "content",
}
"""Table -> the columns that a folder decides, beside the key."""


def _insert(table: str, select: str) -> str:
    """INSERT ... SELECT where no row can be there."""
    return f"INSERT INTO carmenta.{table} (user_id, id, {COLUMNS[table]}) {select}"


def _upsert(table: str, select: str) -> str:
    """INSERT ... SELECT that updates only rows that differ, and counts the added and the updated."""
    names = COLUMNS[table]
    old = ", ".join(f"t.{name}" for name in names.split(", "))
    new = ", ".join(f"excluded.{name}" for name in names.split(", "))
    return (
        f"WITH changed AS (INSERT INTO carmenta.{table} AS t (user_id, id, {names}) {select} "
        f"ON CONFLICT (user_id, id) DO UPDATE SET ({names}) = ROW({new}) WHERE ({old}) IS DISTINCT FROM ({new}) "
        "RETURNING (xmax = 0) AS added) "
        "SELECT count(*) FILTER (WHERE added), count(*) FILTER (WHERE NOT added) FROM changed"
    )


_BATCH = "(SELECT id FROM stage_conversations WHERE batch = %(batch)s)"

_ASSIGN = """
    UPDATE stage_conversations c SET batch = b.batch FROM (
        SELECT conversation_id, (sum(count(*)) OVER (ORDER BY user_id, conversation_id) - 1)::int / %s AS batch
        FROM stage_messages GROUP BY user_id, conversation_id
    ) b WHERE b.conversation_id = c.id
"""

_CONVERSATIONS = f"""
    SELECT c.user_id, c.id, c.title, c.status, c.visibility, %(source)s, c.external_id, m.started_at, m.last_message_at
    FROM stage_conversations c JOIN (
        SELECT conversation_id, min(created_at) AS started_at, max(created_at) AS last_message_at
        FROM stage_messages WHERE conversation_id IN {_BATCH} GROUP BY conversation_id
    ) m ON m.conversation_id = c.id ORDER BY c.user_id, c.id
"""

_MESSAGES = f"""
    SELECT user_id, id, conversation_id, parent_id, coalesce(position, least(2147483647,
            coalesce(max(position) OVER (PARTITION BY place) + 1::bigint, 0)
            + row_number() OVER (PARTITION BY place, position ORDER BY at NULLS FIRST, line) - 1)),
        role, author, model, parts, content, content_for_llm, language, external_id, created_at
    FROM (
        SELECT *, coalesce(created_at, max(created_at) OVER (PARTITION BY place ORDER BY line)) AS at
        FROM stage_messages WHERE conversation_id IN {_BATCH}
    ) m ORDER BY user_id, place, line
"""

_ATTACHMENTS = f"""
    SELECT a.user_id, a.id, a.message_id, a.name, a.media_type, a.bucket, a.key, a.size_bytes, a.sha256
    FROM stage_attachments a JOIN stage_messages m ON m.id = a.message_id WHERE m.conversation_id IN {_BATCH}
"""

_TURNS = f"""
    INSERT INTO carmenta.passages (user_id, id, unit, ordinal, content, message_id, author, language, created_at)
    SELECT user_id, passage_id, 'turn', 0, header || content, id, author, language, created_at
    FROM stage_messages WHERE passage_id IS NOT NULL AND conversation_id IN {_BATCH}
    ORDER BY user_id, place, line
"""

_PIECES = """
    INSERT INTO carmenta.passages
        (user_id, id, unit, ordinal, content, message_id, memory_id, document_id, author, language, created_at)
    SELECT user_id, id, unit, ordinal, content, message_id, memory_id, document_id, author, language, created_at
    FROM stage_passages p WHERE {condition} ORDER BY user_id, line, ordinal
"""
_LONG_TURNS = _PIECES.format(
    condition=f"message_id IN (SELECT id FROM stage_messages WHERE conversation_id IN {_BATCH})"
)
_OTHER_PIECES = _PIECES.format(condition="message_id IS NULL")

_STALE_TURNS = f"""
    DELETE FROM carmenta.passages p USING stage_messages m
    WHERE p.user_id = m.user_id AND p.message_id = m.id AND p.unit = 'turn' AND m.conversation_id IN {_BATCH}
    AND p.id IS DISTINCT FROM m.passage_id
    AND NOT EXISTS (SELECT FROM stage_passages s WHERE s.user_id = p.user_id AND s.id = p.id)
"""
_STALE_PIECES = """
    DELETE FROM carmenta.passages p USING stage_users u WHERE p.user_id = u.id
    AND (p.memory_id IN (SELECT id FROM stage_memories) OR p.document_id IN (SELECT id FROM stage_documents))
    AND NOT EXISTS (SELECT FROM stage_passages s WHERE s.user_id = p.user_id AND s.id = p.id)
"""

_VANISHED_USERS = """
    DELETE FROM carmenta.users u WHERE source = %(source)s AND NOT EXISTS (SELECT FROM stage_users s WHERE s.id = u.id)
"""
_VANISHED = """
    DELETE FROM carmenta.{table} t USING stage_users u WHERE t.user_id = u.id {given}
    AND NOT EXISTS (SELECT FROM stage_{table} s WHERE s.user_id = t.user_id AND s.id = t.id)
"""
_VANISHED_CONVERSATIONS = "AND NOT EXISTS (SELECT FROM stage_conversations c WHERE c.id = t.conversation_id)"
_VANISHED_MESSAGES = """
    DELETE FROM carmenta.messages t USING stage_conversations c
    WHERE c.batch = %(batch)s AND t.user_id = c.user_id AND t.conversation_id = c.id AND t.external_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM stage_messages s WHERE s.id = t.id)
"""
_VANISHED_ATTACHMENTS = f"""
    DELETE FROM carmenta.attachments t USING stage_messages m
    WHERE m.conversation_id IN {_BATCH} AND t.user_id = m.user_id AND t.message_id = m.id
    AND NOT EXISTS (SELECT FROM stage_attachments s WHERE s.id = t.id)
"""


class Changes(dict[str, dict[str, int]]):
    """Table -> added, updated, deleted."""

    def count(self, table: str, added: int = 0, updated: int = 0, deleted: int = 0) -> None:
        """Add to a table's counts."""
        found = self.setdefault(table, {"added": 0, "updated": 0, "deleted": 0})
        for key, number in (("added", added), ("updated", updated), ("deleted", deleted)):
            found[key] += number


def apply(
    connection: psycopg.Connection[Any],
    dataset: UUID,
    source: str,
    again: bool,
    committed: Callable[[], None],
    progress: Callable[[int], object],
) -> Changes:
    """Bring the tables to match the stage; `committed` ends a transaction and begins the next.

    Conversations are applied whole, many a transaction: a load that is cut off leaves no half conversation and
    goes on where it was. `again` says that an earlier load left rows, which may have changed or vanished.
    """
    changes = Changes()

    kept = " ON CONFLICT DO NOTHING" if again else ""

    def run(table: str, select: str, **values: object) -> None:
        if not again:
            changes.count(table, added=connection.execute(_insert(table, select), values).rowcount)
            return
        row = connection.execute(_upsert(table, select), values).fetchone()
        assert row is not None
        changes.count(table, added=row[0], updated=row[1])

    if again:
        changes.count("users", deleted=connection.execute(_VANISHED_USERS, {"source": source}).rowcount)
        for table in ("memories", "profiles", "documents", "messages", "conversations"):
            given = "" if table == "profiles" else "AND t.external_id IS NOT NULL"
            given += f" {_VANISHED_CONVERSATIONS}" if table == "messages" else ""
            gone = connection.execute(_VANISHED.format(table=table, given=given)).rowcount
            changes.count(table, deleted=gone)
    users = connection.execute(
        "INSERT INTO carmenta.users (id, name, source, external_id) SELECT id, external_id, %s, external_id "
        "FROM stage_users ORDER BY id ON CONFLICT (id) DO NOTHING",
        (source,),
    )
    changes.count("users", added=users.rowcount)
    committed()
    for batch, size in _batches(connection):
        values = {"batch": batch, "source": source}
        run("conversations", _CONVERSATIONS, **values)
        run("messages", _MESSAGES, **values)
        run("attachments", _ATTACHMENTS, **values)
        if again:
            connection.execute(_STALE_TURNS, values)
            for table, statement in (("messages", _VANISHED_MESSAGES), ("attachments", _VANISHED_ATTACHMENTS)):
                changes.count(table, deleted=connection.execute(statement, values).rowcount)
        connection.execute(_TURNS + kept, values)
        connection.execute(_LONG_TURNS + kept, values)
        committed()
        progress(size)
    _apply_rest(connection, dataset, again, run)
    committed()
    return changes


def _batches(connection: psycopg.Connection[Any]) -> Iterator[tuple[int, int]]:
    connection.execute(_ASSIGN, (BATCH_MESSAGES,))
    sizes = connection.execute(
        "SELECT c.batch, count(*) FROM stage_messages m JOIN stage_conversations c ON c.id = m.conversation_id "
        "GROUP BY 1 ORDER BY 1"
    ).fetchall()
    if len(sizes) > 1:
        connection.execute("CREATE INDEX ON stage_conversations (batch)")
        connection.execute("CREATE INDEX ON stage_messages (conversation_id)")
        connection.execute("CREATE INDEX ON stage_messages (id)")
        connection.execute("CREATE INDEX ON stage_passages (message_id)")
        connection.execute("ANALYZE stage_conversations")
    yield from sizes


def _apply_rest(
    connection: psycopg.Connection[Any], dataset: UUID, again: bool, run: Callable[[str, str], None]
) -> None:
    if again:  # a path may have moved from one document to another
        connection.execute(
            "DELETE FROM carmenta.documents d USING stage_documents s "
            "WHERE d.user_id = s.user_id AND d.id = s.id AND d.path <> s.path::ltree"
        )
    run(
        "documents",
        "SELECT user_id, id, path::ltree, name, content, tags, source_type, language, external_id, created_at "
        "FROM stage_documents ORDER BY user_id, line",
    )
    run(
        "memories",
        "SELECT user_id, id, category, content, confidence, source_message_id, superseded_by, language, external_id, "
        "created_at FROM stage_memories ORDER BY user_id, line",
    )
    run("profiles", "SELECT user_id, id, content FROM stage_profiles")
    if again:
        connection.execute(_STALE_PIECES)
    connection.execute(_OTHER_PIECES + (" ON CONFLICT DO NOTHING" if again else ""))
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
        "FROM stage_qrels j LEFT JOIN stage_messages m ON m.id = j.message_id "
        "LEFT JOIN stage_memories k ON k.id = j.memory_id LEFT JOIN stage_documents d ON d.id = j.document_id",
        (dataset,),
    )
