"""How do the tables come to match the stage? What is new is added, what changed is updated, what is gone deleted.

Conversations with their messages and passages first, many a transaction; then memories, documents and profiles; then
what hangs on them: artifacts with their versions, votes, feedback, tags, folders. A fast first load (`first_load`)
uses the statements of conversations for rows that nothing stands against, and must leave what this would leave.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from carmenta_lab.datasets import Reject
from carmenta_lab.indexing.packed import BLOCK_ROWS, Columns, OnConflict, write_vectors
from carmenta_lab.ingest.checking import AFTER_ARTIFACTS, BEFORE_ARTIFACTS, THERE, reject
from carmenta_lab.ingest.staging import FolderVectors, Task
from carmenta_lab.postgres.statement import only

BATCH_MESSAGES = 5_000
WORKERS = 2


class Changes(dict[str, dict[str, int]]):
    """How many rows were added, updated and deleted, by table."""

    def count(self, table: str, added: int = 0, updated: int = 0, deleted: int = 0) -> None:
        """Add to the counts of one table."""
        found = self.setdefault(table, {"added": 0, "updated": 0, "deleted": 0})
        for key, number in (("added", added), ("updated", updated), ("deleted", deleted)):
            found[key] += number

    def count_upserted(self, table: str, cursor: psycopg.Cursor[Any]) -> None:
        """Add the counts that a statement made by `_upsert` returned."""
        [(added, updated)] = cursor.fetchall()
        self.count(table, added=added, updated=updated)

    def add(self, others: Mapping[str, Mapping[str, int]]) -> None:
        """Add the counts of several tables."""
        for table, counts in others.items():
            self.count(table, **counts)


def reconcile(task: Task) -> tuple[Changes, list[Reject]]:
    """Bring the tables to match the stage; returns the changes, and rejects for lines whose targets are in no table.

    Transactions end and begin here. Conversations are written whole, many a transaction, two transactions at a time: a
    load that is cut off leaves no half conversation and goes on where it was.
    """
    raw, changes = task.raw, Changes()
    if task.is_reload:
        _take_out(task, changes)
    users = raw.execute(
        USERS.format(rows="(SELECT id, external_id FROM stage_users) u(id, name)"), {"dataset": task.ids.dataset}
    )
    changes.count("users", added=only(users))
    batches = _batches(raw)
    task.commit()
    workers = ThreadPoolExecutor(WORKERS)
    try:
        under_way = {workers.submit(_write_batch, task, batch): size for batch, size in batches}
        for done in as_completed(under_way):
            changes.add(done.result())
            task.written(under_way[done])
    finally:
        workers.shutdown(cancel_futures=True)
    _write_rest(task, changes)
    task.commit()
    return changes, _write_domains(task, changes)


# What a folder says of each table


@dataclass(frozen=True)
class LoadedTable:
    """A table that a folder fills: the columns it decides beside the key, and the staged rows they come from."""

    name: str
    columns: tuple[str, ...]
    rows: str  # what follows FROM, in which `s` is the staging table
    expressions: Mapping[str, str] = field(default_factory=dict)  # by column, where it is not the stage's own

    def insert(self, **values: str) -> str:
        """The INSERT for when no row can be there yet; `values` fill the placeholders of `rows`."""
        names = ", ".join(self.columns)
        return f"INSERT INTO carmenta.{self.name} AS t (user_id, id, {names}) {self._select(**values)}"

    def upsert(self, **values: str) -> str:
        """The INSERT that updates only rows that differ, and returns the counts of added and updated ones."""
        return _upsert(self.insert(**values), "id", self.columns)

    def _select(self, **values: str) -> str:
        selected = ", ".join(self.expressions.get(name, f"s.{name}") for name in self.columns)
        return f"SELECT s.user_id, s.id, {selected} FROM {self.rows.format(**values)}"


def _upsert(insert: str, key: str, columns: Sequence[str]) -> str:
    """An INSERT into `t` that changes these columns of a row with the same key where they differ, and counts."""
    conflict = "DO NOTHING"
    if columns:
        names, old, new = (", ".join(f"{of}{name}" for name in columns) for of in ("", "t.", "excluded."))
        conflict = f"(user_id, {key}) DO UPDATE SET ({names}) = ROW({new}) WHERE ({old}) IS DISTINCT FROM ({new})"
    return (
        f"WITH changed AS ({insert} ON CONFLICT {conflict} RETURNING (xmax = 0) AS added) "
        "SELECT count(*) FILTER (WHERE added), count(*) FILTER (WHERE NOT added) FROM changed"
    )


BATCH = "(SELECT id FROM stage_conversations WHERE batch = %(batch)s)"
IN_BATCH = {"which": f"conversation_id IN {BATCH}", "order": "ORDER BY user_id, conversation_number, line"}
ALL = {"which": "true", "order": ""}
"""Which messages of the stage are meant, and in which order they are written: those of one batch, or, where the stage
holds one batch alone whose rows lie in their order, all."""

CONVERSATIONS = LoadedTable(
    "conversations",
    ("title", "status", "visibility", "source", "external_id", "started_at", "last_message_at"),
    """stage_conversations s JOIN (
        SELECT conversation_id, min(created_at) AS started_at, max(created_at) AS last_message_at
        FROM stage_messages WHERE {which} GROUP BY conversation_id
    ) m ON m.conversation_id = s.id ORDER BY s.user_id, s.id""",
    {"source": "%(source)s", "started_at": "m.started_at", "last_message_at": "m.last_message_at"},
)
MESSAGES = LoadedTable(
    "messages",
    (
        "conversation_id",
        "parent_id",
        "position",
        "role",
        "author",
        "model",
        "parts",
        "content",
        "content_for_llm",
        "language",
        "external_id",
        "created_at",
        "utc_offset",
    ),
    """(
        SELECT *, coalesce(created_at, max(created_at) OVER (
            PARTITION BY conversation_number ORDER BY line ROWS UNBOUNDED PRECEDING)) AS at
        FROM stage_messages WHERE {which}
    ) s
    WINDOW whole AS (PARTITION BY conversation_number ORDER BY position NULLS FIRST, at NULLS FIRST, line
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) {order}""",
    {
        "position": "coalesce(position, "
        "least(2147483647, coalesce(max(position) OVER whole + 1::bigint, 0) + row_number() OVER whole - 1))"
    },
)
"""A position is kept as given; messages without one follow in the order of their times, one without a time after the
latest before it. One window serves the largest position and the numbers, so that rows are sorted once for both."""

ATTACHMENTS = LoadedTable(
    "attachments",
    ("message_id", "name", "media_type", "bucket", "key", "size_bytes", "sha256"),
    "stage_attachments s JOIN stage_messages m ON m.id = s.message_id WHERE {which}",
)
DOCUMENTS = LoadedTable(
    "documents",
    ("path", "name", "content", "tags", "source_type", "language", "external_id", "created_at", "utc_offset"),
    "stage_documents s ORDER BY s.user_id, s.line",
    {"path": "s.path::ltree"},
)
MEMORIES = LoadedTable(
    "memories",
    (
        "category",
        "content",
        "confidence",
        "source_message_id",
        "superseded_by",
        "language",
        "external_id",
        "created_at",
        "utc_offset",
    ),
    "stage_memories s ORDER BY s.user_id, s.line",
)
PROFILES = LoadedTable("profiles", ("content",), "stage_profiles s")


# Conversations, messages and their passages

ASSIGN = """
    UPDATE stage_conversations c SET batch = b.batch FROM (
        SELECT conversation_id, (sum(count(*)) OVER (ORDER BY user_id, conversation_id) - 1)::int / %s AS batch
        FROM stage_messages GROUP BY user_id, conversation_id
    ) b WHERE b.conversation_id = c.id
