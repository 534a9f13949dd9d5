"""How do searches, contexts, loading and indexing grow with the rows of all users?

- `growth`: the same user of 1,000 passages in ever larger databases. What others say must not be noticed.
- `ingest_growth`: loading with given vectors and indexing, in time and in the memory that the client holds.
"""

import math
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from carmenta_lab import strategies
from carmenta_lab.bench.measure import Bench, Result, medians
from carmenta_lab.context import assemble
from carmenta_lab.errors import UsageError
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.kinds import KINDS
from carmenta_lab.indexing.vectors import table_name
from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.ingest.load import load
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.lab import embedded_logins, open_migrated
from carmenta_lab.retrieval.search import search
from carmenta_lab.scale.filling import MeasuredUser, fill_passages, measured_user
from carmenta_lab.scale.generate import DIM, write_folder, write_vectors
from carmenta_lab.scale.scratch import scratch
from carmenta_lab.scale.trends import exponent
from carmenta_lab.settings import read_settings

STEPS = (100, 10, 1)
"""The databases hold this fraction of all rows each."""


@dataclass(frozen=True)
class Growth(Result):
    """The largest database against the smallest, and how the time grows from one to the other."""

    exponent: float = float("nan")  # of the rows of all users

    def to_json(self) -> dict[str, object]:
        """The result as plain values, for JSON."""
        return super().to_json() | {"exponent": self.exponent}


# One user among ever more

OWN = 1_000
"""Passages of each user, and messages of one conversation."""

SEARCHES = 20
"""Searches a measurement."""

STRATEGIES = ("vector_exact", "bm25", "fulltext_or", "hybrid_bm25")

_TOLD = (
    "INSERT INTO carmenta.conversations (user_id, id, last_message_at) "
    "SELECT id, id, '2026-01-01Z' FROM carmenta.users",
    "INSERT INTO carmenta.messages (user_id, id, conversation_id, position, role, content, created_at) "
    "SELECT user_id, id, user_id, row_number() OVER (PARTITION BY user_id ORDER BY id), 'user', content, created_at "
    "FROM search.passages",
)


