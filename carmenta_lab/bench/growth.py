"""Does what one user asks stay as fast when the others grow? One user of 1,000 passages in ever larger databases."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from carmenta_lab import strategies
from carmenta_lab.bench.exponents import exponent
from carmenta_lab.bench.filling import fill
from carmenta_lab.bench.measure import Result, medians
from carmenta_lab.bench.scratch import scratch
from carmenta_lab.bench.searching import SEARCHES, Asker, asker
from carmenta_lab.context import assemble
from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.postgres.connect import Database
from carmenta_lab.retrieval.search import search

OWN = 1_000
"""Passages of each user, and messages of one conversation."""

STEPS = (100, 10, 1)
"""The databases hold this fraction of all rows each."""

ASKED = ("vector_exact", "bm25", "fulltext_or", "hybrid_bm25")

_TOLD = (
    "INSERT INTO carmenta.conversations (user_id, id, last_message_at) "
    "SELECT id, id, '2026-01-01Z' FROM carmenta.users",
    "INSERT INTO carmenta.messages (user_id, id, conversation_id, position, role, content, created_at) "
    "SELECT user_id, id, user_id, row_number() OVER (PARTITION BY user_id ORDER BY id), 'user', content, created_at "
    "FROM search.passages",
)


@dataclass(frozen=True)
class Grew(Result):
    """The largest database against the smallest, and how the time grows from one to the other."""

    exponent: float = float("nan")  # of the rows of all users

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        return super().to_json() | {"exponent": self.exponent}


def one_user(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Searches and contexts of the same user among 1 % of `rows`, a tenth and all, each in a database of its own."""
    totals = [max(OWN, rows // step) for step in STEPS]
    with ExitStack() as open_databases:
        askers = []
        for total in totals:
            grown = open_databases.enter_context(scratch(f"{database.name}_{total}"))
            _fill(grown, total // OWN, seed)
            askers.append(asker(grown, 0, seed))
        works = {name: [_searches(one, name) for one in askers] for name in ASKED}
        works["context"] = [_contexts(one) for one in askers]
        return [_result(name, medians(work, repeats, warm_up=3), totals, repeats) for name, work in works.items()]


def _fill(database: Database, users: int, seed: int) -> None:
    fill(database, [(number, OWN) for number in range(users)], seed, words=True)
    with database.owner.begin() as connection:
        connection.exec_driver_sql(UNNOTED, (True,))
        for statement in _TOLD:
            connection.exec_driver_sql(statement)
    with database.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def _searches(one: Asker, name: str) -> Callable[[], None]:
    strategy = strategies.load(name)

    def ask() -> None:
        with one.database.user_session(one.query.user_id) as session:
            for vector, text in zip(one.vectors, one.texts, strict=True):
                search(session, strategy, replace(one.query, text=text), 10, vector)

    return ask


def _contexts(one: Asker) -> Callable[[], None]:
    def ask() -> None:
        with one.database.user_session(one.query.user_id) as session:
            for vector, text in zip(one.vectors, one.texts, strict=True):
                assemble(session, replace(one.query, text=text), policy="mission_order", vector=vector)

    return ask


def _result(name: str, found: list[float], totals: list[int], repeats: int) -> Grew:
    each = [milliseconds / SEARCHES for milliseconds in found]
    growth = exponent(totals, each)
    steps = ", ".join(f"{total:,}" for total in totals)
    what = f"the same user of {OWN:,} among {totals[0]:,}; exponent {growth:.2f} over {steps}"
    return Grew(f"growth_{name}", each[0], each[-1], totals[-1], repeats, what, exponent=growth)
