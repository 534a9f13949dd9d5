"""How far is a load from the bare COPY of its rows, embedding from onnxruntime, building an index from CREATE INDEX?"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from psycopg import sql
from sqlalchemy import Engine
from tokenizers import Tokenizer

from carmenta_lab import resources
from carmenta_lab.bench.measure import Bench, Result, alternate, medians
from carmenta_lab.embedding import load_embedder
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.kinds import KINDS, ApproximateIndex, IndexKind
from carmenta_lab.indexing.vectors import table_name
from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.ingest.load import load
from carmenta_lab.postgres.connect import Database, engine
from carmenta_lab.postgres.copying import copy
from carmenta_lab.postgres.lab import embedded_logins
from carmenta_lab.postgres.statement import Rows, driver
from carmenta_lab.scale.filling import filled
from carmenta_lab.scale.generate import DIM, texts, write_folder, write_vectors
from carmenta_lab.schema import home
from carmenta_lab.settings import read_settings

TABLES = ("users", "conversations", "messages", "passages")
MODEL = "bench-given"
"""The name of the model whose vectors a folder brings along."""
MEMORY_MB = 512
"""For building an index."""
BATCH = 32
"""Texts that are embedded at once."""


class Column(NamedTuple):
    """A column that can be written."""

    name: str
    type: str


class TableRows(NamedTuple):
    """The rows that a load left in a table."""

    columns: list[Column]
    rows: list[tuple[Any, ...]]


_COLUMNS = Rows(
    Column,
    "SELECT attname::text AS name, format_type(atttypid, NULL) AS type FROM pg_attribute "
    "WHERE attrelid = %(relation)s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
)


def ingest(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Load `rows` messages without embedding, against COPY of all final rows.

    Into tables with the same indexes, and into the same tables: as the superuser, whom row-level security does not
    stop, and so on the embedded server only.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "bench-ingest"
        write_folder(folder, rows, seed=seed)
        alike, same, ours = _against_copy(database, folder, TABLES, ("bench", None), repeats)
    return [
        Result("ingest", alike, ours, rows, repeats, "binary COPY of all final rows, same indexes"),
        Result("ingest_same_tables", same, ours, rows, repeats, "the same COPY into the same tables, foreign keys too"),
    ]


def ingest_vectors(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Load `rows` messages with given vectors, against COPY of all final rows into the same tables."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "bench-ingest"
        write_folder(folder, rows, seed=seed)
        write_vectors(folder, rows, seed, MODEL)
        tables = (*TABLES, table_name(MODEL))
        same, ours = _against_copy(database, folder, tables, (None,), repeats)
    return [Result("ingest_vectors", same, ours, rows, repeats, "binary COPY into the same tables, vectors among them")]


def _against_copy(
    database: Database, folder: Path, tables: Sequence[str], schemas: Sequence[str | None], repeats: int
) -> list[float]:
    """Median milliseconds of COPY of all final rows into each schema (None: the tables' own), and last of the load."""
    admin = engine(embedded_logins(read_settings().home_folder, database.name).admin)

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


def _copies(admin: Engine, schema: str | None, final: Mapping[str, TableRows]) -> Callable[[], None]:
    def bare() -> None:
        with admin.begin() as connection:
            raw = driver(connection)
            raw.execute(UNNOTED, (True,))
            for table, (columns, rows) in final.items():
                copy(raw, sql.Identifier(schema or home(table), table), columns, rows)

    return bare


def _rows(database: Database, table: str) -> TableRows:
    with database.owner.begin() as connection:
        columns = _COLUMNS.all(connection, {"relation": f"{home(table)}.{table}"})
        names = ", ".join(column.name for column in columns)
        order = "id" if table == "users" else "1, 2"  # every other table begins with its key
        found = connection.exec_driver_sql(f"SELECT {names} FROM {home(table)}.{table} ORDER BY {order}")
        rows = [tuple(row) for row in found]
    given = (value for row in rows for column, value in zip(columns, row, strict=True) if column.type == "jsonb")
    assert not any(given)  # the generated messages have no parts
    return TableRows(columns, rows)


def embedding(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Embed `rows` texts, against an onnxruntime session with the same model, tokenizer and option."""
    some = list(texts(rows, seed))
    embedder = load_embedder()
    folder = resources.bundled_model()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding()
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])

    def bare() -> None:
        order = sorted(range(len(some)), key=lambda row: len(some[row]))
        for start in range(0, len(order), BATCH):
            encoded = tokenizer.encode_batch([some[row] for row in order[start : start + BATCH]])
            feed = {
                "input_ids": np.array([e.ids for e in encoded]),
                "attention_mask": np.array([e.attention_mask for e in encoded]),
            }
            session.run(["embedding"], feed)

    limit, ours = alternate(bare, lambda: embedder.embed(some), repeats)
    return [Result("embedding", limit, ours, rows, repeats, "onnxruntime in batches of 32, sorted by length")]


def index_build(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Build an approximate index of each kind over `rows` vectors, against CREATE INDEX with the same memory."""
    found = []
    with filled(database, [(0, rows)], seed) as table:
        for kind, index in KINDS.items():
            definition = index.definition(rows, DIM)

            def bare(definition: str = definition) -> None:
                with database.owner.begin() as connection:
                    connection.exec_driver_sql(f"SET LOCAL maintenance_work_mem = '{MEMORY_MB}MB'")
                    connection.exec_driver_sql(f"CREATE INDEX ann_bare ON search.{table} {definition}")

            def empty(kind: IndexKind = kind) -> None:
                with database.owner.begin() as connection:
                    connection.exec_driver_sql("DROP INDEX IF EXISTS search.ann_bare")
                approximate.drop(database.owner, table, kind)

            def ours(index: ApproximateIndex = index) -> None:
                approximate.build(database.owner, table, index, memory_mb=MEMORY_MB)

            limit, spent = alternate(bare, ours, repeats, before=empty, warm_up=0)
            empty()
            found.append(Result(f"index_build_{kind}", limit, spent, rows, repeats, "CREATE INDEX on psycopg"))
    return found


BENCHES = (
    Bench("ingest", ingest, rows=20_000, repeats=5),
    Bench("ingest_vectors", ingest_vectors, rows=20_000, repeats=5),
    Bench("embedding", embedding, rows=500, repeats=5),
    Bench("index_build", index_build, rows=5_000, repeats=3),
)