def growth(database: Database, rows: int, repeats: int, seed: int) -> list[Growth]:
    """Searches and contexts of the same user among 1 % of `rows`, a tenth and all, each in a database of its own."""
    if rows <= OWN:
        raise UsageError(f"growth needs more than the {OWN:,} rows of one user; found {rows:,}.")
    totals = sorted({max(OWN, rows // step) for step in STEPS})
    with ExitStack() as open_databases:
        askers = []
        for total in totals:
            grown = open_databases.enter_context(scratch(f"{database.name}_{total}"))
            _fill_alike(grown, total // OWN, seed)
            askers.append(measured_user(grown, 0, SEARCHES, seed))
        works = {name: [_searches(one, name) for one in askers] for name in STRATEGIES}
        works["context"] = [_contexts(one) for one in askers]
        return [_growth(name, medians(work, repeats, warm_up=3), totals, repeats) for name, work in works.items()]


def _fill_alike(database: Database, users: int, seed: int) -> None:
    """Users of as many passages, each of which is a message of one conversation as well."""
    fill_passages(database, [(number, OWN) for number in range(users)], seed, words=True)
    with database.owner.begin() as connection:
        connection.exec_driver_sql(UNNOTED, (True,))
        for statement in _TOLD:
            connection.exec_driver_sql(statement)
    with database.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def _searches(one: MeasuredUser, name: str) -> Callable[[], None]:
    strategy = strategies.load(name)

    def ask() -> None:
        with one.database.user_session(one.query.user_id) as session:
            for vector, text in zip(one.vectors, one.texts, strict=True):
                search(session, strategy, replace(one.query, text=text), 10, vector)

    return ask


def _contexts(one: MeasuredUser) -> Callable[[], None]:
    def ask() -> None:
        with one.database.user_session(one.query.user_id) as session:
            for vector, text in zip(one.vectors, one.texts, strict=True):
                assemble(session, replace(one.query, text=text), policy="mission_order", vector=vector)

    return ask


def _growth(name: str, found: Sequence[float], totals: Sequence[int], repeats: int) -> Growth:
    each = [milliseconds / SEARCHES for milliseconds in found]
    slope = exponent(totals, each)
    steps = ", ".join(f"{total:,}" for total in totals)
    what = f"the same user of {OWN:,} among {totals[0]:,}; exponent {slope:.2f} over {steps}"
    return Growth(f"growth_{name}", each[0], each[-1], totals[-1], repeats, what, exponent=slope)


# Loading and indexing

SMALLEST = 100
GRAPH = KINDS["halfvec"]
MODEL = "bench-given"
"""The name of the model whose vectors the folders bring along."""
SPARE = 1.2
"""Times what the graph takes, so that it is built in memory."""

MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


class LoadTimes(NamedTuple):
    """What one size took, in milliseconds, and the most that the client held, in megabytes."""

    load: float
    words: float
    graph: float
    held_mb: float


def ingest_growth(database: Database, rows: int, repeats: int, seed: int) -> list[Growth]:
    """Load 1 % of `rows` messages with given vectors, a tenth and all, and index their words and vectors; once each.

    Each in a database of its own and from a fresh process. The limit is what the smallest takes, times as many rows.
    """
    sizes = sorted({max(SMALLEST, rows // step) for step in STEPS})
    spent: list[LoadTimes] = []
    for size in sizes:
        with scratch(f"{database.name}_{size}") as grown, tempfile.TemporaryDirectory() as place:
            folder = Path(place) / f"bench-{size}"
            write_folder(folder, size, seed=seed)
            write_vectors(folder, size, seed, MODEL)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                spent.append(pool.apply(_load_times, (grown.name, folder, size)))
    most = f"; the client held {spent[0].held_mb:.0f} to {spent[-1].held_mb:.0f} MB"
    whole = [each.load + each.words + each.graph for each in spent]
    return [
        _proportion("ingest_growth", most, sizes, whole),
        _proportion("ingest_growth_load", ", without indexes", sizes, [each.load for each in spent]),
        _proportion("ingest_growth_words", ", index of words", sizes, [each.words for each in spent]),
        _proportion("ingest_growth_graph", ", halfvec HNSW", sizes, [each.graph for each in spent]),
    ]


def _proportion(name: str, more: str, sizes: Sequence[int], spent: Sequence[float]) -> Growth:
    slope, times = exponent(sizes, spent), sizes[-1] / sizes[0]
    steps = ", ".join(f"{size:,}" for size in sizes)
    what = f"{times:.0f} times the smallest{more}; {spent[-1] / 1000:.1f} s, exponent {slope:.2f} over {steps}"
    return Growth(name, spent[0] * times, spent[-1], sizes[-1], 1, what, exponent=slope)


def _load_times(name: str, folder: Path, rows: int) -> LoadTimes:
    """Load and index a folder, in a process that has done nothing else."""
    memory_mb = math.ceil(GRAPH.memory_bytes(rows, DIM) * SPARE / approximate.MB)
    with open_migrated(embedded_logins(read_settings().home_folder, name)) as database:
        start = time.perf_counter()
        load(database, folder, models=(), words=False)
        loaded = time.perf_counter()
        load(database, folder, models=())  # nothing is new, the words are still to be indexed
        with_words = time.perf_counter()
        approximate.build(database.owner, table_name(MODEL), GRAPH, memory_mb=memory_mb)
        end = time.perf_counter()
    times = (loaded - start) * 1000, (with_words - loaded) * 1000, (end - with_words) * 1000
    return LoadTimes(*times, _held() / 2**20)


def _held() -> int:
    """The bytes that this process has held at most.

    Linux starts `ru_maxrss` of a new process with what its parent held, so there the kernel's own mark is read.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES


BENCHES = (
    Bench("growth", growth, rows=1_000_000, repeats=9, long=True),
    Bench("ingest_growth", ingest_growth, rows=100_000, repeats=1, long=True),
)
