"""What a user keeps to look up: documents under paths, and the links between them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, ForeignKeyConstraint, Index, SmallInteger, Table, func, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema.base import (
    APP,
    PRODUCT,
    UTC_OFFSET,
    Base,
    UserOwned,
    after_create,
    deleted_index,
    isolated,
    of,
    utc_offset_check,
    words_of,
)
from carmenta_lab.schema.vector import Ltree


class Document(UserOwned, Base):
    """A document of the user's knowledge base."""

    __tablename__ = "documents"
    __table_args__ = (
        ForeignKeyConstraint(["user_id"], ["carmenta.users.id"], ondelete="CASCADE"),
        Index("uq_documents_path", "user_id", "path", unique=True, postgresql_where=text("deleted_at IS NULL")),
        Index("ix_documents_text_search", "text_search", postgresql_using="gin"),
        CheckConstraint("nlevel(path) > 0", name="path"),
        deleted_index("documents"),
        utc_offset_check(),
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
    utc_offset: Mapped[int | None] = mapped_column(SmallInteger, default=None, comment=UTC_OFFSET)
    text_search: Mapped[str | None] = mapped_column(
        TSVECTOR, Computed(words_of("content"), persisted=True), init=False, repr=False
    )


class DocumentLink(Base):
    """One document refers to another."""

    __tablename__ = "document_links"
    __table_args__ = (
        of("documents", "document_id"),
        of("documents", "target_id"),
        CheckConstraint("target_id <> document_id", name="target_id"),
        Index("ix_document_links_target", "user_id", "target_id"),
        {"comment": "One document refers to another."},
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    document_id: Mapped[UUID] = mapped_column(primary_key=True)
    target_id: Mapped[UUID] = mapped_column(primary_key=True)
    label: Mapped[str | None] = mapped_column(default=None, comment="The words that the link stands on.")
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


FOUND = f"""
    SELECT d.id, d.path, d.name, ts_rank(d.text_search, asked.words, 1) AS rank
    FROM {PRODUCT}.documents d, (
        SELECT string_agg('''' || replace(replace(w.lexeme, chr(92), repeat(chr(92), 2)), '''', '''''') || '''', ' | ')
            ::tsquery AS words
        FROM (SELECT u.lexeme FROM unnest({PRODUCT}.lexemes({{language}}, left({{query}}, 2000))) u LIMIT 64) w
    ) asked
    WHERE d.user_id = {PRODUCT}.current_user_id() AND d.deleted_at IS NULL AND d.text_search @@ asked.words
    ORDER BY rank DESC, d.id LIMIT least(greatest({{at_most}}, 0), 1000)
"""
"""Documents with any of the words, those with more of them first: of a question no document has every word, and a
reader cannot tell a missing word from a missing document. `text_search` is cut into words by the same function."""

_CALLED = {name: f"search_documents.{name}" for name in ("query", "language", "at_most")}
SEARCH_DOCUMENTS = (
    f"""
    CREATE FUNCTION {PRODUCT}.search_documents(query text, language text, at_most integer)
    RETURNS TABLE (id uuid, path ltree, name text, rank real)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC {FOUND.format(**_CALLED)};
    END
    """,
    f"REVOKE ALL ON FUNCTION {PRODUCT}.search_documents(text, text, integer) FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION {PRODUCT}.search_documents(text, text, integer) TO {APP}",
    f"COMMENT ON FUNCTION {PRODUCT}.search_documents(text, text, integer) IS "
    "'The current user''s living documents that have any of the words, those with more of them first. By the owner, "
    "because under a policy the planner may not use the index of words before the policy is checked.'",
)

documents: Table = Document.__table__  # type: ignore[assignment]
document_links: Table = DocumentLink.__table__  # type: ignore[assignment]
isolated(documents)
isolated(document_links)
after_create(documents, *SEARCH_DOCUMENTS)
