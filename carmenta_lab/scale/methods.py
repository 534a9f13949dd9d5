"""At what scale does a decision matter? Recall, latency, throughput, build time and size from 1,000 rows on."""

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any
from uuid import UUID

import numpy as np

from carmenta_lab import resources
from carmenta_lab.errors import UsageError
from carmenta_lab.experiment.circumstances import server_circumstances
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.approximate import MB
from carmenta_lab.indexing.kinds import KINDS, IndexKind, lists_for
from carmenta_lab.postgres.connect import Database
from carmenta_lab.records import Query
from carmenta_lab.retrieval.bm25 import BM25
from carmenta_lab.retrieval.fulltext import FullTextSearch
from carmenta_lab.retrieval.fusion import ReciprocalRankFusion
from carmenta_lab.retrieval.retriever import Retriever
from carmenta_lab.retrieval.search import search
from carmenta_lab.retrieval.vector import VectorSearch
from carmenta_lab.scale.filling import MeasuredUser, empty, fill_passages, measured_user, user_id
from carmenta_lab.scale.generate import DIM
from carmenta_lab.scale.scratch import scratch

EXACT = VectorSearch()
PLAIN: Mapping[str, Retriever] = {
    "exact": EXACT,
    "bm25": BM25(),
    "ts_rank_cd": FullTextSearch(match="any"),
    "hybrid": ReciprocalRankFusion(parts=(("vector", EXACT), ("bm25", BM25()))),
}
"""Methods that need no approximate index."""

SMALLEST = 1_000
"""Rows of the smallest database."""
ASKED = 30
"""Questions of each user."""
K = 10
BUDGET_SECONDS = 6.0
"""Of one method and one user; at least five questions are asked."""
WARM_UP = 3
"""Questions asked before time counts."""
CLIENT_SECONDS = (0.2, 1.0)
"""At the least and at the most; a twenty-thousandth for each row of the table between them."""
RECALL = 0.95
"""Below it an approximate method does not count as an answer."""
WIDER = (1, 2, 4, 8)
"""An index is searched with so many times the usual breadth, until it finds enough: 100 candidates of a graph
(`ef_search`), the root of IVFFlat's lists (`probes`), 12 hits of a binary index for each that is wanted."""


@dataclass(frozen=True)
class Latency:
    """One method over one user's passages among `rows` of all users."""

    rows: int
    user_rows: int
    method: str
    recall: float | None  # against exact search at 10 hits; None where words are ranked
    p50_ms: float
    p95_ms: float
    wider: int = 1  # times the usual breadth, one of `WIDER`


@dataclass(frozen=True)
class Throughput:
    """Questions answered a second by clients that ask at once, each a thread with its own connection."""

    rows: int
    user_rows: int
    method: str
    clients: int
    per_second: float


@dataclass(frozen=True)
class Storage:
    """The disk space that a method takes beside the passages, and the time it took to make."""

    rows: int
    method: str
    build_s: float
    megabytes: float


@dataclass(frozen=True)
class Scale:
    """All results of one measurement of scale, and its circumstances."""

    searched: tuple[Latency, ...]
    served: tuple[Throughput, ...]
    stored: tuple[Storage, ...]
    circumstances: dict[str, Any]

    @property
    def answers(self) -> tuple[Latency, ...]:
        """Each method over each user at the least breadth that finds enough, or the widest tried."""
        return tuple({(row.rows, row.user_rows, row.method): row for row in self.searched}.values())

    def save(self, path: Path) -> None:
        """Write the results as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Scale:
    """The results in a JSON file that `save` wrote."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return Scale(
        tuple(Latency(**row) for row in found["searched"]),
        tuple(Throughput(**row) for row in found["served"]),
        tuple(Storage(**row) for row in found["stored"]),
        found["circumstances"],
    )


def kept(name: str = "scale") -> Path:
    """The path at which the results of the full run are kept."""
    return resources.datasets() / "benchmarks" / f"{name}.json"


