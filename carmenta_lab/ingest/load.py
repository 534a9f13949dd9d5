"""A folder into the database: identity, staging, checks, rows, passages, vectors; resumable and idempotent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import psycopg
from sqlalchemy import Connection

from carmenta_lab.datasets import Reject, content_hash, find, write_rejects
from carmenta_lab.embedding import DEFAULT_MODEL, load_embedder
from carmenta_lab.errors import DatasetError, UsageError
from carmenta_lab.ingest import cut
from carmenta_lab.ingest.apply import Changes, apply
from carmenta_lab.ingest.checks import check
from carmenta_lab.ingest.collect import Collector
from carmenta_lab.ingest.embed import embed_lacking, lacking, register
from carmenta_lab.ingest.identity import Ids
from carmenta_lab.ingest.staging import Stage, in_schema, sweep
from carmenta_lab.ingest.tokens import encode_lacking, lacking_codes
from carmenta_lab.ingest.words import AT_ONCE, LATER, index_words
from carmenta_lab.postgres.connect import Database

ANALYZED = (
    "carmenta.conversations, carmenta.memories, carmenta.documents (user_id, id, path), "
    "carmenta.messages (user_id, id, conversation_id, parent_id, position, created_at), "
    "carmenta.passages (user_id, id, unit, message_id, memory_id, document_id, created_at), "
    "carmenta.passage_features, carmenta.postings (user_id, lexeme)"
)
"""Tables whose columns appear in conditions and joins; sampling long texts costs more than it tells."""

MAX_NAME_BYTES = 255
"""A name and the longest id of a user fit one index entry."""

Progress = Callable[[str, int, int | None], object]
"""Called with the stage's name, how many rows were done since the last call, and how many there are if known."""


@dataclass
class LoadReport:
    """What a load did."""

    dataset: str
    folder: Path
    unchanged: bool = False  # the same content was there already
    changes: Changes = field(default_factory=Changes)
    rejects: list[Reject] = field(default_factory=list)
    rejects_file: Path | None = None
    mended: dict[str, int] = field(default_factory=dict)  # what was mended -> how often
    embedded: int = 0  # passages that got a vector
    tokens: int = 0  # passages that got codes of their tokens
    token_bytes: int = 0  # what the codes of all passages take on disk

    def lines(self) -> list[str]:
        """The report as a person reads it."""
        found = [f"{self.dataset}: unchanged" if self.unchanged else f"{self.dataset}: loaded from {self.folder}"]
        for table, counts in self.changes.items():
            shown = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
            if shown:
                found.append(f"  {table}: {shown}")
        found += [f"  {count} {what}" for what, count in self.mended.items()]
        if self.embedded:
            found.append(f"  passages embedded: {self.embedded}")
        if self.tokens:
            found.append(f"  passages with token codes added: {self.tokens}; all codes take {self.token_bytes:,} bytes")
        if self.rejects:
            place = f", all in {self.rejects_file}" if self.rejects_file else ""
            found.append(f"  {len(self.rejects)} lines rejected{place}; the first: {self.rejects[0]}")
        return found


