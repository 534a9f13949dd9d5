"""What was made, in which versions, and what refers to it?"""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Delete, Integer, Select, Uuid, and_, column, delete, select, table
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import Session, aliased

from carmenta_lab.app.prepared import Prepared, given
from carmenta_lab.schema.base import PRODUCT
from carmenta_lab.schema.product.artifacts import Artifact
from carmenta_lab.schema.product.conversations import Conversation, Message
from carmenta_lab.schema.product.knowledge import Document

RELATIONS = table(
    "artifact_relations",
    *(column(name, Uuid()) for name in ("user_id", "from_id", "to_id")),
    *(column(name) for name in ("from_kind", "to_kind", "relation", "direction")),
    schema=PRODUCT,
)
"""The view in which every reference stands twice."""


class Version(NamedTuple):
    """One version of an artifact."""

    created_at: datetime
    version: int
    kind: str
    title: str
    content: str | None
    component_tree: dict[str, Any] | None
    summary_for_llm: str | None


class Relation(NamedTuple):
    """A reference, seen from one of its ends."""

    kind: str
    id: UUID
    relation: str
    direction: str  # "refers": the artifact asked about refers to it; "referred": it refers to the artifact


def history_statement(user_id: UUID, artifact_id: UUID, limit: int) -> Select[Any]:
    """Newest first, by the moment that tells versions apart."""
    return (
        select(
            Artifact.created_at,
            Artifact.version,
            Artifact.kind,
            Artifact.title,
            Artifact.content,
            Artifact.component_tree,
            Artifact.summary_for_llm,
        )
        .where(Artifact.user_id == user_id, Artifact.id == artifact_id, Artifact.deleted_at.is_(None))
        .order_by(Artifact.created_at.desc())
        .limit(limit)
    )


def history(session: Session, user_id: UUID, artifact_id: UUID, limit: int = 100) -> list[Version]:
    """The versions of an artifact, newest first."""
    values = {"user_id": user_id, "artifact_id": artifact_id, "limit": limit}
    return list(map(Version._make, _HISTORY.rows(session, values)))


_USER, _ARTIFACT, _LIMIT = given("user_id", Uuid()), given("artifact_id", Uuid()), given("limit", Integer())
_HISTORY = Prepared(lambda: history_statement(_USER, _ARTIFACT, _LIMIT))


def newest(session: Session, user_id: UUID, artifact_id: UUID) -> Version | None:
    """The newest version of an artifact; None when there is none."""
    return next(iter(history(session, user_id, artifact_id, limit=1)), None)


def delete_versions_from_statement(user_id: UUID, artifact_id: UUID, moment: datetime) -> Delete:
    """For good, with their suggestions; what points at the artifact goes with its first version."""
    return delete(Artifact).where(
        Artifact.user_id == user_id, Artifact.id == artifact_id, Artifact.created_at >= moment
    )


def delete_versions_from(session: Session, user_id: UUID, artifact_id: UUID, moment: datetime) -> int:
    """Delete the versions made at `moment` or later; returns how many."""
    return _DELETE_FROM.count(session, {"user_id": user_id, "artifact_id": artifact_id, "moment": moment})


_MOMENT = given("moment", TIMESTAMP(timezone=True))
_DELETE_FROM = Prepared(lambda: delete_versions_from_statement(_USER, _ARTIFACT, _MOMENT))


def relations_statement(user_id: UUID, artifact_id: UUID, limit: int) -> Select[Any]:
    """Both directions; what was deleted neither refers nor is referred to, be it the conversation around a message."""
    here, there, around = aliased(Artifact), aliased(Artifact), aliased(Conversation)
    found = RELATIONS.c
    return (
        select(found.to_kind, found.to_id, found.relation, found.direction)
        .where(found.user_id == user_id, found.from_id == artifact_id, found.from_kind == "artifact")
        .join(
            here,
            (here.user_id == user_id) & (here.id == artifact_id) & (here.version == 1) & here.deleted_at.is_(None),
        )
        .outerjoin(there, _end(found, there, "artifact") & (there.version == 1))
        .outerjoin(Conversation, _end(found, Conversation, "conversation"))
        .outerjoin(Message, _end(found, Message, "message"))
        .outerjoin(around, (around.user_id == Message.user_id) & (around.id == Message.conversation_id))
        .outerjoin(Document, _end(found, Document, "document"))
        .where(*(end.deleted_at.is_(None) for end in (there, Conversation, Message, around, Document)))
        .order_by(found.direction, found.to_kind, found.to_id)
        .limit(limit)
    )


def _end(found: Any, entity: Any, kind: str) -> ColumnElement[bool]:
    """The row at the other end, when it is of that kind."""
    return and_(found.to_kind == kind, entity.user_id == found.user_id, entity.id == found.to_id)


def relations(session: Session, user_id: UUID, artifact_id: UUID, limit: int = 100) -> list[Relation]:
    """What refers to an artifact, and what it refers to."""
    values = {"user_id": user_id, "artifact_id": artifact_id, "limit": limit}
    return list(map(Relation._make, _RELATIONS.rows(session, values)))


_RELATIONS = Prepared(lambda: relations_statement(_USER, _ARTIFACT, _LIMIT))
