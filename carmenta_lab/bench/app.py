"""What does an assistant's backend pay: for one more message, for each call of `app`, while a migration runs?

- `append`: one more message, made searchable, beyond the bare INSERTs of its row, its passage and its vector.
- `helpers`: each function of `app` beyond its own SQL, prepared.
- `migration`: the longest that a reader and a writer wait while the tables they use are changed.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count, pairwise
from threading import Event, Thread
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import numpy as np
import psycopg
from numpy.typing import NDArray
from pgvector import HalfVector
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from sqlalchemy.sql import ClauseElement

from carmenta_lab.app import artifacts, conversations, knowledge, memory, operations, write_message
from carmenta_lab.bench.measure import Bench, Result, alternate
from carmenta_lab.embedding import load_embedder
from carmenta_lab.indexing.ready import CutPassage, cut
from carmenta_lab.indexing.sources import Source
from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.names import User
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.lab import embedded_logins
from carmenta_lab.postgres.migrate import migrate, revisions
from carmenta_lab.postgres.postponed import PostponingConnection
from carmenta_lab.postgres.roles import connect
from carmenta_lab.postgres.statement import compiled, driver, only
from carmenta_lab.scale.filling import crowd_id, fill_crowd, filled, user_id
from carmenta_lab.scale.generate import DIM, START, near, said
from carmenta_lab.scale.trends import exponent
from carmenta_lab.schema.search.lexical import TAIL
from carmenta_lab.settings import read_settings

# One more message
#
# Of users who have said 1,000, 10,000 and 100,000 things before. Postings are merged now and then, so costs are
# averages over whole cycles of that. WAL is that of the transactions themselves, without images of full pages, which
# depend on when the last checkpoint was.

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


class NewMessage(NamedTuple):
    """What is written: a passage that is a whole message, and its vector."""

    passage: CutPassage
    vector: NDArray[np.float32]


@dataclass
class Writer:
    """One way to write messages, and what it has taken."""

    write: Callable[[NewMessage], object]
    milliseconds: list[float] = field(default_factory=list)
    wal_bytes: list[int] = field(default_factory=list)

    def take(self, admin: psycopg.Connection[Any], messages: Sequence[NewMessage]) -> None:
        """Write some, and note what each took."""
        before = _lsn(admin)
        for message in messages:
            start = time.perf_counter()
            self.write(message)
            self.milliseconds.append((time.perf_counter() - start) * 1000)
        self.wal_bytes.append(only(admin.execute(_WAL, (before, _lsn(admin)))))

    def millisecond(self) -> float:
        """What a message took on average."""
        return sum(self.milliseconds) / len(self.milliseconds)

    def bytes(self) -> float:
        """What a message wrote to the log on average."""
        return sum(self.wal_bytes) / len(self.milliseconds)


def append(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """One more message of users with 1 %, 10 % and all of `rows` passages, against the bare INSERTs of its rows.

    `repeats` messages of each, rounded up to whole merges of postings.
    """
    repeats = -(-repeats // TAIL) * TAIL
    sizes = [rows // step for step in STEPS]
    results: list[Result] = []
    ratios = []
    with (
        filled(database, list(enumerate(sizes)), seed, words=True) as table,
        connect(embedded_logins(read_settings().home_folder, database.name).admin) as admin,
    ):
        admin.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
        for number, size in enumerate(sizes):
            limit, ours = _appended(database, admin, table, number, repeats, seed, whole=False)
            found = Result(
                f"append_{size}", limit.millisecond(), ours.millisecond(), size, repeats, "bare INSERTs, their commit"
            )
            wal = Result(
                f"append_wal_{size}", limit.bytes(), ours.bytes(), size, repeats, "bytes of WAL of the same", "bytes"
            )
            results += [found, wal]
            ratios.append(found.ratio)
        limit, ours = _appended(database, admin, table, WHOLE, TAIL, seed + 1, whole=True)
        what = "the same with the embedding, on both sides"
        results.append(Result("append_whole", limit.millisecond(), ours.millisecond(), sizes[WHOLE], TAIL, what))
    growth = exponent(sizes, ratios)
    what = f"growth of the ratio from {sizes[0]:,} to {sizes[-1]:,} passages"
    return [*results, Result("append_exponent", 1.0, growth, sizes[-1], repeats, what, "exponent")]


def _appended(
    database: Database, admin: psycopg.Connection[Any], table: str, number: int, repeats: int, seed: int, whole: bool
) -> tuple[Writer, Writer]:
    """Both ways, in turns, after some messages to warm up."""
    user = user_id(number)
    with database.user_session(user) as session:
        conversations = [uuid4(), uuid4()]
        raw = driver(session)
        for each in conversations:
            raw.execute("INSERT INTO carmenta.conversations (user_id, id) VALUES (%s, %s)", (user, each))
    messages = _messages(number, 2 * (repeats + TAIL), seed)
    with _bare(database, user, conversations[0], table, whole) as bare:
        writers = Writer(bare), Writer(_ours(database, user, conversations[1], whole))
        for writer in writers:
            writer.take(admin, [next(messages) for _ in range(TAIL)])
            writer.milliseconds.clear()
            writer.wal_bytes.clear()
        for _ in range(repeats // TURNS):
            for writer in writers:
                writer.take(admin, [next(messages) for _ in range(TURNS)])
    return writers


def _messages(number: int, messages: int, seed: int) -> Iterator[NewMessage]:
    generator = np.random.default_rng([seed, 11, number])
    topics = generator.integers(0, 200, messages)
    vectors = near(topics, DIM, seed, 2_000_000 + number)
    for n, (topic, vector) in enumerate(zip(topics, vectors, strict=True)):
        at = START + timedelta(days=365, minutes=n)
        source = Source(
            "message", uuid4(), said(generator, int(topic), int(generator.integers(3, 61))), at, "en", "User", None
        )
        yield NewMessage(cut([source])[0], vector)


def _ours(database: Database, user: UUID, conversation: UUID, whole: bool) -> Callable[[NewMessage], object]:
    me = User(database, user)

    def write(message: NewMessage) -> None:
        source = message.passage.source
        vector = None if whole else message.vector
        write_message(me, conversation, "user", source.text, created_at=source.created_at, id=source.id, vector=vector)

    return write


@contextmanager
def _bare(
    database: Database, user: UUID, conversation: UUID, table: str, whole: bool
) -> Iterator[Callable[[NewMessage], object]]:
    """The three rows on the driver's connection, in one transaction, its statements prepared and sent together."""
    place = count()
    vector_statement = _VECTOR.format(table=table)
    with database.app.connect() as connection:
        raw = driver(connection)
        connection.rollback()

        def write(message: NewMessage) -> None:
            passage, vector = message
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


