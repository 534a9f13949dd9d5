"""Speed against the bare limit and against other tools, measured in the same run: what `carmenta-lab bench` runs.

A module of this folder answers one question, and lists its benches at its end as `BENCHES`. The folder is the registry.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, NamedTuple

from carmenta_lab.bench.measure import Bench, Result
from carmenta_lab.errors import UnknownName
from carmenta_lab.experiment.circumstances import server_circumstances
from carmenta_lab.postgres.lab import embedded_logins, open_migrated
from carmenta_lab.settings import read_settings

__all__ = ["Bench", "Result", "benches", "run"]


class _Measured(NamedTuple):
    results: Sequence[Result]
    circumstances: dict[str, Any]


@cache
def benches() -> dict[str, Bench]:
    """Every bench by its name, in the order of the modules and of their lists."""
    found: dict[str, Bench] = {}
    for module in sorted(iter_modules(__path__), key=lambda module: module.name):
        listed: Sequence[Bench] = vars(import_module(f"{__name__}.{module.name}")).get("BENCHES", ())
        for bench in listed:
            assert bench.name not in found, f"two benches are called {bench.name}"
            found[bench.name] = bench
    return found


def run(
    names: Sequence[str] = (), rows: int | None = None, seed: int = 7, executor: Executor | None = None
) -> tuple[list[Result], dict[str, Any]]:
    """Measure on the embedded server, in a database that is emptied; results in the order of the names, circumstances.

    All that are not long when no name is given. With an executor each bench runs on the server of the machine that
    takes it, in a database of its own; benches that run at once on one machine disturb each other. UnknownName lists
    the known benches.
    """
    known = benches()
    chosen = list(names) or [bench.name for bench in known.values() if not bench.long]
    for name in chosen:
        if name not in known:
            raise UnknownName("bench", name, known)
    if executor is None:
        done = [_measure(name, rows, seed, "carmenta_bench") for name in chosen]
    else:
        tasks = [executor.submit(_measure, name, rows, seed, f"carmenta_bench_{name}") for name in chosen]
        done = [task.result() for task in tasks]
    return [result for one in done for result in one.results], done[0].circumstances


def _measure(name: str, rows: int | None, seed: int, database: str) -> _Measured:
    bench = benches()[name]
    with open_migrated(embedded_logins(read_settings().home_folder, database)) as opened:
        return _Measured(bench.measure(opened, rows or bench.rows, bench.repeats, seed), server_circumstances(opened))
