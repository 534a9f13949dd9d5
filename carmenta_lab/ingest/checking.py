"""What can be judged only when all is read? Duplicates, unknown targets, rings: rejected, or mended in the stage."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from carmenta_lab.datasets import (
    Artifact,
    Document,
    Feedback,
    Judgement,
    Memory,
    Message,
    Profile,
    QueryLine,
    Record,
    Reject,
    Tag,
    Vote,
)
from carmenta_lab.ingest.staging import Task


class _UniqueKey(NamedTuple):
    """Of staged lines that are alike in `key` the first is kept."""

    table: str
    key: str
    shown: str  # what a reject says stands already in another line
    record: type[Record]
    fields: str  # as the reject names them
    conversation: str = "NULL::uuid"  # that a line which goes was in


_UNIQUE_KEYS = (
    _UniqueKey("messages", "id", "external_id", Message, "message_id", "s.conversation_id"),
    _UniqueKey("documents", "id", "external_id", Document, "document_id"),
    _UniqueKey("documents", "user_id, path", "path", Document, "path"),
    _UniqueKey("memories", "id", "external_id", Memory, "memory_id"),
    _UniqueKey(
        "profiles", "user_id", "(SELECT external_id FROM stage_users u WHERE u.id = user_id)", Profile, "user_id"
    ),
    _UniqueKey("queries", "query_id", "query_id", QueryLine, "query_id"),
    _UniqueKey("qrels", "query_id, target_id", "query_id || ' ' || target_id", Judgement, "query_id and target_id"),
    _UniqueKey(
        "artifacts", "id, created_at", "external_id || ' ' || created_at::text", Artifact, "artifact_id, created_at"
    ),
    _UniqueKey("votes", "message_id", "message_given", Vote, "message_id"),
    _UniqueKey("feedback", "id", "message_given || ' ' || kind", Feedback, "message_id, signal, created_at"),
    _UniqueKey("tags", "tag_id, kind, target_id", "name || ' ' || target_given", Tag, "tag, target_id"),
)

_DUPLICATES = """
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

_RINGS = """
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

_UNKNOWN_QUERIES = """
    DELETE FROM stage_qrels j WHERE NOT EXISTS (SELECT FROM stage_queries q WHERE q.query_id = j.query_id)
    RETURNING j.line, j.query_id
"""
_UNKNOWN_JUDGED = """
    DELETE FROM stage_qrels j WHERE NOT EXISTS (SELECT FROM stage_messages m WHERE m.id = j.message_id)
    AND NOT EXISTS (SELECT FROM stage_targets t WHERE t.id = j.message_id)
    AND NOT EXISTS (SELECT FROM stage_memories m WHERE m.id = j.memory_id)
    AND NOT EXISTS (SELECT FROM stage_documents d WHERE d.id = j.document_id)
    RETURNING j.line, j.target_id
"""

PARENTS = """
    UPDATE stage_messages s SET parent_id = NULL WHERE parent_id IS NOT NULL AND (parent_id = id OR NOT EXISTS (
        SELECT FROM stage_messages p WHERE p.id = s.parent_id AND p.conversation_id = s.conversation_id))
"""
WITHOUT_PARENT = "messages name a parent that is not in their conversation; loaded without it"
_MENDS = {
    WITHOUT_PARENT: PARENTS,
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
"""In a fast first load, where messages that the stage does not hold were written already."""

_EMPTY_CONVERSATIONS = (
    "DELETE FROM stage_conversations c WHERE NOT EXISTS (SELECT FROM stage_messages m WHERE m.conversation_id = c.id)"
)
_ORPHANS = (
    "DELETE FROM stage_{table} t WHERE {column} IS NOT NULL "
    "AND NOT EXISTS (SELECT FROM stage_{source} s WHERE s.id = t.{column} AND s.line = t.line)"
)
_HANGING = (
    ("attachments", "message_id", "messages"),
    ("passages", "message_id", "messages"),
    ("passages", "memory_id", "memories"),
    ("passages", "document_id", "documents"),
)
"""Table, column, and the table whose line has to be there still."""

_KNOWN = """
    UPDATE stage_filed s SET known = true FROM carmenta.conversations c
    WHERE c.user_id = s.user_id AND c.id = s.conversation_id
"""
"""Before conversations are reconciled: one that is added needs no word of its folder in the report."""
_TAG_DOCUMENTS = """
    UPDATE stage_documents d SET tags = d.tags || t.names FROM (
        SELECT s.target_id, array_agg(s.name ORDER BY s.line) AS names FROM stage_tags s
        JOIN stage_documents d ON d.id = s.target_id AND d.user_id = s.user_id AND s.name <> ALL (d.tags)
        WHERE s.kind = 'document' GROUP BY s.target_id
    ) t WHERE d.id = t.target_id
"""
_TAGS_OF_DOCUMENTS = """
    DELETE FROM stage_tags s WHERE kind = 'document' RETURNING line, target_given,
        EXISTS (SELECT FROM stage_documents d WHERE d.id = s.target_id AND d.user_id = s.user_id)
