"""A folder into the database: identity, staging, checks, rows, passages, vectors; resumable and idempotent."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import psycopg
from sqlalchemy import Connection

from carmenta_lab.datasets import GivenVectors, Scan, content_hash, find, given_vectors, scan, write_rejects
from carmenta_lab.datasets.folder import vector_files
from carmenta_lab.embedding import DEFAULT_MODEL, load_embedder
from carmenta_lab.errors import UsageError
from carmenta_lab.ids import Ids
from carmenta_lab.indexing import passages as cut
from carmenta_lab.indexing.token_codes import encode
from carmenta_lab.indexing.vectors import embed_lacking, lacking, register
from carmenta_lab.indexing.words import rebuild_owed
from carmenta_lab.indexing.writing import NOTED, UNNOTED
from carmenta_lab.ingest.given import Given
from carmenta_lab.ingest.held import held
from carmenta_lab.ingest.report import LoadReport
from carmenta_lab.ingest.rows import Progress, commit, load_rows
from carmenta_lab.ingest.staging import lock_key
from carmenta_lab.postgres.connect import Database

__all__ = ["LoadReport", "load"]

ANALYZED = (
    "search.passages (user_id, id, unit, message_id, memory_id, document_id, created_at)",
    "carmenta.conversations, carmenta.memories, carmenta.documents (user_id, id, path), "
    "carmenta.messages (user_id, id, conversation_id, parent_id, position, created_at)",
)
VECTORS = "search.{table} (user_id, passage_id, source_id, created_at, unit)"
"""Tables with those columns that appear in conditions and joins; long texts would tell little."""

MAX_NAME_BYTES = 255
"""A name and the longest id of a user fit one index entry."""


def load(
    database: Database,
    dataset: str | Path,
    name: str | None = None,
    *,
    models: tuple[str, ...] = (DEFAULT_MODEL,),
    tokens: bool = False,
    words: bool = True,
    reject_scope: Literal["line", "conversation"] | None = None,
    rejects_folder: Path | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> LoadReport:
    """Bring the database to match a folder; loading the same folder twice changes nothing, unless rows went meanwhile.

    A changed folder is brought to match: added, updated, deleted. Bad lines are left out and listed in the report.

    Parameters:
        dataset: a name under `data/`, or the path of a folder.
        name: the dataset's name, by which it is known from then on; the folder's unless given.
        models: embedding models whose vectors are written.
        tokens: whether codes of single tokens are wanted as well, for `evidence` and `late_interaction`.
        words: False leaves the index of words to the next load.
        reject_scope: what a bad line takes along, "line" or "conversation"; as at the last load, at first the line.
        rejects_folder: where rejected lines are written, readable by their owner alone.
        progress: called with a stage, what was done since its last call, and how much there is.

    Raises:
        UsageError: when there is no such folder, and when the name is taken by a dataset from elsewhere.
        DatasetError: when the folder is no dataset.

    >>> cl.load(lab, "sample_de").unchanged
    True
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
        key = Ids(name).dataset
        known = _known(raw, name, folder, content)
        digest = f"{content}/{reject_scope or (known or '').rpartition('/')[2] or 'line'}"
        report.unchanged = known == digest and _still_there(raw, key, folder)
        if not report.unchanged:
            looked, vectors = _look(folder)
            given = [Given(each, register(database.owner, each.model, each.dim)) for each in vectors]
            again = known is not None
            load_rows(*(database.owner, connection, raw, report, digest, looked, given), again=again, progress=progress)
            _analyze(database, [*ANALYZED, *(VECTORS.format(table=each.table) for each in given)])
            there = held(raw, key, [each.vectors.model for each in given])
            values = (psycopg.types.json.Jsonb(there._asdict()), key)
            raw.execute("UPDATE lab.datasets SET held = %s WHERE id = %s", values)
            commit(connection)
            touched = _users(raw, name)  # whose rows this load may have changed, now in their tables
            for each in given:
                missing = lacking(raw, each.table, touched) if each.vectors.model not in models else 0
                report.lacking |= {each.vectors.model: missing} if missing else {}
            if rejects_folder is not None:
                rejects_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                file = rejects_folder / f"{key}.rejects.jsonl"
                file.unlink(missing_ok=True)
                report.rejects_file = file if write_rejects(file, report.rejects) else None
        indexed = rebuild_owed(raw, _users(raw, name), lambda: commit(connection)) if words else 0
        for model in models:
            both = tokens and model == DEFAULT_MODEL
            embedded, coded = _embed(database, connection, raw, name, model, both, progress)
            report.embedded += embedded
            report.tokens += coded
        if tokens:
            coded, report.token_bytes = encode(raw, _users(raw, name), lambda: commit(connection), progress)
            report.tokens += coded
            if report.tokens:
                raw.execute("ANALYZE search.token_codes (user_id, passage_id)")
        if indexed:
            raw.execute("ANALYZE search.passage_features, search.postings (user_id, lexeme)")
        connection.commit()
    return report


