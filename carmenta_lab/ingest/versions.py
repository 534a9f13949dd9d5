"""Artifacts from the stage: versions added, changed and taken out; what hangs on the first moves with it."""

from typing import Any
from uuid import UUID

import psycopg

from carmenta_lab.ingest.apply import Changes

FIRST = "(SELECT min(f.created_at) FROM carmenta.artifacts f WHERE f.user_id = {user} AND f.id = {id})"
"""The moment of an artifact's first version."""

_VANISHED = """
    DELETE FROM carmenta.artifacts t USING lab.users u, carmenta.artifacts l
    WHERE u.dataset_id = %s AND t.user_id = u.user_id AND l.user_id = t.user_id AND l.id = t.id
    AND l.external_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM stage_artifacts s WHERE s.user_id = t.user_id AND s.id = t.id)
"""

_COLUMNS = (
    "kind, title, content, component_tree, data_bindings, ui_state, summary_for_llm, conversation_id, external_id"
)
_FILL = """
    WITH changed AS (
        INSERT INTO carmenta.artifacts AS t (user_id, id, created_at, {columns})
        SELECT user_id, id, created_at, {columns} FROM stage_artifacts ORDER BY user_id, id, created_at
        ON CONFLICT (user_id, id, created_at) DO UPDATE SET ({columns}) = ROW({new})
        WHERE ({old}) IS DISTINCT FROM ({new}) RETURNING (xmax = 0) AS added
    ) SELECT count(*) FILTER (WHERE added), count(*) FILTER (WHERE NOT added) FROM changed
""".format(
    columns=_COLUMNS, **{name: ", ".join(f"{of}.{c}" for c in _COLUMNS.split(", "))
                         for name, of in (("old", "t"), ("new", "excluded"))}
)  # fmt: skip

_GONE = (
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
_HANGING = (
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


def apply_versions(connection: psycopg.Connection[Any], dataset: UUID, again: bool, changes: Changes) -> None:
    """Fill `artifacts` from the stage.

    An artifact that left the folder goes with all its versions; one that was deleted softly stays so, whole.
    """
    if again:
        changes.count("artifacts", deleted=connection.execute(_VANISHED, (dataset,)).rowcount)
    row = connection.execute(_FILL).fetchone()
    assert row is not None
    changes.count("artifacts", added=row[0], updated=row[1])
    if again:
        for table, column in _HANGING:
            connection.execute(_MOVE.format(table=table, column=column, gone=_GONE))
        changes.count(
            "artifacts", deleted=connection.execute(f"DELETE FROM carmenta.artifacts t WHERE {_GONE}").rowcount
        )
        connection.execute(_STAYS_DELETED)
