"""What a bench is, and how two sides are timed: in one run, in turns, after a warm-up, by their medians."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import getdoc
from statistics import median

from carmenta_lab.postgres.connect import Database


@dataclass(frozen=True)
class Result:
    """One comparison; times in milliseconds, medians of `repeats`, unless `unit` says otherwise."""

    name: str
    limit_ms: float
    ours_ms: float
    rows: int
    repeats: int
    what: str  # what the limit is
    unit: str = "ms"

    @property
    def ratio(self) -> float:
        """Ours over the limit: 1.0 costs nothing, 1.3 costs 30 % more."""
        return self.ours_ms / self.limit_ms

    @property
    def throughput(self) -> float:
        """The share of the limit's speed that is kept: 1 / ratio."""
        return self.limit_ms / self.ours_ms

    def to_json(self) -> dict[str, object]:
        """The result as plain values, for JSON."""
        return {
            "limit": self.limit_ms,
            "ours": self.ours_ms,
            "unit": self.unit,
            "ratio": self.ratio,
            "throughput": self.throughput,
            "rows": self.rows,
            "repeats": self.repeats,
            "what": self.what,
        }


@dataclass(frozen=True)
class Bench:
    """One name of `carmenta-lab bench`: a function that measures, and with how much unless told otherwise.

    The function is given a database that it may empty, rows, repeats and a seed.
    """

    name: str
    measure: Callable[[Database, int, int, int], Sequence[Result]]
    rows: int
    repeats: int
    long: bool = False  # takes many minutes, and so runs only when it is asked for by name

    @property
    def summary(self) -> str:
        """What it measures: the first line of its function's docstring."""
        return (getdoc(self.measure) or "").partition("\n")[0]


def alternate(
    limit: Callable[[], object],
    ours: Callable[[], object],
    repeats: int,
    before: Callable[[], object] = lambda: None,
    warm_up: int = 1,
) -> tuple[float, float]:
    """Median milliseconds of both, in turns so that a slow minute meets both; `before` runs untimed before each."""
    found = medians((limit, ours), repeats, before, warm_up)
    return found[0], found[1]


def medians(
    works: Sequence[Callable[[], object]],
    repeats: int,
    before: Callable[[], object] = lambda: None,
    warm_up: int = 1,
) -> list[float]:
    """Median milliseconds of each, in turns, as `alternate`."""
    spent: list[list[float]] = [[] for _ in works]
    for turn in range(warm_up + repeats):
        for place, work in enumerate(works):
            before()
            start = time.perf_counter()
            work()
            if turn >= warm_up:
                spent[place].append((time.perf_counter() - start) * 1000)
    return [median(times) for times in spent]
