"""Which rows can a context be made of? Three statements of columns, none slower for a longer conversation."""

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from carmenta_lab.context.material import BYTES_PER_TOKEN, Found, Said
from carmenta_lab.errors import UsageError
from carmenta_lab.ingest.cut import header
from carmenta_lab.records import Query, Ranking
from carmenta_lab.retrieval.retriever import END_OF_TIME

_PROFILE = text("""
    SELECT current_setting('carmenta.user_id', true), current_user, p.id, p.content
    FROM (SELECT 1) one LEFT JOIN carmenta.profiles p ON p.user_id = :user_id
""")

_GIVEN = "AND id = :conversation_id"

_LATEST = "ORDER BY last_message_at DESC NULLS LAST, id DESC LIMIT 1"

_LATEST_THEN = """
    AND coalesce(started_at <= :asked_at, last_message_at IS NULL)
    ORDER BY CASE WHEN last_message_at <= :asked_at THEN last_message_at ELSE (
        SELECT m.created_at FROM carmenta.messages m
        WHERE m.user_id = :user_id AND m.conversation_id = c.id AND m.created_at <= :asked_at AND m.deleted_at IS NULL
        ORDER BY m.position DESC, m.id DESC LIMIT 1
    ) END DESC NULLS LAST, id DESC LIMIT 1
"""

_ROW = """m.id, m.conversation_id, m.parent_id, m.position,
    m.deleted_at IS NULL AND (m.created_at IS NULL OR m.created_at <= :asked_at) AS seen"""

_TAIL = f"""
    WITH RECURSIVE chosen AS MATERIALIZED (
        SELECT id, last_message_at FROM carmenta.conversations c
        WHERE user_id = :user_id AND deleted_at IS NULL {{which}}
    ), path AS (
        SELECT last.*, 1 AS shown FROM chosen, LATERAL (
            SELECT {_ROW} FROM carmenta.messages m
            WHERE m.user_id = :user_id AND m.conversation_id = chosen.id AND m.deleted_at IS NULL AND :messages > 0
            AND coalesce(m.created_at, chosen.last_message_at, :asked_at) <= :asked_at
            ORDER BY m.position DESC, m.id DESC LIMIT 1
        ) last
        UNION ALL
        SELECT before.id, before.conversation_id, before.parent_id, before.position, before.seen,
            path.shown + before.seen::int
        FROM path, LATERAL (
            (
                SELECT {_ROW}, 0 AS choice FROM carmenta.messages m
                WHERE m.user_id = :user_id AND m.id = path.parent_id AND m.conversation_id = path.conversation_id
                AND (m.position, m.id) < (path.position, path.id)
            ) UNION ALL (
                SELECT {_ROW}, 1 AS choice FROM carmenta.messages m
                WHERE m.user_id = :user_id AND m.conversation_id = path.conversation_id
                AND (m.position, m.id) < (path.position, path.id)
                ORDER BY m.position DESC, m.id DESC LIMIT 1
            ) ORDER BY choice LIMIT 1
        ) before
        WHERE path.shown < :messages
    )
    SELECT m.id, m.external_id, m.role, m.author, octet_length(m.content) AS length_bytes,
        CASE WHEN octet_length(m.content) <= :bytes THEN m.content END AS content,
        CASE WHEN octet_length(m.content_for_llm) <= :bytes THEN m.content_for_llm END AS compressed
    FROM chosen LEFT JOIN (
        path JOIN carmenta.messages m ON m.user_id = :user_id AND m.id = path.id AND path.seen
    ) ON true ORDER BY m.position, m.id
"""
"""From the last visible message back along the branch that leads to it: to the parent where one is named, else to
the message before. Each step is a look into an index, so a conversation's length does not matter. A conversation
that goes on after the question begins at its last dated message before it."""

_TAILS = {which: text(_TAIL.format(which=which)) for which in (_GIVEN, _LATEST, _LATEST_THEN)}

