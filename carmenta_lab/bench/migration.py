"""For how long does a migration stop a reader and a writer of the tables that it changes?"""

import time
from collections.abc import Callable
from itertools import pairwise
from threading import Event, Thread

from sqlalchemy import Engine, text

from carmenta_lab.bench.crowd import fill, number
from carmenta_lab.bench.measure import Result
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.migrate import migrate, revisions

READ = "SELECT count(*) FROM carmenta.messages WHERE user_id = :user AND conversation_id = :row"
WRITE = "UPDATE carmenta.messages SET content_for_llm = 'x' WHERE user_id = :user AND id = :row"


class _Client:
    """Asks again and again, and keeps the longest time that it waited for an answer."""

    def __init__(self, engine: Engine, statement: str) -> None:
        self._engine, self._statement, self._stop = engine, text(statement), Event()
        self.longest_ms = 0.0
        self._thread = Thread(target=self._run)

    def _run(self) -> None:
        values = {"user": number(1), "row": number(50)}
        with self._engine.connect() as connection:
            while not self._stop.is_set():
                start = time.perf_counter()
                connection.execute(self._statement, values)
                connection.commit()
                self.longest_ms = max(self.longest_ms, (time.perf_counter() - start) * 1000)

    def during(self, work: Callable[[], object]) -> None:
        """Ask while something is done."""
        self._thread.start()
        try:
            work()
        finally:
            self._stop.set()
            self._thread.join()


def _longest(owner: Engine, work: Callable[[], object]) -> tuple[float, float]:
    """The longest wait of a reader and of a writer meanwhile, in milliseconds."""
    reader, writer = _Client(owner, READ), _Client(owner, WRITE)
    reader.during(lambda: writer.during(work))
    return reader.longest_ms, writer.longest_ms


def migrating(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Each revision of `search` under load: longest wait of a reader and a writer, against that without a migration.

    "Limit" is the longest wait in as much time with nothing else going on; both are the worst of `repeats`.
    """
    with database.owner.begin() as connection:
        connection.exec_driver_sql("TRUNCATE carmenta.users, lab.datasets CASCADE")
    fill(database, rows)
    owner = database.owner
    found = []
    for before, revision in pairwise(("search@base", *revisions("search"))):
        idle: list[tuple[float, float]] = []
        busy: list[tuple[float, float]] = []
        for _ in range(repeats):
            migrate(owner, before)  # its rows in later tables are gone after that
            start = time.perf_counter()
            busy.append(_longest(owner, lambda to=revision: migrate(owner, to)))  # type: ignore[misc]
            spent = time.perf_counter() - start
            idle.append(_longest(owner, lambda spent=spent: time.sleep(spent)))  # type: ignore[misc]
        for place, who in enumerate(("reader", "writer")):
            worst = max(pair[place] for pair in idle), max(pair[place] for pair in busy)
            what = f"the longest wait of a {who} in as much time without a migration"
            found.append(Result(f"{revision}_{who}", *worst, rows, repeats, what))
    with owner.begin() as connection:
        connection.exec_driver_sql("TRUNCATE carmenta.users CASCADE")
    return found
