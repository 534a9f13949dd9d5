"""Where do rows wait before anything is decided? The typed rows of a load, the tables they are copied to, who writes.

A field of a row type is a column of its staging table: name, type, and what COPY sends follow from it.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, TypeAlias, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine

from carmenta_lab.datasets import Document, GivenVectors, Memory, Message, Scan
from carmenta_lab.ids import Ids, passage_key
from carmenta_lab.indexing.passages import pieces
from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.postgres.copying import copy
from carmenta_lab.postgres.statement import driver, only
from carmenta_lab.records import Progress

BATCH_ROWS = 5_000

Key: TypeAlias = Annotated[bytes, "uuid"]
"""The 16 bytes of a uuid, as they travel."""
Minutes: TypeAlias = Annotated[int, "int2"]
Size: TypeAlias = Annotated[int, "int8"]
Real: TypeAlias = Annotated[float, "float4"]

_TYPES = {
    str: "text",
    int: "int4",
    bool: "bool",
    bytes: "bytea",
    datetime: "timestamptz",
    Jsonb: "jsonb",
    list[str]: "text[]",
}


class UserRow(NamedTuple):
    """A user, as the first line that names them has it."""

    id: Key
    external_id: str


class ConversationRow(NamedTuple):
    """A conversation, whether `conversations.jsonl` describes it or a message only names it."""

    id: Key
    user_id: Key
    external_id: str
    title: str | None
    status: str
    visibility: str


class MessageRow(NamedTuple):
    """A message; one that is a passage as it stands has the passage's key."""

    line: int
    conversation_number: int  # in the order of the file: it sorts faster than a uuid
    id: Key
    user_id: Key
    conversation_id: Key
    parent_id: Key | None
    position: int | None  # as given
    role: str
    author: str | None
    model: str | None
    parts: Jsonb | None
    content: str
    content_for_llm: str | None
    language: str
    external_id: str
    created_at: datetime | None
    utc_offset: Minutes | None
    header: str
    passage_id: Key | None


class AttachmentRow(NamedTuple):
    """A file of a message."""

    line: int
    id: Key
    user_id: Key
    message_id: Key
    name: str
    media_type: str
    bucket: str
    key: str
    size_bytes: Size
    sha256: bytes | None


class PassageRow(NamedTuple):
    """A passage of a text that had to be looked at to be cut."""

    line: int
    user_id: Key
    id: Key
    unit: str
    ordinal: int
    content: str
    message_id: Key | None
    memory_id: Key | None
    document_id: Key | None
    author: str | None
    language: str
    created_at: datetime | None


class DocumentRow(NamedTuple):
    """A document."""

    line: int
    id: Key
    user_id: Key
    path: str
    name: str
    content: str
    tags: list[str]
    source_type: str | None
    language: str
    external_id: str
    created_at: datetime | None
    utc_offset: Minutes | None


class MemoryRow(NamedTuple):
    """A memory."""

    line: int
    id: Key
    user_id: Key
    category: str
    content: str
    confidence: Real
    source_message_id: Key | None
    superseded_by: Key | None
    language: str
    external_id: str
    created_at: datetime | None
    utc_offset: Minutes | None


class ProfileRow(NamedTuple):
    """A profile."""

    line: int
    id: Key
    user_id: Key
    content: str


class QueryRow(NamedTuple):
    """A question."""

    line: int
    query_id: str
    user_id: Key
    content: str
    category: str
    asked_at: datetime | None
    answers: list[str]
    language: str


class TargetRow(NamedTuple):
    """A message that is judged and that a first load may write past the stage."""

    id: Key


class JudgementRow(NamedTuple):
    """A judgement; what its target is shows when all is read."""

    line: int
    query_id: str
    target_id: str
    message_id: Key
    memory_id: Key
    document_id: Key
    relevance: int


class ArtifactRow(NamedTuple):
    """A version of an artifact; `*_given` are ids as the line gives them, for a reject to name."""

    line: int
    user_id: Key
    user_given: str
    message_id: Key | None
    message_given: str | None
    id: Key
    external_id: str
    reference_id: Key | None
    conversation_id: Key | None
    conversation_given: str | None
    created_at: datetime
    kind: str
    title: str
    content: str
    summary_for_llm: str | None
    component_tree: Jsonb | None
    data_bindings: Jsonb | None
    ui_state: Jsonb | None


class VoteRow(NamedTuple):
    """A vote."""

    line: int
    user_id: Key
    user_given: str
    message_id: Key
    message_given: str
    is_upvoted: bool
    voted_at: datetime


class FeedbackRow(NamedTuple):
    """A signal of feedback."""

    line: int
    user_id: Key
    user_given: str
    message_id: Key
    message_given: str
    id: Key
    kind: str
    weight: Real
    duration_s: Real | None
    detail: Jsonb | None
    created_at: datetime


