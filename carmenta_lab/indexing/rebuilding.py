"""How is all that is searched dropped and built again, and what of it could not be?"""

import re
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from carmenta_lab.embedding import at_hand, load_embedder
from carmenta_lab.indexing.approximate import FINISHED
from carmenta_lab.indexing.kinds import IVFFlat
from carmenta_lab.indexing.lacking import rebuild
from carmenta_lab.indexing.vectors import register
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.migrate import migrate
from carmenta_lab.records import Progress


@dataclass
class RebuildReport:
    """What a rebuild of `search` made again, and what it could not."""

    users: int = 0
    passages: int = 0
    vectors: dict[str, int] = field(default_factory=dict)  # by model
    coded_users: int = 0
    indexes: tuple[str, ...] = ()  # approximate ones
    lost: dict[str, int] = field(default_factory=dict)  # vectors by model that is not at hand

    def __str__(self) -> str:
        made = ", ".join(f"{count:,} vectors of {model}" for model, count in self.vectors.items())
        said = f"{self.passages:,} passages of {self.users:,} users" + (f", {made}" if made else "")
        said += f", token codes for {self.coded_users:,}" if self.coded_users else ""
        return said + (f"; approximate indexes: {', '.join(self.indexes)}" if self.indexes else "")


def irreplaceable(database: Database) -> dict[str, int]:
    """How many vectors each registered model has that cannot be computed here without a network, by model.

    A folder brought them: only its next load brings them again.
    """
    with database.owner.connect() as connection:
        if connection.scalar(text("SELECT to_regclass('search.embedding_models')")) is None:
            return {}
        tables = dict(_models(connection))
        counts = {model: connection.scalar(text(f"SELECT count(*) FROM search.{tables[model]}")) for model in tables}
    return {model: int(count) for model, count in counts.items() if count and not at_hand(model)}


def rebuild_search(
    database: Database, tokens: bool = False, progress: Progress = lambda stage, done, total: None
) -> RebuildReport:
    """Drop the schema `search` and build it again from what the product holds; what was lost is in the result.

    Made again: passages, words, the vectors of every registered model that is at hand, token codes for the users who
    had some (`tokens`: for all), and the approximate indexes. Until it ends, searches find what is there already. One
    that was cut off is called again: models were registered first, but who had token codes is not known any more.
    """
    found = RebuildReport()
    with database.owner.connect() as connection:
        there = connection.scalar(text("SELECT to_regclass('search.token_codes')")) is not None
        models = [model for model, _ in _models(connection)] if there else []
        coded = set(connection.scalars(text("SELECT DISTINCT user_id FROM search.token_codes"))) if there else set()
        indexes = {str(row.name): str(row.definition) for row in connection.execute(FINISHED)} if there else {}
        people = connection.scalars(
            text("SELECT id FROM carmenta.users WHERE deleted_at IS NULL ORDER BY created_at, id")
        ).all()
    found.lost = irreplaceable(database)
    models = [model for model in models if model not in found.lost and at_hand(model)]
    migrate(database.owner, "search@base")
    migrate(database.owner, "search@head")
    for model in models:
        register(database.owner, model, load_embedder(model).dim)
    with_codes = [person for person in people if tokens or person in coded]
    without = [person for person in people if person not in set(with_codes)]
    for users, codes in ((without, False), (with_codes, True)):
        if users:
            rebuild(
                database,
                models,
                tokens=codes,
                users=users,
                progress=lambda done, total: progress("indexing", done, total),
            )
    _analyze(database)
    _count(database, found, models)
    found.indexes = tuple(name for name, definition in indexes.items() if _build(database, definition))
    return found


def _count(database: Database, found: RebuildReport, models: list[str]) -> None:
    """What there is now."""
    with database.owner.connect() as connection:
        found.users, found.passages = connection.execute(
            text("SELECT count(DISTINCT user_id), count(*) FROM search.passages")
        ).one()
        found.coded_users = connection.scalar(text("SELECT count(DISTINCT user_id) FROM search.token_codes")) or 0
        tables = dict(_models(connection))
        for model in models:
            found.vectors[model] = connection.scalar(text(f"SELECT count(*) FROM search.{tables[model]}")) or 0


def _models(connection: Connection) -> list[tuple[str, str]]:
    rows = connection.execute(text("SELECT name, table_name FROM search.embedding_models ORDER BY created_at, name"))
    return [(str(name), str(table)) for name, table in rows]


def _analyze(database: Database) -> None:
    with database.owner.begin() as connection:
        tables = connection.scalars(
            text(
                "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'search'::regnamespace "
                "AND relkind IN ('r', 'p') AND NOT relispartition"
            )
        ).all()
        for table in tables:
            connection.exec_driver_sql(f"ANALYZE {table}")


def _build(database: Database, definition: str) -> bool:
    """Create an approximate index as it was; False where its model's table was not made again."""
    parts: Any = re.search(r" ON (?P<table>search\.\S+) USING (?P<method>\w+)", definition)
    table, method = parts["table"], parts["method"]
    with database.owner.begin() as connection:
        if connection.scalar(text("SELECT to_regclass(:t)"), {"t": table}) is None:
            return False
        lists = re.search(r"lists\s*=\s*'?(?P<count>\d+)", definition)
        if method == "ivfflat" and lists is not None:
            dim = connection.scalar(
                text("SELECT atttypmod FROM pg_attribute WHERE attrelid = to_regclass(:t) AND attname = 'embedding'"),
                {"t": table},
            )
            needs = int(1.1 * IVFFlat(int(lists["count"])).memory_bytes(0, int(dim or 0))) >> 10
            connection.execute(
                text(
                    "SELECT set_config('maintenance_work_mem', greatest(:kb, "
                    "pg_size_bytes(current_setting('maintenance_work_mem')) / 1024)::text || 'kB', true)"
                ),
                {"kb": needs},
            )
        connection.exec_driver_sql(definition)
    return True
