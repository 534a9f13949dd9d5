"""What only the whole folder shows: duplicates, unknown targets, cycles; rejected or mended in the stage."""

from typing import Any

import psycopg

from carmenta_lab.datasets import Message, Reject
from carmenta_lab.datasets.kinds import Document, Judgement, Memory, Profile, QueryLine
from carmenta_lab.ids import Ids

DUPLICATES = """
    WITH numbered AS (
        SELECT line, first_value(line) OVER w AS first, {shown} AS shown
        FROM stage_{table} WHERE ({key}) IN (SELECT {key} FROM stage_{table} GROUP BY {key} HAVING count(*) > 1)
        WINDOW w AS (PARTITION BY {key} ORDER BY line)
    ), gone AS (
        DELETE FROM stage_{table} s USING numbered n WHERE n.line = s.line AND n.line > n.first
        RETURNING n.line, n.first, n.shown, {conversation}
    )
    SELECT * FROM gone ORDER BY line
"""

_KEYS = (
    ("messages", "id", "external_id", Message.FILE, "message_id"),
    ("documents", "id", "external_id", Document.FILE, "document_id"),
    ("documents", "user_id, path", "path", Document.FILE, "path"),
    ("memories", "id", "external_id", Memory.FILE, "memory_id"),
    (
        *("profiles", "user_id", "(SELECT external_id FROM stage_users u WHERE u.id = user_id)"),
        *(Profile.FILE, "user_id"),
    ),
    ("queries", "query_id", "query_id", QueryLine.FILE, "query_id"),
    ("qrels", "query_id, target_id", "query_id || ' ' || target_id", Judgement.FILE, "query_id and target_id"),
)

_CYCLES = """
    WITH RECURSIVE chain AS (
        SELECT id AS start, superseded_by AS next FROM stage_memories WHERE superseded_by IS NOT NULL
        UNION
        SELECT c.start, m.superseded_by FROM chain c JOIN stage_memories m ON m.id = c.next
        WHERE m.superseded_by IS NOT NULL AND c.next <> c.start
    ), gone AS (
        DELETE FROM stage_memories m USING chain c WHERE c.start = m.id AND c.next = m.id
        RETURNING m.line, m.external_id
    )
    SELECT line, external_id FROM gone ORDER BY line
"""

_TAKEN = """
    DELETE FROM stage_documents s USING carmenta.documents d
    WHERE d.user_id = s.user_id AND d.path = s.path::ltree AND d.external_id IS NULL AND d.deleted_at IS NULL
    RETURNING s.line, s.path
"""

_TARGETS = """
    DELETE FROM stage_qrels j WHERE {condition}
    RETURNING j.line, j.query_id, j.target_id
"""
_UNKNOWN_QUERY = "NOT EXISTS (SELECT FROM stage_queries q WHERE q.query_id = j.query_id)"
_UNKNOWN_TARGET = """
    NOT EXISTS (SELECT FROM stage_messages m WHERE m.id = j.message_id)
    AND NOT EXISTS (SELECT FROM stage_targets t WHERE t.id = j.message_id)
    AND NOT EXISTS (SELECT FROM stage_memories m WHERE m.id = j.memory_id)
    AND NOT EXISTS (SELECT FROM stage_documents d WHERE d.id = j.document_id)
"""

NO_PARENT = "messages name a parent that is not in their conversation; loaded without it"

_MENDS = {
    NO_PARENT: """
        UPDATE stage_messages s SET parent_id = NULL WHERE parent_id IS NOT NULL AND (parent_id = id OR NOT EXISTS (
            SELECT FROM stage_messages p WHERE p.id = s.parent_id AND p.conversation_id = s.conversation_id))
    """,
    "memories name a source message that is not this user's; loaded without it": """
        UPDATE stage_memories s SET source_message_id = NULL WHERE source_message_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM stage_messages m WHERE m.id = s.source_message_id AND m.user_id = s.user_id) {unless_written}
    """,
    "memories name a successor that is not this user's; loaded without it": """
        UPDATE stage_memories s SET superseded_by = NULL WHERE superseded_by IS NOT NULL AND NOT EXISTS (
            SELECT FROM stage_memories m WHERE m.id = s.superseded_by AND m.user_id = s.user_id)
    """,
}

_UNLESS_WRITTEN = (
    "AND NOT EXISTS (SELECT FROM carmenta.messages m WHERE m.user_id = s.user_id AND m.id = s.source_message_id)"
)
"""In a first load, where messages that the stage does not hold were written already."""

_ORPHANS = (
    "DELETE FROM stage_conversations c WHERE NOT EXISTS (SELECT FROM stage_messages m WHERE m.conversation_id = c.id)",
    *(
        f"DELETE FROM stage_{table} t WHERE {column} IS NOT NULL "
        f"AND NOT EXISTS (SELECT FROM stage_{source} s WHERE s.id = t.{column} AND s.line = t.line)"
        for table, column, source in (
            ("attachments", "message_id", "messages"),
            ("passages", "message_id", "messages"),
            ("passages", "memory_id", "memories"),
            ("passages", "document_id", "documents"),
        )
    ),
)


def check(
    connection: psycopg.Connection[Any],
    ids: Ids,
    rejects: list[Reject],
    *,
    whole_conversations: bool,
    written: bool,
) -> tuple[list[Reject], dict[str, int]]:
    """Take out of the stage what cannot be loaded; returns its rejects, and what was mended -> how often.

    Of lines with the same id the first is kept. With `whole_conversations`, one rejected message takes its
    conversation along. `written` says that some messages are in the tables already.
    """
    found: list[Reject] = []
    spoilt = {ids.of("conversation", r.ids["conversation_id"]) for r in rejects if "conversation_id" in r.ids}
    for table, key, shown, file, name in _KEYS:
        conversation = "s.conversation_id" if table == "messages" else "NULL::uuid"
        statement = DUPLICATES.format(table=table, key=key, shown=shown, conversation=conversation)
        for line, first, value, home in connection.execute(statement).fetchall():
            found.append(Reject(file, line, f"{name}: {value!r} stands already in line {first}"))
            spoilt.add(home)
    mended = {}
    if whole_conversations:
        statement = "DELETE FROM stage_messages WHERE conversation_id = ANY(%s)"
        dropped = connection.execute(statement, (list(spoilt - {None}),)).rowcount
        mended["messages left out because their conversation has a rejected line"] = dropped
    for line, path in connection.execute(_TAKEN).fetchall():
        found.append(Reject(Document.FILE, line, f"path: {path!r} is taken by a document that was not loaded"))
    for line, given in connection.execute(_CYCLES).fetchall():
        found.append(Reject(Memory.FILE, line, f"superseded_by: {given!r} supersedes itself in the end"))
    unless = _UNLESS_WRITTEN if written else ""
    for reason, statement in _MENDS.items():
        mended[reason] = connection.execute(statement.format(unless_written=unless)).rowcount
    for condition, name, column in ((_UNKNOWN_QUERY, "query_id", 1), (_UNKNOWN_TARGET, "target_id", 2)):
        for row in connection.execute(_TARGETS.format(condition=condition)).fetchall():
            found.append(Reject(Judgement.FILE, row[0], f"{name}: {row[column]!r} is not in this folder"))
    for statement in _ORPHANS:
        connection.execute(statement)
    return found, {reason: count for reason, count in mended.items() if count}
