"""What hits say: the text of their passages and the ids their dataset gives them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from carmenta_lab.records import Hit
from carmenta_lab.schema.product.conversations import messages
from carmenta_lab.schema.product.knowledge import documents
from carmenta_lab.schema.product.memory import memories
from carmenta_lab.schema.search.passages import passages


@dataclass(frozen=True)
class Shown:
    """A hit as a person reads it."""

    hit: Hit
    source: str  # as the dataset gives it, else the uuid
    text: str  # the passage as indexed
    created_at: datetime | None


def texts(session: Session, user_id: UUID, hits: Sequence[Hit]) -> list[Shown]:
    """The hits with their texts, in the same order, but for those whose text has changed since or is gone.

    To be called within `as_user`.
    """
    p = passages
    given = func.coalesce(messages.c.external_id, memories.c.external_id, documents.c.external_id)
    rows = session.execute(
        select(p.c.id, p.c.content, p.c.created_at, given.label("given"))
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
        shown.append(Shown(hit, row.given or str(hit.source_id), row.content, row.created_at))
    return shown
