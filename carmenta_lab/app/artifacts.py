"""What was made, in which versions, and what refers to it?"""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import (
    ColumnElement,
    Delete,
    Integer,
    Select,
    Text,
    Uuid,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import Session, aliased

from carmenta_lab.postgres.statement import Change, Rows, given
from carmenta_lab.schema.product.artifacts import Artifact, ArtifactFolder, ArtifactReference, ArtifactTag, Suggestion
from carmenta_lab.schema.product.conversations import Conversation, Message, Tag
from carmenta_lab.schema.product.knowledge import Document


class Version(NamedTuple):
    """One version of an artifact."""

    created_at: datetime
    version: int  # from 1
    kind: str
    title: str
    content: str | None
    component_tree: dict[str, Any] | None
    summary_for_llm: str | None


class ArtifactLine(NamedTuple):
    """An artifact as a list shows it: its newest version."""

    id: UUID
    created_at: datetime
    kind: str
    title: str


class SuggestionLine(NamedTuple):
    """A proposed change of one version of an artifact."""

    id: UUID
    original_text: str
    suggested_text: str
    description: str | None


class Relation(NamedTuple):
    """A reference of an artifact, seen from either end."""

    kind: str
    id: UUID
    relation: str
    direction: str  # "refers": the artifact asked about refers to it; "referred": it refers to the artifact


def add_version(
    session: Session,
    user_id: UUID,
    artifact_id: UUID,
    kind: str,
    title: str,
    *,
    content: str | None = None,
    component_tree: dict[str, Any] | None = None,
    summary_for_llm: str | None = None,
    conversation_id: UUID | None = None,
) -> datetime:
    """Add the next version of an artifact, or the first of a new one.

    Returns its `created_at`, which is half of its key.
    """
    row = {"user_id": user_id, "id": artifact_id, "kind": kind, "title": title, "content": content}
    about = {"component_tree": component_tree, "summary_for_llm": summary_for_llm, "conversation_id": conversation_id}
    made = insert(Artifact).values(**row, **about, created_at=func.clock_timestamp())
    return session.execute(made.returning(Artifact.created_at)).scalar_one()


def history_statement(user_id: UUID, artifact_id: UUID, limit: int) -> Select[Any]:
    """The statement of `history`: versions newest first, numbered from 1, which is the oldest."""
    return (
        select(
            Artifact.created_at,
            func.row_number().over(order_by=Artifact.created_at).label("version"),
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
    return _HISTORY.all(session, values)


_USER, _ARTIFACT, _LIMIT = given("user_id", Uuid()), given("artifact_id", Uuid()), given("limit", Integer())
_HISTORY = Rows(Version, lambda: history_statement(_USER, _ARTIFACT, _LIMIT))


def newest(session: Session, user_id: UUID, artifact_id: UUID) -> Version | None:
    """The newest version of an artifact; None when there is none."""
    return next(iter(history(session, user_id, artifact_id, limit=1)), None)


def delete_versions_from_statement(user_id: UUID, artifact_id: UUID, moment: datetime) -> Delete:
    """The statement of `delete_versions_from`; suggestions go with their version, references with the first version."""
    return delete(Artifact).where(
        Artifact.user_id == user_id, Artifact.id == artifact_id, Artifact.created_at >= moment
    )


def delete_versions_from(session: Session, user_id: UUID, artifact_id: UUID, moment: datetime) -> int:
    """Delete the versions made at `moment` or later; returns how many."""
    return _DELETE_FROM.count(session, {"user_id": user_id, "artifact_id": artifact_id, "moment": moment})


_MOMENT = given("moment", TIMESTAMP(timezone=True))
_DELETE_FROM = Change(lambda: delete_versions_from_statement(_USER, _ARTIFACT, _MOMENT))


def relations_statement(user_id: UUID, artifact_id: UUID, limit: int) -> Select[Any]:
    """The statement of `relations`: both directions, without what is deleted or belongs to a deleted conversation."""
    around, reference = aliased(Conversation), ArtifactReference
    targets = {
        "artifact": reference.target_artifact_id,
        "conversation": reference.conversation_id,
        "message": reference.message_id,
        "document": reference.document_id,
    }
    refers = select(
        case(*((id.is_not(None), kind) for kind, id in targets.items())).label("kind"),
        func.coalesce(*targets.values()).label("id"),
        reference.relation,
        literal("refers").label("direction"),
    ).where(reference.user_id == user_id, reference.artifact_id == artifact_id)
    referred = select(literal("artifact"), reference.artifact_id, reference.relation, literal("referred")).where(
        reference.user_id == user_id, reference.target_artifact_id == artifact_id
    )
    found = union_all(refers, referred).subquery("found").c

    def end(entity: Any, kind: str) -> ColumnElement[bool]:
        return and_(found.kind == kind, entity.user_id == user_id, entity.id == found.id)

    return (
        select(found.kind, found.id, found.relation, found.direction)
        .outerjoin(Conversation, end(Conversation, "conversation"))
        .outerjoin(Message, end(Message, "message"))
        .outerjoin(around, (around.user_id == user_id) & (around.id == Message.conversation_id))
        .outerjoin(Document, end(Document, "document"))
        .where(
            _lives(user_id, artifact_id),
            or_(found.kind != "artifact", _lives(user_id, found.id)),
            Conversation.deleted_at.is_(None),
            Message.deleted_at.is_(None),
            around.deleted_at.is_(None),
            Document.deleted_at.is_(None),
        )
        .order_by(found.direction, found.kind, found.id)
        .limit(limit)
    )


def _lives(user_id: UUID, artifact_id: Any) -> ColumnElement[bool]:
    """Whether an artifact is there and not deleted, which it is in all its versions at once."""
    version = aliased(Artifact)
    return exists().where(version.user_id == user_id, version.id == artifact_id, version.deleted_at.is_(None))


def relations(session: Session, user_id: UUID, artifact_id: UUID, limit: int = 100) -> list[Relation]:
    """What an artifact refers to, and what refers to it; deleted rows are left out."""
    values = {"user_id": user_id, "artifact_id": artifact_id, "limit": limit}
    return _RELATIONS.all(session, values)


_RELATIONS = Rows(Relation, lambda: relations_statement(_USER, _ARTIFACT, _LIMIT))


def recent_statement(user_id: UUID, limit: int) -> Select[UUID, datetime, str, str]:
    """The statement of `recent`: each artifact by its newest version, the latest change first."""
    return _newest(user_id).order_by(Artifact.created_at.desc(), Artifact.id.desc()).limit(limit)


def recent(session: Session, user_id: UUID, limit: int) -> list[ArtifactLine]:
    """The artifacts that were changed last, newest first."""
    return _RECENT.all(session, {"user_id": user_id, "limit": limit})


_RECENT = Rows(ArtifactLine, lambda: recent_statement(_USER, _LIMIT))


def tagged_statement(user_id: UUID, name: str, limit: int) -> Select[UUID, datetime, str, str]:
    """The statement of `tagged`: each artifact by its newest version, the latest change first."""
    return (
        _newest(user_id)
        .join(ArtifactTag, (ArtifactTag.user_id == user_id) & (ArtifactTag.artifact_id == Artifact.id))
        .join(Tag, (Tag.user_id == user_id) & (Tag.id == ArtifactTag.tag_id) & (Tag.name == name))
        .order_by(Artifact.created_at.desc(), Artifact.id.desc())
        .limit(limit)
    )


def tagged(session: Session, user_id: UUID, name: str, limit: int) -> list[ArtifactLine]:
    """The artifacts that have a tag, the latest change first."""
    values = {"user_id": user_id, "name": name, "limit": limit}
    return _TAGGED.all(session, values)


_TAGGED = Rows(ArtifactLine, lambda: tagged_statement(_USER, given("name", Text()), _LIMIT))


def in_folder_statement(user_id: UUID, folder_id: UUID, limit: int) -> Select[UUID, datetime, str, str]:
    """The statement of `in_folder`: each artifact by its newest version, the latest change first."""
    filed = (
        (ArtifactFolder.user_id == user_id)
        & (ArtifactFolder.artifact_id == Artifact.id)
        & (ArtifactFolder.folder_id == folder_id)
    )
    found = _newest(user_id).join(ArtifactFolder, filed)
    return found.order_by(Artifact.created_at.desc(), Artifact.id.desc()).limit(limit)


def in_folder(session: Session, user_id: UUID, folder_id: UUID, limit: int) -> list[ArtifactLine]:
    """The artifacts that lie in a folder itself, the latest change first."""
    values = {"user_id": user_id, "folder_id": folder_id, "limit": limit}
    return _IN_FOLDER.all(session, values)


_IN_FOLDER = Rows(ArtifactLine, lambda: in_folder_statement(_USER, given("folder_id", Uuid()), _LIMIT))


def _newest(user_id: UUID) -> Select[UUID, datetime, str, str]:
    later = aliased(Artifact)
    return select(Artifact.id, Artifact.created_at, Artifact.kind, Artifact.title).where(
        Artifact.user_id == user_id,
        Artifact.deleted_at.is_(None),
        ~exists().where(later.user_id == user_id, later.id == Artifact.id, later.created_at > Artifact.created_at),
    )


def _first(user_id: UUID, artifact_id: UUID) -> Any:
    """The moment of the first version: what a tag, a folder or a reference of an artifact hangs on."""
    moment = select(func.min(Artifact.created_at)).where(Artifact.user_id == user_id, Artifact.id == artifact_id)
    return moment.scalar_subquery()


def tag(session: Session, user_id: UUID, artifact_id: UUID, tag_id: UUID) -> None:
    """Put a tag on an artifact; putting it there twice changes nothing."""
    row = {"user_id": user_id, "artifact_id": artifact_id, "tag_id": tag_id}
    values = postgresql.insert(ArtifactTag).values(**row, artifact_created_at=_first(user_id, artifact_id))
    session.execute(values.on_conflict_do_nothing())


def file(session: Session, user_id: UUID, artifact_id: UUID, folder_id: UUID) -> None:
    """Put an artifact into a folder; where it lies in another one, it is taken out of that."""
    row = {"user_id": user_id, "artifact_id": artifact_id, "folder_id": folder_id}
    values = postgresql.insert(ArtifactFolder).values(**row, artifact_created_at=_first(user_id, artifact_id))
    session.execute(
        values.on_conflict_do_update(index_elements=["user_id", "artifact_id"], set_={"folder_id": folder_id})
    )


def refer(
    session: Session,
    user_id: UUID,
    artifact_id: UUID,
    relation: str,
    *,
    artifact: UUID | None = None,
    conversation: UUID | None = None,
    message: UUID | None = None,
    document: UUID | None = None,
) -> UUID:
    """Let an artifact refer to another artifact, a conversation, a message or a document; exactly one is named."""
    id = uuid4()
    row = {"user_id": user_id, "id": id, "artifact_id": artifact_id, "relation": relation}
    target = {"target_artifact_id": artifact, "conversation_id": conversation}
    target |= {"message_id": message, "document_id": document}
    moments = {
        "artifact_created_at": _first(user_id, artifact_id),
        "target_artifact_created_at": None if artifact is None else _first(user_id, artifact),
    }
    session.execute(insert(ArtifactReference).values(**row, **target, **moments))
    return id


def suggest(
    session: Session,
    user_id: UUID,
    artifact_id: UUID,
    version: datetime,
    original_text: str,
    suggested_text: str,
    description: str | None = None,
) -> UUID:
    """Propose a change of the version of an artifact that was made at `version`; returns the id of the suggestion."""
    id = uuid4()
    row = {"user_id": user_id, "id": id, "artifact_id": artifact_id, "artifact_created_at": version}
    told = {"original_text": original_text, "suggested_text": suggested_text, "description": description}
    session.execute(insert(Suggestion).values(**row, **told))
    return id


def suggestions_statement(
    user_id: UUID, artifact_id: UUID, version: datetime, limit: int
) -> Select[UUID, str, str, str | None]:
    """The statement of `suggestions`: those not resolved yet, oldest first."""
    columns = (Suggestion.id, Suggestion.original_text, Suggestion.suggested_text, Suggestion.description)
    return (
        select(*columns)
        .where(
            Suggestion.user_id == user_id,
            Suggestion.artifact_id == artifact_id,
            Suggestion.artifact_created_at == version,
            Suggestion.is_resolved.is_(False),
        )
        .order_by(Suggestion.created_at, Suggestion.id)
        .limit(limit)
    )


def suggestions(
    session: Session, user_id: UUID, artifact_id: UUID, version: datetime, limit: int = 100
) -> list[SuggestionLine]:
    """The proposed changes of one version that are not resolved yet, oldest first."""
    values = {"user_id": user_id, "artifact_id": artifact_id, "moment": version, "limit": limit}
    return _SUGGESTIONS.all(session, values)


_SUGGESTIONS = Rows(SuggestionLine, lambda: suggestions_statement(_USER, _ARTIFACT, _MOMENT, _LIMIT))
