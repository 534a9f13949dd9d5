"""The index of words, in bulk: a load writes its passages without it, then indexes each user once."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import psycopg

_OWED = """
    SELECT DISTINCT coalesce(p.user_id, f.user_id) AS user_id
    FROM (SELECT * FROM search.passages WHERE user_id = ANY (%(users)s) AND unit IN ('turn', 'memory', 'section')) p
    LEFT JOIN carmenta.messages m ON m.user_id = p.user_id AND m.id = p.message_id
    FULL JOIN (SELECT * FROM search.passage_features WHERE user_id = ANY (%(users)s)) f
        ON f.user_id = p.user_id AND f.passage_id = p.id
    WHERE p.id IS NULL OR f.passage_id IS NULL
    OR f.place IS DISTINCT FROM (m.position::bigint << 16) + p.ordinal ORDER BY 1
"""


def index_words(connection: psycopg.Connection[Any], users: Sequence[UUID], committed: Callable[[], None]) -> int:
    """Index anew the users whose passages and index differ; returns how many those are. Each is a transaction."""
    owed = [row[0] for row in connection.execute(_OWED, {"users": list(users)}).fetchall()]
    for user in owed:
        connection.execute("SELECT search.rebuild_words(%s)", (user,))
        committed()
    return len(owed)
