"""What is searched: passages, and the models and vectors that stand for them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    UUID as UUIDType,
)
from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema.base import APP, NAMING, SEARCH, Base, UserOwned, after_create, isolate, isolated, words_of
from carmenta_lab.schema.vector import Codes, HalfVec

UNITS = ("turn", "memory", "section")
"""The views in which sources are searched; a strategy names those it wants."""

TOKEN_BITS = 384
"""Dimensions of the bundled model."""


class Passage(UserOwned, Base):
    """A text that is searched, and the source it stands for. Never updated: another text is another passage."""

    __tablename__ = "passages"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "message_id"],
            ["carmenta.messages.user_id", "carmenta.messages.id"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["user_id", "memory_id"],
            ["carmenta.memories.user_id", "carmenta.memories.id"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["user_id", "document_id"],
            ["carmenta.documents.user_id", "carmenta.documents.id"],
            ondelete="CASCADE",
        ),
        CheckConstraint(f"unit IN {UNITS}", name="unit"),
        CheckConstraint("num_nonnulls(message_id, memory_id, document_id) = 1", name="one_source"),
        CheckConstraint("content <> ''", name="content"),
        Index("ix_passages_message", "user_id", "message_id", postgresql_where=text("message_id IS NOT NULL")),
        Index("ix_passages_memory", "user_id", "memory_id", postgresql_where=text("memory_id IS NOT NULL")),
        Index("ix_passages_document", "user_id", "document_id", postgresql_where=text("document_id IS NOT NULL")),
        {"schema": SEARCH, "comment": "A text that is searched, and the source it stands for; never updated."},
    )

    unit: Mapped[str] = mapped_column(comment="turn, memory or section.")
    ordinal: Mapped[int] = mapped_column(comment="Which piece of its source, from 0.")
    content: Mapped[str] = mapped_column(comment='The text as indexed: "[date] Author: text".')
    message_id: Mapped[UUID | None] = mapped_column(default=None)
    memory_id: Mapped[UUID | None] = mapped_column(default=None)
    document_id: Mapped[UUID | None] = mapped_column(default=None)
    author: Mapped[str | None] = mapped_column(default=None)
    language: Mapped[str] = mapped_column(default="en", server_default="en", comment="ISO 639-1.")
    created_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="A question asked earlier does not see it; null is always seen."
    )
    source_id: Mapped[UUID] = mapped_column(
        Computed("COALESCE(message_id, memory_id, document_id)", persisted=True),
        init=False,
        comment="What a hit stands for.",
    )
    text_search: Mapped[str | None] = mapped_column(
        TSVECTOR,
        Computed(words_of("content"), persisted=True),
        init=False,
        repr=False,
        comment="No GIN index: under row-level security the planner cannot use one for @@.",
    )


class TokenCodes(Base):
    """The tokens of a passage that carry meaning, each by the signs of its vector under the bundled model."""

    __tablename__ = "token_codes"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "passage_id"],
            ["search.passages.user_id", "search.passages.id"],
            ondelete="CASCADE",
        ),
        {
            "schema": SEARCH,
            "comment": "The tokens of a passage that carry meaning, each by the signs of its vector under the bundled "
            "model. Written when a strategy needs them.",
        },
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    passage_id: Mapped[UUID] = mapped_column(primary_key=True)
    codes: Mapped[list[bytes]] = mapped_column(Codes(TOKEN_BITS), comment="Without header and stop words.")
    question_codes: Mapped[list[bytes]] = mapped_column(
        Codes(TOKEN_BITS), comment="Those of them in sentences that end in a question mark."
    )


class EmbeddingModel(Base):
    """A registered model, and the table that holds its vectors."""

    __tablename__ = "embedding_models"
    __table_args__ = (
        CheckConstraint("dim BETWEEN 1 AND 4000", name="dim"),
        {"schema": SEARCH, "comment": "A registered model, and the table that holds its vectors."},
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    dim: Mapped[int]
    table_name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


def embedding_table(name: str, dim: int | None, metadata: MetaData | None = None) -> Table:
    """The narrow table of one model's vectors: what a search reads, and nothing else.

    The columns a search filters or groups by are kept beside the vector, so that neither an exact scan nor an
    index scan has to visit the wide rows of `passages` before it knows its hits.
    """
    return Table(
        name,
        metadata if metadata is not None else MetaData(naming_convention=NAMING, schema=SEARCH),
        Column("user_id", UUIDType, primary_key=True),
        Column("passage_id", UUIDType, primary_key=True),
        Column("source_id", UUIDType, nullable=False),
        Column("created_at", TIMESTAMP(timezone=True)),
        Column("unit", Text, nullable=False),
        Column("embedding", HalfVec(dim), nullable=False),
        CheckConstraint("l2_norm(embedding) > 0", name="embedding"),
        schema=SEARCH,
        comment="The vectors of one embedding model.",
    )


def embedding_ddl(name: str) -> list[str]:
    """What follows CREATE TABLE for a table of vectors: storage, foreign key, isolation."""
    return [
        f"ALTER TABLE {SEARCH}.{name} ALTER COLUMN embedding SET STORAGE PLAIN",
        f"ALTER TABLE {SEARCH}.{name} ADD CONSTRAINT fk_{name}_passage FOREIGN KEY (user_id, passage_id) "
        f"REFERENCES {SEARCH}.passages (user_id, id) ON DELETE CASCADE",
        *isolate(f"{SEARCH}.{name}"),
    ]


passages: Table = Passage.__table__  # type: ignore[assignment]
embedding_models: Table = EmbeddingModel.__table__  # type: ignore[assignment]
token_codes: Table = TokenCodes.__table__  # type: ignore[assignment]
isolated(passages)
isolated(token_codes)
after_create(
    token_codes,
    f"ALTER TABLE {SEARCH}.token_codes ALTER COLUMN codes SET STORAGE EXTERNAL",
    f"ALTER TABLE {SEARCH}.token_codes ALTER COLUMN question_codes SET STORAGE EXTERNAL",
)
after_create(embedding_models, f"GRANT SELECT ON {SEARCH}.embedding_models TO {APP}")