def load(
    database: Database,
    dataset: str | Path,
    name: str | None = None,
    *,
    models: tuple[str, ...] = (DEFAULT_MODEL,),
    tokens: bool = False,
    reject_scope: Literal["line", "conversation"] | None = None,
    rejects_folder: Path | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> LoadReport:
    """Bring the database to match a folder; loading the same folder twice changes nothing.

    `dataset` is a name under `data/` or a path; `name` overrides the folder's name as its identity. `tokens` says
    that codes of single tokens are wanted as well, for late interaction. Bad lines are left out, listed in the
    report and, when `rejects_folder` is given, written to a file there; `reject_scope` says what a bad line takes
    along, and unless given it is that of the last load, at first the line alone. UsageError when the name is taken
    by a dataset from elsewhere.
    """
    folder = find(dataset)
    name = name or folder.name
    if not name.strip() or not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
        raise UsageError(
            f"the dataset's name must be 1 to {MAX_NAME_BYTES} bytes of printable text, not {name!r}; "
            "give another with --name."
        )
    if reject_scope not in (None, "line", "conversation"):
        raise UsageError(f"reject_scope must be 'line' or 'conversation', not {reject_scope!r}.")
    report = LoadReport(name, folder)
    content = f"{content_hash(folder)}/{cut.VERSION}"
    with database.owner.connect() as connection, _alone(connection, Ids(name)) as raw:
        known = _known(raw, name, folder, content)
        digest = f"{content}/{reject_scope or (known or '').rpartition('/')[2] or 'line'}"
        report.unchanged = known == digest
        if not report.unchanged:
            _load_rows(database, connection, raw, report, digest, again=known is not None, progress=progress)
            if rejects_folder is not None:
                rejects_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                file = rejects_folder / f"{Ids(name).dataset}.rejects.jsonl"
                file.unlink(missing_ok=True)
                report.rejects_file = file if write_rejects(file, report.rejects) else None
        users = [row[0] for row in raw.execute("SELECT id FROM carmenta.users WHERE source = %s", (name,)).fetchall()]
        indexed = index_words(raw, users, lambda: _commit(connection))
        for model in models:
            report.embedded += _embed(database, connection, raw, name, model, progress)
        if tokens:
            report.tokens, report.token_bytes = _encode(connection, raw, users, progress)
        if not report.unchanged or report.embedded or report.tokens or indexed:
            raw.execute(f"ANALYZE {ANALYZED}")
        connection.commit()
    return report


@contextmanager
def _alone(connection: Connection, ids: Ids) -> Iterator[psycopg.Connection[Any]]:
    """The raw connection, with nobody else loading this dataset; staging tables are gone afterwards."""
    key = int.from_bytes(ids.dataset.bytes[:8], "big", signed=True)
    connection.begin()
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    raw.execute("SELECT pg_advisory_lock(%s)", (key,))
    raw.execute(LATER, (False,))
    try:
        yield raw
    finally:
        if raw.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
            raw.rollback()
        if not raw.closed:
            raw.execute(AT_ONCE)
            raw.execute("SELECT pg_advisory_unlock(%s)", (key,))
            connection.commit()


def _commit(connection: Connection) -> None:
    """End the transaction and begin the next, as the owner again."""
    connection.commit()
    connection.begin()


def _known(raw: psycopg.Connection[Any], name: str, folder: Path, content: str) -> str | None:
    """The digest of the loaded dataset of this name ('' when a load was cut off), None when there is none."""
    row = raw.execute("SELECT origin, content_hash FROM lab.datasets WHERE name = %s", (name,)).fetchone()
    if row is None:
        return None
    origin, known = row
    if origin != str(folder) and not (known or "").startswith(content) and Path(origin).is_dir():
        raise UsageError(
            f"a dataset {name!r} was loaded from {origin}; {folder} is another folder with other content: "
            "load it under another name with --name."
        )
    return known or ""


def _load_rows(
    database: Database,
    connection: Connection,
    raw: psycopg.Connection[Any],
    report: LoadReport,
    digest: str,
    *,
    again: bool,
    progress: Progress,
) -> None:
    ids = Ids(report.dataset)
    raw.execute(
        "INSERT INTO lab.datasets (id, name, origin) VALUES (%s, %s, %s) "
        "ON CONFLICT (id) DO UPDATE SET origin = excluded.origin, content_hash = NULL",
        (ids.dataset, report.dataset, str(report.folder)),
    )
    sweep(raw)
    stage = Stage(raw, f"stage_{ids.dataset.hex}")

    @contextmanager
    def another() -> Iterator[psycopg.Connection[Any]]:
        with database.owner.begin() as worker:
            other = worker.connection.driver_connection
            assert isinstance(other, psycopg.Connection)
            other.execute(in_schema(stage.schema, local=True))
            other.execute(LATER, (True,))
            yield other

    try:
        collector = Collector(report.folder, ids, stage, lambda count: progress("reading", count, None))
        collector.collect()
        if not collector.users:
            first = f" The first: {collector.rejects[0]}." if collector.rejects else ""
            raise DatasetError(f"{report.folder} holds no line that can be loaded.{first}")
        found, report.mended = check(raw, ids, collector.rejects, digest.endswith("/conversation"))
        report.rejects = sorted([*collector.rejects, *found], key=lambda reject: (reject.file, reject.line))
        row = raw.execute("SELECT count(*) FROM stage_messages").fetchone()
        total = int(row[0]) if row else 0
        _commit(connection)
        report.changes = apply(
            raw,
            ids.dataset,
            report.dataset,
            again,
            lambda: _commit(connection),
            another,
            lambda count: progress("writing", count, total),
        )
        counts = {
            table: _count(raw, table) for table in ("users", "conversations", "messages", "documents", "memories")
        }
        counts |= {table: _count(raw, table) for table in ("profiles", "queries", "qrels")}
        raw.execute(
            "UPDATE lab.datasets SET content_hash = %s, counts = %s, loaded_at = now() WHERE id = %s",
            (digest, psycopg.types.json.Jsonb(counts | {"rejects": len(report.rejects)}), ids.dataset),
        )
    except BaseException:
        raw.rollback()
        connection.rollback()
        connection.begin()
        raise
    finally:
        stage.drop()
    _commit(connection)


def _count(raw: psycopg.Connection[Any], table: str) -> int:
    row = raw.execute(f"SELECT count(*) FROM stage_{table}").fetchone()
    return int(row[0]) if row else 0


def _embed(
    database: Database, connection: Connection, raw: psycopg.Connection[Any], name: str, model: str, progress: Progress
) -> int:
    rows = raw.execute("SELECT id FROM carmenta.users WHERE source = %s", (name,)).fetchall()
    users = [row[0] for row in rows]
    row = raw.execute("SELECT table_name FROM carmenta.embedding_models WHERE name = %s", (model,)).fetchone()
    if row is not None and not lacking(raw, row[0], users):
        return 0
    embedder = load_embedder(model)
    table = register(database.owner, model, embedder.dim)
    missing = lacking(raw, table, users)
    done = embed_lacking(
        raw,
        table,
        embedder,
        users,
        lambda: _commit(connection),
        lambda count: progress("embedding", count, missing),
    )
    if done:
        raw.execute(f"ANALYZE carmenta.{table}")
    return done


def _encode(
    connection: Connection, raw: psycopg.Connection[Any], users: list[UUID], progress: Progress
) -> tuple[int, int]:
    """How many passages got token codes, and what all codes take on disk."""
    missing = lacking_codes(raw, users)
    done = 0
    if missing:
        embedder = load_embedder(DEFAULT_MODEL)
        done = encode_lacking(
            raw,
            embedder,
            users,
            lambda: _commit(connection),
            lambda count: progress("encoding tokens", count, missing),
        )
        raw.execute("ANALYZE carmenta.token_codes (user_id, passage_id)")
    row = raw.execute("SELECT pg_total_relation_size('carmenta.token_codes')").fetchone()
    assert row is not None
    return done, int(row[0])
