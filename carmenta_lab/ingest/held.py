"""Is what an earlier load brought still there? Others may have erased rows since, or dropped what is searched."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from carmenta_lab.indexing.packed import UNITS
from carmenta_lab.ingest.domain_rows import REMEMBERED

_USERS = "(SELECT user_id FROM lab.users WHERE dataset_id = %(dataset)s)"
_LIVING = (
    "s.external_id IS NOT NULL AND s.deleted_at IS NULL "
    "AND EXISTS (SELECT FROM carmenta.users u WHERE u.id = s.user_id AND u.deleted_at IS NULL)"
)
_ROWS = {
    "users": f"carmenta.users t WHERE t.id IN {_USERS}",
    **{
        table: f"carmenta.{table} t WHERE t.user_id IN {_USERS} AND t.external_id IS NOT NULL"
        for table in ("conversations", "messages", "documents", "memories", "artifacts")
    },
    "attachments": "carmenta.attachments t JOIN carmenta.messages m ON m.user_id = t.user_id AND m.id = t.message_id "
    f"WHERE t.user_id IN {_USERS} AND m.external_id IS NOT NULL",
    "profiles": f"carmenta.profiles t WHERE t.user_id IN {_USERS}",
    **{table: f"lab.{table} t WHERE t.dataset_id = %(dataset)s" for table in ("queries", "qrels")},
    **{
        table: f"lab.loaded l JOIN carmenta.{table} t ON t.user_id = l.user_id AND t.{first} = l.row_id "
        f"AND t.{second} = l.other_id WHERE l.dataset_id = %(dataset)s AND l.table_name = '{table}'"
        for table, (first, second, _) in REMEMBERED.items()
    },
}
"""Table -> which of its rows a dataset brought."""

_SOURCES = {
    "turns": (
        "carmenta.messages s JOIN carmenta.conversations c ON c.user_id = s.user_id AND c.id = s.conversation_id "
        "AND c.deleted_at IS NULL",
        "message_id",
        "turn",
    ),
    "memories": ("carmenta.memories s", "memory_id", "memory"),
    "sections": ("carmenta.documents s", "document_id", "section"),
}
"""What is lacking -> the sources, and the column and unit of their passages."""


class Held(NamedTuple):
    """What the tables have of a dataset, and what it lacks there."""

    rows: dict[str, int]
    lacking: dict[str, int]  # sources that are searched and have no passage, passages without a given vector

    def at_least(self, before: dict[str, Any]) -> bool:
        """Whether nothing is missing that was there, of what `_asdict` said then; False when nothing was said."""
        if not before:
            return False
        rows, lacking = before["rows"], before["lacking"]
        return all(self.rows.get(name, 0) >= count for name, count in rows.items()) and all(
            count <= lacking.get(name, 0) for name, count in self.lacking.items()
        )


def held(connection: psycopg.Connection[Any], dataset: UUID, models: Sequence[str]) -> Held:
    """Count what is there; `models` are those whose vectors the folder gives."""
    values = {"dataset": dataset, "units": list(UNITS)}
    rows = {name: _count(connection, f"SELECT count(*) FROM {which}", values) for name, which in _ROWS.items()}
    lacking = {
        f"{name} unindexed": _count(
            connection,
            f"SELECT count(*) FROM {sources} WHERE s.user_id IN {_USERS} AND {_LIVING} AND NOT EXISTS (SELECT FROM "
            f"search.passages p WHERE p.user_id = s.user_id AND p.{column} = s.id AND p.unit = '{unit}')",
            values,
        )
        for name, (sources, column, unit) in _SOURCES.items()
    }
    tables = dict(connection.execute("SELECT name, table_name FROM search.embedding_models").fetchall())
    for model in models:
        vectors = "false"
        if model in tables:
            table = f"search.{tables[model]}"
            vectors = f"EXISTS (SELECT FROM {table} e WHERE e.user_id = p.user_id AND e.passage_id = p.id)"
        lacking[f"vectors of {model}"] = _count(
            connection,
            "SELECT count(*) FROM search.passages p JOIN carmenta.messages s ON s.user_id = p.user_id "
            f"AND s.id = p.message_id WHERE p.user_id IN {_USERS} AND p.unit = ANY (%(units)s) "
            f"AND s.external_id IS NOT NULL AND NOT {vectors}",
            values,
        )
    return Held(rows, lacking)


def _count(connection: psycopg.Connection[Any], statement: str, values: dict[str, Any]) -> int:
    row = connection.execute(statement, values).fetchone()
    assert row is not None
    return int(row[0])
