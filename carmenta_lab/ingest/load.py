"""What does loading a folder do, from its name to rows that are searched? Resumable and idempotent.

A folder is looked at first: the same content, still there, changes nothing. Otherwise its lines are read into a stage
(`reading`, `staging`), checked there (`checking`) and reconciled with the tables (`reconcile`); the first load of a
folder writes most of it while it reads (`first_load`). What is searched follows: words, vectors, codes of tokens.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine

from carmenta_lab.datasets import Reject, Scan, content_hash, find, given_vectors, scan, write_rejects
from carmenta_lab.datasets.folder import vector_files
from carmenta_lab.display import Table
from carmenta_lab.embedding import DEFAULT_MODEL, load_embedder
from carmenta_lab.errors import DatasetError, UsageError
from carmenta_lab.ids import Ids
from carmenta_lab.indexing import passages as cut
from carmenta_lab.indexing.packed import UNITS
from carmenta_lab.indexing.token_codes import encode
from carmenta_lab.indexing.vectors import embed_lacking, lacking, register
from carmenta_lab.indexing.words import rebuild_owed
from carmenta_lab.indexing.writing import NOTED, UNNOTED
from carmenta_lab.ingest.checking import check
from carmenta_lab.ingest.first_load import FastLoad
from carmenta_lab.ingest.reading import Reader
from carmenta_lab.ingest.reconcile import REMEMBERED, Changes, reconcile, write_staged_vectors
from carmenta_lab.ingest.staging import FolderVectors, Stage, Task, lock_key, sweep
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.statement import Rows, Value, driver, only
from carmenta_lab.records import Progress

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

SHOWN_REJECTS = 5
"""In a notebook's table; the rest is counted."""

COUNTED = (
    "users",
    "conversations",
    "messages",
    "documents",
    "memories",
    "profiles",
    "queries",
    "qrels",
    "artifacts",
    "votes",
    "feedback",
    "tags",
)
"""Staging tables whose rows are counted beside the dataset."""


@dataclass
class LoadReport:
    """What a load did; printed, its lines; in a notebook, a table.

    >>> print(cl.load(lab, "sample_de"))
    sample_de: unchanged
    """

    dataset: str
    folder: Path
    unchanged: bool = False  # the same content was there already
    changes: Changes = field(default_factory=Changes)
    rejects: list[Reject] = field(default_factory=list)
    rejects_file: Path | None = None
    mended: dict[str, int] = field(default_factory=dict)  # what was mended -> how often
    given: dict[str, int] = field(default_factory=dict)  # model -> vectors taken from the folder, new or others
    lacking: dict[str, int] = field(default_factory=dict)  # model of given vectors -> passages that have none
    embedded: int = 0  # passages that got a vector from a model
    tokens: int = 0  # passages that got codes of their tokens
    token_bytes: int = 0  # what the codes of all passages take on disk

    def lines(self) -> list[str]:
        """The report as lines of text, for a terminal."""
        found = [f"{self.dataset}: unchanged" if self.unchanged else f"{self.dataset}: loaded from {self.folder}"]
        for table, counts in self.changes.items():
            shown = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
            if shown:
                found.append(f"  {table}: {shown}")
        found += [f"  {line}" for line in self._more()]
        if self.rejects:
            place = f", all in {self.rejects_file}" if self.rejects_file else ""
            found.append(f"  {len(self.rejects)} lines rejected{place}; the first: {self.rejects[0]}")
        return found

    def _more(self) -> list[str]:
        """What was mended, and what became searchable."""
        found = [f"{count} {what}" for what, count in self.mended.items()]
        found += [f"vectors of {model} given: {count}" for model, count in self.given.items()]
        for model, count in self.lacking.items():
            found.append(
                f"{count} passages (long messages, memories, sections) have no vector of {model}: "
                f"load with models=({model!r},) to embed them"
            )
        if self.embedded:
            found.append(f"passages embedded: {self.embedded}")
        if self.tokens:
            found.append(f"passages with token codes added: {self.tokens}; all codes take {self.token_bytes:,} bytes")
        return found

    def table(self) -> Table:
        """A row a table of the schema that changed; below it what was mended, embedded and rejected."""
        rows = [
            [name, *(f"{counts[what]:,}" for what in ("added", "updated", "deleted"))]
            for name, counts in self.changes.items()
            if any(counts.values())
        ]
        notes = self._more()
        if self.rejects:
            place = f", all in {self.rejects_file}" if self.rejects_file else ""
            notes.append(f"{len(self.rejects)} lines rejected{place}:")
            notes += [str(reject) for reject in self.rejects[:SHOWN_REJECTS]]
            if len(self.rejects) > SHOWN_REJECTS:
                notes.append("…")
        return Table(["table", "added", "updated", "deleted"], rows, self.lines()[0], notes)

    def __repr__(self) -> str:
        rows = sum(sum(counts.values()) for counts in self.changes.values())
        done = "unchanged" if self.unchanged else f"{rows:,} rows changed"
        return f"<LoadReport of {self.dataset!r}: {done}, {len(self.rejects)} lines rejected>"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


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
    content = f"{content_hash(folder)}/{cut.VERSION}"
    with database.owner.connect() as connection, _alone(connection, Ids(name)) as raw:
        known = _known(connection, name, folder, content)
        scope = reject_scope or (known or "").rpartition("/")[2] or "line"
        digest = f"{content}/{scope}"
        report = LoadReport(name, folder)
        report.unchanged = known == digest and _still_there(connection, Ids(name).dataset, folder)
        if not report.unchanged:
            looked, given = _look(folder, database.owner)
            task = Task(
                name=name,
                folder=folder,
                scan=looked,
                given=given,
                is_reload=known is not None,
                whole_conversations=scope == "conversation",
                digest=digest,
                progress=progress,
                engine=database.owner,
                connection=connection,
            )
            _load_rows(task, report)
            _settle(task, report, models)
            if rejects_folder is not None:
                rejects_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                file = rejects_folder / f"{task.ids.dataset}.rejects.jsonl"
                file.unlink(missing_ok=True)
                report.rejects_file = file if write_rejects(file, report.rejects) else None
        index = _Index(database.owner, connection, _users(connection, name), progress)
        indexed = rebuild_owed(raw, index.users, index.commit) if words else 0
        for model in models:
            embedded, coded = index.embed(model, tokens and model == DEFAULT_MODEL)
            report.embedded += embedded
            report.tokens += coded
        if tokens:
            coded, report.token_bytes = encode(raw, index.users, index.commit, progress)
            report.tokens += coded
            if report.tokens:
                raw.execute("ANALYZE search.token_codes (user_id, passage_id)")
        if indexed:
            raw.execute("ANALYZE search.passage_features, search.postings (user_id, lexeme)")
        connection.commit()
    return report


