"""How do searches, loading and context assembly grow, and what follows for choosing? Exponents and a table."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from uuid import UUID

import numpy as np
import pandas as pd
from sqlalchemy import text

from carmenta_lab.context import assemble
from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.indexing.kinds import KINDS
from carmenta_lab.indexing.vectors import register
from carmenta_lab.ingest.load import load
from carmenta_lab.postgres.connect import Database
from carmenta_lab.records import Query
from carmenta_lab.scale.filling import empty
from carmenta_lab.scale.generate import DIM, vectors, write_folder
from carmenta_lab.scale.methods import RECALL, Scale

MESSAGES = 1_000
"""Messages of one user on average."""


_NEAREST_USER = text(
    "SELECT user_id FROM carmenta.messages GROUP BY user_id ORDER BY abs(count(*) - :messages), user_id LIMIT 1"
)


@dataclass(frozen=True)
class OperationTime:
    """One operation at one size of the database."""

    operation: str
    rows: int
    milliseconds: float


def exponent(rows: Sequence[float], milliseconds: Sequence[float]) -> float:
    """The b of milliseconds = a rows^b that fits best on logarithmic scales; nan with fewer than two sizes."""
    if len(set(rows)) < 2:
        return float("nan")
    return float(np.polyfit(np.log(rows), np.log(milliseconds), 1)[0])


def exponents(scale: Scale, grown: Sequence[OperationTime] = ()) -> pd.DataFrame:
    """Growth with all rows for a user of fixed size (the largest measured at each total), and of other operations."""
    found: list[tuple[object, ...]] = []
    frame = pd.DataFrame([vars(row) for row in scale.answers])
    for method, group in frame.groupby("method", sort=False):
        sizes = group.groupby("user_rows").rows.nunique()
        size = max(sizes[sizes == sizes.max()].index)
        one = group[group.user_rows == size]
        found.append((f"search by {method}", size, *_span(one.rows.tolist(), one.p50_ms.tolist())))
    others = pd.DataFrame([vars(row) for row in grown], columns=["operation", "rows", "milliseconds"])
    for operation, group in others.groupby("operation", sort=False):
        found.append((operation, MESSAGES, *_span(group.rows.tolist(), group.milliseconds.tolist())))
    return pd.DataFrame(found, columns=["operation", "user_rows", "from_rows", "to_rows", "exponent"])


def _span(rows: list[int], milliseconds: list[float]) -> tuple[int, int, float]:
    return min(rows), max(rows), round(exponent(rows, milliseconds), 2)


def extrapolated(scale: Scale, rows: int) -> pd.DataFrame:
    """What searches would take at that many rows of one user if they grew as measured: an estimate, not a measurement.

    With the exponent between the two largest users of the largest database: smaller ones cost what any search costs.
    Not for indexes, whose latency follows the user's share.
    """
    found = []
    frame = pd.DataFrame([vars(row) for row in scale.answers])
    last = frame[(frame.rows == frame.rows.max()) & ~frame.method.isin(list(KINDS))]
    for method, group in last.groupby("method", sort=False):
        most = group.loc[group.user_rows.idxmax()]
        two = group.nlargest(2, "user_rows")
        growth = exponent(two.user_rows.tolist(), two.p50_ms.tolist())
        value = most.p50_ms * (rows / most.user_rows) ** growth
        found.append((method, int(most.user_rows), most.p50_ms, round(growth, 2), rows, value))
    columns = ["method", "measured_rows", "measured_ms", "exponent", "rows", "extrapolated_ms"]
    return pd.DataFrame(found, columns=columns).round({"measured_ms": 2, "extrapolated_ms": 1})


def decisions(scale: Scale, enough_ms: float = 10.0, too_slow_ms: float = 100.0) -> pd.DataFrame:
    """For each size of user in the largest database: exact search, an index, or an engine made for vectors.

    Exact while its median stays within `enough_ms`, or while no index is faster at a recall of .95; a dedicated engine
    where nothing here answers within `too_slow_ms`.
    """
    frame = pd.DataFrame([vars(row) for row in scale.answers])
    last = frame[frame.rows == frame.rows.max()]
    found = []
    for size, group in last.groupby("user_rows"):
        exact = group[group.method == "exact"].iloc[0]
        good = group[(group.method != "exact") & (group.recall >= RECALL)].sort_values("p50_ms")
        best = good.iloc[0] if len(good) else None
        choice = "exact"
        if exact.p50_ms > enough_ms and best is not None and best.p50_ms < exact.p50_ms:
            choice = f"index: {best.method}"
        least = min(exact.p50_ms, best.p50_ms if best is not None else exact.p50_ms)
        if least > too_slow_ms:
            choice = "a dedicated engine"
        fastest: tuple[object, ...] = ("none", None, float("nan"), float("nan"))
        if best is not None:
            fastest = (best.method, best.wider, best.recall, best.p50_ms)
        found.append((int(exact.rows), size, size / exact.rows, exact.p50_ms, *fastest, choice))
    columns = ["rows", "user_rows", "share", "exact_ms", "best_index", "wider", "recall", "index_ms", "choice"]
    return pd.DataFrame(found, columns=columns).round({"share": 4, "exact_ms": 2, "recall": 3, "index_ms": 2})


def grow(
    database: Database,
    totals: Sequence[int],
    seed: int = 7,
    progress: Callable[[str], object] = lambda stage: None,
) -> list[OperationTime]:
    """Loading datasets of these sizes without embedding, and a context for a user of about 1,000 messages in each.

    The context is that of the policy `mission_order`, its question's vector given. The database is emptied.
    """
    found = []
    register(database.owner, DEFAULT_MODEL, DIM)
    for total in totals:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "grown"
            write_folder(folder, total, users=max(1, total // MESSAGES), seed=seed)
            empty(database)
            progress(f"loading {total:,} messages")
            start = time.perf_counter()
            load(database, folder, models=())
            found.append(OperationTime("load", total, (time.perf_counter() - start) * 1000))
        found.append(OperationTime("context", total, _context(database)))
    empty(database)
    return found


def _context(database: Database) -> float:
    """Median milliseconds of a context for the user whose messages are nearest to 1,000 in number."""
    with database.owner_session() as session:
        user: UUID = session.execute(_NEAREST_USER, {"messages": MESSAGES}).scalar_one()
    query, vector = Query("grown", user, "the harbour"), vectors(1, DIM, 7)[0]
    spent = []
    with database.user_session(user) as session:
        for _ in range(12):
            start = time.perf_counter()
            assemble(session, query, policy="mission_order", vector=vector)
            spent.append((time.perf_counter() - start) * 1000)
    return median(spent[2:])
