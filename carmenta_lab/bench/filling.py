"""Generated rows straight into the tables that searches read: passages, their words and their vectors."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID, uuid5

import numpy as np
import psycopg
from numpy.typing import NDArray
from pgvector import HalfVector
from psycopg import sql

from carmenta_lab.bench.generate import MINUTES, START, favourites, near, said, sentence
from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.indexing.vectors import register
from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.copying import copy
from carmenta_lab.postgres.statement import driver
from carmenta_lab.schema import home

DIM = 384
BLOCK = 5_000
WORDS = ("postings", "passage_features", "lexical_statistics")
Saying: TypeAlias = Callable[[np.random.Generator, int], str]
VECTOR_COLUMNS = (
    ("user_id", "uuid"),
    ("passage_id", "uuid"),
    ("source_id", "uuid"),
    ("created_at", "timestamptz"),
    ("unit", "text"),
    ("embedding", "halfvec"),
)
_ROWS = (("id", "uuid"), ("content", "text"), ("created_at", "timestamptz"))


def user_id(number: int) -> UUID:
    """The uuid of a generated user."""
    return uuid5(UUID(int=7), f"bench {number}")


def topics_of(number: int, rows: int, seed: int, stream: int) -> NDArray[np.int64]:
    """The topics of a user's rows: four in five are of the favourites."""
    generator = np.random.default_rng([seed, 6, number, stream])
    own = favourites(number, seed)[generator.integers(0, 5, rows)]
    found: NDArray[np.int64] = np.where(generator.random(rows) < 0.8, own, generator.integers(0, 200, rows))
    return found


def questions(number: int, count: int, seed: int) -> tuple[NDArray[np.float32], list[str]]:
    """Vectors about a user's topics that no row has, and texts of three words: a rare one and two common ones."""
    topics = topics_of(number, count, seed + 1, 0)
    generator = np.random.default_rng([seed, 7, number])
    words = [sentence(generator, int(topic)).split() for topic in topics]
    return near(topics, DIM, seed, 1_000_000 + number), [" ".join(sorted(set(w), key=w.index)[:3]) for w in words]


def asked(number: int, count: int, seed: int) -> list[str]:
    """Questions about a user's topics in 13 words as people say them, eight of which are no stop words."""
    generator = np.random.default_rng([seed, 9, number])
    return [said(generator, int(topic), 13) for topic in topics_of(number, count, seed + 1, 0)]


def vectors_of(number: int, rows: int, seed: int, first: int = 0) -> Iterator[NDArray[np.float32]]:
    """The vectors of a user's rows in blocks of 5,000, from the number `first` on, a multiple of that."""
    for start in range(first, rows, BLOCK):
        topics = topics_of(number, BLOCK, seed, start)
        yield near(topics, DIM, seed, number * 1_000_003 + start)[: rows - start]


def rows_of(
    number: int, rows: int, seed: int, first: int = 0, say: Saying = sentence
) -> Iterator[tuple[UUID, str, datetime, HalfVector]]:
    """Rows of a user from the number `first` on, a multiple of 5,000: id, text as `say` gives it, time, vector."""
    user = user_id(number)
    for start, vectors in zip(range(first, rows, BLOCK), vectors_of(number, rows, seed, first), strict=True):
        topics = topics_of(number, BLOCK, seed, start)[: len(vectors)]
        generator = np.random.default_rng([seed, 8, number, start])
        minutes = generator.integers(0, MINUTES, BLOCK)
        for place, (topic, vector) in enumerate(zip(topics, vectors, strict=True)):
            when = START + timedelta(minutes=int(minutes[place]))
            yield uuid5(user, str(start + place)), say(generator, int(topic)), when, HalfVector(vector)


def fill(database: Database, sizes: Sequence[tuple[int, int]], seed: int, words: bool = False) -> str:
    """Users (number, rows) with that many passages and vectors each; returns the table of the vectors.

    The passages are memories with nothing behind them but an id. `words` has them say what people say, and builds the
    index of words too, user by user.

    A block of 20,000 rows is a transaction: autovacuum counts no row that is not committed, and foreign keys checked
    by a plan for no rows read all of the user's, once for each.
    """
    table = register(database.owner, DEFAULT_MODEL, DIM)
    for number, rows in sizes:
        with _writing(database) as raw:
            raw.execute("DELETE FROM carmenta.users WHERE id = %s", (user_id(number),))
            raw.execute("INSERT INTO carmenta.users (id, name) VALUES (%s, 'bench')", (user_id(number),))
        for start in range(0, rows, 4 * BLOCK):
            block = list(rows_of(number, min(rows, start + 4 * BLOCK), seed, start, said if words else sentence))
            with _writing(database) as raw:
                _write(raw, table, user_id(number), block)
        if words:
            with _writing(database) as raw:
                raw.execute("SELECT search.rebuild_words(%s)", (user_id(number),))
    with database.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for name in (table, "passages", "memories", *(WORDS if words else ())):
            connection.exec_driver_sql(f"VACUUM ANALYZE {home(name)}.{name}")
    return table


@contextmanager
def _writing(database: Database) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A transaction of the owner that leaves the index of words for later."""
    with database.owner.begin() as connection:
        raw = driver(connection)
        raw.execute(UNNOTED, (True,))
        yield raw


def _write(
    raw: psycopg.Connection[tuple[object, ...]],
    table: str,
    user: UUID,
    block: Sequence[tuple[UUID, str, datetime, HalfVector]],
) -> None:
    """COPY does not write into a table with row-level security, so rows pass temporary tables."""
    raw.execute("CREATE TEMP TABLE stage_rows (id uuid, content text, created_at timestamptz) ON COMMIT DROP")
    raw.execute(f"CREATE TEMP TABLE stage_vectors ON COMMIT DROP AS SELECT * FROM search.{table} WITH NO DATA")
    copy(raw, sql.Identifier("stage_rows"), _ROWS, (row[:3] for row in block))
    vectors = ((user, key, key, when, "memory", vector) for key, _, when, vector in block)
    copy(raw, sql.Identifier("stage_vectors"), VECTOR_COLUMNS, vectors)
    raw.execute(
        "INSERT INTO carmenta.memories (user_id, id, category, content, created_at) "
        "SELECT %s, id, 'knowledge', '-', created_at FROM stage_rows",
        (user,),
    )
    raw.execute(
        "INSERT INTO search.passages (user_id, id, unit, ordinal, content, memory_id, created_at) "
        "SELECT %s, id, 'memory', 0, content, id, created_at FROM stage_rows",
        (user,),
    )
    raw.execute(f"INSERT INTO search.{table} SELECT * FROM stage_vectors")
