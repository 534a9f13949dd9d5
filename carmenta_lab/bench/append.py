"""What does one more message cost, made searchable, beyond the bare INSERTs of its row, its passage and its vector?

Of users who have said 1,000, 10,000 and 100,000 things before. Postings are merged now and then, so costs are averages
over whole cycles of that. WAL is that of the transactions themselves, without images of full pages, which depend on
when the last checkpoint was.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import psycopg
from numpy.typing import NDArray
from pgvector import HalfVector

from carmenta_lab.app import write_message
from carmenta_lab.bench.exponents import exponent
from carmenta_lab.bench.filling import DIM, user_id
from carmenta_lab.bench.generate import START, near, said
from carmenta_lab.bench.measure import Result
from carmenta_lab.bench.searching import filled
from carmenta_lab.embedding import load_embedder
from carmenta_lab.indexing.ready import Passage, cut
from carmenta_lab.indexing.sources import Source
from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.names import User
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.lab import embedded_way
from carmenta_lab.postgres.late import LateConnection, late_connection
from carmenta_lab.postgres.roles import connect
from carmenta_lab.schema.search.lexical import TAIL
from carmenta_lab.settings import read_settings

STEPS = (100, 10, 1)
WHOLE = 1
"""Which of the sizes is measured with the embedding."""

TURNS = 16
"""A slow second meets both sides: they take turns of so many messages."""

_MESSAGE = """
    INSERT INTO carmenta.messages
        (user_id, id, conversation_id, position, role, content, language, created_at, utc_offset)
    VALUES (%s, %s, %s, %s, 'user', %s, 'en', %s, 0)
"""
_PASSAGE = """
    INSERT INTO search.passages (user_id, id, unit, ordinal, content, message_id, language, created_at)
    VALUES (%s, %s, 'turn', 0, %s, %s, 'en', %s)
"""
_VECTOR = """
    INSERT INTO search.{table} (user_id, passage_id, source_id, created_at, unit, embedding)
    VALUES (%s, %s, %s, %s, 'turn', %s)
"""
_WAL = """
    SELECT coalesce(sum(record_length - fpi_length), 0)::bigint FROM pg_get_wal_records_info(%s::pg_lsn, %s::pg_lsn)
    WHERE xid::text <> '0'