def _enter(raw: PostponingConnection, user: UUID) -> None:
    """What a transaction of the application begins with."""
    raw.execute(
        "SELECT set_config('role', 'carmenta_app', true), set_config('carmenta.user_id', %s, true), "
        + UNNOTED.removeprefix("SELECT "),
        (str(user), True),
        prepare=True,
    )


def _lsn(admin: psycopg.Connection[Any]) -> str:
    """Where the log ends, all of it written."""
    return str(only(admin.execute("SELECT pg_current_wal_insert_lsn()::text")))


# The functions of `app`

CALLS = 1
"""Calls a measurement: one, so that what else the machine does meets few of them, and the median none."""

ME, FIRST = crowd_id(1), crowd_id(50)
DAY = datetime(2026, 1, 1, tzinfo=UTC)
LATE = DAY + timedelta(days=1000)
MINUTE = timedelta(minutes=1)
LINE = conversations.ConversationLine(crowd_id(4000), None, "active", DAY + timedelta(days=1))
SEEN = conversations.MessageLine(crowd_id(1), 3, "user", None, "x", None, DAY)


class Helper(NamedTuple):
    """How a function of `app` is called, and its statement or statements."""

    call: Callable[[Session], object]
    statement: Callable[[], ClauseElement | tuple[ClauseElement, ...]]