class TagRow(NamedTuple):
    """A tag on a thing of this kind."""

    line: int
    user_id: Key
    user_given: str
    tag_id: Key
    name: str
    kind: str
    target_id: Key
    target_given: str


class FiledRow(NamedTuple):
    """The folder a conversation is in."""

    line: int
    user_id: Key
    conversation_id: Key
    path: str


class FolderRow(NamedTuple):
    """A folder that is named, or stands above one."""

    user_id: Key
    id: Key
    path: str


StageRow: TypeAlias = (
    UserRow
    | ConversationRow
    | MessageRow
    | AttachmentRow
    | PassageRow
    | DocumentRow
    | MemoryRow
    | ProfileRow
    | QueryRow
    | TargetRow
    | JudgementRow
    | ArtifactRow
    | VoteRow
    | FeedbackRow
    | TagRow
    | FiledRow
    | FolderRow
)


@dataclass(frozen=True)
class StageTable:
    """A staging table; `computed` are columns that statements fill, by name and type."""

    name: str
    row: type[StageRow]
    computed: str = ""

    @cached_property
    def columns(self) -> dict[str, str]:
        """The SQL type of each column that is copied, by its name."""
        return {name: _sql_type(hint) for name, hint in get_type_hints(self.row, include_extras=True).items()}

    @property
    def definition(self) -> str:
        """The columns as CREATE TABLE takes them."""
        found = [f"{name} {kind}" for name, kind in self.columns.items()]
        return ", ".join([*found, self.computed] if self.computed else found)

    def copy(self, connection: psycopg.Connection[Any], schema: str, rows: Sequence[StageRow]) -> None:
        """Copy rows into the table of this schema; uuids travel as their bytes."""
        columns = [(name, "bytea" if kind == "uuid" else kind) for name, kind in self.columns.items()]
        copy(connection, sql.Identifier(schema, f"stage_{self.name}"), columns, rows)