"""


def check(task: Task, rejects: Sequence[Reject], *, fast: bool) -> tuple[list[Reject], dict[str, int]]:
    """Take out of the stage every line that cannot be loaded; returns these rejects, and the counts of mended values.

    `rejects` are the lines that could not be read as records. `fast` says that some messages are in the tables already.
    """
    raw = task.raw
    found: list[Reject] = []
    spoiled = {task.ids.of("conversation", r.ids["conversation_id"]) for r in rejects if "conversation_id" in r.ids}
    for each in _UNIQUE_KEYS:
        rows = raw.execute(_DUPLICATES.format(**each._asdict())).fetchall()
        for line, first, value, conversation in rows:
            found.append(Reject(each.record.FILE, line, f"{each.fields}: {value!r} stands already in line {first}"))
            spoiled.add(conversation)
    mended = {}
    if task.whole_conversations:
        statement = "DELETE FROM stage_messages WHERE conversation_id = ANY(%s)"
        dropped = raw.execute(statement, (list(spoiled - {None}),)).rowcount
        mended["messages left out because their conversation has a rejected line"] = dropped
    for line, path in raw.execute(_TAKEN).fetchall():
        found.append(Reject(Document.FILE, line, f"path: {path!r} is taken by a document that was not loaded"))
    for line, given in raw.execute(_RINGS).fetchall():
        found.append(Reject(Memory.FILE, line, f"superseded_by: {given!r} supersedes itself in the end"))
    for reason, statement in _MENDS.items():
        mended[reason] = raw.execute(statement.format(unless_written=_UNLESS_WRITTEN if fast else "")).rowcount
    for name, statement in (("query_id", _UNKNOWN_QUERIES), ("target_id", _UNKNOWN_JUDGED)):
        for line, given in raw.execute(statement).fetchall():
            found.append(Reject(Judgement.FILE, line, f"{name}: {given!r} is not in this folder"))
    raw.execute(_EMPTY_CONVERSATIONS)
    for table, column, source in _HANGING:
        raw.execute(_ORPHANS.format(table=table, column=column, source=source))
    raw.execute(_KNOWN)
    raw.execute(_TAG_DOCUMENTS)
    for line, target, known in raw.execute(_TAGS_OF_DOCUMENTS).fetchall():
        if not known:
            found.append(Reject(Tag.FILE, line, f"target_id: there is no document {target!r} of this user"))
    return found, {reason: count for reason, count in mended.items() if count}


# Against the tables: once conversations and messages are there, and once artifacts are.


class _TargetCheck(NamedTuple):
    """Which staged lines cannot be loaded, and why: both are SQL over a line `s`."""

    table: str
    condition: str
    reason: str


RECORDS: dict[str, type[Record]] = {"artifacts": Artifact, "votes": Vote, "feedback": Feedback, "tags": Tag}

THERE = "EXISTS (SELECT FROM carmenta.{parent} t WHERE t.user_id = s.user_id AND t.id = s.{column})"
"""Whether what a line names is there, and its user's."""


def _unknown(table: str, thing: str) -> _TargetCheck:
    """Lines that name a thing (conversation, message) in a column of its own."""
    there = THERE.format(parent=f"{thing}s", column=f"{thing}_id")
    reason = f"'{thing}_id: there is no {thing} ' || quote_literal(s.{thing}_given) || ' of this user'"
    return _TargetCheck(table, f"s.{thing}_id IS NOT NULL AND NOT {there}", reason)


def _unknown_tagged(thing: str) -> _TargetCheck:
    there = THERE.format(parent=f"{thing}s", column="target_id")
    reason = f"'target_id: there is no {thing} ' || quote_literal(s.target_given) || ' of this user'"
    return _TargetCheck("tags", f"s.kind = '{thing}' AND NOT {there}", reason)


def _of_stranger(table: str) -> _TargetCheck:
    return _TargetCheck(
        table,
        "NOT EXISTS (SELECT FROM lab.users u WHERE u.dataset_id = %(dataset)s AND u.user_id = s.user_id)",
        "'user_id: ' || quote_literal(s.user_given) || ' has no messages, documents or memories'",
    )


_ANOTHERS_ARTIFACT = _TargetCheck(
    "artifacts",
    "(s.id, s.user_id) NOT IN (SELECT DISTINCT ON (id) id, user_id FROM stage_artifacts ORDER BY id, line)",
    "'artifact_id: ' || quote_literal(s.external_id) || ' belongs to another user'",
)
BEFORE_ARTIFACTS = (
    _of_stranger("artifacts"),
    _of_stranger("votes"),
    _of_stranger("feedback"),
    _of_stranger("tags"),
    _ANOTHERS_ARTIFACT,
    _unknown("artifacts", "conversation"),
    _unknown("artifacts", "message"),
    _unknown("votes", "message"),
    _unknown("feedback", "message"),
    _unknown_tagged("conversation"),
)
AFTER_ARTIFACTS = (_unknown_tagged("artifact"),)


def reject(connection: psycopg.Connection[Any], dataset: UUID, checks: Sequence[_TargetCheck]) -> list[Reject]:
    """Take out of the stage the lines that these checks find; returns them as rejects."""
    rejects = []
    for each in checks:
        statement = f"DELETE FROM stage_{each.table} s WHERE {each.condition} RETURNING s.line, {each.reason}"
        found = connection.execute(statement, {"dataset": dataset}).fetchall()
        rejects += [Reject(RECORDS[each.table].FILE, line, why) for line, why in found]
    return rejects