HELPERS = {
    "page": Helper(lambda s: conversations.page(s, ME, 20), lambda: conversations.page_statement(ME, 20)),
    "page_after": Helper(
        lambda s: conversations.page(s, ME, 20, LINE),
        lambda: conversations.page_statement(ME, 20, LINE),
    ),
    "messages": Helper(
        lambda s: conversations.messages(s, ME, FIRST, 20, SEEN),
        lambda: conversations.messages_statement(ME, FIRST, 20, SEEN),
    ),
    "delete_messages_from": Helper(
        lambda s: conversations.delete_messages_from(s, ME, FIRST, LATE),
        lambda: (
            conversations.clear_sources_statement(ME, conversations.said_since(ME, FIRST, LATE)),
            conversations.clear_parents_statement(ME, conversations.said_since(ME, FIRST, LATE)),
            conversations.delete_messages_from_statement(ME, FIRST, LATE),
        ),
    ),
    "count_messages": Helper(
        lambda s: conversations.count_messages(s, ME, DAY),
        lambda: conversations.count_messages_statement(ME, DAY),
    ),
    "vote": Helper(
        lambda s: conversations.vote(s, ME, FIRST, True), lambda: conversations.vote_statement(ME, FIRST, True)
    ),
    "history": Helper(lambda s: artifacts.history(s, ME, FIRST), lambda: artifacts.history_statement(ME, FIRST, 100)),
    "newest": Helper(lambda s: artifacts.newest(s, ME, FIRST), lambda: artifacts.history_statement(ME, FIRST, 1)),
    "delete_versions_from": Helper(
        lambda s: artifacts.delete_versions_from(s, ME, FIRST, LATE),
        lambda: artifacts.delete_versions_from_statement(ME, FIRST, LATE),
    ),
    "relations": Helper(
        lambda s: artifacts.relations(s, ME, FIRST), lambda: artifacts.relations_statement(ME, FIRST, 100)
    ),
    "facts": Helper(lambda s: memory.facts(s, ME), lambda: memory.facts_statement(ME, None, 100)),
    "facts_as_of": Helper(
        lambda s: memory.facts(s, ME, DAY + MINUTE),
        lambda: memory.facts_statement(ME, DAY + MINUTE, 100),
    ),
    "mark_used": Helper(
        lambda s: memory.mark_used(s, ME, [FIRST, crowd_id(100)]),
        lambda: memory.mark_used_statement(ME, [FIRST, crowd_id(100)]),
    ),
    "tree": Helper(lambda s: knowledge.tree(s, ME), lambda: knowledge.tree_statement(ME, None, 1000)),
    "take": Helper(lambda s: operations.take(s, ME, "w", MINUTE), lambda: operations.take_statement(ME, "w", MINUTE)),
    "finish": Helper(
        lambda s: operations.finish(s, ME, FIRST, "w", 1),
        lambda: operations.finish_statement(ME, FIRST, "w", 1, None),
    ),
    "fail": Helper(
        lambda s: operations.fail(s, ME, FIRST, "w", "e", MINUTE),
        lambda: operations.fail_statement(ME, FIRST, "w", "e", MINUTE),
    ),
    "come_back": Helper(lambda s: operations.come_back(s, ME), lambda: operations.come_back_statement(ME)),
}


