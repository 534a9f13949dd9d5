"""How is a first load fast? Whole conversations go to the tables while the rest of the file is still being read.

An optimisation of `reconcile` and nothing else: it writes with the same statements, what it cannot write it leaves to
the stage, and a test over random folders holds the rows and the report to those of reconciling.
"""

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, NamedTuple, Self
from uuid import UUID

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from carmenta_lab.datasets import Message
from carmenta_lab.errors import DatasetError
from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.ingest.checking import PARENTS, WITHOUT_PARENT
from carmenta_lab.ingest.reading import Reader
from carmenta_lab.ingest.reconcile import (
    ALL,
    ATTACHMENTS,
    CONVERSATIONS,
    MESSAGES,
    PIECES,
    TURNS,
    USERS,
    Changes,
    WholeMessage,
    write_given,
)
from carmenta_lab.ingest.staging import (
    TABLES,
    AttachmentRow,
    ConversationRow,
    LongText,
    MessageRow,
    PassageRow,
    StagedMessage,
    StageRow,
    Task,
    passages,
)
from carmenta_lab.postgres.statement import driver, only

WORKERS = 2

BATCH_MESSAGES = 2_500
BATCH_CHARACTERS = 16_000_000
PAUSE_MESSAGES = 50
"""Between two pauses of the reader, in which a writer that has heard from the server goes on: the interpreter would let
it wait 5 ms."""
PAUSE_SECONDS = 1e-6
OPEN_MESSAGES = 20_000
OPEN_CHARACTERS = 64_000_000
"""Of conversations that have begun and not ended; beyond it they are left to the stage."""

UNFLUSHED = "SET LOCAL synchronous_commit = off"
"""A crash may take the last batches, as the log keeps their order; the mark of a finished load is flushed after all."""

_USERS = USERS.format(rows="unnest(%(ids)s::uuid[], %(names)s::text[]) u(id, name)")


class _Step(NamedTuple):
    """One statement of a batch; it is left out where the batch has no rows of this type."""

    needs: type[StageRow]
    statement: str
    counts: str = ""  # the table whose added rows it counts


_MEND_PARENTS = _Step(MessageRow, PARENTS)
_STEPS = (
    _MEND_PARENTS,
    _Step(ConversationRow, CONVERSATIONS.insert(**ALL), "conversations"),
    _Step(MessageRow, MESSAGES.insert(**ALL), "messages"),
    _Step(AttachmentRow, ATTACHMENTS.insert(**ALL), "attachments"),
    _Step(MessageRow, TURNS.format(**ALL)),
    _Step(PassageRow, PIECES.format(condition="true")),
)


@dataclass
class _Batch:
    """Whole conversations."""

    conversations: list[ConversationRow] = field(default_factory=list)
    messages: list[MessageRow] = field(default_factory=list)
    attachments: list[AttachmentRow] = field(default_factory=list)
    long: list[LongText] = field(default_factory=list)
    users: dict[bytes, str] = field(default_factory=dict)  # uuid -> given id, of those that no earlier batch had
    characters: int = 0


@dataclass
class _Written:
    """What batches became."""

    changes: Changes = field(default_factory=Changes)
    mended: Counter[str] = field(default_factory=Counter)  # what was mended -> how often
    vectors: Counter[str] = field(default_factory=Counter)  # model -> vectors of the folder


@dataclass
class _Open:
    """A conversation whose last line is still to come."""

    messages: list[StagedMessage] = field(default_factory=list)
    characters: int = 0