"""

Spoken = tuple[Passage, NDArray[np.float32]]
"""What is written: a passage that is a whole message, and its vector."""


@dataclass
class Writer:
    """One way to write messages, and what it has taken."""

    write: Callable[[Spoken], object]
    milliseconds: list[float] = field(default_factory=list)
    wal_bytes: list[int] = field(default_factory=list)

    def take(self, admin: psycopg.Connection[Any], spoken: Sequence[Spoken]) -> None:
        """Write some, and note what each took."""
        before = _lsn(admin)
        for one in spoken:
            start = time.perf_counter()
            self.write(one)
            self.milliseconds.append((time.perf_counter() - start) * 1000)
        row = admin.execute(_WAL, (before, _lsn(admin))).fetchone()
        assert row is not None
        self.wal_bytes.append(int(row[0]))

    def millisecond(self) -> float:
        """What a message took on average."""
        return sum(self.milliseconds) / len(self.milliseconds)

    def bytes(self) -> float:
        """What a message wrote to the log on average."""
        return sum(self.wal_bytes) / len(self.milliseconds)


def append(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Messages of users with 1 %, 10 % and all of `rows` passages; `repeats` of each, rounded up to whole merges."""
    repeats = -(-repeats // TAIL) * TAIL
    sizes = [rows // step for step in STEPS]
    results: list[Result] = []
    ratios = []
    with (
        filled(database, list(enumerate(sizes)), seed, words=True) as table,
        connect(embedded_way(read_settings().home_folder, database.name).admin) as admin,
    ):
        admin.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
        for number, size in enumerate(sizes):
            limit, ours = _measured(database, admin, table, number, repeats, seed, whole=False)
            found = Result(
                f"append_{size}", limit.millisecond(), ours.millisecond(), size, repeats, "bare INSERTs, their commit"
            )
            wal = Result(
                f"append_wal_{size}", limit.bytes(), ours.bytes(), size, repeats, "bytes of WAL of the same", "bytes"
            )
            results += [found, wal]
            ratios.append(found.ratio)
        limit, ours = _measured(database, admin, table, WHOLE, TAIL, seed + 1, whole=True)
        what = "the same with the embedding, on both sides"
        results.append(Result("append_whole", limit.millisecond(), ours.millisecond(), sizes[WHOLE], TAIL, what))
    growth = exponent(sizes, ratios)
    what = f"growth of the ratio from {sizes[0]:,} to {sizes[-1]:,} passages"
    return [*results, Result("append_exponent", 1.0, growth, sizes[-1], repeats, what, "exponent")]


def _measured(
    database: Database, admin: psycopg.Connection[Any], table: str, number: int, repeats: int, seed: int, whole: bool
) -> tuple[Writer, Writer]:
    """Both ways, in turns, after some messages to warm up."""
    user = user_id(number)
    with database.user_session(user) as session:
        conversations = [uuid4(), uuid4()]
        raw = late_connection(session.connection())
        for each in conversations:
            raw.execute("INSERT INTO carmenta.conversations (user_id, id) VALUES (%s, %s)", (user, each))
    spoken = _spoken(number, 2 * (repeats + TAIL), seed)
    with _bare(database, user, conversations[0], table, whole) as bare:
        writers = Writer(bare), Writer(_ours(database, user, conversations[1], whole))
        for writer in writers:
            writer.take(admin, [next(spoken) for _ in range(TAIL)])
            writer.milliseconds.clear()
            writer.wal_bytes.clear()
        for _ in range(repeats // TURNS):
            for writer in writers:
                writer.take(admin, [next(spoken) for _ in range(TURNS)])
    return writers


def _spoken(number: int, messages: int, seed: int) -> Iterator[Spoken]:
    generator = np.random.default_rng([seed, 11, number])
    topics = generator.integers(0, 200, messages)
    vectors = near(topics, DIM, seed, 2_000_000 + number)
    for n, (topic, vector) in enumerate(zip(topics, vectors, strict=True)):
        at = START + timedelta(days=365, minutes=n)
        source = Source(
            "message", uuid4(), said(generator, int(topic), int(generator.integers(3, 61))), at, "en", "User", None
        )
        yield cut([source])[0], vector


def _ours(database: Database, user: UUID, conversation: UUID, whole: bool) -> Callable[[Spoken], object]:
    me = User(database, user)

    def write(spoken: Spoken) -> None:
        source = spoken[0].source
        vector = None if whole else spoken[1]
        write_message(me, conversation, "user", source.text, created_at=source.created_at, id=source.id, vector=vector)

    return write


@contextmanager
def _bare(
    database: Database, user: UUID, conversation: UUID, table: str, whole: bool
) -> Iterator[Callable[[Spoken], object]]:
    """The three rows on the driver's connection, in one transaction, its statements prepared and sent together."""
    place = count()
    vector_statement = _VECTOR.format(table=table)
    with database.app.connect() as connection:
        raw = late_connection(connection)
        connection.rollback()

        def write(spoken: Spoken) -> None:
            passage, vector = spoken
            if whole:
                vector = load_embedder().embed([passage.content])[0]
            source = passage.source
            beside = user, passage.id
            with raw.pipeline():
                _enter(raw, user)
                row = (user, source.id, conversation, next(place), source.text, source.created_at)
                raw.execute(_MESSAGE, row, prepare=True, binary=True)
                raw.execute(_PASSAGE, (*beside, passage.content, source.id, source.created_at), prepare=True)
                found = (*beside, source.id, source.created_at, HalfVector(vector))
                raw.execute(vector_statement, found, prepare=True)
            raw.commit()

        yield write


def _enter(raw: LateConnection, user: UUID) -> None:
    """What a transaction of the application begins with."""
    raw.execute(
        "SELECT set_config('role', 'carmenta_app', true), set_config('carmenta.user_id', %s, true), "
        + UNNOTED.removeprefix("SELECT "),
        (str(user), True),
        prepare=True,
    )


def _lsn(admin: psycopg.Connection[Any]) -> str:
    """Where the log ends, all of it written."""
    row = admin.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    return str(row[0])