def helpers(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Each function of `app` against its own SQL prepared on psycopg, as the application in one open transaction."""
    with database.owner.begin() as connection:
        connection.exec_driver_sql("TRUNCATE carmenta.users, lab.datasets CASCADE")
    fill_crowd(database, rows)
    with database.user_session(ME) as session:
        found = [_against_own_sql(session, name, one, rows, repeats) for name, one in HELPERS.items()]
    with database.owner.begin() as connection:
        connection.exec_driver_sql("TRUNCATE carmenta.users CASCADE")
    return found


def _against_own_sql(session: Session, name: str, helper: Helper, rows: int, repeats: int) -> Result:
    built = helper.statement()
    statements = [compiled(each) for each in (built if isinstance(built, tuple) else (built,))]
    raw = driver(session)

    def afresh() -> None:
        session.execute(text("ROLLBACK TO SAVEPOINT bench"))

    def limit() -> None:
        for _ in range(CALLS):
            for one in statements:
                cursor = raw.execute(one.text, one.own, prepare=True, binary=True)
                if cursor.description is not None:
                    cursor.fetchall()

    def ours() -> None:
        for _ in range(CALLS):
            helper.call(session)

    session.execute(text("SAVEPOINT bench"))  # undone before each measurement: a query is taken once
    limit_ms, ours_ms = alternate(limit, ours, repeats, before=afresh, warm_up=10)
    what = "its own SQL as a prepared statement on psycopg, binary"
    return Result(name, limit_ms / CALLS, ours_ms / CALLS, rows, repeats, what)


# Migrations

READ = "SELECT count(*) FROM carmenta.messages WHERE user_id = :user AND conversation_id = :row"
WRITE = "UPDATE carmenta.messages SET content_for_llm = 'x' WHERE user_id = :user AND id = :row"


class _Client:
    """Asks again and again, and keeps the longest time that it waited for an answer."""

    def __init__(self, engine: Engine, statement: str) -> None:
        self._engine, self._statement, self._stop = engine, text(statement), Event()
        self.longest_ms = 0.0
        self._thread = Thread(target=self._run)

    def _run(self) -> None:
        values = {"user": ME, "row": FIRST}
        with self._engine.connect() as connection:
            while not self._stop.is_set():
                start = time.perf_counter()
                connection.execute(self._statement, values)
                connection.commit()
                self.longest_ms = max(self.longest_ms, (time.perf_counter() - start) * 1000)

    def during(self, work: Callable[[], object]) -> None:
        """Ask while something is done."""
        self._thread.start()
        try:
            work()
        finally:
            self._stop.set()
            self._thread.join()


class Waits(NamedTuple):
    """The longest wait of each client, in milliseconds."""

    reader: float
    writer: float


def _longest(owner: Engine, work: Callable[[], object]) -> Waits:
    """Of a reader and of a writer while something is done."""
    reader, writer = _Client(owner, READ), _Client(owner, WRITE)
    reader.during(lambda: writer.during(work))
    return Waits(reader.longest_ms, writer.longest_ms)


def _worst(waits: Sequence[Waits]) -> Waits:
    return Waits(max(each.reader for each in waits), max(each.writer for each in waits))


def migration(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """The longest wait of a reader and of a writer during each revision of `search`, against that without one.

    "Limit" is the longest wait in as much time with nothing else going on; both are the worst of `repeats`.
    """
    with database.owner.begin() as connection:
        connection.exec_driver_sql("TRUNCATE carmenta.users, lab.datasets CASCADE")
    fill_crowd(database, rows)
    owner = database.owner
    found = []
    for before, revision in pairwise(("search@base", *revisions("search"))):
        busy: list[Waits] = []
        idle: list[Waits] = []
        for _ in range(repeats):
            migrate(owner, before)  # its rows in later tables are gone after that
            start = time.perf_counter()
            busy.append(_longest(owner, partial(migrate, owner, revision)))
            spent = time.perf_counter() - start
            idle.append(_longest(owner, partial(time.sleep, spent)))
        limit, ours = _worst(idle), _worst(busy)
        for who, limit_ms, ours_ms in (("reader", limit.reader, ours.reader), ("writer", limit.writer, ours.writer)):
            what = f"the longest wait of a {who} in as much time without a migration"
            found.append(Result(f"{revision}_{who}", limit_ms, ours_ms, rows, repeats, what))
    with owner.begin() as connection:
        connection.exec_driver_sql("TRUNCATE carmenta.users CASCADE")
    return found


BENCHES = (
    Bench("append", append, rows=100_000, repeats=512, long=True),
    Bench("helpers", helpers, rows=100_000, repeats=500, long=True),
    Bench("migration", migration, rows=100_000, repeats=3, long=True),
)