"""

TURNS = """
    INSERT INTO search.passages (user_id, id, unit, ordinal, content, message_id, author, language, created_at)
    SELECT user_id, passage_id, 'turn', 0, header || content, id, author, language, created_at
    FROM stage_messages WHERE passage_id IS NOT NULL AND {which} {order}
"""
"""Messages that are passages as they stand."""

PIECES = """
    INSERT INTO search.passages
        (user_id, id, unit, ordinal, content, message_id, memory_id, document_id, author, language, created_at)
    SELECT user_id, id, unit, ordinal, content, message_id, memory_id, document_id, author, language, created_at
    FROM stage_passages p WHERE {condition} ORDER BY user_id, line, ordinal
"""
LONG_TURNS = PIECES.format(condition=f"message_id IN (SELECT id FROM stage_messages WHERE {IN_BATCH['which']})")
OTHER_PIECES = PIECES.format(condition="message_id IS NULL")

DELETED_TURNS = f"""
    DELETE FROM search.passages p USING carmenta.messages m, carmenta.conversations c, carmenta.users u
    WHERE p.user_id = m.user_id AND p.message_id = m.id AND m.conversation_id IN {BATCH}
    AND m.user_id IN (SELECT user_id FROM stage_conversations WHERE batch = %(batch)s)
    AND c.user_id = m.user_id AND c.id = m.conversation_id AND u.id = m.user_id
    AND coalesce(m.deleted_at, c.deleted_at, u.deleted_at) IS NOT NULL
