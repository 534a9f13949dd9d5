"""Which way a question is searched: decided by the retriever, and remembered for the next questions of its user."""

from collections.abc import Hashable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from sqlalchemy import Engine

SEARCHES = 100
"""Searches after which the rows are counted again: counting ten thousand takes as long as several searches."""

USERS = 10_000
"""Decisions remembered for one engine."""


@dataclass
class Decision:
    """A route, and the approximate indexes that were there when it was taken."""

    route: str
    indexes: str
    left: int = SEARCHES


_DECISIONS: WeakKeyDictionary[Engine, dict[Hashable, Decision]] = WeakKeyDictionary()


def recall(engine: Engine, key: Hashable) -> Decision | None:
    """The decision taken last for a retriever, user and time of asking; None when it is to be taken (again)."""
    decision = _DECISIONS.get(engine, {}).get(key)
    if decision is None or decision.left == 0:
        return None
    decision.left -= 1
    return decision


def remember(engine: Engine, key: Hashable, decision: Decision) -> None:
    """Keep a decision for an approximate route.

    That for an exact one is taken anew each time: users grow, and past the bound exact search would go on and on.
    Should rows be deleted, the approximate search stays right until they are counted again, only needless.
    """
    known = _DECISIONS.setdefault(engine, {})
    if key not in known and len(known) >= USERS:
        del known[next(iter(known))]
    known[key] = decision


def forget(engine: Engine, key: Hashable) -> None:
    """Drop a decision."""
    _DECISIONS.get(engine, {}).pop(key, None)


def forget_all() -> None:
    """Drop every decision: bounds have changed, or indexes were built for users who had none."""
    _DECISIONS.clear()
