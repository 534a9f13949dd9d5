"""The index of words, as it is written: live, a passage at a time, and in bulk, a user at a time.

Nothing in the database calls these functions: whoever writes or deletes passages does, in the same transaction. The
first of them takes a lock that others who write the same user's index wait for until the transaction ends.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg

from carmenta_lab.postgres.postponed import prepares
from carmenta_lab.postgres.statement import only

_OWED = """
    SELECT DISTINCT coalesce(p.user_id, f.user_id) AS user_id
    FROM (SELECT * FROM search.passages WHERE user_id = ANY (%(users)s) AND unit IN ('turn', 'memory', 'section')) p
    LEFT JOIN carmenta.messages m ON m.user_id = p.user_id AND m.id = p.message_id
    FULL JOIN (SELECT * FROM search.passage_features WHERE user_id = ANY (%(users)s)) f
        ON f.user_id = p.user_id AND f.passage_id = p.id
    WHERE p.id IS NULL OR f.passage_id IS NULL
    OR f.place IS DISTINCT FROM (m.position::bigint << 16) + p.ordinal ORDER BY 1
"""

_LEFT_OVER = """
    SELECT f.passage_id FROM search.passage_features f WHERE f.user_id = %(user)s AND NOT EXISTS (
        SELECT FROM search.passages p WHERE p.user_id = %(user)s AND p.id = f.passage_id) ORDER BY 1
"""


def add(connection: psycopg.Connection[Any], user: UUID, passages: Sequence[UUID]) -> None:
    """Index the words of new passages, and again those of messages that follow them where the new ones ask something.

    The cost is constant, except for one in `TAIL` passages, with which the words of the others are merged.
    """
    if passages:
        connection.execute("SELECT search.index_words(%s, %s)", (user, list(passages)), prepare=prepares(connection))


@contextmanager
def removed(connection: psycopg.Connection[Any], user: UUID, passages: Sequence[UUID]) -> Iterator[None]:
    """Take passages out of the index of words; the block deletes them or their sources, softly or for good.

    Where they were deleted before the block, all words of the user are read once. Passages that replace them are best
    added within the block too: then what answers them is indexed once, not twice.
    """
    prepare, values = prepares(connection), (user, list(passages))
    answers = only(connection.execute("SELECT search.answers_to(%s, %s)", values, prepare=prepare))
    connection.execute("SELECT search.remove_words(%s, %s)", values, prepare=prepare)
    yield
    if answers:
        connection.execute("SELECT search.index_answers(%s, %s)", (user, answers), prepare=prepare)


def left_over(connection: psycopg.Connection[Any], user: UUID) -> list[UUID]:
    """The ids of passages that were deleted with their source and whose words are still in the index; see `removed`."""
    return [id for (id,) in connection.execute(_LEFT_OVER, {"user": user})]


def merge(connection: psycopg.Connection[Any], user: UUID) -> None:
    """Merge the words added last into the user's postings now, so that a search reads only these."""
    connection.execute("SELECT search.merge_words(%s)", (user,))


def rebuild(connection: psycopg.Connection[Any], user: UUID) -> None:
    """Index the words of all passages of a user from nothing."""
    connection.execute("SELECT search.rebuild_words(%s)", (user,))


def rebuild_owed(connection: psycopg.Connection[Any], users: Sequence[UUID], commit: Callable[[], None]) -> int:
    """Rebuild the index of words of users where it differs from their passages; returns how many users that were.

    Each user is a transaction, which `commit` ends.
    """
    owed = [user for (user,) in connection.execute(_OWED, {"users": list(users)}).fetchall()]
    for user in owed:
        rebuild(connection, user)
        commit()
    return len(owed)
