"""At what scale does a decision matter? Recall, latency, throughput, build time and size from 1,000 rows on."""

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from carmenta_lab import resources
from carmenta_lab.bench.asking import per_second, timed
from carmenta_lab.bench.filling import fill, questions, user_id
from carmenta_lab.bench.searching import Asker, empty
from carmenta_lab.experiment.circumstances import server_circumstances
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.approximate import MB
from carmenta_lab.indexing.kinds import KINDS, Kind, lists_for
from carmenta_lab.postgres.connect import Database
from carmenta_lab.retrieval.bm25 import BM25
from carmenta_lab.retrieval.fulltext import FullTextSearch
from carmenta_lab.retrieval.fusion import ReciprocalRankFusion
from carmenta_lab.retrieval.retriever import Retriever
from carmenta_lab.retrieval.vector import VectorSearch

EXACT = VectorSearch()
PLAIN: Mapping[str, Retriever] = {
    "exact": EXACT,
    "bm25": BM25(),
    "ts_rank_cd": FullTextSearch(match="any"),
    "hybrid": ReciprocalRankFusion(parts=(("vector", EXACT), ("bm25", BM25()))),
}
"""Methods that need no approximate index."""

ASKED = 30
CLIENT_SECONDS = (0.2, 1.0)
"""At the least and at the most; a twenty-thousandth for each row of the table between them."""
RECALL = 0.95
"""Below it an approximate method does not count as an answer."""
WIDER = (1, 2, 4, 8)
"""An index is searched with so many times the usual breadth, until it finds enough: 100 candidates of a graph
(`ef_search`), the root of IVFFlat's lists (`probes`), 12 hits of a binary index for each that is wanted."""


@dataclass(frozen=True)
class Searched:
    """One method over one user's passages among `rows` of all users."""

    rows: int
    user_rows: int
    method: str
    recall: float | None  # against exact search at 10 hits; None where words are ranked
    p50_ms: float
    p95_ms: float
    wider: int = 1  # times the usual breadth, one of `WIDER`


@dataclass(frozen=True)
class Served:
    """Questions answered a second by clients that ask at once, as threads with a connection each."""

    rows: int
    user_rows: int
    method: str
    clients: int
    per_second: float


@dataclass(frozen=True)
class Stored:
    """What a method keeps on disk beside the passages, and how long it took to make."""

    rows: int
    method: str
    build_s: float
    megabytes: float


@dataclass(frozen=True)
class Scale:
    """All that was measured, and under what."""

    searched: tuple[Searched, ...]
    served: tuple[Served, ...]
    stored: tuple[Stored, ...]
    circumstances: dict[str, Any]

    @property
    def answers(self) -> tuple[Searched, ...]:
        """Each method over each user at the least breadth that finds enough, or the widest tried."""
        return tuple({(row.rows, row.user_rows, row.method): row for row in self.searched}.values())

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Scale:
    """What was saved."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return Scale(
        tuple(Searched(**row) for row in found["searched"]),
        tuple(Served(**row) for row in found["served"]),
        tuple(Stored(**row) for row in found["stored"]),
        found["circumstances"],
    )


def kept(name: str = "scale") -> Path:
    """Where the full run's results are kept."""
    return resources.datasets() / "benchmarks" / f"{name}.json"


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
    searched: list[Searched] = []
    served: list[Served] = []
    stored: list[Stored] = []
    busy = [round(os.getloadavg()[0], 1)]
    for total in totals:
        asked = {number: size for number, size in enumerate(sorted(users), start=1) if size <= total / 2}
        rest, usual = total - sum(asked.values()), min(1_000, max(10, total // 20))
        others = [(100 + place, usual) for place in range(math.ceil(rest / usual))]
        progress(f"filling {total:,} rows")
        empty(database)
        start = time.perf_counter()
        table = fill(database, [*asked.items(), *others], seed)
        stored.append(Stored(total, "exact", time.perf_counter() - start, _megabytes(database, [table])))
        start = time.perf_counter()
        with database.owner.begin() as connection:
            for number in [*asked, *(number for number, _ in others)]:
                connection.exec_driver_sql("SELECT search.rebuild_words(%s)", (user_id(number),))
        built = time.perf_counter() - start
        with database.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE search.postings, search.passage_features")
        stored.append(Stored(total, "bm25", built, _megabytes(database, ["postings", "passage_features"])))
        true: dict[int, list[set[Any]]] = {}
        for name, retriever in PLAIN.items():
            progress(f"{name} over {total:,} rows")
            _method(database, total, asked, clients, seed, name, (retriever,), true, searched, served)
        for kind in KINDS:
            progress(f"{kind} over {total:,} rows")
            start = time.perf_counter()
            enough = max(64, math.ceil(1.2 * KINDS[kind].memory_bytes(total, 384) / MB))
            approximate.build(database.owner, table, KINDS[kind], memory_mb=enough)
            spent = time.perf_counter() - start
            stored.append(Stored(total, kind, spent, _megabytes(database, [approximate.name(table, kind)])))
            some = {number: size for number, size in asked.items() if size >= total / 1_000}
            wider = [_indexed(kind, total, times) for times in WIDER]
            _method(database, total, some, clients, seed, kind, wider, true, searched, served)
            approximate.drop(database.owner, table, kind)
    empty(database)
    busy.append(round(os.getloadavg()[0], 1))  # our own work included
    found = {"seed": seed, "clients_are": "threads", "hits": 10, "asked": ASKED, "load_average": busy}
    return Scale(tuple(searched), tuple(served), tuple(stored), found | server_circumstances(database))


def _indexed(kind: Kind, total: int, wider: int) -> VectorSearch:
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


def _method(
    database: Database,
    total: int,
    asked: Mapping[int, int],
    clients: Sequence[int],
    seed: int,
    name: str,
    retrievers: Sequence[Retriever],
    true: dict[int, list[set[Any]]],
    searched: list[Searched],
    served: list[Served],
) -> None:
    """Every user's questions by one method, wider until it finds enough; what exact search finds goes to `true`."""
    chosen = retrievers[0]
    for number, size in asked.items():
        one = Asker(database, number, *questions(number, ASKED, seed))
        for wider, chosen in zip(WIDER, retrievers, strict=False):
            spent, found = timed(one, chosen)
            if name == "exact":
                true[number] = found
            recall = None
            if isinstance(chosen, VectorSearch):
                recall = fmean(len(a & b) / max(1, len(a)) for a, b in zip(true[number], found, strict=False))
            p50, p95 = (float(np.percentile(spent, p)) for p in (50, 95))
            searched.append(Searched(total, size, name, recall, p50, p95, wider))
            if recall is None or recall >= RECALL:
                break
    if asked:  # the largest, at its breadth
        number, size = max(asked.items(), key=lambda pair: pair[1])
        one = Asker(database, number, *questions(number, ASKED, seed))
        seconds = min(max(total / 20_000, CLIENT_SECONDS[0]), CLIENT_SECONDS[1])
        served += [Served(total, size, name, n, per_second(one, chosen, n, seconds)) for n in clients]