def _look(folder: Path, owner: Engine) -> tuple[Scan, list[FolderVectors]]:
    """A first look at the messages and, at the same time, at the vectors that stand beside them."""
    with ThreadPoolExecutor(1) as aside:
        checking = aside.submit(given_vectors, folder)
        looked = scan(folder)
        vectors = checking.result()
    for each in vectors:
        each.expect(looked.lines)
    return looked, [FolderVectors(each, register(owner, each.model, each.dim)) for each in vectors]


def _load_rows(task: Task, report: LoadReport) -> None:
    """Fill the tables and `report`; transactions end and begin here.

    What an earlier load left is compared with the stage whole, and so is a folder of which a bad line takes its
    conversation along: anything else is written fast.
    """
    raw = task.raw
    sweep(raw)
    stage = Stage(raw, task.schema)
    try:
        reader = Reader(task.folder, task.ids, stage, lambda count: task.progress("reading", count, None))
        fast: FastLoad | None = None
        with ExitStack() as writing:
            if not task.is_reload and not task.whole_conversations:
                fast = reader.fast = writing.enter_context(FastLoad(task, reader))
            reader.read()
        if not reader.users:
            first = f" The first: {reader.rejects[0]}." if reader.rejects else ""
            raise DatasetError(f"{task.folder} holds no line that can be loaded.{first}")
        found, report.mended = check(task, reader.rejects, fast=fast is not None)
        task.claim(raw)
        task.commit()
        report.changes, unknown = reconcile(task)
        report.rejects = sorted([*reader.rejects, *found, *unknown], key=lambda reject: (reject.file, reject.line))
        report.given = {each.vectors.model: write_staged_vectors(raw, each) for each in task.given}
        counts = {table: _count(raw, f"SELECT count(*) FROM stage_{table}") for table in COUNTED}
        if fast is not None:
            _add_fast(fast, report, counts)
        raw.execute(
            "UPDATE lab.datasets SET content_hash = %s, counts = %s, loaded_at = now() WHERE id = %s",
            (task.digest, Jsonb(counts | {"rejects": len(report.rejects)}), task.ids.dataset),
        )
    except BaseException:
        stage.stop()
        raw.rollback()
        task.connection.rollback()
        task.connection.begin()
        raise
    finally:
        stage.drop()
    task.commit()


