"""What was said, and what do hits say? Statements of columns, no slower for a longer conversation.

Profile and conversation are two statements in one round trip: one row tells who asks, and every row of the other is a
message. What the hits of a ranking say is a third.
"""

import re
from datetime import datetime
from functools import cache
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy.orm import Session

from carmenta_lab.context.material import BYTES_PER_TOKEN, MessageText, RetrievedText
from carmenta_lab.errors import UsageError
from carmenta_lab.postgres.statement import Rows, both
from carmenta_lab.records import Hit, Query, Ranking
from carmenta_lab.retrieval.retriever import END_OF_TIME
from carmenta_lab.schema.base import APP

Which: TypeAlias = Literal["given", "latest", "latest_then"]
"""Which conversation is read: one by its id, the latest now, the latest at the time of the question."""

Role: TypeAlias = Literal["user", "assistant", "system", "tool"]


class Reading(NamedTuple):
    """The profile of the user who asks, and the messages of the conversation so far."""

    profile: str | None
    profile_source: str
    messages: tuple[MessageText, ...]  # oldest first
    may_write: bool  # whether the transaction can keep what is counted


class AskingUser(NamedTuple):
    """The user who asks, as the transaction and the database know them."""

    acting_for: str | None  # the user of the session's transaction, as it is set
    acting_as: str  # the role
    may_write: bool
    profile_id: UUID | None
    profile: str | None
    has_conversation: bool  # the one of the given id; true where none is given


class StoredMessage(NamedTuple):
    """A message as it was read; a text longer than the budget is not fetched, only its length."""

    id: UUID
    external_id: str
    role: Role
    author: str | None
    language: str
    length_bytes: int | None  # of a text that is too long, else None
    content: str | None
    compressed: str | None
    parent_id: UUID | None
    created_at: datetime | None
    seen: bool  # living, and said by the time of the question
    settled: bool  # whether nothing in its conversation is later than the question
    tokens: int | None  # as counted before


_ASKER = Rows(
    AskingUser,
    """
    SELECT current_setting('carmenta.user_id', true) AS acting_for, current_user::text AS acting_as,
        NOT current_setting('transaction_read_only')::bool AS may_write, p.id AS profile_id, p.content AS profile,
        %(conversation_id)s::uuid IS NULL OR EXISTS (
            SELECT FROM carmenta.conversations c
            WHERE c.user_id = %(user_id)s AND c.id = %(conversation_id)s AND c.deleted_at IS NULL
        ) AS has_conversation
    FROM (SELECT 1) one LEFT JOIN carmenta.profiles p ON p.user_id = %(user_id)s
""",
)

_COLUMNS = """m.id, coalesce(m.external_id, m.id::text) AS external_id, m.role, m.author, m.language,
    CASE WHEN octet_length(m.content) > %(bytes)s THEN octet_length(m.content) END AS length_bytes,
    CASE WHEN octet_length(m.content) <= %(bytes)s THEN m.content END AS content,
    CASE WHEN octet_length(m.content_for_llm) <= %(bytes)s THEN m.content_for_llm END AS compressed,
    m.parent_id, m.created_at"""

_READ = """m.id, m.external_id, m.role, m.author, m.language, m.length_bytes, m.content, m.compressed, m.parent_id,
    m.created_at, m.seen"""
"""The same of a message that was read, and whether it is seen."""

_SEEN = "m.deleted_at IS NULL AND (m.created_at IS NULL OR m.created_at <= %(asked_at)s)"

_COUNTED = """LEFT JOIN carmenta.token_counts t
    ON t.user_id = %(user_id)s AND t.message_id = m.id AND t.counter = %(counter)s
    AND t.content_hash = hashtextextended({text}, 0)"""
"""A count of another text than the message has now is none; of a text that is not read, none is asked for."""

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


@cache
def plain(which: Which, messages: int) -> Rows[StoredMessage]:
    """The last messages by their place, newest first, whether or not they are seen and on the branch: see `_linear`.

    Their number stands in the text, so that one plan costs the same for all: with a parameter the planner finds a
    plan for this user cheaper than one for all, and makes it anew for each context, which takes as long as reading.
    """
    sql = f"""
    WITH {_CHOSEN.format(which=_WHICH[which])}
    SELECT {_READ}, (SELECT coalesce(last_message_at <= %(asked_at)s, true) FROM chosen) AS settled, t.tokens
    FROM (
        SELECT {_COLUMNS}, {_SEEN} AS seen, m.position FROM carmenta.messages m
        WHERE m.user_id = %(user_id)s AND m.conversation_id = (SELECT id FROM chosen)
        ORDER BY m.position DESC, m.id DESC LIMIT {messages:d}
    ) m {_COUNTED.format(text="m.content")}
    ORDER BY m.position DESC, m.id DESC
    """
    return Rows(StoredMessage, sql)


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
    SELECT {_COLUMNS}, true AS seen, true AS settled, t.tokens
    FROM path JOIN carmenta.messages m ON m.user_id = %(user_id)s AND m.id = path.id AND path.seen
    {_COUNTED.format(text="CASE WHEN octet_length(m.content) <= %(bytes)s THEN m.content END")}
    ORDER BY m.position DESC, m.id DESC
