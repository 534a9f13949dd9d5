"""How a profile and the end of a conversation are read: the statements, and what their columns mean.

A tail is one round trip. Its first row tells who asks: the user's profile, whom the session acts for, and the
conversation that was chosen; every other row is a message.
"""

from datetime import datetime
from functools import cache
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

from carmenta_lab.postgres.statement import Rows

Which: TypeAlias = Literal["given", "latest", "latest_then"]
"""Which conversation is read: one by its id, the latest now, the latest at the time of the question."""


Role: TypeAlias = Literal["user", "assistant", "system", "tool"]


class MessageRow(NamedTuple):
    """A message; texts longer than the budget stay where they are, and their length is told."""

    id: UUID
    external_id: str
    role: Role
    author: str | None
    length_bytes: int | None  # of a text that is too long, else None
    content: str | None
    compressed: str | None
    parent_id: UUID | None
    created_at: datetime | None
    seen: bool  # living, and said by the time of the question
    position: int
    tokens: int | None  # as counted before


class TailRow(NamedTuple):
    """Who asks, in the first row; in the others a message, with the fields of `MessageRow`."""

    acting_for: str | None  # the user of the session's transaction, as it is set
    acting_as: str | None  # the role
    may_write: bool | None
    profile_id: UUID | None
    profile: str | None
    chosen_id: UUID | None  # the conversation
    settled: bool | None  # whether all of it lies before the question
    id: UUID
    external_id: str
    role: Role
    author: str | None
    length_bytes: int | None
    content: str | None
    compressed: str | None
    parent_id: UUID | None
    created_at: datetime | None
    seen: bool
    position: int
    tokens: int | None


_COLUMNS = """m.id, coalesce(m.external_id, m.id::text) AS external_id, m.role, m.author,
    CASE WHEN octet_length(m.content) > %(bytes)s THEN octet_length(m.content) END AS length_bytes,
    CASE WHEN octet_length(m.content) <= %(bytes)s THEN m.content END AS content,
    CASE WHEN octet_length(m.content_for_llm) <= %(bytes)s THEN m.content_for_llm END AS compressed,
    m.parent_id, m.created_at"""

_SEEN = "m.deleted_at IS NULL AND (m.created_at IS NULL OR m.created_at <= %(asked_at)s)"

_COUNTED = """LEFT JOIN carmenta.token_counts t
    ON t.user_id = %(user_id)s AND t.message_id = m.id AND t.counter = %(counter)s
    AND t.content_hash = hashtextextended({text}, 0)"""
"""A count of another text than the message has now is none; of a text that is not read, none is asked for."""

_WHO = """SELECT current_setting('carmenta.user_id', true) AS acting_for, current_user::text AS acting_as,
        NOT current_setting('transaction_read_only')::bool AS may_write, p.id AS profile_id, p.content AS profile,
        {chosen} AS chosen_id, {settled} AS settled, NULL::uuid AS id, NULL::text AS external_id, NULL::text AS role,
        NULL::text AS author, NULL::int AS length_bytes, NULL::text AS content, NULL::text AS compressed,
        NULL::uuid AS parent_id, NULL::timestamptz AS created_at, NULL::bool AS seen, NULL::int AS position,
        NULL::int AS tokens
    FROM (SELECT 1) one LEFT JOIN carmenta.profiles p ON p.user_id = %(user_id)s"""

_NOBODY = "NULL, NULL, NULL, NULL, NULL, NULL, NULL"
"""What a message says of who asks."""

_CHOSEN = """chosen AS MATERIALIZED (
        SELECT id, last_message_at FROM carmenta.conversations c
        WHERE user_id = %(user_id)s AND deleted_at IS NULL {which}
    )"""

_WHICH: dict[Which, str] = {
    "given": "AND id = %(conversation_id)s",
    "latest": "ORDER BY last_message_at DESC NULLS LAST, id DESC LIMIT 1",
    "latest_then": """AND coalesce(started_at <= %(asked_at)s, last_message_at IS NULL)
        ORDER BY CASE WHEN last_message_at <= %(asked_at)s THEN last_message_at ELSE (
            SELECT m.created_at FROM carmenta.messages m
            WHERE m.user_id = %(user_id)s AND m.conversation_id = c.id AND m.created_at <= %(asked_at)s
            AND m.deleted_at IS NULL ORDER BY m.position DESC, m.id DESC LIMIT 1
        ) END DESC NULLS LAST, id DESC LIMIT 1""",
}

