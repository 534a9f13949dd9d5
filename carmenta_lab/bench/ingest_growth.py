"""How do loading with given vectors and indexing grow with the messages, in time and in the client's memory?"""

import math
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from carmenta_lab.bench.exponents import exponent
from carmenta_lab.bench.generate import write_folder
from carmenta_lab.bench.growth import STEPS, Grew
from carmenta_lab.bench.ingest import DIM, MODEL, write_vectors
from carmenta_lab.bench.measure import Result
from carmenta_lab.bench.scratch import scratch
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.kinds import KINDS
from carmenta_lab.indexing.vectors import table_name
from carmenta_lab.ingest.load import load
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.lab import embedded_way, prepare
from carmenta_lab.settings import read_settings

SMALLEST = 100
GRAPH = KINDS["halfvec"]
SPARE = 1.2
"""Times what the graph takes, so that it is built in memory."""

MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


def ingest_growth(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Load 1 % of `rows` messages with given vectors, a tenth and all, and index their words and vectors; once each.

    Each in a database of its own and from a fresh process. The limit is what the smallest takes, times as many rows.
    """
    sizes = sorted({max(SMALLEST, rows // step) for step in STEPS})
    spent, held = [], []
    for size in sizes:
        with scratch(f"{database.name}_{size}") as grown, tempfile.TemporaryDirectory() as place:
            folder = Path(place) / f"bench-{size}"
            write_folder(folder, size, seed=seed)
            write_vectors(folder, size, seed)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                *times, megabytes = pool.apply(_measured, (grown.name, folder, size))
            spent.append([sum(times), *times])
            held.append(megabytes)
    most = f"; the client held {held[0]:.0f} to {held[-1]:.0f} MB"
    parts = (("", most), ("_load", ", without indexes"), ("_words", ", index of words"), ("_graph", ", halfvec HNSW"))
    return [
        _result(f"ingest_growth{part}", more, sizes, each)
        for (part, more), each in zip(parts, zip(*spent, strict=True), strict=True)
    ]


def _result(name: str, more: str, sizes: Sequence[int], spent: Sequence[float]) -> Grew:
    growth, times = exponent(sizes, spent), sizes[-1] / sizes[0]
    steps = ", ".join(f"{size:,}" for size in sizes)
    what = f"{times:.0f} times the smallest{more}; {spent[-1] / 1000:.1f} s, exponent {growth:.2f} over {steps}"
    return Grew(name, spent[0] * times, spent[-1], sizes[-1], 1, what, exponent=growth)


def _measured(name: str, folder: Path, rows: int) -> tuple[float, float, float, float]:
    """Milliseconds of the load, of the words and of the graph, and the megabytes this process has held at most."""
    memory_mb = math.ceil(GRAPH.memory_bytes(rows, DIM) * SPARE / approximate.MB)
    with prepare(embedded_way(read_settings().home_folder, name)) as database:
        at = [time.perf_counter()]
        load(database, folder, models=(), words=False)
        at.append(time.perf_counter())
        load(database, folder, models=())  # nothing is new, the words are still to be indexed
        at.append(time.perf_counter())
        approximate.build(database.owner, table_name(MODEL), GRAPH, memory_mb=memory_mb)
        at.append(time.perf_counter())
    loaded, words, graph = ((end - start) * 1000 for start, end in pairwise(at))
    return loaded, words, graph, _held() / 2**20


def _held() -> int:
    """The bytes that this process has held at most.

    Linux starts `ru_maxrss` of a new process with what its parent held, so there the kernel's own mark is read.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES
