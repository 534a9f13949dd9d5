"""What do the messages of a conversation become once its last line is read? Their positions and parents; pure."""

from datetime import datetime
from itertools import pairwise

from carmenta_lab.datasets.kinds import MAX_INT
from carmenta_lab.indexing.passages import Row
from carmenta_lab.ingest.staging import TABLES

_NAMES = [column.split()[0] for column in TABLES["messages"].split(", ")]
LINE, ID, USER, PARENT, POSITION, CONTENT, CREATED_AT, PASSAGE = (
    _NAMES.index(name)
    for name in ("line", "id", "user_id", "parent_id", "position", "content", "created_at", "passage_id")
)
"""Where in a staging row of a message its values stand."""


def placed(rows: list[Row]) -> tuple[list[Row], int]:
    """The rows of a conversation with position and parent as `MESSAGES` and the checks give them in SQL.

    A position is kept as given; messages without one follow in the order of their times, one without a time after
    the latest before it. Returned with it: how many named a parent that is not in the conversation.
    """
    if all(row[PARENT] is None and row[POSITION] is None for row in rows) and _dated_in_order(rows):
        return [(*row[:POSITION], n, *row[POSITION + 1 :]) for n, row in enumerate(rows)], 0  # as nearly always
    known = {row[ID] for row in rows} if any(row[PARENT] for row in rows) else set()
    mended = 0
    first = max((row[POSITION] for row in rows if row[POSITION] is not None), default=-1) + 1
    position = {place: first + rank for rank, place in enumerate(_in_order(rows))}
    found = []
    for place, row in enumerate(rows):
        parent = row[PARENT]
        if parent is not None and (parent == row[ID] or parent not in known):
            parent = None
            mended += 1
        at = min(position[place], MAX_INT) if place in position else row[POSITION]
        found.append((*row[:PARENT], parent, at, *row[POSITION + 1 :]))
    return found, mended


def _dated_in_order(rows: list[Row]) -> bool:
    times = [row[CREATED_AT] for row in rows]
    return None not in times and all(before <= after for before, after in pairwise(times))


def _in_order(rows: list[Row]) -> list[int]:
    """The places of the rows without a position, by time."""
    latest: datetime | None = None
    times: list[tuple[bool, datetime | None, int]] = []
    for place, row in enumerate(rows):
        at = row[CREATED_AT]
        if at is not None and (latest is None or at > latest):
            latest = at
        if row[POSITION] is None:
            here = at if at is not None else latest
            times.append((here is not None, here, place))
    return [place for _, _, place in sorted(times)]
