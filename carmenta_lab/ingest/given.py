"""The vectors that a folder brings along, beside the passages they stand for."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from carmenta_lab.datasets import GivenVectors
from carmenta_lab.ingest.cut import Row
from carmenta_lab.ingest.embed import BLOCK_PASSAGES, write_vectors
from carmenta_lab.ingest.whole import CREATED_AT, ID, LINE, PASSAGE, USER

_SINGLE = """
    SELECT line, user_id, passage_id, id, created_at FROM stage_messages WHERE passage_id IS NOT NULL
    UNION ALL
    SELECT line, user_id, id, message_id, created_at FROM stage_passages p WHERE message_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM stage_passages o WHERE o.message_id = p.message_id AND o.id <> p.id)
    ORDER BY user_id, line
"""


class Single(NamedTuple):
    """A passage that is a whole message."""

    line: int
    user: bytes
    passage: bytes
    source: bytes
    created_at: datetime | None


@dataclass(frozen=True)
class Given:
    """The vectors of one model, and the table they go to."""

    vectors: GivenVectors
    table: str

    def write(self, connection: psycopg.Connection[Any], singles: Sequence[Single], again: bool = False) -> int:
        """Write the vectors of these passages; returns how many are new or, if written `again`, others."""
        found = self.vectors.rows([single.line for single in singles])
        keys = [(user, passage, source, created_at, "turn") for _, user, passage, source, created_at in singles]
        return write_vectors(connection, self.table, keys, found, again)

    def write_staged(self, connection: psycopg.Connection[Any]) -> int:
        """Write the vectors of all messages in the stage."""
        written = 0
        with connection.cursor("given_vectors") as cursor:
            cursor.itersize = BLOCK_PASSAGES
            cursor.execute(_SINGLE, binary=True)
            while rows := cursor.fetchmany(BLOCK_PASSAGES):
                singles = [Single(line, u.bytes, p.bytes, s.bytes, at) for line, u, p, s, at in rows]
                written += self.write(connection, singles, again=True)
        return written


def of_messages(messages: Iterable[Row], pieces: Sequence[Row]) -> list[Single]:
    """The single passages among staging rows of messages and of the passages of the long ones."""
    counts = Counter(piece[6] for piece in pieces)
    long = [Single(p[0], p[1], p[2], p[6], p[11]) for p in pieces if counts[p[6]] == 1]
    short = [m for m in messages if m[PASSAGE] is not None]
    return [Single(m[LINE], m[USER], m[PASSAGE], m[ID], m[CREATED_AT]) for m in short] + long