def _add_fast(fast: FastLoad, report: LoadReport, counts: dict[str, int]) -> None:
    """Add what went past the stage."""
    written = fast.written
    report.changes.add(written.changes)
    for table in ("conversations", "messages"):
        counts[table] += written.changes.get(table, {}).get("added", 0)
    for model, vectors in written.vectors.items():
        report.given[model] += vectors
    for reason, mended in written.mended.items():
        report.mended[reason] = report.mended.get(reason, 0) + mended


def _settle(task: Task, report: LoadReport, models: Sequence[str]) -> None:
    """Once rows are in their tables: let the planner know of them, and remember what is there and what is lacking."""
    tables = [*ANALYZED, *(VECTORS.format(table=each.table) for each in task.given)]

    def analyze(columns: str) -> None:
        with task.engine.begin() as connection:
            connection.exec_driver_sql(f"ANALYZE {columns}")

    with ThreadPoolExecutor(2) as workers:  # as what follows is planned by it
        list(workers.map(analyze, tables))
    raw = task.raw
    there = inventory(raw, task.ids.dataset, [each.vectors.model for each in task.given])
    raw.execute("UPDATE lab.datasets SET held = %s WHERE id = %s", (Jsonb(there._asdict()), task.ids.dataset))
    task.commit()
    users = _users(task.connection, task.name)
    for each in task.given:
        missing = lacking(raw, each.table, users) if each.vectors.model not in models else 0
        report.lacking |= {each.vectors.model: missing} if missing else {}


@contextmanager
def _alone(connection: Connection, ids: Ids) -> Iterator[psycopg.Connection[Any]]:
    """The raw connection, with nobody else loading this dataset; staging tables are gone afterwards."""
    key = lock_key(ids.dataset)
    connection.begin()
    raw = driver(connection)
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


class _Loaded(NamedTuple):
    """What is known of a dataset from its last load."""

    origin: str  # the folder
    content_hash: str | None  # None when the load was cut off


_LOADED = Rows(_Loaded, "SELECT origin, content_hash FROM lab.datasets WHERE name = %(name)s")
_INVENTORY = Value("SELECT held FROM lab.datasets WHERE id = %(dataset)s")
_LOADED_USERS = Value("SELECT user_id FROM lab.users WHERE dataset_id = %(dataset)s")
_VECTOR_TABLE = Value("SELECT table_name FROM search.embedding_models WHERE name = %(model)s")


def _known(connection: Connection, name: str, folder: Path, content: str) -> str | None:
    """The digest of the loaded dataset of this name ('' when a load was cut off), None when there is none."""
    loaded = _LOADED.first(connection, {"name": name})
    if loaded is None:
        return None
    known = loaded.content_hash or ""
    if loaded.origin != str(folder) and not known.startswith(content) and Path(loaded.origin).is_dir():
        raise UsageError(
            f"a dataset {name!r} was loaded from {loaded.origin}; {folder} is another folder with other content: "
            "load it under another name with --name."
        )
    return known


def _still_there(connection: Connection, dataset: UUID, folder: Path) -> bool:
    """Whether the tables hold what they held when the dataset's last load ended."""
    before = _INVENTORY.get(connection, {"dataset": dataset})
    models = [model for model, _ in vector_files(folder)]
    return bool(before) and inventory(driver(connection), dataset, models).at_least(before)


def _users(connection: Connection, name: str) -> list[UUID]:
    return _LOADED_USERS.each(connection, {"dataset": Ids(name).dataset})


@dataclass(frozen=True)
class _Index:
    """What makes the rows of these users searched by their vectors."""

    owner: Engine
    connection: Connection
    users: Sequence[UUID]
    progress: Progress

    def commit(self) -> None:
        """End the transaction and begin the next, as the owner again."""
        self.connection.commit()
        self.connection.begin()

    def embed(self, model: str, tokens: bool) -> tuple[int, int]:
        """The vectors that passages lack, and codes of their tokens beside; returns how many of each are new."""
        raw = driver(self.connection)
        known = _VECTOR_TABLE.get(self.connection, {"model": model})
        if known is not None and not lacking(raw, known, self.users):
            return 0, 0
        embedder = load_embedder(model)
        table = register(self.owner, model, embedder.dim)
        missing = lacking(raw, table, self.users)

        def embedded(count: int) -> None:
            self.progress("embedding", count, missing)

        done, coded = embed_lacking(raw, table, embedder, self.users, self.commit, embedded, tokens)
        if done:
            raw.execute(f"ANALYZE search.{table}")
        return done, coded