"""
DELETED_PIECES = """
    DELETE FROM search.passages p USING stage_users u, carmenta.users o WHERE p.user_id = u.id AND o.id = u.id
    AND p.message_id IS NULL AND (o.deleted_at IS NOT NULL
        OR EXISTS (SELECT FROM carmenta.memories k
            WHERE k.user_id = p.user_id AND k.id = p.memory_id AND k.deleted_at IS NOT NULL)
        OR EXISTS (SELECT FROM carmenta.documents d
            WHERE d.user_id = p.user_id AND d.id = p.document_id AND d.deleted_at IS NOT NULL))
"""
"""What is deleted softly has no passages, also where a folder still holds it."""

STALE_TURNS = f"""
    DELETE FROM search.passages p USING stage_messages m
    WHERE p.user_id = m.user_id AND p.message_id = m.id AND p.unit = 'turn' AND m.conversation_id IN {BATCH}
    AND p.id IS DISTINCT FROM m.passage_id
    AND NOT EXISTS (SELECT FROM stage_passages s WHERE s.user_id = p.user_id AND s.id = p.id)
"""
STALE_PIECES = """
    DELETE FROM search.passages p USING stage_users u WHERE p.user_id = u.id
    AND (p.memory_id IN (SELECT id FROM stage_memories) OR p.document_id IN (SELECT id FROM stage_documents))
    AND NOT EXISTS (SELECT FROM stage_passages s WHERE s.user_id = p.user_id AND s.id = p.id)
"""

GONE = (
    """
    CREATE TEMP TABLE gone_memories ON COMMIT DROP AS
    SELECT t.user_id, t.id FROM carmenta.memories t JOIN stage_users u ON u.id = t.user_id
    WHERE t.external_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM stage_memories s WHERE s.user_id = t.user_id AND s.id = t.id)
    """,
    """
    CREATE TEMP TABLE gone_conversations ON COMMIT DROP AS
    SELECT t.user_id, t.id FROM carmenta.conversations t JOIN stage_users u ON u.id = t.user_id
    WHERE t.external_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM stage_conversations s WHERE s.user_id = t.user_id AND s.id = t.id)
    """,
    """
    CREATE TEMP TABLE gone_messages ON COMMIT DROP AS
    SELECT t.user_id, t.id FROM carmenta.messages t JOIN stage_users u ON u.id = t.user_id
    WHERE NOT EXISTS (SELECT FROM stage_conversations s WHERE s.user_id = t.user_id AND s.id = t.conversation_id)
    AND (t.external_id IS NOT NULL OR t.conversation_id IN (SELECT id FROM gone_conversations))
    """,
)
"""What goes because the folder no longer holds it, with all that was said in a conversation that goes."""
GONE_OF_BATCH = """
    CREATE TEMP TABLE gone_messages ON COMMIT DROP AS
    SELECT t.user_id, t.id FROM carmenta.messages t JOIN stage_conversations c
    ON t.user_id = c.user_id AND t.conversation_id = c.id
    WHERE c.batch = %(batch)s AND t.external_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM stage_messages s WHERE s.user_id = t.user_id AND s.id = t.id)
