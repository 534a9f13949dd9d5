"""What do the hits of a ranking say? One statement for all of them, asked for when somebody is to read them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from carmenta_lab.postgres.connect import acting_for
from carmenta_lab.records import Hit, HitText, Ranking
from carmenta_lab.schema.product.conversations import messages
from carmenta_lab.schema.product.knowledge import documents
from carmenta_lab.schema.product.memory import memories
from carmenta_lab.schema.search.passages import passages

_DATE = re.compile(r"\[\d{4,}-\d\d-\d\d\] ")
"""As passages begin."""


@dataclass(frozen=True)
class HitWithText:
    """A hit as a person reads it."""

    hit: Hit
    source: str  # as the dataset gives it, else the uuid
    text: str  # the passage as indexed
    author: str | None
    created_at: datetime | None


def texts(session: Session, user_id: UUID, hits: Sequence[Hit]) -> list[HitWithText]:
    """The hits with their texts, in the same order, but for those whose text has changed since or is gone.

    To be called within `as_user`.
    """
    p = passages
    given = func.coalesce(messages.c.external_id, memories.c.external_id, documents.c.external_id)
    author = func.coalesce(p.c.author, documents.c.name, func.initcap(messages.c.role))
    rows = session.execute(
        select(p.c.id, p.c.content, p.c.created_at, given.label("given"), author.label("author"))
        .outerjoin(messages, (messages.c.user_id == p.c.user_id) & (messages.c.id == p.c.message_id))
        .outerjoin(memories, (memories.c.user_id == p.c.user_id) & (memories.c.id == p.c.memory_id))
        .outerjoin(documents, (documents.c.user_id == p.c.user_id) & (documents.c.id == p.c.document_id))
        .where(
            p.c.user_id == user_id,
            p.c.id.in_([hit.passage_id for hit in hits]),
            func.search.noted(user_id, p.c.source_id).is_(None),
        )
    )
    found = {row.id: row for row in rows}
    shown = []
    for hit in hits:
        if (row := found.get(hit.passage_id)) is None:
            continue
        shown.append(HitWithText(hit, row.given or str(hit.source_id), row.content, row.author, row.created_at))
    return shown


def with_texts(session: Session, ranking: Ranking) -> Ranking:
    """The ranking with the text, author and time of each hit, for the user that the session acts for.

    ranking = search(session, retriever, query, k=5)
    with_texts(session, ranking)  # a table in a notebook: rank, score, parts, source, date, who, text
    """
    found = texts(session, acting_for(session), ranking.hits)
    said = {s.hit.passage_id: HitText(s.source, _bare(s.text, s.author), s.author, s.created_at) for s in found}
    return replace(ranking, texts=said)


def _bare(text: str, author: str | None) -> str:
    """A passage without the date and the author that stand before its text."""
    date = _DATE.match(text)
    return (text[date.end() :] if date else text).removeprefix(f"{author}: " if author else "")
