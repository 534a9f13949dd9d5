"""What was decided around a message: before the model saw it, after it answered, and which model did."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import REAL, CheckConstraint, Index, Table, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema.base import Base, UserOwned, isolated, of


class PreprocessingLog(UserOwned, Base):
    """What was understood of a message before a model answered it."""

    __tablename__ = "preprocessing_logs"
    __table_args__ = (
        of("messages", "message_id"),
        CheckConstraint("clarity BETWEEN 0 AND 1", name="clarity"),
        CheckConstraint("jsonb_typeof(routing) = 'object'", name="routing"),
        CheckConstraint("jsonb_typeof(response_hints) = 'object'", name="response_hints"),
        Index("ix_preprocessing_logs_message", "user_id", "message_id"),
        {"comment": "What was understood of a message before a model answered it."},
    )

    message_id: Mapped[UUID]
    intent: Mapped[str | None] = mapped_column(default=None)
    emotion: Mapped[str | None] = mapped_column(default=None)
    routing: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB(none_as_null=True), default=None, comment="To which assistant, model or tools, and why."
    )
    memory_query: Mapped[str | None] = mapped_column(default=None, comment="What was looked up in memory for it.")
    clarity: Mapped[float | None] = mapped_column(REAL, default=None, comment="0..1; low: ask back.")
    response_hints: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True), default=None)
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


class PostprocessingLog(UserOwned, Base):
    """What was drawn from an answer after a model gave it."""

    __tablename__ = "postprocessing_logs"
    __table_args__ = (
        of("messages", "message_id"),
        CheckConstraint("jsonb_typeof(memory_extraction) = 'array'", name="memory_extraction"),
        CheckConstraint("jsonb_typeof(quality_assessment) = 'object'", name="quality_assessment"),
        CheckConstraint("jsonb_typeof(follow_ups) = 'array'", name="follow_ups"),
        CheckConstraint("jsonb_typeof(display_hints) = 'object'", name="display_hints"),
        Index("ix_postprocessing_logs_message", "user_id", "message_id"),
        {"comment": "What was drawn from an answer after a model gave it."},
    )

    message_id: Mapped[UUID]
    memory_extraction: Mapped[list[Any] | None] = mapped_column(
        JSONB(none_as_null=True), default=None, comment="The facts found in it, kept or not."
    )
    quality_assessment: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True), default=None)
    follow_ups: Mapped[list[Any] | None] = mapped_column(
        JSONB(none_as_null=True), default=None, comment="Questions offered to the user next."
    )
    display_hints: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True), default=None)
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


class ModelSelection(UserOwned, Base):
    """Which model was chosen for a message, from which candidates, and why."""

    __tablename__ = "model_selections"
    __table_args__ = (
        of("messages", "message_id"),
        CheckConstraint("jsonb_typeof(candidates) = 'array'", name="candidates"),
        CheckConstraint("chosen <> ''", name="chosen"),
        Index("ix_model_selections_message", "user_id", "message_id"),
        {"comment": "Which model was chosen for a message, from which candidates, and why."},
    )

    message_id: Mapped[UUID]
    candidates: Mapped[list[Any]] = mapped_column(JSONB, comment="Each with its name, and its score where it has one.")
    chosen: Mapped[str]
    reason: Mapped[str | None] = mapped_column(default=None)
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


preprocessing_logs: Table = PreprocessingLog.__table__  # type: ignore[assignment]
postprocessing_logs: Table = PostprocessingLog.__table__  # type: ignore[assignment]
model_selections: Table = ModelSelection.__table__  # type: ignore[assignment]
for _table in (preprocessing_logs, postprocessing_logs, model_selections):
    isolated(_table)