_SETTLED = "(SELECT coalesce(last_message_at <= %(asked_at)s, true) FROM chosen)"
"""Whether the whole conversation lies before the question."""


@cache
def plain(which: Which, messages: int) -> Rows[TailRow]:
    """The last messages by their place, whether or not they are visible and on the branch: the reader checks that.

    Their number stands in the text, so that one plan costs the same for all: with a parameter the planner finds a
    plan for this user cheaper than one for all, and makes it anew for each context, which takes as long as reading.
    """
    sql = f"""
    WITH {_CHOSEN.format(which=_WHICH[which])}
    {_WHO.format(chosen="(SELECT id FROM chosen)", settled=_SETTLED)}
    UNION ALL SELECT {_NOBODY}, m.*, t.tokens FROM (
        SELECT {_COLUMNS}, {_SEEN} AS seen, m.position FROM carmenta.messages m
        WHERE m.user_id = %(user_id)s AND m.conversation_id = (SELECT id FROM chosen)
        ORDER BY m.position DESC, m.id DESC LIMIT {messages:d}
    ) m {_COUNTED.format(text="m.content")}
    """
    return Rows(TailRow, sql)


_STEP = f"m.id, m.conversation_id, m.parent_id, m.position, {_SEEN} AS seen"

_BRANCHED = f"""
    WITH RECURSIVE {_CHOSEN}, path AS (
        SELECT last.*, 1 AS shown FROM chosen, LATERAL (
            SELECT {_STEP} FROM carmenta.messages m
            WHERE m.user_id = %(user_id)s AND m.conversation_id = chosen.id AND m.deleted_at IS NULL
            AND coalesce(m.created_at, chosen.last_message_at, %(asked_at)s) <= %(asked_at)s
            ORDER BY m.position DESC, m.id DESC LIMIT 1
        ) last
        UNION ALL
        SELECT before.id, before.conversation_id, before.parent_id, before.position, before.seen,
            path.shown + before.seen::int
        FROM path, LATERAL (
            (
                SELECT {_STEP}, 0 AS choice FROM carmenta.messages m
                WHERE m.user_id = %(user_id)s AND m.id = path.parent_id AND m.conversation_id = path.conversation_id
                AND (m.position, m.id) < (path.position, path.id)
            ) UNION ALL (
                SELECT {_STEP}, 1 AS choice FROM carmenta.messages m
                WHERE m.user_id = %(user_id)s AND m.conversation_id = path.conversation_id
                AND (m.position, m.id) < (path.position, path.id)
                ORDER BY m.position DESC, m.id DESC LIMIT 1
            ) ORDER BY choice LIMIT 1
        ) before
        WHERE path.shown < %(messages)s
    )
    SELECT {_COLUMNS}, true AS seen, m.position, t.tokens
    FROM path JOIN carmenta.messages m ON m.user_id = %(user_id)s AND m.id = path.id AND path.seen
    {_COUNTED.format(text="CASE WHEN octet_length(m.content) <= %(bytes)s THEN m.content END")}
"""
"""From the last visible message back along the branch that leads to it: to the parent where one is named, else to
the message before. Each step is a look into an index, so a conversation's length does not matter. A conversation
that goes on after the question begins at its last dated message before it."""

_HISTORY = f"""
    {_WHO.format(chosen="%(conversation_id)s::uuid", settled="true")}
    UNION ALL SELECT {_NOBODY}, m.*, t.tokens FROM (
        SELECT {_COLUMNS}, true AS seen, -(row_number() OVER newest_first)::int AS position
        FROM carmenta.messages m
        JOIN carmenta.conversations c ON c.user_id = %(user_id)s AND c.id = m.conversation_id AND c.deleted_at IS NULL
        WHERE m.user_id = %(user_id)s AND {_SEEN}
        WINDOW newest_first AS (ORDER BY coalesce(m.created_at, c.last_message_at) DESC NULLS LAST,
            m.conversation_id DESC, m.position DESC, m.id DESC)
        ORDER BY position DESC LIMIT %(messages)s
    ) m {_COUNTED.format(text="m.content")}
"""
"""What the user and the assistant said in any conversation, along whichever branch."""

HISTORY = Rows(TailRow, _HISTORY)
BRANCHED: dict[Which, Rows[MessageRow]] = {
    which: Rows(MessageRow, _BRANCHED.format(which=condition)) for which, condition in _WHICH.items()
}