"""


def _cleared(table: str, column: str, gone: str) -> str:
    """Set a reference null where it names a row that is about to go, unless its own row goes as well."""
    staying = f"AND NOT EXISTS (SELECT FROM {gone} also WHERE also.user_id = r.user_id AND also.id = r.id)"
    return (
        f"UPDATE carmenta.{table} r SET {column} = NULL FROM {gone} gone "
        f"WHERE r.user_id = gone.user_id AND r.{column} = gone.id {staying if gone == f'gone_{table}' else ''}"
    )


CLEARED_OF_MESSAGES = (
    _cleared("memories", "source_message_id", "gone_messages"),
    _cleared("messages", "parent_id", "gone_messages"),
)
CLEARED = (
    *CLEARED_OF_MESSAGES,
    _cleared("memories", "superseded_by", "gone_memories"),
    _cleared("background_queries", "conversation_id", "gone_conversations"),
    _cleared("artifacts", "conversation_id", "gone_conversations"),
)
"""What stays no longer refers to what goes: nothing does that of itself."""

USERS = """
    WITH given AS (SELECT id, name FROM {rows}),
    added AS (INSERT INTO carmenta.users (id, name) TABLE given ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING 1),
    known AS (INSERT INTO lab.users (dataset_id, user_id, external_id) SELECT %(dataset)s, id, name FROM given
        ORDER BY id ON CONFLICT (dataset_id, user_id) DO NOTHING)
    SELECT count(*) FROM added
"""
"""Counts those that were not there."""

VANISHED_USERS = (
    """
    DELETE FROM carmenta.users u USING lab.users l WHERE l.dataset_id = %(dataset)s AND l.user_id = u.id
    AND NOT EXISTS (SELECT FROM stage_users s WHERE s.id = u.id)
    """,
    """
    DELETE FROM lab.users l WHERE l.dataset_id = %(dataset)s
    AND NOT EXISTS (SELECT FROM stage_users s WHERE s.id = l.user_id)
    """,
)
VANISHED = """
    DELETE FROM carmenta.{table} t USING stage_users u WHERE t.user_id = u.id {given}
    AND NOT EXISTS (SELECT FROM stage_{table} s WHERE s.user_id = t.user_id AND s.id = t.id)
"""
VANISHED_CONVERSATIONS = (
    "AND NOT EXISTS (SELECT FROM stage_conversations c WHERE c.user_id = t.user_id AND c.id = t.conversation_id)"
)
VANISHED_MESSAGES = """
    DELETE FROM carmenta.messages t USING gone_messages gone WHERE t.user_id = gone.user_id AND t.id = gone.id
"""
VANISHED_ATTACHMENTS = f"""
    DELETE FROM carmenta.attachments t USING stage_messages m
    WHERE m.conversation_id IN {BATCH} AND t.user_id = m.user_id AND t.message_id = m.id
    AND NOT EXISTS (SELECT FROM stage_attachments s WHERE s.id = t.id)
