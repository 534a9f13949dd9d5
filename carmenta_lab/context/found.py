"""What do the hits of a ranking say? One statement of columns."""

import re
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from carmenta_lab.context.material import Found
from carmenta_lab.postgres.statement import Rows
from carmenta_lab.records import Hit, Query, Ranking
from carmenta_lab.retrieval.retriever import END_OF_TIME

_DATE = re.compile(r"\[\d{4,}-\d\d-\d\d\] ")
"""As passages begin."""


class FoundRow(NamedTuple):
    """A passage, and what it stands for."""

    passage_id: UUID
    source: str  # as it is named in its dataset, else its id
    content: str
    created_at: datetime | None
    author: str | None
    memory: str | None  # the text of a memory
    source_message_id: UUID | None  # from which the memory was learned
    message_bytes: int | None  # of a message's whole text
    tokens: int | None  # of it, as counted before
    obsolete: str | None  # why it does not hold any longer


_FOUND = Rows(
    FoundRow,
    """
    SELECT p.id AS passage_id, coalesce(k.external_id, m.external_id, d.external_id, p.source_id::text) AS source,
        p.content, p.created_at, coalesce(p.author, d.name, initcap(m.role)) AS author,
        k.content AS memory, k.source_message_id, m.message_bytes, m.tokens,
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


def read_found(session: Session, query: Query, ranking: Ranking, counter: str) -> tuple[Found, ...]:
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
    rows = {row.passage_id: row for row in _FOUND.all(session, values)}
    return tuple(_found(hit, rows[hit.passage_id]) for hit in ranking.hits if hit.passage_id in rows)


def _found(hit: Hit, row: FoundRow) -> Found:
    date = _DATE.match(row.content)
    undated = row.content[date.end() :] if date else row.content
    speaker = f"{row.author}: " if row.author and undated.startswith(f"{row.author}: ") else ""
    says = row.memory or undated.removeprefix(speaker)
    whole = row.message_bytes is not None and len(says.encode()) == row.message_bytes
    return Found(
        hit.source_id,
        row.source,
        "memory" if hit.source_kind == "memory" else "passage",
        "Memory: " if row.memory else speaker,
        says,
        hit.rank,
        hit.score,
        row.created_at,
        row.source_message_id,
        row.obsolete or "",
        row.tokens if whole else None,
        whole,
        date[0] if date else "",
    )