class FastLoad:
    """Takes the messages of a file in its order, and has conversations written as soon as they are complete.

    A conversation that holds an id which comes twice, or that is spread so far over the file that memory would
    grow with it, is left to the stage, whole. `written` has what the others became, once `finish` has returned.
    """

    def __init__(self, task: Task, reader: Reader) -> None:
        self.left: dict[str, None] = {}
        self._task = task
        self._reader = reader
        self._writer = _Writer(task)
        self._open: dict[str, _Open] = {}
        self._messages = 0  # in open conversations
        self._characters = 0
        self._users: set[bytes] = set()
        self._batch = _Batch()

    @property
    def written(self) -> _Written:
        """The messages that are in the tables so far."""
        return self._writer.written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self._writer.close()

    def take(self, conversation: str, message: StagedMessage) -> None:
        """Take the next message of a conversation, named by its given id."""
        row, scan = message.row, self._task.scan
        if row.line % PAUSE_MESSAGES == 0 and self._writer.is_writing:
            time.sleep(PAUSE_SECONDS)
        if hash(row.external_id) in scan.repeated and conversation not in self.left:
            self._leave(conversation)
        if conversation in self.left:
            self._reader.leave(message)
            return
        end = scan.ends.get(conversation, 0)
        if row.line > end:
            raise DatasetError(
                f"{Message.FILE} was changed while it was being read, at line {row.line}; load it again."
            )
        found = self._open.get(conversation)
        if found is None:
            found = self._open[conversation] = _Open()
        found.messages.append(message)
        length = len(row.content)
        found.characters += length
        self._messages += 1
        self._characters += length
        if self._messages > OPEN_MESSAGES or self._characters > OPEN_CHARACTERS:
            for each in list(self._open):
                self._leave(each)
        elif row.line == end:
            self._complete(conversation)

    def finish(self) -> None:
        """Write the conversations that are still open at the end of the file: their last lines were rejected."""
        for conversation in list(self._open):
            self._complete(conversation)
        self._send()
        self._writer.wait(0)

    def _leave(self, conversation: str) -> None:
        self.left[conversation] = None
        for message in self._close(conversation).messages:
            self._reader.leave(message)

    def _close(self, conversation: str) -> _Open:
        found = self._open.pop(conversation, _Open())
        self._messages -= len(found.messages)
        self._characters -= found.characters
        return found

    def _complete(self, conversation: str) -> None:
        found, batch = self._close(conversation), self._batch
        described = self._reader.describe(conversation)
        if described.user_id not in self._users:
            self._users.add(described.user_id)
            batch.users[described.user_id] = self._reader.user_of(conversation)
        batch.conversations.append(described)
        for message in found.messages:
            batch.messages.append(message.row)
            batch.attachments += message.files
            if message.long is not None:
                batch.long.append(message.long)
        batch.characters += found.characters
        if len(batch.messages) >= BATCH_MESSAGES or batch.characters >= BATCH_CHARACTERS:
            self._send()

    def _send(self) -> None:
        if self._batch.messages:
            self._writer.write(self._batch)
            self._batch = _Batch()


