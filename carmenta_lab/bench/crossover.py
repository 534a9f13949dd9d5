"""From how many vectors of a user on is an approximate index faster than exact search, and what does it miss?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from time import perf_counter
from typing import cast
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from psycopg import sql

from carmenta_lab.bench.measure import Bench, Result
from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.approximate import MB
from carmenta_lab.indexing.kinds import KINDS, ApproximateIndex, IndexKind
from carmenta_lab.indexing.vectors import register
from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.copying import copy
from carmenta_lab.postgres.statement import driver
from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import Retriever
from carmenta_lab.retrieval.search import search
from carmenta_lab.retrieval.vector import VectorSearch
from carmenta_lab.scale.filling import VECTOR_COLUMNS
from carmenta_lab.scale.generate import DIM
from carmenta_lab.schema.vector import Vector

K, QUESTIONS = 10, 20
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Each user's part of the table; the rest belongs to users of 1 %."""
FUSED = 39
"""Hits of which as many passages are asked for as a fusion takes candidates: 60."""
TOPICS, OWN_TOPICS, SPREAD = 400, 100, 0.7
"""Topics of the table, topics of a user, spread of a topic: users share topics, and no two have the same."""
ENOUGH = 0.95
"""Recall@10 below which an index does not count as an answer."""

EXACT = VectorSearch()
_STAGED = (("id", "uuid"),)


@dataclass(frozen=True)
class Crossover(Result):
    """An index against exact search over the same user, with its recall and its size."""

    recall: float = 1.0
    bytes: int = 0

    def to_json(self) -> dict[str, object]:
        """The result as plain values, for JSON."""
        return super().to_json() | {"recall": self.recall, "bytes": self.bytes}


class _Table:
    """The table of vectors, filled from a seed: a user for each share, and others; each of topics of their own."""

    def __init__(self, database: Database, rows: int, seed: int) -> None:
        self.database, self.rows = database, rows
        self.name = register(database.owner, DEFAULT_MODEL, DIM)
        self.generator = np.random.default_rng(seed)
        self.centres = self.generator.normal(size=(TOPICS, DIM))
        shares = [*SHARES, *[SHARES[0]] * math.ceil((1 - sum(SHARES)) / SHARES[0])]
        self.sizes = [max(10, int(share * rows)) for share in shares]
        self.users = [uuid5(UUID(int=seed), str(number)) for number in range(len(shares))]
        self.topics = [self.generator.choice(TOPICS, OWN_TOPICS, replace=False) for _ in shares]
        with database.owner.begin() as connection:
            connection.exec_driver_sql("TRUNCATE carmenta.users CASCADE")
        for kind in KINDS:
            approximate.drop(database.owner, self.name, kind)
        for number, user in enumerate(self.users):
            self._add(user, self.draw(number, self.sizes[number]))
        with database.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"VACUUM ANALYZE search.{self.name}")

    def draw(self, number: int, count: int) -> NDArray[np.float32]:
        """Unit vectors about a user's topics, shape (count, DIM)."""
        middle = self.centres[self.generator.choice(self.topics[number], count)]
        found = middle + SPREAD * self.generator.normal(size=(count, DIM))
        unit: NDArray[np.float64] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit.astype(np.float32)

    def _add(self, user: UUID, vectors: NDArray[np.float32]) -> None:
        ids = [uuid5(user, str(number)) for number in range(len(vectors))]
        with self.database.owner.begin() as connection:
            raw = driver(connection)
            raw.execute(UNNOTED, (True,))
            raw.execute("INSERT INTO carmenta.users (id, name) VALUES (%s, 'bench')", (user,))
            raw.execute("CREATE TEMP TABLE stage_bench (id uuid) ON COMMIT DROP")
            copy(raw, sql.Identifier("stage_bench"), _STAGED, ((key,) for key in ids))
            raw.execute(
                "INSERT INTO carmenta.memories (user_id, id, category, content) "
                "SELECT %s, id, 'knowledge', 'x' FROM stage_bench",
                (user,),
            )
            raw.execute(
                "INSERT INTO search.passages (user_id, id, unit, ordinal, content, memory_id) "
                "SELECT %s, id, 'memory', 0, 'x', id FROM stage_bench",
                (user,),
            )
            raw.execute(f"CREATE TEMP TABLE stage_v ON COMMIT DROP AS SELECT * FROM search.{self.name} WITH NO DATA")
            every = zip(ids, vectors, strict=True)
            rows = ((user, key, key, None, "memory", HalfVector(vector)) for key, vector in every)
            copy(raw, sql.Identifier("stage_v"), VECTOR_COLUMNS, rows)
            raw.execute(f"INSERT INTO search.{self.name} SELECT * FROM stage_v")

    def build(self, index: ApproximateIndex, rows: int, user: UUID | None = None) -> None:
        """Build with the memory that the graph needs."""
        enough = max(64, math.ceil(1.2 * index.memory_bytes(rows, DIM) / MB))
        approximate.build(self.database.owner, self.name, index, user=user, memory_mb=enough)

    def size(self, name: str, user: UUID) -> int:
        """Bytes of the index of that route."""
        with self.database.owner_session() as session:
            if name == "own":
                return approximate.size_bytes(session, self.name, "halfvec", user)
            return approximate.size_bytes(session, self.name, "halfvec" if name == "fused" else cast("IndexKind", name))