def _sql_type(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        (sql_type,) = hint.__metadata__
        return str(sql_type)
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (each for each in get_args(hint) if each is not NoneType)
        return _sql_type(hint)
    return _TYPES[hint]


TABLES: dict[type[StageRow], StageTable] = {
    table.row: table
    for table in (
        StageTable("users", UserRow),
        StageTable("conversations", ConversationRow, "batch int4"),
        StageTable("messages", MessageRow),
        StageTable("attachments", AttachmentRow),
        StageTable("passages", PassageRow),
        StageTable("documents", DocumentRow),
        StageTable("memories", MemoryRow),
        StageTable("profiles", ProfileRow),
        StageTable("queries", QueryRow),
        StageTable("targets", TargetRow),
        StageTable("qrels", JudgementRow),
        StageTable("artifacts", ArtifactRow),
        StageTable("votes", VoteRow),
        StageTable("feedback", FeedbackRow),
        StageTable("tags", TagRow),
        StageTable("filed", FiledRow, "known bool NOT NULL DEFAULT false"),
        StageTable("folders", FolderRow),
    )
}
"""Row type -> its table; in SQL the table's name has the prefix `stage_`."""

_ANALYZED = (
    "stage_conversations, stage_messages (conversation_id, id), stage_passages (id), "
    "stage_artifacts, stage_votes, stage_feedback, stage_tags, stage_filed, stage_folders"
)


class LongText(NamedTuple):
    """A text that may become several passages."""

    line: int
    unit: str
    source: bytes
    user: bytes
    head: str
    record: Message | Memory | Document


class StagedMessage(NamedTuple):
    """A message with its files, and its text where that is not a passage as it stands."""

    row: MessageRow
    files: Sequence[AttachmentRow]
    long: LongText | None


def passages(texts: Sequence[LongText]) -> Iterator[PassageRow]:
    """The passages of long texts; best called with many, because the tokenizer is slow with one."""
    for text, cut in zip(texts, pieces([(each.head, each.record.text) for each in texts]), strict=True):
        record = text.record
        author = record.author if isinstance(record, Message) else None
        for n, piece in enumerate(cut):
            yield PassageRow(
                line=text.line,
                user_id=text.user,
                id=passage_key(text.source, text.unit, n, piece, record.created_at, author, record.language),
                unit=text.unit,
                ordinal=n,
                content=piece,
                message_id=text.source if isinstance(record, Message) else None,
                memory_id=text.source if isinstance(record, Memory) else None,
                document_id=text.source if isinstance(record, Document) else None,
                author=author,
                language=record.language,
                created_at=record.created_at,
            )


class Stage:
    """The staging tables of one load, in a schema of its own that several connections can read.

    Rows are gathered and copied in batches by a thread, so that memory stays flat and parsing goes on meanwhile:
    until `finish` returns, nobody else may use the connection. The thread makes the tables too.
    """

    def __init__(self, connection: psycopg.Connection[Any], schema: str) -> None:
        self.connection = connection
        self.schema = schema
        self._rows: dict[type[StageRow], list[StageRow]] = {row: [] for row in TABLES}
        self._writer = ThreadPoolExecutor(1)
        self._written: Future[None] | None = self._writer.submit(self._make)

    def add(self, row: StageRow) -> None:
        """Add a row to the staging table of its type."""
        rows = self._rows[type(row)]
        rows.append(row)
        if len(rows) >= BATCH_ROWS:
            self._flush(type(row))

    def finish(self) -> None:
        """Copy the rows that are left, and update the statistics of the planner."""
        for row in TABLES:
            self._flush(row)
        self._wait()
        self.connection.execute(f"ANALYZE {_ANALYZED}")

    def stop(self) -> None:
        """Stop the thread after the batch it is at; the connection is the caller's again."""
        self._writer.shutdown(cancel_futures=True)

    def drop(self) -> None:
        """Drop the schema with the staging tables."""
        self.stop()
        self.connection.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")
        self.connection.execute("RESET search_path")

    def _make(self) -> None:
        self.connection.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")  # of a load that was cut off
        self.connection.execute(f"CREATE SCHEMA {self.schema}")
        self.connection.execute(_in_schema(self.schema))
        for table in TABLES.values():
            self.connection.execute(f"CREATE UNLOGGED TABLE stage_{table.name} ({table.definition})")

    def _wait(self) -> None:
        if self._written is not None:
            self._written.result()
            self._written = None

    def _flush(self, row: type[StageRow]) -> None:
        if rows := self._rows[row]:
            self._wait()
            self._written = self._writer.submit(TABLES[row].copy, self.connection, self.schema, rows)
            self._rows[row] = []


@dataclass(frozen=True)
class FolderVectors:
    """The vectors of one model that a folder brings along, and the table they go to."""

    vectors: GivenVectors
    table: str


@dataclass(frozen=True)
class Task:
    """One load: the folder, what is known of it, and the connections to load it over."""

    name: str
    folder: Path
    scan: Scan
    given: Sequence[FolderVectors]
    is_reload: bool  # an earlier load left rows, which may have changed or vanished
    whole_conversations: bool  # a bad line takes its conversation along
    digest: str  # of the folder and all else that decides what its rows are
    progress: Progress
    engine: Engine
    connection: Connection  # which holds the dataset's lock

    @cached_property
    def ids(self) -> Ids:
        """The uuids of this dataset."""
        return Ids(self.name)

    @property
    def raw(self) -> psycopg.Connection[Any]:
        """The driver's connection of `connection`."""
        return driver(self.connection)

    @property
    def schema(self) -> str:
        """The schema of the staging tables."""
        return f"stage_{self.ids.dataset.hex}"

    def commit(self) -> None:
        """End the transaction and begin the next, as the owner again."""
        self.connection.commit()
        self.connection.begin()

    def claim(self, connection: psycopg.Connection[Any]) -> None:
        """Mark the dataset as being loaded: until the load ends, its content counts as unknown."""
        connection.execute(
            "INSERT INTO lab.datasets (id, name, origin) VALUES (%s, %s, %s) "
            "ON CONFLICT (id) DO UPDATE SET origin = excluded.origin, content_hash = NULL, held = '{}'",
            (self.ids.dataset, self.name, str(self.folder)),
        )

    def written(self, messages: int) -> None:
        """Report progress: that many more messages are written."""
        self.progress("writing", messages, self.scan.messages)

    @contextmanager
    def another(self) -> Iterator[psycopg.Connection[Any]]:
        """A transaction on a connection of its own that finds the staging tables by their names."""
        with self.engine.begin() as worker:
            other = driver(worker)
            other.execute(_in_schema(self.schema, local=True))
            other.execute(UNNOTED, (True,))
            yield other


def _in_schema(schema: str, local: bool = False) -> str:
    """A statement that lets a session, or with `local` a transaction, find the staging tables by their names."""
    return f"SELECT set_config('search_path', '{schema}, ' || current_setting('search_path'), {str(local).lower()})"


def sweep(connection: psycopg.Connection[Any]) -> None:
    """Drop what killed loads left behind, as it holds personal data: a stage whose dataset nobody is loading."""
    rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ '^stage_[0-9a-f]{32}$'").fetchall()
    for (schema,) in rows:
        key = lock_key(UUID(schema.removeprefix("stage_")))
        if only(connection.execute("SELECT pg_try_advisory_lock(%s)", (key,))):
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
            connection.execute("SELECT pg_advisory_unlock(%s)", (key,))


def lock_key(dataset: UUID) -> int:
    """The advisory lock that a load of this dataset holds."""
    return int.from_bytes(dataset.bytes[:8], "big", signed=True)