def measured(
    name: str,
    largest: int = 3_000,
    clients: int = 2,
    save: bool = False,
    seed: int = 7,
    progress: Callable[[str], object] = lambda stage: None,
) -> Scale:
    """Every method at powers of ten of rows up to `largest`, for users of ten rows up to a third of them.

    Measured in a database of its own, `NAME_scale` on the embedded server. Clients are doubled up to `clients`. `save`
    keeps the result among the benchmarks. UsageError for fewer than 1,000 rows or one client.
    """
    if largest < SMALLEST or clients < 1:
        raise UsageError(f"expected at least {SMALLEST:,} rows and 1 client; found {largest:,} and {clients}.")
    users = decades(largest // 3, 10)
    asking = [2**power for power in range(10) if 2**power <= clients]
    with scratch(f"{name}_scale"[-63:]) as database:
        found = measure(database, decades(largest, SMALLEST), users, asking, seed, progress)
    if save:
        found.save(kept())
    return found


def decades(largest: int, smallest: int) -> list[int]:
    """Powers of ten from `smallest` up, and `largest`: 1000, 10000, 25000."""
    found = [smallest * 10**power for power in range(12) if smallest * 10**power < largest]
    return [*found, largest]


def measure(
    database: Database,
    totals: Sequence[int] = (1_000, 5_000),
    users: Sequence[int] = (10, 100, 1_000),
    clients: Sequence[int] = (1, 2),
    seed: int = 7,
    progress: Callable[[str], object] = lambda stage: None,
) -> Scale:
    """Empty the database, fill it and measure, once for each total; it is left empty.

    A user of each size that is at most half of the total is asked; the rest belongs to users of 1,000 rows or fewer.
    Through an index nobody with less than a thousandth of the rows is asked: such a search takes minutes and no one
    would make it so.
    """
    at_each: list[_AtOneSize] = []
    busy = [round(os.getloadavg()[0], 1)]
    for total in totals:
        asked = {number: size for number, size in enumerate(sorted(users), start=1) if size <= total / 2}
        at = _AtOneSize(database, total, asked, clients, seed)
        at_each.append(at)
        progress(f"filling {total:,} rows")
        table = at.fill()
        for name, retriever in PLAIN.items():
            progress(f"{name} over {total:,} rows")
            at.ask(name, [retriever], asked)
        for kind in KINDS:
            progress(f"{kind} over {total:,} rows")
            at.through_index(table, kind)
    empty(database)
    busy.append(round(os.getloadavg()[0], 1))  # our own work included
    found = {"seed": seed, "clients_are": "threads", "hits": K, "asked": ASKED, "load_average": busy}
    return Scale(
        tuple(row for at in at_each for row in at.searched),
        tuple(row for at in at_each for row in at.served),
        tuple(row for at in at_each for row in at.stored),
        found | server_circumstances(database),
    )


@dataclass
class _AtOneSize:
    """What is measured in a database of `total` rows."""

    database: Database
    total: int
    asked: Mapping[int, int]  # number of a user -> rows
    clients: Sequence[int]
    seed: int
    true: dict[int, list[set[UUID]]] = field(default_factory=dict)  # what exact search finds for each user's questions
    searched: list[Latency] = field(default_factory=list)
    served: list[Throughput] = field(default_factory=list)
    stored: list[Storage] = field(default_factory=list)

    def fill(self) -> str:
        """Nothing but users with passages, vectors and words; returns the table of the vectors."""
        database, total = self.database, self.total
        rest, usual = total - sum(self.asked.values()), min(1_000, max(10, total // 20))
        sizes = [*self.asked.items(), *((100 + place, usual) for place in range(math.ceil(rest / usual)))]
        empty(database)
        start = time.perf_counter()
        table = fill_passages(database, sizes, self.seed)
        self.stored.append(Storage(total, "exact", time.perf_counter() - start, _megabytes(database, [table])))
        start = time.perf_counter()
        with database.owner.begin() as connection:
            for number, _ in sizes:
                connection.exec_driver_sql("SELECT search.rebuild_words(%s)", (user_id(number),))
        built = time.perf_counter() - start
        with database.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE search.postings, search.passage_features")
        self.stored.append(Storage(total, "bm25", built, _megabytes(database, ["postings", "passage_features"])))
        return table

    def through_index(self, table: str, kind: IndexKind) -> None:
        """Build an index, ask those through it who have enough of the rows, and drop it."""
        database, total = self.database, self.total
        start = time.perf_counter()
        enough = max(64, math.ceil(1.2 * KINDS[kind].memory_bytes(total, DIM) / MB))
        approximate.build(database.owner, table, KINDS[kind], memory_mb=enough)
        spent = time.perf_counter() - start
        self.stored.append(Storage(total, kind, spent, _megabytes(database, [approximate.name(table, kind)])))
        some = {number: size for number, size in self.asked.items() if size >= total / 1_000}
        self.ask(kind, [_indexed(kind, total, times) for times in WIDER], some)
        approximate.drop(database.owner, table, kind)

    def ask(self, method: str, retrievers: Sequence[Retriever], asked: Mapping[int, int]) -> None:
        """Every user's questions by one method, wider until it finds enough; then the largest's by several clients."""
        chosen = retrievers[0]
        for number, size in asked.items():
            one = measured_user(self.database, number, ASKED, self.seed)
            for wider, chosen in zip(WIDER, retrievers, strict=False):
                spent, found = timed(one, chosen)
                if method == "exact":
                    self.true[number] = found
                recall = None
                if isinstance(chosen, VectorSearch):
                    pairs = zip(self.true[number], found, strict=False)
                    recall = fmean(len(a & b) / max(1, len(a)) for a, b in pairs)
                p50, p95 = (float(np.percentile(spent, p)) for p in (50, 95))
                self.searched.append(Latency(self.total, size, method, recall, p50, p95, wider))
                if recall is None or recall >= RECALL:
                    break
        if asked:  # the largest, at its breadth
            number, size = max(asked.items(), key=lambda pair: pair[1])
            one = measured_user(self.database, number, ASKED, self.seed)
            seconds = min(max(self.total / 20_000, CLIENT_SECONDS[0]), CLIENT_SECONDS[1])
            for clients in self.clients:
                rate = per_second(one, chosen, clients, seconds)
                self.served.append(Throughput(self.total, size, method, clients, rate))


def timed(one: MeasuredUser, retriever: Retriever) -> tuple[list[float], list[set[UUID]]]:
    """Milliseconds and sources of each question, after three to warm up, in one session."""
    spent, found = [], []
    with one.database.user_session(one.query.user_id) as session:
        pairs = list(zip(one.vectors, one.texts, strict=True))
        begun = time.perf_counter()
        for place, (vector, text) in enumerate([*pairs[:WARM_UP], *pairs]):
            query = Query("scale", one.query.user_id, text)
            start = time.perf_counter()
            sources = set(search(session, retriever, query, K, vector).sources())
            if place >= WARM_UP:
                spent.append((time.perf_counter() - start) * 1000)
                found.append(sources)
            if len(spent) >= 5 and time.perf_counter() - begun > BUDGET_SECONDS:
                break
    return spent, found


def per_second(one: MeasuredUser, retriever: Retriever, clients: int, seconds: float) -> float:
    """Questions answered a second, all clients together, each in one session."""

    def work(_: int) -> int:
        done = 0
        with one.database.user_session(one.query.user_id) as session:
            query = Query("scale", one.query.user_id, one.texts[0])
            search(session, retriever, query, K, one.vectors[0])
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                place = done % len(one.texts)
                asked = Query("scale", one.query.user_id, one.texts[place])
                search(session, retriever, asked, K, one.vectors[place])
                done += 1
        return done

    with ThreadPoolExecutor(clients) as pool:
        return sum(pool.map(work, range(clients))) / seconds


def _indexed(kind: IndexKind, total: int, wider: int) -> VectorSearch:
    probes = wider * max(1, round(math.sqrt(lists_for(total))))
    return VectorSearch(
        index=kind, exact_up_to=0, ef_search=100 * wider, probes=min(probes, lists_for(total)), candidates=12 * wider
    )


def _megabytes(database: Database, names: Sequence[str]) -> float:
    with database.owner_session() as session:
        raw = session.connection()
        sizes = [
            raw.exec_driver_sql("SELECT pg_total_relation_size(%s)", (f"search.{name}",)).scalar() for name in names
        ]
    return sum(int(size or 0) for size in sizes) / MB
