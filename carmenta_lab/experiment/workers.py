"""Strategies run one after another, or by an executor: processes of this machine, or a Dask cluster."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context
from typing import Any, NamedTuple

from sqlalchemy import URL

from carmenta_lab import strategies as registry
from carmenta_lab.errors import UsageError
from carmenta_lab.experiment.searching import EncodedQuestion, ExecutedRun, execute
from carmenta_lab.postgres.connect import Database, open_database
from carmenta_lab.postgres.hosts import Host
from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import Retriever
from carmenta_lab.settings import read_settings


def run_all(
    database: Database,
    strategies: Mapping[str, str | Retriever],
    queries: Sequence[Query],
    encoded: Mapping[str, Mapping[str, EncodedQuestion]],
    k: int,
    executor: Executor | None,
    progress: Callable[[str, int], object],
) -> dict[str, ExecutedRun]:
    """Title -> what the strategy (by name, path or as a value) found, in the order given whoever finishes first.

    `progress` is called with a title and how many of its questions were answered. A file outside the package must lie
    at the same path on every machine.
    """
    if executor is None:
        found = {}
        for title, name in strategies.items():
            progress(title, 0)
            each = execute(database, title, _loaded(name), queries, encoded[title], k, _once(progress, title))
            found[title] = each
        return found
    address = _Address(database.owner.url, database.app.url, database.direct)
    tasks = {
        title: executor.submit(_run, address, title, name, tuple(queries), encoded[title], k)
        for title, name in strategies.items()
    }
    done = {}
    for title, task in tasks.items():
        done[title] = task.result()
        progress(title, len(queries))
    return done


def _loaded(name: str | Retriever) -> Retriever:
    return registry.load(name) if isinstance(name, str) else name


def _once(progress: Callable[[str, int], object], title: str) -> Callable[[int], object]:
    return lambda done: progress(title, done)


class _Address(NamedTuple):
    """Where another process finds the database."""

    owner: URL
    app: URL
    direct: bool  # whether `app` keeps its connection between transactions


def _run(
    address: _Address,
    title: str,
    name: str | Retriever,
    queries: Sequence[Query],
    encoded: Mapping[str, EncodedQuestion],
    k: int,
) -> ExecutedRun:
    return execute(_database(address), title, _loaded(name), queries, encoded, k)


@cache
def _database(address: _Address) -> Database:
    """The engines of this process, opened once: connections do not pass from one process to another."""
    return open_database(Host(address.owner, pooled=False), Host(address.app, pooled=not address.direct))


@contextmanager
def executor(workers: int | None = None, dask: str | None = None) -> Iterator[Executor | None]:
    """Processes, the workers of a Dask cluster at an address, or None for neither.

    UsageError for both, for fewer than one process, without the package, when nothing answers at the address, and for
    a cluster beside the embedded server, which only this machine reaches.
    """
    if workers is not None and dask is not None:
        raise UsageError("give --workers or --dask, not both: a Dask cluster has its own number of workers.")
    if dask is not None:
        with _cluster(dask) as found:
            yield found
    elif workers is not None:
        if workers < 1:
            raise UsageError(f"--workers expects 1 or more, found {workers}.")
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            yield pool
    else:
        yield None


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    if read_settings().database_url is None:
        raise UsageError(
            "a Dask cluster needs a server that its workers reach, and the embedded one listens on a socket of this "
            "machine alone: set CARMENTA_DATABASE_URL, or use --workers."
        )
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--dask needs the package distributed: pip install 'carmenta-lab[distributed]'.") from None
    try:
        client: Any = Client(address, timeout=10, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise UsageError(f"no Dask scheduler answers at {address}: {str(error).splitlines()[0]}.") from None
    with client:
        yield client.get_executor()