"""


def _take_out(task: Task, changes: Changes) -> None:
    """Delete what the folder no longer holds, but for what is in conversations that it holds."""
    raw = task.raw
    for statement in (*GONE, *CLEARED):
        raw.execute(statement)
    gone, _ = (raw.execute(statement, {"dataset": task.ids.dataset}).rowcount for statement in VANISHED_USERS)
    changes.count("users", deleted=gone)
    for table in ("memories", "profiles", "documents", "messages", "conversations"):
        given = "" if table == "profiles" else "AND t.external_id IS NOT NULL"
        given += f" {VANISHED_CONVERSATIONS}" if table == "messages" else ""
        changes.count(table, deleted=raw.execute(VANISHED.format(table=table, given=given)).rowcount)


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


def _fill(
    connection: psycopg.Connection[Any],
    table: LoadedTable,
    changes: Changes,
    is_reload: bool,
    part: Mapping[str, str],
    **values: object,
) -> None:
    if is_reload:
        changes.count_upserted(table.name, connection.execute(table.upsert(**part), values))
    else:
        changes.count(table.name, added=connection.execute(table.insert(**part), values).rowcount)


def _write_batch(task: Task, batch: int) -> Changes:
    """One transaction: some conversations with all that hangs on them."""
    changes, is_reload = Changes(), task.is_reload
    values = {"batch": batch, "source": task.name}
    kept = " ON CONFLICT DO NOTHING" if is_reload else ""
    with task.another() as connection:
        for table in (CONVERSATIONS, MESSAGES, ATTACHMENTS):
            _fill(connection, table, changes, is_reload, IN_BATCH, **values)
        if is_reload:
            connection.execute(STALE_TURNS, values)
            for statement in (GONE_OF_BATCH, *CLEARED_OF_MESSAGES):
                connection.execute(statement, values)
            changes.count("messages", deleted=connection.execute(VANISHED_MESSAGES, values).rowcount)
            changes.count("attachments", deleted=connection.execute(VANISHED_ATTACHMENTS, values).rowcount)
        connection.execute(TURNS.format(**IN_BATCH) + kept, values)
        connection.execute(LONG_TURNS + kept, values)
        if is_reload:
            connection.execute(DELETED_TURNS, values)
    return changes


# Memories, documents, profiles; questions and judgements


def _write_rest(task: Task, changes: Changes) -> None:
    raw, is_reload, dataset = task.raw, task.is_reload, task.ids.dataset
    if is_reload:  # a path may have moved from one document to another
        raw.execute(
            "DELETE FROM carmenta.documents d USING stage_documents s "
            "WHERE d.user_id = s.user_id AND d.id = s.id AND d.path <> s.path::ltree"
        )
    for table in (DOCUMENTS, MEMORIES, PROFILES):
        _fill(raw, table, changes, is_reload, ALL)
    if is_reload:
        raw.execute(STALE_PIECES)
    raw.execute(OTHER_PIECES + (" ON CONFLICT DO NOTHING" if is_reload else ""))
    if is_reload:
        raw.execute(DELETED_PIECES)
    for name in ("qrels", "queries"):
        raw.execute(f"DELETE FROM lab.{name} WHERE dataset_id = %s", (dataset,))
    raw.execute(
        "INSERT INTO lab.queries "
        "(dataset_id, query_id, user_id, content, position, category, asked_at, answers, language) "
        "SELECT %s, query_id, user_id, content, line, category, asked_at, answers, language "
        "FROM stage_queries ORDER BY line",
        (dataset,),
    )
    raw.execute(
        "INSERT INTO lab.qrels (dataset_id, query_id, source_id, source_kind, relevance) "
        "SELECT %s, j.query_id, coalesce(m.id, k.id, d.id), "
        "CASE WHEN m.id IS NOT NULL THEN 'message' WHEN k.id IS NOT NULL THEN 'memory' ELSE 'document' END, relevance "
        "FROM stage_qrels j LEFT JOIN (SELECT id FROM stage_messages UNION SELECT id FROM stage_targets) m "
        "ON m.id = j.message_id "
        "LEFT JOIN stage_memories k ON k.id = j.memory_id LEFT JOIN stage_documents d ON d.id = j.document_id",
        (dataset,),
    )


# What hangs on them: artifacts, votes, feedback, tags, folders

FIRST = "(SELECT min(f.created_at) FROM carmenta.artifacts f WHERE f.user_id = {user} AND f.id = {id})"
"""The moment of an artifact's first version."""

_VANISHED = """
    DELETE FROM carmenta.artifacts t USING lab.users u, carmenta.artifacts l
    WHERE u.dataset_id = %s AND t.user_id = u.user_id AND l.user_id = t.user_id AND l.id = t.id
    AND l.external_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM stage_artifacts s WHERE s.user_id = t.user_id AND s.id = t.id)
"""

_VERSIONS = (
    "kind",
    "title",
    "content",
    "component_tree",
    "data_bindings",
    "ui_state",
    "summary_for_llm",
    "conversation_id",
    "external_id",
)
_FILL_VERSIONS = _upsert(
    "INSERT INTO carmenta.artifacts AS t (user_id, id, created_at, {columns}) SELECT user_id, id, created_at, "
    "{columns} FROM stage_artifacts ORDER BY user_id, id, created_at".format(columns=", ".join(_VERSIONS)),
    "id, created_at",
    _VERSIONS,
)

_GONE_VERSIONS = (
    "t.external_id IS NOT NULL AND EXISTS (SELECT FROM stage_artifacts s WHERE s.user_id = t.user_id AND s.id = t.id) "
    "AND NOT EXISTS (SELECT FROM stage_artifacts s "
    "WHERE s.user_id = t.user_id AND s.id = t.id AND s.created_at = t.created_at)"
)
"""A version that left the folder, where the artifact did not; one that the application made stays."""
_MOVE = """
    UPDATE carmenta.{table} h SET {column}_created_at = first.created_at FROM (
        SELECT t.user_id, t.id, min(t.created_at) AS created_at FROM carmenta.artifacts t
        WHERE t.id IN (SELECT id FROM stage_artifacts) AND NOT ({gone}) GROUP BY t.user_id, t.id
    ) first
    WHERE h.user_id = first.user_id AND h.{column}_id = first.id AND h.{column}_created_at <> first.created_at
"""
_ON_FIRST_VERSION = (
    ("artifact_tags", "artifact"),
    ("artifact_folders", "artifact"),
    ("artifact_references", "artifact"),
    ("artifact_references", "target_artifact"),
)
"""What hangs on the first version: the tables, and their columns without the ending."""
_STAYS_DELETED = """
    UPDATE carmenta.artifacts t SET deleted_at = f.deleted_at FROM (
        SELECT user_id, id, min(deleted_at) AS deleted_at FROM carmenta.artifacts
        WHERE id IN (SELECT id FROM stage_artifacts) AND deleted_at IS NOT NULL GROUP BY user_id, id
    ) f WHERE t.user_id = f.user_id AND t.id = f.id AND t.deleted_at IS NULL
"""


def _write_versions(task: Task, changes: Changes) -> None:
    """An artifact that left the folder goes with all its versions; one that was deleted softly stays so, whole."""
    raw = task.raw
    if task.is_reload:
        changes.count("artifacts", deleted=raw.execute(_VANISHED, (task.ids.dataset,)).rowcount)
    changes.count_upserted("artifacts", raw.execute(_FILL_VERSIONS))
    if task.is_reload:
        for table, column in _ON_FIRST_VERSION:
            raw.execute(_MOVE.format(table=table, column=column, gone=_GONE_VERSIONS))
        gone = raw.execute(f"DELETE FROM carmenta.artifacts t WHERE {_GONE_VERSIONS}")
        changes.count("artifacts", deleted=gone.rowcount)
        raw.execute(_STAYS_DELETED)


class LinkTable(NamedTuple):
    """A table of links between rows: how they are found in the stage, and which of those there are the folder's."""

    name: str
    columns: tuple[str, ...]  # all, beside the user
    select: str
    row_id: str  # the key after the user, in one column or two
    other_id: str
    remembered: str  # user, row_id, other_id of what the folder holds now
    key: str = ""  # of a conflict, after the user
    changing: tuple[str, ...] = ()  # columns that a line may change
    holds: Sequence[tuple[str, str]] = ()  # table and column: a row stays while one there names it


