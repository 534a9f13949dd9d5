"""The vectors that a folder brings along, beside the passages they stand for."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, TypeAlias

from psycopg import Connection, Cursor

from carmenta_lab.datasets import GivenVectors
from carmenta_lab.indexing.packed import BLOCK_ROWS, Columns, write_vectors
from carmenta_lab.indexing.passages import Row
from carmenta_lab.ingest.whole import CREATED_AT, ID, LINE, PASSAGE, USER

_SINGLE = """
    SELECT line, user_id, passage_id, id, created_at FROM stage_messages WHERE passage_id IS NOT NULL
    UNION ALL
    SELECT line, user_id, id, message_id, created_at FROM stage_passages p WHERE message_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM stage_passages o WHERE o.message_id = p.message_id AND o.id <> p.id)
    ORDER BY user_id, line
"""


Single: TypeAlias = tuple[int, bytes, bytes, bytes, datetime | None]
"""A passage that is a whole message: the message's line, the ids of user, passage and message, and the time."""

_of_short = itemgetter(LINE, USER, PASSAGE, ID, CREATED_AT)


@dataclass(frozen=True)
class Given:
    """The vectors of one model, and the table they go to."""

    vectors: GivenVectors
    table: str

    def write(self, connection: Connection[Any], singles: Sequence[Single], again: bool = False) -> list[Cursor[Any]]:
        """Write the vectors of these passages; the cursors count those that are new or, if written `again`, others."""
        if not singles:
            return []
        lines, users, passages, sources, times = zip(*singles, strict=True)
        columns = Columns(users, passages, sources, times, ("turn",) * len(lines))
        return write_vectors(connection, self.table, columns, self.vectors.rows(lines), again)

    def write_staged(self, connection: Connection[Any]) -> int:
        """Write the vectors of all messages in the stage."""
        written = 0
        with connection.cursor("given_vectors") as cursor:
            cursor.itersize = BLOCK_ROWS
            cursor.execute(_SINGLE, binary=True)
            while rows := cursor.fetchmany(BLOCK_ROWS):
                singles = [(line, u.bytes, p.bytes, s.bytes, at) for line, u, p, s, at in rows]
                written += sum(cursor.rowcount for cursor in self.write(connection, singles, again=True))
        return written


def of_messages(messages: Iterable[Row], pieces: Sequence[Row]) -> list[Single]:
    """The single passages among staging rows of messages and of the passages of the long ones."""
    counts = Counter(piece[6] for piece in pieces)
    long = [(p[0], p[1], p[2], p[6], p[11]) for p in pieces if counts[p[6]] == 1]
    return [_of_short(m) for m in messages if m[PASSAGE] is not None] + long