def _look(folder: Path) -> tuple[Scan, list[GivenVectors]]:
    """A first look at the messages and, at the same time, at the vectors that stand beside them."""
    with ThreadPoolExecutor(1) as aside:
        checking = aside.submit(given_vectors, folder)
        looked = scan(folder)
        vectors = checking.result()
    for each in vectors:
        each.expect(looked.lines)
    return looked, vectors


def _analyze(database: Database, tables: Sequence[str]) -> None:
    """Let the planner know of the rows, as what follows is planned by it; two connections at a time."""

    def analyze(columns: str) -> None:
        with database.owner.begin() as connection:
            connection.exec_driver_sql(f"ANALYZE {columns}")

    with ThreadPoolExecutor(2) as workers:
        list(workers.map(analyze, tables))


@contextmanager
def _alone(connection: Connection, ids: Ids) -> Iterator[psycopg.Connection[Any]]:
    """The raw connection, with nobody else loading this dataset; staging tables are gone afterwards."""
    key = lock_key(ids.dataset)
    connection.begin()
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    raw.execute("SELECT pg_advisory_lock(%s)", (key,))
    raw.execute(UNNOTED, (False,))
    try:
        yield raw
    finally:
        if raw.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
            raw.rollback()
        if not raw.closed:
            raw.execute(NOTED)
            raw.execute("SELECT pg_advisory_unlock(%s)", (key,))
            connection.commit()


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


def _still_there(raw: psycopg.Connection[Any], dataset: UUID, folder: Path) -> bool:
    """Whether the tables hold what they held when the dataset's last load ended."""
    row = raw.execute("SELECT held FROM lab.datasets WHERE id = %s", (dataset,)).fetchone()
    return row is not None and held(raw, dataset, [model for model, _ in vector_files(folder)]).at_least(row[0])


def _users(raw: psycopg.Connection[Any], name: str) -> list[UUID]:
    rows = raw.execute("SELECT user_id FROM lab.users WHERE dataset_id = %s", (Ids(name).dataset,))
    return [row[0] for row in rows.fetchall()]


def _embed(
    database: Database,
    connection: Connection,
    raw: psycopg.Connection[Any],
    name: str,
    model: str,
    tokens: bool,
    progress: Progress,
) -> tuple[int, int]:
    users = _users(raw, name)
    row = raw.execute("SELECT table_name FROM search.embedding_models WHERE name = %s", (model,)).fetchone()
    if row is not None and not lacking(raw, row[0], users):
        return 0, 0
    embedder = load_embedder(model)
    table = register(database.owner, model, embedder.dim)
    missing = lacking(raw, table, users)
    done, coded = embed_lacking(
        raw,
        table,
        embedder,
        users,
        lambda: commit(connection),
        lambda count: progress("embedding", count, missing),
        tokens,
    )
    if done:
        raw.execute(f"ANALYZE search.{table}")
    return done, coded
