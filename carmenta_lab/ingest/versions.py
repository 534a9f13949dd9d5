"""Artifacts from the stage: their versions numbered by time, whatever was inserted between or taken out."""

from typing import Any
from uuid import UUID

import psycopg

from carmenta_lab.ingest.apply import Changes

_NUMBER = """
    UPDATE stage_artifacts s SET version = n.version FROM (
        SELECT line, row_number() OVER (PARTITION BY id ORDER BY created_at) AS version FROM stage_artifacts
    ) n WHERE n.line = s.line
"""
_VANISHED = """
    DELETE FROM carmenta.artifacts t USING lab.users u, carmenta.artifacts l
    WHERE u.dataset_id = %s AND t.user_id = u.user_id AND l.user_id = t.user_id AND l.id = t.id
    AND l.external_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM stage_artifacts s WHERE s.id = t.id)
"""
_GONE = """
    DELETE FROM carmenta.artifacts t USING stage_artifacts f
    WHERE f.user_id = t.user_id AND f.id = t.id AND f.version = 1 AND t.version > 1 AND t.external_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM stage_artifacts s WHERE s.id = t.id AND s.created_at = t.created_at)
"""
_SET_SUGGESTIONS_ASIDE = (
    """
    CREATE TEMP TABLE aside ON COMMIT DROP AS SELECT s.* FROM carmenta.suggestions s
    JOIN carmenta.artifacts t ON t.user_id = s.user_id AND t.id = s.artifact_id AND t.created_at = s.artifact_created_at
    JOIN stage_artifacts f ON f.id = t.id AND f.version = 1 AND (f.created_at = t.created_at) <> (t.version = 1)
    """,
    "DELETE FROM carmenta.suggestions s USING aside a WHERE s.user_id = a.user_id AND s.id = a.id",
)
_ANOTHER_IS_FIRST = (
    """
    DELETE FROM carmenta.artifacts t USING stage_artifacts f WHERE f.user_id = t.user_id AND f.id = t.id
    AND f.version = 1 AND t.version > 1 AND t.created_at = f.created_at
    """,
    """
    UPDATE carmenta.artifacts t SET created_at = f.created_at FROM stage_artifacts f WHERE f.user_id = t.user_id
    AND f.id = t.id AND f.version = 1 AND t.version = 1 AND t.created_at <> f.created_at
    """,
)
_RENUMBER = (
    """
    CREATE TEMP TABLE renumbered ON COMMIT DROP AS
    SELECT * FROM (
        SELECT t.user_id, t.id, t.created_at, t.version AS old, coalesce(s.version, f.versions + row_number() OVER (
            PARTITION BY t.id, s.version IS NULL ORDER BY t.created_at)) AS version
        FROM carmenta.artifacts t
        JOIN (SELECT user_id, id, count(*) AS versions FROM stage_artifacts GROUP BY 1, 2) f
            ON f.user_id = t.user_id AND f.id = t.id
        LEFT JOIN stage_artifacts s ON s.id = t.id AND s.created_at = t.created_at
    ) numbered WHERE old <> version
    """,
    *(
        f"UPDATE carmenta.artifacts t SET version = {number} FROM renumbered r "
        "WHERE t.user_id = r.user_id AND t.id = r.id AND t.created_at = r.created_at"
        for number in ("r.version + 1000000000", "r.version")  # by way of a far one: each number is there once
    ),
)
"""Those that the application made come after those of the folder."""

_COLUMNS = (
    "kind, title, content, component_tree, data_bindings, ui_state, summary_for_llm, conversation_id, external_id"
)
_FILL = """
    WITH changed AS (
        INSERT INTO carmenta.artifacts AS t (user_id, id, created_at, version, {columns})
        SELECT user_id, id, created_at, version, {columns} FROM stage_artifacts ORDER BY user_id, id, version
        ON CONFLICT (user_id, id, created_at) DO UPDATE SET ({columns}) = ROW({new})
        WHERE ({old}) IS DISTINCT FROM ({new}) RETURNING (xmax = 0) AS added
    ) SELECT count(*) FILTER (WHERE added), count(*) FILTER (WHERE NOT added) FROM changed
""".format(
    columns=_COLUMNS, **{name: ", ".join(f"{of}.{c}" for c in _COLUMNS.split(", "))
                         for name, of in (("old", "t"), ("new", "excluded"))}
)  # fmt: skip
_AFTERWARDS = (
    """
    INSERT INTO carmenta.suggestions SELECT a.* FROM aside a JOIN carmenta.artifacts t
    ON t.user_id = a.user_id AND t.id = a.artifact_id AND t.created_at = a.artifact_created_at
    """,
    """
    UPDATE carmenta.artifacts t SET deleted_at = f.deleted_at FROM carmenta.artifacts f JOIN stage_artifacts s
    ON s.user_id = f.user_id AND s.id = f.id AND s.version = 1
    WHERE f.version = 1 AND f.deleted_at IS NOT NULL AND t.user_id = f.user_id AND t.id = f.id AND t.deleted_at IS NULL
    """,
)
"""A suggestion whose version is still there comes back; an artifact that was deleted softly stays so, whole."""


def apply_versions(connection: psycopg.Connection[Any], dataset: UUID, again: bool, changes: Changes) -> None:
    """Fill `artifacts` from the stage.

    The row of a first version stays and becomes what the folder has as the first, as tags and references hang on it.
    An artifact that left the folder goes with all its versions.
    """
    connection.execute(_NUMBER)
    if again:
        gone = connection.execute(_VANISHED, (dataset,)).rowcount + connection.execute(_GONE).rowcount
        changes.count("artifacts", deleted=gone)
        for statement in (*_SET_SUGGESTIONS_ASIDE, *_ANOTHER_IS_FIRST, *_RENUMBER):
            connection.execute(statement)
    row = connection.execute(_FILL).fetchone()
    assert row is not None
    changes.count("artifacts", added=row[0], updated=row[1])
    if again:
        for statement in _AFTERWARDS:
            connection.execute(statement)