class _Writer:
    """Writes batches that nothing in the database stands against, several transactions at a time.

    Rows go by binary COPY into temporary tables named as those of the stage, and on from there with the statements of
    reconciling, because COPY does not write into a table with row-level security. At most `WORKERS` batches are being
    written and one waits.
    """

    def __init__(self, task: Task) -> None:
        self.written = _Written(vectors=Counter({each.vectors.model: 0 for each in task.given}))
        self._task = task
        self._claimed = False
        self._workers = ThreadPoolExecutor(WORKERS)
        self._connections: SimpleQueue[Connection] = SimpleQueue()
        self._made: set[tuple[psycopg.Connection[Any], str]] = set()  # temporary tables
        self._under_way: set[Future[_Written]] = set()

    @property
    def is_writing(self) -> bool:
        """Whether a batch is under way."""
        return bool(self._under_way)

    def close(self) -> None:
        """Let the batches under way end, drop the rest, and leave nothing on the connections."""
        self._workers.shutdown(cancel_futures=True)
        while not self._connections.empty():
            with suppress(DBAPIError), self._connections.get() as connection, connection.begin():
                connection.exec_driver_sql("DISCARD TEMP")

    def write(self, batch: _Batch) -> None:
        """Have a batch written; waits while too many are under way, and raises what went wrong with one."""
        if batch.users:
            self._write_users(batch.users)
        self.wait(WORKERS)
        self._under_way.add(self._workers.submit(self._write, batch))

    def wait(self, most: int) -> None:
        """Until no more than `most` batches are under way."""
        done = {future for future in self._under_way if future.done()}
        while len(self._under_way) - len(done) > most:
            done |= wait(self._under_way - done, return_when=FIRST_COMPLETED).done
        for future in done:
            self._under_way.remove(future)
            found = future.result()
            self.written.changes.add(found.changes)
            self.written.mended += found.mended
            self.written.vectors.update(found.vectors)
            self._task.written(found.changes["messages"]["added"])

    def _write_users(self, users: dict[bytes, str]) -> None:
        with self._task.engine.begin() as connection:
            raw = driver(connection)
            raw.execute(UNFLUSHED)
            if not self._claimed:
                self._task.claim(raw)
            ids = [UUID(bytes=key) for key in users]
            values = {"dataset": self._task.ids.dataset, "ids": ids, "names": list(users.values())}
            added = only(raw.execute(_USERS, values))
        self._claimed = True
        self.written.changes.count("users", added=added)

    def _write(self, batch: _Batch) -> _Written:
        """One transaction."""
        pieces = list(passages(batch.long))
        rows: dict[type[StageRow], Sequence[StageRow]] = {
            ConversationRow: batch.conversations,
            MessageRow: batch.messages,
            AttachmentRow: batch.attachments,
            PassageRow: pieces,
        }
        found = _Written()
        connection = self._connection()
        try:
            with connection.begin():
                raw = driver(connection)
                with raw.pipeline():
                    raw.execute(UNNOTED, (True,))
                    raw.execute(UNFLUSHED)
                for kind, each in rows.items():
                    if each:
                        self._stage(raw, kind, each)
                with raw.pipeline():  # the server goes on from one to the next while vectors are made ready
                    steps = [step for step in _STEPS if rows[step.needs]]
                    cursors = [raw.execute(step.statement, {"source": self._task.name}) for step in steps]
                    given = self._task.given
                    whole = whole_messages(batch.messages, pieces) if given else []
                    vectors = {each.vectors.model: write_given(raw, each, whole) for each in given}
                for step, cursor in zip(steps, cursors, strict=True):
                    if step.counts:
                        found.changes.count(step.counts, added=cursor.rowcount)
                    elif step is _MEND_PARENTS:
                        found.mended[WITHOUT_PARENT] += cursor.rowcount
                for model, written in vectors.items():
                    found.vectors[model] += sum(cursor.rowcount for cursor in written)
        finally:
            self._connections.put(connection)
        return found

    def _connection(self) -> Connection:
        with suppress(Empty):
            return self._connections.get_nowait()
        return self._task.engine.connect()

    def _stage(self, raw: psycopg.Connection[Any], kind: type[StageRow], rows: Sequence[StageRow]) -> None:
        """Copy rows into a temporary table, made when it is first needed: each is truncated at every commit."""
        table = TABLES[kind]
        if (raw, table.name) not in self._made:
            raw.execute(f"CREATE TEMP TABLE stage_{table.name} ({table.definition}) ON COMMIT DELETE ROWS")
            self._made.add((raw, table.name))
        table.copy(raw, "pg_temp", rows)


def whole_messages(messages: Sequence[MessageRow], pieces: Sequence[PassageRow]) -> list[WholeMessage]:
    """The passages of these messages that are a whole message each, those of long ones included."""
    counts = Counter(piece.message_id for piece in pieces)
    short = [
        WholeMessage(m.line, m.user_id, m.passage_id, m.id, m.created_at) for m in messages if m.passage_id is not None
    ]
    long = [
        WholeMessage(p.line, p.user_id, p.id, p.message_id, p.created_at)
        for p in pieces
        if p.message_id is not None and counts[p.message_id] == 1
    ]
    return short + long
