"""What was made: artifacts in versions, suggestions on them, and what refers to what."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    Table,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema.base import APP, PRODUCT, Base, UserOwned, about, after_create, isolated, of, of_user

FIRST = "Of the artifact's first version, with which this goes."
KINDS = ("text", "code", "sheet", "image", "mermaid", "ag-ui")


def _version(column: str) -> ForeignKeyConstraint:
    """The key of one version: what goes with a version, or with the first, on which hangs what is of them all."""
    return ForeignKeyConstraint(
        ["user_id", column, column.removesuffix("_id") + "_created_at"],
        [f"{PRODUCT}.artifacts.{name}" for name in ("user_id", "id", "created_at")],
        ondelete="CASCADE",
    )


class Artifact(UserOwned, Base):
    """One version of something made; a new version is a new row."""

    __tablename__ = "artifacts"
    __table_args__ = (
        of_user(),
        about("conversations", "conversation_id"),
        CheckConstraint(f"kind IN {KINDS}", name="kind"),
        CheckConstraint(
            "kind = 'ag-ui' OR num_nonnulls(component_tree, data_bindings, ui_state) = 0", name="interface_only"
        ),
        CheckConstraint("kind <> 'ag-ui' OR component_tree IS NOT NULL", name="interface"),
        CheckConstraint("jsonb_typeof(component_tree) = 'object'", name="component_tree"),
        CheckConstraint("jsonb_typeof(data_bindings) = 'object'", name="data_bindings"),
        CheckConstraint("jsonb_typeof(ui_state) = 'object'", name="ui_state"),
        Index(
            "ix_artifacts_conversation",
            "user_id",
            "conversation_id",
            postgresql_where=text("conversation_id IS NOT NULL"),
        ),
        Index("ix_artifacts_recent", "user_id", text("created_at DESC"), text("id DESC")),
        {"comment": "One version of something made; a new version is a new row."},
    )

    created_at: Mapped[datetime] = mapped_column(
        primary_key=True, sort_order=0, comment="Tells versions apart; their numbers are counted when read."
    )
    kind: Mapped[str]
    title: Mapped[str]
    content: Mapped[str | None] = mapped_column(default=None)
    component_tree: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True), default=None)
    data_bindings: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True), default=None)
    ui_state: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True), default=None)
    summary_for_llm: Mapped[str | None] = mapped_column(default=None, comment="What a context says of it.")
    conversation_id: Mapped[UUID | None] = mapped_column(default=None, comment="Where it was made.")
    external_id: Mapped[str | None] = mapped_column(default=None, comment="The id as the source gave it.")
    deleted_at: Mapped[datetime | None] = mapped_column(default=None, comment="Set on every version at once.")


class Suggestion(UserOwned, Base):
    """A proposed change of one version of an artifact."""

    __tablename__ = "suggestions"
    __table_args__ = (
        _version("artifact_id"),
        Index("ix_suggestions_artifact", "user_id", "artifact_id", "artifact_created_at"),
        {"comment": "A proposed change of one version of an artifact."},
    )

    artifact_id: Mapped[UUID]
    artifact_created_at: Mapped[datetime]
    original_text: Mapped[str]
    suggested_text: Mapped[str]
    description: Mapped[str | None] = mapped_column(default=None)
    is_resolved: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


class ArtifactTag(Base):
    """A tag on an artifact, whatever its version."""

    __tablename__ = "artifact_tags"
    __table_args__ = (
        of("tags", "tag_id"),
        _version("artifact_id"),
        Index("ix_artifact_tags_tag", "user_id", "tag_id"),
        {"comment": "A tag on an artifact, whatever its version."},
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    artifact_id: Mapped[UUID] = mapped_column(primary_key=True)
    tag_id: Mapped[UUID] = mapped_column(primary_key=True)
    artifact_created_at: Mapped[datetime] = mapped_column(comment=FIRST)


class ArtifactFolder(Base):
    """The folder in which an artifact lies."""

    __tablename__ = "artifact_folders"
    __table_args__ = (
        of("folders", "folder_id"),
        _version("artifact_id"),
        Index("ix_artifact_folders_folder", "user_id", "folder_id"),
        {"comment": "The folder in which an artifact lies."},
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    artifact_id: Mapped[UUID] = mapped_column(primary_key=True)
    folder_id: Mapped[UUID]
    artifact_created_at: Mapped[datetime] = mapped_column(comment=FIRST)


_TARGETS = ("target_artifact_id", "conversation_id", "message_id", "document_id")


class ArtifactReference(UserOwned, Base):
    """An artifact refers to another artifact, a conversation, a message or a document."""

    __tablename__ = "artifact_references"
    __table_args__ = (
        _version("artifact_id"),
        _version("target_artifact_id"),
        of("conversations", "conversation_id"),
        of("messages", "message_id"),
        of("documents", "document_id"),
        CheckConstraint(f"num_nonnulls({', '.join(_TARGETS)}) = 1", name="one_target"),
        CheckConstraint("target_artifact_id <> artifact_id", name="target"),
        CheckConstraint(
            "(target_artifact_id IS NULL) = (target_artifact_created_at IS NULL)", name="target_artifact_created_at"
        ),
        CheckConstraint("relation IN ('made_in', 'derived_from', 'embeds', 'cites', 'mentions')", name="relation"),
        Index("ix_artifact_references_artifact", "user_id", "artifact_id"),
        *(
            Index(
                f"ix_artifact_references_{name.removesuffix('_id')}",
                "user_id",
                name,
                postgresql_where=text(f"{name} IS NOT NULL"),
            )
            for name in _TARGETS
        ),
        {"comment": "An artifact refers to another artifact, a conversation, a message or a document."},
    )

    artifact_id: Mapped[UUID] = mapped_column(comment="What refers.")
    artifact_created_at: Mapped[datetime] = mapped_column(comment=FIRST)
    relation: Mapped[str] = mapped_column(comment="Read from `artifact_id` to the target.")
    target_artifact_id: Mapped[UUID | None] = mapped_column(default=None)
    target_artifact_created_at: Mapped[datetime | None] = mapped_column(default=None, comment=FIRST)
    conversation_id: Mapped[UUID | None] = mapped_column(default=None)
    message_id: Mapped[UUID | None] = mapped_column(default=None)
    document_id: Mapped[UUID | None] = mapped_column(default=None)
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


_ENDS = tuple((name, name.removeprefix("target_").removesuffix("_id")) for name in _TARGETS)
RELATIONS = (
    f"CREATE VIEW {PRODUCT}.artifact_relations WITH (security_invoker = true) AS\n"
    + "\nUNION ALL\n".join(
        f"SELECT user_id, artifact_id AS from_id, 'artifact' AS from_kind, {name} AS to_id, '{kind}' AS to_kind, "
        f"relation, 'refers' AS direction FROM {PRODUCT}.artifact_references WHERE {name} IS NOT NULL\n"
        f"UNION ALL\n"
        f"SELECT user_id, {name}, '{kind}', artifact_id, 'artifact', relation, 'referred' "
        f"FROM {PRODUCT}.artifact_references WHERE {name} IS NOT NULL"
        for name, kind in _ENDS
    ),
    f"COMMENT ON VIEW {PRODUCT}.artifact_relations IS 'Every reference twice: as it was made, and read backwards.'",
    f"GRANT SELECT ON {PRODUCT}.artifact_relations TO {APP}",
)

artifacts: Table = Artifact.__table__  # type: ignore[assignment]
suggestions: Table = Suggestion.__table__  # type: ignore[assignment]
artifact_tags: Table = ArtifactTag.__table__  # type: ignore[assignment]
artifact_folders: Table = ArtifactFolder.__table__  # type: ignore[assignment]
artifact_references: Table = ArtifactReference.__table__  # type: ignore[assignment]
for _table in (artifacts, suggestions, artifact_tags, artifact_folders, artifact_references):
    isolated(_table)
after_create(artifact_references, *RELATIONS)
