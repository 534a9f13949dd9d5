"""Speed against the bare limit, measured in the same run."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from carmenta_lab.bench.crossover import crossover
from carmenta_lab.bench.embedding_speed import embedding
from carmenta_lab.bench.ingest import ingest
from carmenta_lab.bench.measure import Result
from carmenta_lab.bench.searching import searching
from carmenta_lab.errors import UnknownName
from carmenta_lab.postgres.connect import Database

Bench: TypeAlias = Callable[[Database, int, int, int], list[Result]]

BENCHES: dict[str, tuple[Bench, int, int]] = {
    "ingest": (ingest, 20_000, 5),
    "search": (searching, 5_000, 15),
    "embedding": (embedding, 500, 5),
    "crossover": (crossover, 100_000, 5),
}
"""Name -> what measures, rows unless told, repeats."""


def run(database: Database, names: Sequence[str] = (), rows: int | None = None, seed: int = 7) -> list[Result]:
    """Measure; the database is the benches' own and is emptied."""
    found = []
    for name in names or BENCHES:
        if name not in BENCHES:
            raise UnknownName("bench", name, BENCHES)
        measure, usual, repeats = BENCHES[name]
        found += measure(database, rows or usual, repeats, seed)
    return found
