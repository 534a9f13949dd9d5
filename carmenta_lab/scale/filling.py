"""Generated rows straight into the tables: passages with words and vectors for searches, or a crowd of users.

`fill_passages` writes what searches read, for users of any size. `fill_crowd` writes what an assistant's backend asks
all day, for fifty users alike. Both write the same rows whenever they are called with the same arguments.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple, TypeAlias
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from psycopg import sql

from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.kinds import KINDS
from carmenta_lab.indexing.vectors import register, table_name
from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.copying import copy
from carmenta_lab.postgres.postponed import PostponingConnection
from carmenta_lab.postgres.statement import driver
from carmenta_lab.records import Query
from carmenta_lab.scale.generate import DIM, MINUTES, START, favourites, near, said, sentence
from carmenta_lab.schema import home

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


class GeneratedPassage(NamedTuple):
    """A row of a generated user; its memory, its passage and its source have one id."""

    id: UUID
    content: str
    created_at: datetime
    vector: HalfVector


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


def rows_of(number: int, rows: int, seed: int, first: int = 0, say: Saying = sentence) -> Iterator[GeneratedPassage]:
    """Rows of a user from the number `first` on, a multiple of 5,000; their texts as `say` gives them."""
    user = user_id(number)
    for start, vectors in zip(range(first, rows, BLOCK), vectors_of(number, rows, seed, first), strict=True):
        topics = topics_of(number, BLOCK, seed, start)[: len(vectors)]
        generator = np.random.default_rng([seed, 8, number, start])
        minutes = generator.integers(0, MINUTES, BLOCK)
        for place, (topic, vector) in enumerate(zip(topics, vectors, strict=True)):
            when = START + timedelta(minutes=int(minutes[place]))
            key = uuid5(user, str(start + place))
            yield GeneratedPassage(key, say(generator, int(topic)), when, HalfVector(vector))


@dataclass(frozen=True)
class MeasuredUser:
    """One generated user with questions: a vector and a text each."""

    database: Database
    number: int
    vectors: NDArray[np.float32]
    texts: list[str]

    @cached_property
    def query(self) -> Query:
        """A question of this user, whose text is one of `texts` where words matter."""
        return Query("bench", user_id(self.number), "bench")


def measured_user(database: Database, number: int, count: int, seed: int) -> MeasuredUser:
    """A generated user with that many questions."""
    return MeasuredUser(database, number, *questions(number, count, seed))


def empty(database: Database) -> None:
    """Take away all users and datasets, and the approximate indexes of generated vectors."""
    with database.owner.begin() as connection:
        connection.exec_driver_sql("TRUNCATE carmenta.users, lab.datasets CASCADE")
    for kind in KINDS:
        approximate.drop(database.owner, table_name(DEFAULT_MODEL), kind)


@contextmanager
def filled(database: Database, sizes: Sequence[tuple[int, int]], seed: int, words: bool = False) -> Iterator[str]:
    """A block in which there are these users, given as (number, rows), and nobody else.

    Gives their table of vectors.
    """
    empty(database)
    try:
        yield fill_passages(database, sizes, seed, words)
    finally:
        empty(database)


def fill_passages(database: Database, sizes: Sequence[tuple[int, int]], seed: int, words: bool = False) -> str:
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
def _writing(database: Database) -> Iterator[PostponingConnection]:
    """A transaction of the owner that leaves the index of words for later."""
    with database.owner.begin() as connection:
        raw = driver(connection)
        raw.execute(UNNOTED, (True,))
        yield raw


def _write(
    raw: PostponingConnection,
    table: str,
    user: UUID,
    block: Sequence[GeneratedPassage],
) -> None:
    """COPY does not write into a table with row-level security, so rows pass temporary tables."""
    raw.execute("CREATE TEMP TABLE stage_rows (id uuid, content text, created_at timestamptz) ON COMMIT DROP")
    raw.execute(f"CREATE TEMP TABLE stage_vectors ON COMMIT DROP AS SELECT * FROM search.{table} WITH NO DATA")
    copy(raw, sql.Identifier("stage_rows"), _ROWS, ((row.id, row.content, row.created_at) for row in block))
    vectors = ((user, row.id, row.id, row.created_at, "memory", row.vector) for row in block)
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


# The crowd

CROWD = 50
"""Users of the crowd: with so many rows of each, an index must answer."""


def crowd_id(n: int) -> UUID:
    """The uuid of the n-th row of its table, from 1; row n belongs to user (n mod 50) + 1."""
    return UUID(int=n)


_ID = "lpad(to_hex({}), 32, '0')::uuid"
_I, _USER = _ID.format("i"), _ID.format(f"i % {CROWD} + 1")
_START = "timestamptz '2026-01-01Z'"


def _rows(count: str) -> str:
    return f"generate_series(1, {count}) i"


def _crowd(messages: int) -> list[str]:
    """SQL that fills an empty schema: conversations of 20 messages, a fifth as many memories, and so on."""
    conversations, memories, few = messages // 20, messages // 5, messages // 20
    own = f"SELECT {_USER}, {_I}"
    return [
        f"INSERT INTO carmenta.users (id) SELECT {_I} FROM {_rows(str(CROWD))}",
        "INSERT INTO carmenta.conversations (user_id, id, title, last_message_at) "
        f"{own}, 'title', CASE WHEN i % 100 >= 50 THEN {_START} + i * interval '1 min' END "
        f"FROM {_rows(str(conversations))}",
        "INSERT INTO carmenta.messages (user_id, id, conversation_id, position, role, content, created_at) "
        f"{own}, {_ID.format(f'(i - 1) % {conversations} + 1')}, i / {conversations}, "
        f"CASE WHEN i / {conversations} % 2 = 0 THEN 'user' ELSE 'assistant' END, 'x', {_START} + i * interval '1 s' "
        f"FROM {_rows(str(messages))}",
        "INSERT INTO carmenta.memories (user_id, id, category, content, created_at) "
        f"{own}, 'personal', 'x', {_START} + i * interval '1 s' FROM {_rows(str(memories))}",
        "INSERT INTO carmenta.documents (user_id, id, path, name, content) "
        f"{own}, format('a%s.b%s', i % 7, i)::ltree, 'n', 'x' FROM {_rows(str(few))}",
        "INSERT INTO carmenta.artifacts (user_id, id, created_at, kind, title) "
        f"{own}, {_START} + v * interval '1 h', 'text', 't' FROM {_rows(str(few))}, generate_series(1, 2) v",
        "INSERT INTO carmenta.artifact_references (user_id, id, artifact_id, artifact_created_at, "
        "target_artifact_id, target_artifact_created_at, relation) "
        f"SELECT {_USER}, gen_random_uuid(), {_I}, {_START} + interval '1 h', {_ID.format(f'i + {CROWD}')}, "
        f"{_START} + interval '1 h', 'cites' "
        f"FROM {_rows(str(few - CROWD))}",
        f"INSERT INTO carmenta.background_queries (user_id, id, kind, input) {own}, 'k', '{{}}' FROM {_rows(str(few))}",
        "INSERT INTO carmenta.background_queries (user_id, id, kind, input, status, finished_at) "
        f"SELECT {_USER}, gen_random_uuid(), 'k', '{{}}', 'completed', now() FROM {_rows(str(few))}",
    ]


def fill_crowd(database: Database, messages: int) -> None:
    """Fill an empty schema with the rows of fifty users, and update the statistics of the planner."""
    with database.owner.begin() as connection:
        connection.exec_driver_sql(UNNOTED, (True,))
        for statement in _crowd(messages):
            connection.exec_driver_sql(statement.replace("%", "%%"))
    with database.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
