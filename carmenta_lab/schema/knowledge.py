"""What a user keeps to look up: documents under paths."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Computed, ForeignKeyConstraint, Index, Table, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema.base import Base, UserOwned, isolated, tsvector_of
from carmenta_lab.schema.vector import Ltree


class Document(UserOwned, Base):
    """A document of the user's knowledge base."""

    __tablename__ = "documents"
    __table_args__ = (
        ForeignKeyConstraint(["user_id"], ["carmenta.users.id"], ondelete="CASCADE"),
        Index("uq_documents_path", "user_id", "path", unique=True, postgresql_where=text("deleted_at IS NULL")),
        Index("ix_documents_text_search", "text_search", postgresql_using="gin"),
        CheckConstraint("nlevel(path) > 0", name="path"),
        {"comment": "A document of the user's knowledge base."},
    )

    path: Mapped[str] = mapped_column(Ltree, comment="Its place in the tree, unique per user among the living.")
    name: Mapped[str]
    content: Mapped[str]
    tags: Mapped[list[str]] = mapped_column(ARRAY(TEXT), default_factory=list, server_default="{}")
    source_type: Mapped[str | None] = mapped_column(default=None, comment="note, upload, web, email, meeting, ...")
    language: Mapped[str] = mapped_column(default="en", server_default="en", comment="ISO 639-1.")
    external_id: Mapped[str | None] = mapped_column(default=None, comment="The id as the source gave it.")
    created_at: Mapped[datetime | None] = mapped_column(default=None)
    deleted_at: Mapped[datetime | None] = mapped_column(default=None)
    text_search: Mapped[str | None] = mapped_column(
        TSVECTOR, Computed(tsvector_of("content"), persisted=True), init=False, repr=False
    )


documents: Table = Document.__table__  # type: ignore[assignment]
isolated(documents)
