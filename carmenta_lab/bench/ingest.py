"""How far is loading a folder from a bare binary COPY of the rows it becomes?"""

import tempfile
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from carmenta_lab.bench.generate import write_folder
from carmenta_lab.bench.measure import Result, alternate
from carmenta_lab.ingest.load import load
from carmenta_lab.ingest.staging import copy
from carmenta_lab.postgres.connect import Database

TABLES = ("users", "conversations", "messages", "passages")


def ingest(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Load `rows` messages without embedding, against COPY of all final rows into tables with the same indexes."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "bench-ingest"
        write_folder(folder, rows, seed=seed)

        def empty() -> None:
            with database.owner.begin() as connection:
                connection.exec_driver_sql("TRUNCATE carmenta.users, lab.datasets CASCADE")
                connection.exec_driver_sql("DROP SCHEMA IF EXISTS bench CASCADE")
                connection.exec_driver_sql("CREATE SCHEMA bench")
                for table in TABLES:
                    connection.exec_driver_sql(f"CREATE TABLE bench.{table} (LIKE carmenta.{table} INCLUDING ALL)")

        empty()
        load(database, folder, models=())
        final = {table: _rows(database, table) for table in TABLES}

        def bare() -> None:
            with database.owner.begin() as connection:
                raw = connection.connection.driver_connection
                assert isinstance(raw, psycopg.Connection)
                for table, (columns, values) in final.items():
                    copy(raw, sql.Identifier("bench", table), columns, values)

        limit, ours = alternate(bare, lambda: load(database, folder, models=()), repeats, before=empty)
        empty()
        with database.owner.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA bench CASCADE")
    return [Result("ingest", limit, ours, rows, repeats, "binary COPY of all final rows, same indexes")]


def _rows(database: Database, table: str) -> tuple[list[tuple[str, str]], list[Any]]:
    """The writable columns of a table and its rows."""
    with database.owner.begin() as connection:
        columns = connection.exec_driver_sql(
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = %s::regclass "
            "AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
            (f"carmenta.{table}",),
        ).all()
        pairs = [(str(name), str(kind)) for name, kind in columns]
        names = ", ".join(name for name, _ in pairs)
        order = "id" if table == "users" else "user_id, id"
        found = connection.exec_driver_sql(f"SELECT {names} FROM carmenta.{table} ORDER BY {order}").all()
    json = [place for place, (_, kind) in enumerate(pairs) if kind == "jsonb"]
    assert not any(row[place] for row in found for place in json)  # the generated messages have no parts
    return pairs, [tuple(row) for row in found]
