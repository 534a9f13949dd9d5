"""Speed against the bare limit, measured in the same run."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, TypeAlias

from carmenta_lab.bench.append import append
from carmenta_lab.bench.building import building
from carmenta_lab.bench.context import context
from carmenta_lab.bench.crossover import crossover
from carmenta_lab.bench.embedding_speed import embedding
from carmenta_lab.bench.evidence import evidence
from carmenta_lab.bench.growth import one_user
from carmenta_lab.bench.helpers import helping
from carmenta_lab.bench.ingest import ingest, ingest_vectors
from carmenta_lab.bench.ingest_growth import ingest_growth
from carmenta_lab.bench.measure import Result
from carmenta_lab.bench.migration import migrating
from carmenta_lab.bench.peers import peers
from carmenta_lab.bench.searching import filtered, searching
from carmenta_lab.bench.words import bm25, hybrid
from carmenta_lab.errors import UnknownName
from carmenta_lab.experiment.circumstances import server_circumstances
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.lab import embedded_way, prepare
from carmenta_lab.settings import read_settings

Bench: TypeAlias = Callable[[Database, int, int, int], list[Result]]

BENCHES: dict[str, tuple[Bench, int, int]] = {
    "ingest": (ingest, 20_000, 5),
    "ingest_vectors": (ingest_vectors, 20_000, 5),
    "ingest_growth": (ingest_growth, 100_000, 1),
    "search": (searching, 5_000, 15),
    "filtered": (filtered, 20_000, 9),
    "append": (append, 100_000, 512),
    "bm25": (bm25, 1_000, 15),
    "hybrid": (hybrid, 5_000, 9),
    "evidence": (evidence, 20_000, 9),
    "index_build": (building, 5_000, 3),
    "embedding": (embedding, 500, 5),
    "crossover": (crossover, 100_000, 5),
    "growth": (one_user, 1_000_000, 9),
    "peers": (peers, 2_000, 3),
    "helpers": (helping, 100_000, 500),
    "migration": (migrating, 100_000, 3),
    "context": (context, 5_000, 15),
}
"""Name -> what measures, rows unless told, repeats."""

BY_NAME_ONLY = ("append", "crossover", "growth", "peers", "ingest_growth", "helpers", "migration")
"""Benches that take many minutes, and so are run when they are asked for."""


def run(
    names: Sequence[str] = (), rows: int | None = None, seed: int = 7, executor: Executor | None = None
) -> tuple[list[Result], dict[str, Any]]:
    """Measure on the embedded server, in a database that is emptied; results in the order of the names, circumstances.

    With an executor each bench runs on the server of the machine that takes it, in a database of its own; benches
    that run at once on one machine disturb each other. UnknownName lists the known benches.
    """
    chosen = list(names) or [name for name in BENCHES if name not in BY_NAME_ONLY]
    for name in chosen:
        if name not in BENCHES:
            raise UnknownName("bench", name, BENCHES)
    if executor is None:
        done = [_measure(name, rows, seed, "carmenta_bench") for name in chosen]
    else:
        tasks = [executor.submit(_measure, name, rows, seed, f"carmenta_bench_{name}") for name in chosen]
        done = [task.result() for task in tasks]
    return [result for results, _ in done for result in results], done[0][1]


def _measure(name: str, rows: int | None, seed: int, database: str) -> tuple[list[Result], dict[str, Any]]:
    measure, usual, repeats = BENCHES[name]
    with prepare(embedded_way(read_settings().home_folder, database)) as opened:
        return measure(opened, rows or usual, repeats, seed), server_circumstances(opened)