_SIGNAL = ("kind", "weight", "message_id", "duration_s", "detail", "created_at")
_TAGGED = (
    "SELECT s.user_id, s.target_id, t.id FROM stage_tags s JOIN carmenta.tags t USING (user_id, name) WHERE s.kind = "
)
LINKED = (
    LinkTable(
        "artifact_references",
        ("id", "artifact_id", "artifact_created_at", "relation", "message_id"),
        "SELECT DISTINCT ON (reference_id) user_id, reference_id, id, "
        f"{FIRST.format(user='s.user_id', id='s.id')}, 'made_in', message_id FROM stage_artifacts s "
        "WHERE reference_id IS NOT NULL",
        row_id="id",
        other_id="id",
        remembered="SELECT user_id, reference_id, reference_id FROM stage_artifacts WHERE reference_id IS NOT NULL",
    ),
    LinkTable(
        "votes",
        ("message_id", "is_upvoted", "voted_at"),
        "SELECT user_id, message_id, is_upvoted, voted_at FROM stage_votes",
        row_id="message_id",
        other_id="message_id",
        remembered="SELECT user_id, message_id, message_id FROM stage_votes",
        key="message_id",
        changing=("is_upvoted", "voted_at"),
    ),
    LinkTable(
        "feedback_signals",
        ("id", *_SIGNAL),
        f"SELECT user_id, id, {', '.join(_SIGNAL)} FROM stage_feedback",
        row_id="id",
        other_id="id",
        remembered="SELECT user_id, id, id FROM stage_feedback",
        key="id",
        changing=_SIGNAL,
    ),
    LinkTable(
        "tags",
        ("id", "name"),
        "SELECT DISTINCT user_id, tag_id, name FROM stage_tags",
        row_id="id",
        other_id="id",
        remembered="SELECT user_id, id, id FROM carmenta.tags WHERE id IN (SELECT tag_id FROM stage_tags)",
        holds=(("conversation_tags", "tag_id"), ("artifact_tags", "tag_id")),
    ),
    LinkTable(
        "conversation_tags",
        ("conversation_id", "tag_id"),
        f"{_TAGGED}'conversation'",
        row_id="conversation_id",
        other_id="tag_id",
        remembered=f"{_TAGGED}'conversation'",
    ),
    LinkTable(
        "artifact_tags",
        ("artifact_id", "tag_id", "artifact_created_at"),
        f"SELECT g.*, {FIRST.format(user='g.user_id', id='g.target_id')} FROM ({_TAGGED}'artifact') g",
        row_id="artifact_id",
        other_id="tag_id",
        remembered=f"{_TAGGED}'artifact'",
    ),
    LinkTable(
        "folders",
        ("id", "path", "name"),
        "SELECT user_id, id, path::ltree, subpath(path::ltree, -1)::text FROM stage_folders",
        row_id="id",
        other_id="id",
        remembered="SELECT user_id, id, id FROM carmenta.folders WHERE id IN (SELECT id FROM stage_folders)",
        holds=(("conversations", "folder_id"), ("artifact_folders", "folder_id")),
    ),
)
"""In the order of writing: what is named comes before what names it."""

REMEMBERED = tuple(sorted(LINKED, key=lambda table: bool(table.holds)))
"""In the order of taking away: what names others comes before what is named."""

_LINKED = " AND NOT EXISTS (SELECT FROM carmenta.{by} l WHERE l.user_id = t.user_id AND l.{column} = t.id)"

_FILED_NOWHERE = (
    f"DELETE FROM stage_filed s WHERE NOT {THERE.format(parent='conversations', column='conversation_id')} "
    "OR (conversation_id, line) NOT IN (SELECT conversation_id, min(line) FROM stage_filed GROUP BY 1)",
    "DELETE FROM stage_folders f WHERE NOT EXISTS "
    "(SELECT FROM stage_filed s WHERE s.user_id = f.user_id AND s.path::ltree <@ f.path::ltree)",
)
"""Lines that name no conversation, or one for the second time, are rejected where conversations are read."""

_FILE = """
    UPDATE carmenta.conversations c SET folder_id = f.id FROM stage_filed s JOIN carmenta.folders f
    ON f.user_id = s.user_id AND f.path = s.path::ltree AND f.deleted_at IS NULL
    WHERE c.user_id = s.user_id AND c.id = s.conversation_id AND c.folder_id IS DISTINCT FROM f.id
    RETURNING s.known
"""
_UNFILE = """
    UPDATE carmenta.conversations c SET folder_id = NULL FROM lab.loaded l
    WHERE l.dataset_id = %(dataset)s AND l.table_name = 'folders' AND c.user_id = l.user_id AND c.folder_id = l.row_id
    AND NOT EXISTS (SELECT FROM stage_filed s WHERE s.user_id = c.user_id AND s.conversation_id = c.id)
"""


