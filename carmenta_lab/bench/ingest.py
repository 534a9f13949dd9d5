"""How far is loading a folder from a bare binary COPY of the rows it becomes?"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from psycopg import sql
from sqlalchemy import Engine

from carmenta_lab.bench.generate import vectors, write_folder
from carmenta_lab.bench.measure import Result, medians
from carmenta_lab.indexing.vectors import table_name
from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.ingest.load import load
from carmenta_lab.postgres.connect import Database, engine
from carmenta_lab.postgres.copying import copy
from carmenta_lab.postgres.lab import embedded_way
from carmenta_lab.schema import home
from carmenta_lab.settings import read_settings

TABLES = ("users", "conversations", "messages", "passages")
MODEL = "bench-given"
DIM = 384
BLOCK_VECTORS = 10_000

Final = Mapping[str, tuple[list[tuple[str, str]], list[Any]]]
"""Table -> its writable columns by name and type, and its rows."""


def ingest(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Load `rows` messages without embedding, against COPY of all final rows.

    Into tables with the same indexes, and into the same tables: as the superuser, whom row-level security does not
    stop, and so on the embedded server only.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "bench-ingest"
        write_folder(folder, rows, seed=seed)
        alike, same, ours = _measured(database, folder, TABLES, ("bench", None), repeats)
    return [
        Result("ingest", alike, ours, rows, repeats, "binary COPY of all final rows, same indexes"),
        Result("ingest_same_tables", same, ours, rows, repeats, "the same COPY into the same tables, foreign keys too"),
    ]


def ingest_vectors(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Load `rows` messages with given vectors, against COPY of all final rows into the same tables."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "bench-ingest"
        write_folder(folder, rows, seed=seed)
        write_vectors(folder, rows, seed)
        tables = (*TABLES, table_name(MODEL))
        same, ours = _measured(database, folder, tables, (None,), repeats)
    return [Result("ingest_vectors", same, ours, rows, repeats, "binary COPY into the same tables, vectors among them")]


def write_vectors(folder: Path, rows: int, seed: int, model: str = MODEL) -> None:
    """Vectors for the messages of a folder, a block at a time."""
    path = folder / "embeddings" / f"{model}.npy"
    path.parent.mkdir()
    found = np.lib.format.open_memmap(path, "w+", np.float16, (rows, DIM))
    for start in range(0, rows, BLOCK_VECTORS):
        count = min(BLOCK_VECTORS, rows - start)
        found[start : start + count] = vectors(count, DIM, seed + start)
    found.flush()


def _measured(
    database: Database, folder: Path, tables: Sequence[str], schemas: Sequence[str | None], repeats: int
) -> list[float]:
    """Median milliseconds of COPY of all final rows into tables of each schema (None: their own), and of the load."""
    admin = engine(embedded_way(read_settings().home_folder, database.name).admin)

    def empty() -> None:
        with database.owner.begin() as connection:
            connection.exec_driver_sql("TRUNCATE carmenta.users, lab.datasets CASCADE")
            connection.exec_driver_sql("DROP SCHEMA IF EXISTS bench CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA bench")
            for table in tables if "bench" in schemas else ():
                connection.exec_driver_sql(f"CREATE TABLE bench.{table} (LIKE {home(table)}.{table} INCLUDING ALL)")

    def ours() -> object:
        return load(database, folder, models=(), words=False)

    empty()
    ours()
    final = {table: _rows(database, table) for table in tables}
    bare = [_copies(admin, schema, final) for schema in schemas]
    found = medians([*bare, ours], repeats, before=empty)
    empty()
    with database.owner.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA bench CASCADE")
    admin.dispose()
    return found


def _copies(admin: Engine, schema: str | None, final: Final) -> Callable[[], None]:
    def bare() -> None:
        with admin.begin() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, psycopg.Connection)
            raw.execute(UNNOTED, (True,))
            for table, (columns, values) in final.items():
                copy(raw, sql.Identifier(schema or home(table), table), columns, values)

    return bare


def _rows(database: Database, table: str) -> tuple[list[tuple[str, str]], list[Any]]:
    """The writable columns of a table and its rows."""
    with database.owner.begin() as connection:
        columns = connection.exec_driver_sql(
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = %s::regclass "
            "AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
            (f"{home(table)}.{table}",),
        ).all()
        pairs = [(str(name), str(kind)) for name, kind in columns]
        names = ", ".join(name for name, _ in pairs)
        order = "id" if table == "users" else "1, 2"  # every other table begins with its key
        found = connection.exec_driver_sql(f"SELECT {names} FROM {home(table)}.{table} ORDER BY {order}").all()
    json = [place for place, (_, kind) in enumerate(pairs) if kind == "jsonb"]
    assert not any(row[place] for row in found for place in json)  # the generated messages have no parts
    return pairs, [tuple(row) for row in found]