# Is what an earlier load brought still there? Others may have erased rows since, or dropped what is searched.

_USERS = "(SELECT user_id FROM lab.users WHERE dataset_id = %(dataset)s)"
_LIVING = (
    "s.external_id IS NOT NULL AND s.deleted_at IS NULL "
    "AND EXISTS (SELECT FROM carmenta.users u WHERE u.id = s.user_id AND u.deleted_at IS NULL)"
)
_ROWS = {
    "users": f"carmenta.users t WHERE t.id IN {_USERS}",
    **{
        table: f"carmenta.{table} t WHERE t.user_id IN {_USERS} AND t.external_id IS NOT NULL"
        for table in ("conversations", "messages", "documents", "memories", "artifacts")
    },
    "attachments": "carmenta.attachments t JOIN carmenta.messages m ON m.user_id = t.user_id AND m.id = t.message_id "
    f"WHERE t.user_id IN {_USERS} AND m.external_id IS NOT NULL",
    "profiles": f"carmenta.profiles t WHERE t.user_id IN {_USERS}",
    **{table: f"lab.{table} t WHERE t.dataset_id = %(dataset)s" for table in ("queries", "qrels")},
    **{
        table.name: f"lab.loaded l JOIN carmenta.{table.name} t ON t.user_id = l.user_id "
        f"AND t.{table.row_id} = l.row_id AND t.{table.other_id} = l.other_id "
        f"WHERE l.dataset_id = %(dataset)s AND l.table_name = '{table.name}'"
        for table in REMEMBERED
    },
}
"""Table -> which of its rows a dataset brought."""


class _Searched(NamedTuple):
    """Rows `s` whose text is searched, and the column and unit of their passages."""

    rows: str
    column: str
    unit: str


_SEARCHED = {
    "turns": _Searched(
        "carmenta.messages s JOIN carmenta.conversations c ON c.user_id = s.user_id AND c.id = s.conversation_id "
        "AND c.deleted_at IS NULL",
        "message_id",
        "turn",
    ),
    "memories": _Searched("carmenta.memories s", "memory_id", "memory"),
    "sections": _Searched("carmenta.documents s", "document_id", "section"),
}


class Inventory(NamedTuple):
    """What the tables hold of a dataset, and what its rows lack there."""

    rows: dict[str, int]
    lacking: dict[str, int]  # sources that are searched and have no passage, passages without a given vector

    def at_least(self, before: dict[str, Any]) -> bool:
        """Whether everything is there that an earlier inventory, given as its `_asdict`, found."""
        rows, lacking = before["rows"], before["lacking"]
        return all(self.rows.get(name, 0) >= count for name, count in rows.items()) and all(
            count <= lacking.get(name, 0) for name, count in self.lacking.items()
        )


def inventory(connection: psycopg.Connection[Any], dataset: UUID, models: Sequence[str]) -> Inventory:
    """Count the rows of a dataset and what they lack; `models` are those whose vectors the folder brings."""
    values = {"dataset": dataset, "units": list(UNITS)}
    rows = {name: _count(connection, f"SELECT count(*) FROM {which}", values) for name, which in _ROWS.items()}
    lacking = {
        f"{name} unindexed": _count(
            connection,
            f"SELECT count(*) FROM {of.rows} WHERE s.user_id IN {_USERS} AND {_LIVING} AND NOT EXISTS (SELECT FROM "
            f"search.passages p WHERE p.user_id = s.user_id AND p.{of.column} = s.id AND p.unit = '{of.unit}')",
            values,
        )
        for name, of in _SEARCHED.items()
    }
    tables = dict(connection.execute("SELECT name, table_name FROM search.embedding_models").fetchall())
    for model in models:
        vectors = "false"
        if model in tables:
            table = f"search.{tables[model]}"
            vectors = f"EXISTS (SELECT FROM {table} e WHERE e.user_id = p.user_id AND e.passage_id = p.id)"
        lacking[f"vectors of {model}"] = _count(
            connection,
            "SELECT count(*) FROM search.passages p JOIN carmenta.messages s ON s.user_id = p.user_id "
            f"AND s.id = p.message_id WHERE p.user_id IN {_USERS} AND p.unit = ANY (%(units)s) "
            f"AND s.external_id IS NOT NULL AND NOT {vectors}",
            values,
        )
    return Inventory(rows, lacking)


def _count(connection: psycopg.Connection[Any], statement: str, values: dict[str, Any] | None = None) -> int:
    return int(only(connection.execute(statement, values)))