def _write_domains(task: Task, changes: Changes) -> list[Reject]:
    """Fill these tables from the stage; returns the lines whose targets are unknown.

    What an earlier load put in and the folder no longer holds is deleted; what the application added stays, but an
    artifact that left the folder goes with all its versions, and a tag or folder goes once nothing is in it.
    """
    raw, dataset = task.raw, task.ids.dataset
    values = {"dataset": dataset}
    rejects = reject(raw, dataset, BEFORE_ARTIFACTS)
    _write_versions(task, changes)
    rejects += reject(raw, dataset, AFTER_ARTIFACTS)
    for statement in _FILED_NOWHERE:
        raw.execute(statement)
    for table in LINKED:
        columns = ", ".join(table.columns)
        insert = f"INSERT INTO carmenta.{table.name} AS t (user_id, {columns}) {table.select}"
        changes.count_upserted(table.name, raw.execute(_upsert(insert, table.key, table.changing)))
    raw.execute(
        "CREATE TEMP TABLE remembered (table_name text, user_id uuid, row_id uuid, other_id uuid) ON COMMIT DROP"
    )
    for table in REMEMBERED:
        raw.execute(f"INSERT INTO remembered SELECT DISTINCT '{table.name}', r.* FROM ({table.remembered}) r")
    filed = sum(known for (known,) in raw.execute(_FILE).fetchall())
    filed += raw.execute(_UNFILE, values).rowcount
    if task.is_reload:
        changes.count("conversations", updated=filed)
        for table in REMEMBERED:
            changes.count(table.name, deleted=raw.execute(_taken_away(table), values).rowcount)
    raw.execute("DELETE FROM lab.loaded WHERE dataset_id = %(dataset)s", values)
    raw.execute(
        "INSERT INTO lab.loaded (dataset_id, table_name, user_id, row_id, other_id) "
        "SELECT %(dataset)s, table_name, user_id, row_id, other_id FROM remembered",
        values,
    )
    return rejects


def _taken_away(table: LinkTable) -> str:
    """Delete what an earlier load remembered and the folder no longer holds."""
    unused = "".join(_LINKED.format(by=by, column=column) for by, column in table.holds)
    return (
        f"DELETE FROM carmenta.{table.name} t USING lab.loaded l WHERE l.dataset_id = %(dataset)s "
        f"AND l.table_name = '{table.name}' AND t.user_id = l.user_id AND t.{table.row_id} = l.row_id "
        f"AND t.{table.other_id} = l.other_id "
        "AND NOT EXISTS (SELECT FROM remembered r WHERE r.table_name = l.table_name AND r.user_id = l.user_id "
        f"AND r.row_id = l.row_id AND r.other_id = l.other_id){unused}"
    )


# Vectors that the folder brings along

_WHOLE_MESSAGES = """
    SELECT line, user_id, passage_id, id, created_at FROM stage_messages WHERE passage_id IS NOT NULL
    UNION ALL
    SELECT line, user_id, id, message_id, created_at FROM stage_passages p WHERE message_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM stage_passages o WHERE o.message_id = p.message_id AND o.id <> p.id)
    ORDER BY user_id, line
"""


class WholeMessage(NamedTuple):
    """A passage that is a whole message; ids are the bytes of their uuids."""

    line: int  # of the message
    user: bytes
    passage: bytes
    message: bytes
    created_at: datetime | None


def write_given(
    connection: psycopg.Connection[Any],
    given: FolderVectors,
    messages: Sequence[WholeMessage],
    on_conflict: OnConflict = "refuse",
) -> list[psycopg.Cursor[Any]]:
    """Write the vectors that the folder brings for these messages; see `write_vectors` for the cursors."""
    if not messages:
        return []
    columns = Columns(
        [message.user for message in messages],
        [message.passage for message in messages],
        [message.message for message in messages],
        [message.created_at for message in messages],
        ["turn"] * len(messages),
    )
    vectors = given.vectors.rows([message.line for message in messages])
    return write_vectors(connection, given.table, columns, vectors, on_conflict)


def write_staged_vectors(connection: psycopg.Connection[Any], given: FolderVectors) -> int:
    """Write the vectors that the folder brings for all staged messages; returns how many were added or changed."""
    written = 0
    for messages in _staged(connection):
        written += sum(cursor.rowcount for cursor in write_given(connection, given, messages, on_conflict="update"))
    return written


def _staged(connection: psycopg.Connection[Any]) -> Iterator[list[WholeMessage]]:
    with connection.cursor("given_vectors") as cursor:
        cursor.itersize = BLOCK_ROWS
        cursor.execute(_WHOLE_MESSAGES, binary=True)
        while rows := cursor.fetchmany(BLOCK_ROWS):
            yield [WholeMessage(line, user.bytes, passage.bytes, id.bytes, at) for line, user, passage, id, at in rows]