"""
"""From the last visible message back along the branch that leads to it: to the parent where one is named, else to
the message before. Each step is a look into an index, so a conversation's length does not matter. A conversation
that goes on after the question begins at its last dated message before it."""


BRANCHED: dict[Which, Rows[StoredMessage]] = {
    which: Rows(StoredMessage, _BRANCHED.format(which=condition)) for which, condition in _WHICH.items()
}

HISTORY = Rows(
    StoredMessage,
    f"""
    SELECT {_READ}, true AS settled, t.tokens FROM (
        SELECT {_COLUMNS}, true AS seen, row_number() OVER newest_first AS age
        FROM carmenta.messages m
        JOIN carmenta.conversations c ON c.user_id = %(user_id)s AND c.id = m.conversation_id AND c.deleted_at IS NULL
        WHERE m.user_id = %(user_id)s AND {_SEEN}
        WINDOW newest_first AS (ORDER BY coalesce(m.created_at, c.last_message_at) DESC NULLS LAST,
            m.conversation_id DESC, m.position DESC, m.id DESC)
        ORDER BY age LIMIT %(messages)s
    ) m {_COUNTED.format(text="m.content")}
    ORDER BY m.age
""",
)
"""What the user and the assistant said in any conversation, along whichever branch."""


def read_messages(
    session: Session,
    query: Query,
    *,
    conversation_id: UUID | None,
    messages: int,
    budget_tokens: int,
    counter: str,
    span: Literal["conversation", "history"] = "conversation",
) -> Reading:
    """The user's profile, and the last messages of a conversation as they stood when the query was asked.

    Without an id, of the conversation in which the user or the assistant spoke last by then; none where there is
    none. The span "history" reads all conversations. `counter` names the counter whose stored counts are read.
    UsageError when the session acts for somebody else, and when there is no conversation of that id.
    """
    values = {
        "user_id": query.user_id,
        "asked_at": query.asked_at or END_OF_TIME,
        "messages": messages,
        "bytes": BYTES_PER_TOKEN * budget_tokens,
        "counter": counter,
        "conversation_id": conversation_id,
    }
    if span == "history":
        tail, branched = HISTORY, None
    else:
        which: Which = "given" if conversation_id else "latest" if query.asked_at is None else "latest_then"
        tail, branched = plain(which, messages), BRANCHED[which]
    [asker], rows = both(session, values, _ASKER, tail)
    _check(asker, query, conversation_id)
    if branched and rows and not _linear(rows):
        rows = branched.all(session, values)
    rows.reverse()
    profile_source = str(asker.profile_id) if asker.profile_id else ""
    return Reading(asker.profile, profile_source, tuple(map(_message, rows)), asker.may_write)


def _check(asker: AskingUser, query: Query, conversation_id: UUID | None) -> None:
    if asker.acting_as == APP and asker.acting_for != str(query.user_id):
        raise UsageError(
            "the session does not act for the query's user: assemble within as_user(session, query.user_id)."
        )
    if not asker.has_conversation:
        raise UsageError(
            f"user {query.user_id} has no conversation {conversation_id}: give the id of one of the user's, "
            "or none for the latest."
        )


def _linear(newest_first: list[StoredMessage]) -> bool:
    """Whether going from each message to its parent, or to the one before, goes through exactly these messages."""
    wanted: UUID | None = None  # the parent that the message after it names
    for row in newest_first:
        if not (row.seen and row.settled) or (wanted is not None and row.id != wanted):
            return False
        wanted = row.parent_id
    return True


def _message(row: StoredMessage) -> MessageText:
    return MessageText(
        ids=(row.id,),
        sources=(row.external_id,),
        role="assistant" if row.role == "tool" else row.role,
        text=row.content,
        language=row.language,
        compressed=row.compressed or None,
        author=row.author,
        length_bytes=row.length_bytes or 0,
        created_at=row.created_at,
        tokens=row.tokens,
        is_result=row.role == "tool",
    )


_DATE = re.compile(r"\[\d{4,}-\d\d-\d\d\] ")
"""As passages begin."""


class RetrievedRow(NamedTuple):
    """A retrieved passage, and the message, memory or document that it stands for."""

    passage_id: UUID
    source: str  # as it is named in its dataset, else its id
    content: str
    created_at: datetime | None
    author: str | None
    language: str
    memory: str | None  # the text of a memory
    source_message_id: UUID | None  # from which the memory was learned
    message_bytes: int | None  # of a message's whole text
    tokens: int | None  # of it, as counted before
    obsolete: str | None  # why it does not hold any longer


_RETRIEVED = Rows(
    RetrievedRow,
    """
    SELECT p.id AS passage_id, coalesce(k.external_id, m.external_id, d.external_id, p.source_id::text) AS source,
        p.content, p.created_at, coalesce(p.author, d.name, initcap(m.role)) AS author,
        p.language, k.content AS memory, k.source_message_id, m.message_bytes, m.tokens,
        coalesce(k.obsolete, m.obsolete) AS obsolete
    FROM search.passages p
    LEFT JOIN LATERAL (
        SELECT k.external_id, k.content, k.source_message_id, k.deleted_at, CASE
            WHEN s.id IS NOT NULL THEN 'superseded by ' || coalesce(s.external_id, s.id::text)
            WHEN k.review_status = 'rejected' THEN 'rejected in review'
            WHEN k.valid_to <= coalesce(%(then)s::timestamptz, now()) THEN 'no longer valid'
            WHEN k.valid_from > coalesce(%(then)s::timestamptz, now()) THEN 'not yet valid'
        END AS obsolete
        FROM carmenta.memories k
        LEFT JOIN carmenta.memories s ON s.user_id = %(user_id)s AND s.id = k.superseded_by AND s.deleted_at IS NULL
            AND (s.created_at IS NULL OR s.created_at <= %(asked_at)s)
        WHERE k.user_id = %(user_id)s AND k.id = p.memory_id LIMIT 1
    ) k ON true
    LEFT JOIN LATERAL (
        SELECT m.external_id, m.role, octet_length(m.content) AS message_bytes, t.tokens,
            coalesce(m.deleted_at, c.deleted_at) AS deleted_at,
            'replaced by ' || coalesce(r.external_id, r.id::text) AS obsolete
        FROM carmenta.messages m
        LEFT JOIN carmenta.conversations c ON c.user_id = %(user_id)s AND c.id = m.conversation_id
        LEFT JOIN carmenta.token_counts t
            ON t.user_id = %(user_id)s AND t.message_id = m.id AND t.counter = %(counter)s
            AND t.content_hash = hashtextextended(
                CASE WHEN octet_length(m.content) <= octet_length(p.content) THEN m.content END, 0)
        LEFT JOIN LATERAL (
            SELECT x.id, x.external_id FROM carmenta.messages x
            WHERE x.user_id = %(user_id)s AND x.parent_id = m.parent_id AND x.role = m.role AND x.deleted_at IS NULL
            AND (x.position, x.id) > (m.position, m.id) AND (x.created_at IS NULL OR x.created_at <= %(asked_at)s)
            ORDER BY x.position DESC, x.id DESC LIMIT 1
        ) r ON true
        WHERE m.user_id = %(user_id)s AND m.id = p.message_id LIMIT 1
    ) m ON true
    LEFT JOIN LATERAL (
        SELECT d.external_id, d.name, d.deleted_at FROM carmenta.documents d
        WHERE d.user_id = %(user_id)s AND d.id = p.document_id LIMIT 1
    ) d ON true
    WHERE p.user_id = %(user_id)s AND p.id = ANY(%(passages)s)
    AND coalesce(k.deleted_at, m.deleted_at, d.deleted_at) IS NULL