def crossover(database: Database, rows: int, repeats: int, seed: int) -> list[Crossover]:
    """Exact search of users with 1 to 50 % of `rows` vectors against every index, and against one of the user's own."""
    table = _Table(database, rows, seed)
    found: list[Crossover] = []
    try:
        for index in KINDS.values():
            table.build(index, rows)
        common: dict[str, Retriever] = {kind: VectorSearch(index=kind, exact_up_to=0) for kind in KINDS}
        common["fused"] = common["halfvec"]
        for number in range(len(SHARES)):
            asked = table.draw(number, QUESTIONS)
            found += _measure(table, number, asked, common, repeats)
            table.build(KINDS["halfvec"], table.sizes[number], table.users[number])
            found += _measure(table, number, asked, {"own": VectorSearch(index="halfvec", exact_up_to=0)}, repeats)
            approximate.drop(database.owner, table.name, "halfvec", table.users[number])
    finally:
        for kind in KINDS:
            approximate.drop(database.owner, table.name, kind)
        with database.owner.begin() as connection:
            connection.exec_driver_sql("TRUNCATE carmenta.users CASCADE")
    return [*found, *crossings(found)]


def _measure(
    table: _Table, number: int, asked: NDArray[np.float32], routes: dict[str, Retriever], repeats: int
) -> list[Crossover]:
    """Median latencies of one user's questions, exact and approximate in turns; and of counting alone."""
    user, rows = table.users[number], table.sizes[number]
    query, counting = Query("bench", user, "bench"), VectorSearch(index="halfvec", exact_up_to=rows)
    hits = {name: FUSED if name == "fused" else K for name in routes}
    limits = {wanted: f"exact_{wanted}" for wanted in hits.values()}
    spent: dict[str, list[float]] = {name: [] for name in (*limits.values(), "counting", *routes)}
    recall: dict[str, list[float]] = {name: [] for name in routes}
    with table.database.user_session(user) as session:

        def timed(name: str, retriever: Retriever, vector: Vector, wanted: int) -> set[UUID]:
            start = perf_counter()
            ranking = search(session, retriever, query, wanted, vector)
            spent[name].append((perf_counter() - start) * 1000)
            return set(ranking.sources())

        for turn in range(repeats + 1):
            for vector in asked:
                true = {wanted: timed(name, EXACT, vector, wanted) for wanted, name in limits.items()}
                for name, retriever in routes.items():
                    found = timed(name, retriever, vector, hits[name])
                    recall[name].append(len(true[hits[name]] & found) / len(true[hits[name]]))
                start = perf_counter()
                counting.route(session, query)
                spent["counting"].append((perf_counter() - start) * 1000)
            if not turn:
                spent = {name: [] for name in spent}  # was the warm-up
    exact = {name: median(spent[limits[wanted]]) for name, wanted in hits.items()}
    what = "exact search"
    results = [
        Crossover(
            f"crossover_{name}_{rows}",
            exact[name],
            median(spent[name]),
            rows,
            repeats,
            f"{what}; recall@{hits[name]} {fmean(recall[name]):.3f}",
            recall=fmean(recall[name]),
            bytes=table.size(name, user),
        )
        for name in routes
    ]
    if "own" not in routes:
        what = "exact search; ours is what counting the vectors adds"
        results.append(
            Crossover(
                f"crossover_counting_{rows}", median(spent[limits[K]]), median(spent["counting"]), rows, repeats, what
            )
        )
    return results


def crossings(measured: Sequence[Crossover]) -> list[Crossover]:
    """For each index the size of a user from which on it is faster than exact search at a recall of .95.

    Between the last size at which it is not and the next the ratio is taken to follow a power of the size. An index
    that does not win at the largest size has none.
    """
    found = []
    for kind in (*KINDS, "fused", "own"):
        curve = [result for result in measured if result.name == f"crossover_{kind}_{result.rows}"]
        lost = [place for place, r in enumerate(curve) if r.ratio > 1 or r.recall < ENOUGH]
        last = lost[-1] if lost else -1
        if last + 1 >= len(curve):
            continue
        after = curve[last + 1]
        before = curve[last] if lost and curve[last].ratio > 1 else after
        rows = after.rows
        if before is not after:
            slope = math.log(after.ratio / before.ratio) / math.log(after.rows / before.rows)
            rows = round(before.rows * before.ratio ** (-1 / slope))
        what = f"from this many rows of a user on the index, of {after.bytes / 1e6:.0f} MB, is faster"
        crossing = Crossover(
            f"crossover_{kind}", 1.0, 1.0, rows, after.repeats, what, recall=after.recall, bytes=after.bytes
        )
        found.append(crossing)
    return found


BENCHES = (Bench("crossover", crossover, rows=100_000, repeats=5, long=True),)