_FOUND = text("""
    SELECT p.id AS passage_id, coalesce(k.external_id, m.external_id, d.external_id, p.source_id::text) AS source,
        p.content, p.created_at, coalesce(p.author, d.name, initcap(m.role)) AS author,
        k.content AS memory, k.source_message_id,
        CASE
            WHEN s.id IS NOT NULL THEN 'superseded by ' || coalesce(s.external_id, s.id::text)
            WHEN k.review_status = 'rejected' THEN 'rejected in review'
            WHEN k.valid_to <= coalesce(CAST(:then AS timestamptz), now()) THEN 'no longer valid'
            WHEN k.valid_from > coalesce(CAST(:then AS timestamptz), now()) THEN 'not yet valid'
            WHEN r.id IS NOT NULL THEN 'replaced by ' || coalesce(r.external_id, r.id::text)
            ELSE ''
        END AS obsolete
    FROM carmenta.passages p
    LEFT JOIN carmenta.memories k ON k.user_id = :user_id AND k.id = p.memory_id
    LEFT JOIN carmenta.memories s ON s.user_id = :user_id AND s.id = k.superseded_by AND s.deleted_at IS NULL
        AND (s.created_at IS NULL OR s.created_at <= :asked_at)
    LEFT JOIN carmenta.messages m ON m.user_id = :user_id AND m.id = p.message_id
    LEFT JOIN carmenta.conversations c ON c.user_id = :user_id AND c.id = m.conversation_id
    LEFT JOIN carmenta.documents d ON d.user_id = :user_id AND d.id = p.document_id
    LEFT JOIN LATERAL (
        SELECT x.id, x.external_id FROM carmenta.messages x
        WHERE x.user_id = :user_id AND x.parent_id = m.parent_id AND x.role = m.role AND x.deleted_at IS NULL
        AND (x.position, x.id) > (m.position, m.id) AND (x.created_at IS NULL OR x.created_at <= :asked_at)
        ORDER BY x.position DESC, x.id DESC LIMIT 1
    ) r ON true
    WHERE p.user_id = :user_id AND p.id = ANY(:passages)
    AND coalesce(k.deleted_at, m.deleted_at, c.deleted_at, d.deleted_at) IS NULL
""")


def read_profile(session: Session, query: Query) -> tuple[str | None, str]:
    """The user's profile (None when there is none) and its id; UsageError when the session acts for somebody else."""
    acting, role, key, content = session.execute(_PROFILE, {"user_id": query.user_id}).one()
    if role == "carmenta_app" and acting != str(query.user_id):
        raise UsageError(
            "the session does not act for the query's user: assemble within as_user(session, query.user_id)."
        )
    return content, str(key) if key else ""


def read_tail(
    session: Session, query: Query, conversation_id: UUID | None, messages: int, budget_tokens: int
) -> tuple[Said, ...]:
    """The last messages of a conversation as they stood when the query was asked, oldest first.

    Without an id, of the conversation in which the user or the assistant spoke last by then; empty where there is
    none. UsageError when there is no conversation of that id.
    """
    which = _GIVEN if conversation_id else _LATEST if query.asked_at is None else _LATEST_THEN
    values = {
        "user_id": query.user_id,
        "asked_at": query.asked_at or END_OF_TIME,
        "messages": messages,
        "bytes": BYTES_PER_TOKEN * budget_tokens,
    }
    if conversation_id:
        values["conversation_id"] = conversation_id
    rows = session.execute(_TAILS[which], values).all()
    if conversation_id and not rows:
        raise UsageError(
            f"user {query.user_id} has no conversation {conversation_id}: give the id of one of the user's, "
            "or none for the latest."
        )
    return tuple(
        Said(
            id=row.id,
            source=row.external_id or str(row.id),
            role="assistant" if row.role == "tool" else row.role,
            text=row.content,
            compressed=row.compressed or None,
            author=row.author,
            length_bytes=row.length_bytes,
        )
        for row in rows
        if row.id is not None
    )


def read_found(session: Session, query: Query, ranking: Ranking) -> tuple[Found, ...]:
    """What the hits of a ranking say, best first; without what was deleted."""
    if not ranking.hits:
        return ()
    values = {
        "user_id": query.user_id,
        "asked_at": query.asked_at or END_OF_TIME,
        "then": query.asked_at,
        "passages": [hit.passage_id for hit in ranking.hits],
    }
    rows: dict[UUID, Any] = {row.passage_id: row for row in session.execute(_FOUND, values)}
    found = []
    for hit in ranking.hits:
        row = rows.get(hit.passage_id)
        if row is None:
            continue
        says = row.memory or row.content.removeprefix(header(row.created_at, row.author))
        found.append(
            Found(
                id=hit.source_id,
                source=row.source,
                kind="memory" if hit.source_kind == "memory" else "passage",
                text=row.content if row.memory is None else header(row.created_at, "Memory") + row.memory,
                says=says,
                rank=hit.rank,
                score=hit.score,
                created_at=row.created_at,
                made_from=row.source_message_id,
                obsolete=row.obsolete,
            )
        )
    return tuple(found)