""",
)
"""Whatever a hit stands for is looked up by its key: a hit has one kind, and the other kinds cost nothing."""


def read_retrieved(session: Session, query: Query, ranking: Ranking, counter: str) -> tuple[RetrievedText, ...]:
    """What the hits of a ranking say, best first; without what was deleted. A search leaves out what has changed."""
    if not ranking.hits:
        return ()
    values = {
        "user_id": query.user_id,
        "asked_at": query.asked_at or END_OF_TIME,
        "then": query.asked_at,
        "passages": [hit.passage_id for hit in ranking.hits],
        "counter": counter,
    }
    rows = {row.passage_id: row for row in _RETRIEVED.all(session, values)}
    return tuple(_retrieved(hit, rows[hit.passage_id]) for hit in ranking.hits if hit.passage_id in rows)


def _retrieved(hit: Hit, row: RetrievedRow) -> RetrievedText:
    date = _DATE.match(row.content)
    undated = row.content[date.end() :] if date else row.content
    speaker = f"{row.author}: " if row.author and undated.startswith(f"{row.author}: ") else ""
    says = row.memory or undated.removeprefix(speaker)
    whole = row.message_bytes is not None and len(says.encode()) == row.message_bytes
    return RetrievedText(
        id=hit.source_id,
        source=row.source,
        kind="memory" if hit.source_kind == "memory" else "passage",
        head="Memory: " if row.memory else speaker,
        says=says,
        rank=hit.rank,
        score=hit.score,
        language=row.language,
        created_at=row.created_at,
        made_from=row.source_message_id,
        obsolete=row.obsolete or "",
        tokens=row.tokens if whole else None,
        whole=whole,
        date=date[0] if date else "",
    )
