"""From the stage of `domains` to the tables: unknown targets are rejected, rows brought to match, the rest is left."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from carmenta_lab.datasets import Artifact, Feedback, Reject, Tag, Vote
from carmenta_lab.ingest.apply import Changes
from carmenta_lab.ingest.versions import FIRST, apply_versions

_REJECT = "DELETE FROM stage_{table} s WHERE {condition} RETURNING s.line, {reason}"
_THERE = "EXISTS (SELECT FROM carmenta.{parent} t WHERE t.user_id = s.user_id AND t.id = s.{column})"


def _unknown(table: str, column: str, parent: str, kind: str = "") -> tuple[str, str, str]:
    shown = "target" if kind else column.removesuffix("_id")
    when = f"s.kind = '{kind}'" if kind else f"s.{column} IS NOT NULL"
    name = "target_id" if kind else column
    reason = f"'{name}: there is no {parent[:-1]} ' || quote_literal(s.{shown}) || ' of this user'"
    return table, f"{when} AND NOT {_THERE.format(parent=parent, column=column)}", reason


_STRANGER = (
    "NOT EXISTS (SELECT FROM lab.users u WHERE u.dataset_id = %(dataset)s AND u.user_id = s.user_id)",
    "'user_id: ' || quote_literal(s.user_given) || ' has no messages, documents or memories'",
)
_ANOTHERS = "(s.id, s.user_id) NOT IN (SELECT DISTINCT ON (id) id, user_id FROM stage_artifacts ORDER BY id, line)"
CHECKS = (
    *((table, *_STRANGER) for table in ("artifacts", "votes", "feedback", "tags")),
    ("artifacts", _ANOTHERS, "'artifact_id: ' || quote_literal(s.external_id) || ' belongs to another user'"),
    _unknown("artifacts", "conversation_id", "conversations"),
    *(_unknown(table, "message_id", "messages") for table in ("artifacts", "votes", "feedback")),
    _unknown("tags", "target_id", "conversations", "conversation"),
)
"""Staging table, which of its lines cannot be loaded, and why."""

CHECKS_AFTER_ARTIFACTS = (_unknown("tags", "target_id", "artifacts", "artifact"),)

FILES = {"artifacts": Artifact.FILE, "votes": Vote.FILE, "feedback": Feedback.FILE, "tags": Tag.FILE}


class _Table(NamedTuple):
    """How a table is filled from its stage."""

    name: str
    key: str  # of a conflict, after the user
    columns: str  # all, beside the user
    select: str
    update: str = ""  # columns that a line may change


_SIGNAL = "kind, weight, message_id, duration_s, detail, created_at"
_TAGGED = (
    "SELECT s.user_id, s.target_id, t.id FROM stage_tags s JOIN carmenta.tags t USING (user_id, name) WHERE s.kind = "
)
ROWS = (
    _Table(
        *("artifact_references", "id", "id, artifact_id, artifact_created_at, relation, message_id"),
        "SELECT DISTINCT ON (reference_id) user_id, reference_id, id, "
        f"{FIRST.format(user='s.user_id', id='s.id')}, 'made_in', message_id FROM stage_artifacts s "
        "WHERE reference_id IS NOT NULL",
    ),
    _Table(
        *("votes", "message_id", "message_id, is_upvoted, voted_at"),
        *("SELECT user_id, message_id, is_upvoted, voted_at FROM stage_votes", "is_upvoted, voted_at"),
    ),
    _Table("feedback_signals", "id", f"id, {_SIGNAL}", f"SELECT user_id, id, {_SIGNAL} FROM stage_feedback", _SIGNAL),
    _Table("tags", "", "id, name", "SELECT DISTINCT user_id, tag_id, name FROM stage_tags"),
    _Table("conversation_tags", "", "conversation_id, tag_id", f"{_TAGGED}'conversation'"),
    _Table(
        *("artifact_tags", "", "artifact_id, tag_id, artifact_created_at"),
        f"SELECT g.*, {FIRST.format(user='g.user_id', id='g.target_id')} FROM ({_TAGGED}'artifact') g",
    ),
    _Table(
        *("folders", "", "id, path, name"),
        "SELECT user_id, id, path::ltree, subpath(path::ltree, -1)::text FROM stage_folders",
    ),
)

REMEMBERED = {
    "artifact_references": ("id", "id", "SELECT user_id, reference_id, reference_id FROM stage_artifacts "
                            "WHERE reference_id IS NOT NULL"),
    "votes": ("message_id", "message_id", "SELECT user_id, message_id, message_id FROM stage_votes"),
    "feedback_signals": ("id", "id", "SELECT user_id, id, id FROM stage_feedback"),
    "conversation_tags": ("conversation_id", "tag_id", f"{_TAGGED}'conversation'"),
    "artifact_tags": ("artifact_id", "tag_id", f"{_TAGGED}'artifact'"),
    "tags": ("id", "id", "SELECT user_id, id, id FROM carmenta.tags WHERE id IN (SELECT tag_id FROM stage_tags)"),
    "folders": ("id", "id", "SELECT user_id, id, id FROM carmenta.folders WHERE id IN (SELECT id FROM stage_folders)"),
}  # fmt: skip
"""Table -> its key after the user, and what the folder holds of it now; what holds on to others comes first."""

_LINKED = " AND NOT EXISTS (SELECT FROM carmenta.{by} l WHERE l.user_id = t.user_id AND l.{column} = t.id)"
_UNUSED = {
    table: "".join(_LINKED.format(by=by, column=column) for by in tables)
    for table, column, tables in (
        ("tags", "tag_id", ("conversation_tags", "artifact_tags")),
        ("folders", "folder_id", ("conversations", "artifact_folders")),
    )
}

_FILED_NOWHERE = (
    f"DELETE FROM stage_filed s WHERE NOT {_THERE.format(parent='conversations', column='conversation_id')} "
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


def apply_domains(connection: psycopg.Connection[Any], dataset: UUID, again: bool, changes: Changes) -> list[Reject]:
    """Fill the tables from the stage, in the caller's transaction; returns the lines whose targets are unknown.

    What an earlier load put in and the folder no longer holds is deleted; what the application added stays, but an
    artifact that left the folder goes with all its versions, and a tag or folder goes once nothing is in it.
    """
    values = {"dataset": dataset}
    rejects = _check(connection, CHECKS, values)
    apply_versions(connection, dataset, again, changes)
    rejects += _check(connection, CHECKS_AFTER_ARTIFACTS, values)
    for statement in _FILED_NOWHERE:
        connection.execute(statement)
    for each in ROWS:
        _fill(connection, each, changes)
    connection.execute(
        "CREATE TEMP TABLE held (table_name text, user_id uuid, row_id uuid, other_id uuid) ON COMMIT DROP"
    )
    for table, (_, _, select) in REMEMBERED.items():
        connection.execute(f"INSERT INTO held SELECT DISTINCT '{table}', h.* FROM ({select}) h")
    filed = sum(known for (known,) in connection.execute(_FILE).fetchall())
    filed += connection.execute(_UNFILE, values).rowcount
    if again:
        changes.count("conversations", updated=filed)
        _take_away(connection, values, changes)
    connection.execute("DELETE FROM lab.loaded WHERE dataset_id = %(dataset)s", values)
    connection.execute(
        "INSERT INTO lab.loaded (dataset_id, table_name, user_id, row_id, other_id) "
        "SELECT %(dataset)s, h.* FROM held h",
        values,
    )
    return rejects


def _check(
    connection: psycopg.Connection[Any], checks: Sequence[tuple[str, str, str]], values: dict[str, Any]
) -> list[Reject]:
    rejects = []
    for table, condition, reason in checks:
        statement = _REJECT.format(table=table, condition=condition, reason=reason)
        found = connection.execute(statement, values).fetchall()
        rejects += [Reject(FILES[table], line, why) for line, why in found]
    return rejects


def _fill(connection: psycopg.Connection[Any], table: _Table, changes: Changes) -> None:
    """Insert what is not there, change what differs."""
    name, key, columns, select, update = table
    conflict = "DO NOTHING"
    if update:
        old, new = (", ".join(f"{of}.{c}" for c in update.split(", ")) for of in ("t", "excluded"))
        conflict = f"(user_id, {key}) DO UPDATE SET ({update}) = ROW({new}) WHERE ({old}) IS DISTINCT FROM ({new})"
    row = connection.execute(
        f"WITH changed AS (INSERT INTO carmenta.{name} AS t (user_id, {columns}) {select} ON CONFLICT {conflict} "
        "RETURNING (xmax = 0) AS added) "
        "SELECT count(*) FILTER (WHERE added), count(*) FILTER (WHERE NOT added) FROM changed"
    ).fetchone()
    assert row is not None
    changes.count(name, added=row[0], updated=row[1])


def _take_away(connection: psycopg.Connection[Any], values: dict[str, Any], changes: Changes) -> None:
    for table, (first, second, _) in REMEMBERED.items():
        gone = connection.execute(
            f"DELETE FROM carmenta.{table} t USING lab.loaded l WHERE l.dataset_id = %(dataset)s "
            f"AND l.table_name = '{table}' AND t.user_id = l.user_id AND t.{first} = l.row_id "
            f"AND t.{second} = l.other_id "
            "AND NOT EXISTS (SELECT FROM held h WHERE h.table_name = l.table_name AND h.user_id = l.user_id "
            f"AND h.row_id = l.row_id AND h.other_id = l.other_id){_UNUSED.get(table, '')}",
            values,
        )
        changes.count(table, deleted=gone.rowcount)
