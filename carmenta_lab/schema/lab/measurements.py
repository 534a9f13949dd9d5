"""What is measured, and what a loader remembers: datasets, users, queries, judgements, runs, hits, scores.

Not part of the product, and without a foreign key into it or into `search`: what is named here may be gone there.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Double,
    ForeignKey,
    Identity,
    Index,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema.base import APP, LAB, Base, after_create


class Dataset(Base):
    """A folder that was loaded, and in which state."""

    __tablename__ = "datasets"
    __table_args__ = ({"schema": LAB, "comment": "A folder that was loaded, and in which state."},)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True, comment="The namespace of its ids.")
    origin: Mapped[str] = mapped_column(comment="The folder it was loaded from.")
    content_hash: Mapped[str | None] = mapped_column(
        default=None, comment="sha256 of its files; null while a load is under way."
    )
    counts: Mapped[dict[str, Any]] = mapped_column(JSONB, default_factory=dict, server_default="{}")
    held: Mapped[dict[str, Any]] = mapped_column(
        JSONB,
        default_factory=dict,
        server_default="{}",
        comment="What the tables had and lacked of it when its load ended: a load that finds less writes it again.",
    )
    loaded_at: Mapped[datetime | None] = mapped_column(default=None)


class LoadedUser(Base):
    """A user that a dataset brought, and the id it gave."""

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("dataset_id", "external_id"),
        Index("ix_users_external_id", "external_id"),
        Index("ix_users_user", "user_id"),
        {"schema": LAB, "comment": "A user that a dataset brought, and the id it gave."},
    )

    dataset_id: Mapped[UUID] = mapped_column(ForeignKey(f"{LAB}.datasets.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True, comment="In carmenta.users, unless erased since.")
    external_id: Mapped[str] = mapped_column(comment="As the dataset gives it.")


class LabQuery(Base):
    """A question of a dataset."""

    __tablename__ = "queries"
    __table_args__ = (
        Index("ix_queries_user", "user_id"),
        {"schema": LAB, "comment": "A question of a dataset."},
    )

    dataset_id: Mapped[UUID] = mapped_column(ForeignKey(f"{LAB}.datasets.id", ondelete="CASCADE"), primary_key=True)
    query_id: Mapped[str] = mapped_column(primary_key=True, comment="As the dataset gives it.")
    user_id: Mapped[UUID]
    content: Mapped[str]
    position: Mapped[int] = mapped_column(comment="Line in its file.")
    category: Mapped[str] = mapped_column(default="", server_default="")
    asked_at: Mapped[datetime | None] = mapped_column(default=None)
    answers: Mapped[list[str]] = mapped_column(ARRAY(Text), default_factory=list, server_default="{}")
    language: Mapped[str] = mapped_column(default="en", server_default="en")


class Qrel(Base):
    """How relevant one source is to one question."""

    __tablename__ = "qrels"
    __table_args__ = (
        CheckConstraint("relevance >= 0", name="relevance"),
        CheckConstraint("source_kind IN ('message', 'memory', 'document')", name="source_kind"),
        {"schema": LAB, "comment": "How relevant one source is to one question."},
    )

    dataset_id: Mapped[UUID] = mapped_column(ForeignKey(f"{LAB}.datasets.id", ondelete="CASCADE"), primary_key=True)
    query_id: Mapped[str] = mapped_column(primary_key=True)
    source_id: Mapped[UUID] = mapped_column(primary_key=True)
    source_kind: Mapped[str]
    relevance: Mapped[int] = mapped_column(comment="0 = not relevant; larger is better.")


class LoadedRow(Base):
    """What a dataset put into a table that does not keep where its rows come from."""

    __tablename__ = "loaded"
    __table_args__ = (
        Index("ix_loaded_user", "user_id"),
        {"schema": LAB, "comment": "What a dataset put into a table that does not keep where its rows come from."},
    )

    dataset_id: Mapped[UUID] = mapped_column(ForeignKey(f"{LAB}.datasets.id", ondelete="CASCADE"), primary_key=True)
    table_name: Mapped[str] = mapped_column(primary_key=True, comment="Of the product.")
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    row_id: Mapped[UUID] = mapped_column(primary_key=True, comment="First column of its key after the user.")
    other_id: Mapped[UUID] = mapped_column(primary_key=True, comment="The second one; the first again where it is all.")


class LabRun(Base):
    """One strategy over the questions of one dataset."""

    __tablename__ = "runs"
    __table_args__ = ({"schema": LAB, "comment": "One strategy over the questions of one dataset."},)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True, init=False)
    dataset_id: Mapped[UUID] = mapped_column(ForeignKey(f"{LAB}.datasets.id", ondelete="CASCADE"), index=True)
    strategy: Mapped[str]
    config: Mapped[str] = mapped_column(comment="The strategy as printed: all its parameters.")
    circumstances: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


class LabHit(Base):
    """One hit of a run."""

    __tablename__ = "hits"
    __table_args__ = ({"schema": LAB, "comment": "One hit of a run."},)

    run_id: Mapped[int] = mapped_column(ForeignKey(f"{LAB}.runs.id", ondelete="CASCADE"), primary_key=True)
    query_id: Mapped[str] = mapped_column(primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True, comment="From 1.")
    source_id: Mapped[UUID] = mapped_column(comment="Passages may be cut anew; what they stand for stays.")
    source_kind: Mapped[str]
    score: Mapped[float] = mapped_column(Double, comment="Larger is better.")
    parts: Mapped[dict[str, Any]] = mapped_column(JSONB, comment="The score of every part, by the part's name.")


class LabScore(Base):
    """The value of one measure for one question of a run."""

    __tablename__ = "scores"
    __table_args__ = ({"schema": LAB, "comment": "The value of one measure for one question of a run."},)

    run_id: Mapped[int] = mapped_column(ForeignKey(f"{LAB}.runs.id", ondelete="CASCADE"), primary_key=True)
    query_id: Mapped[str] = mapped_column(primary_key=True)
    measure: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float] = mapped_column(Double)


datasets: Table = Dataset.__table__  # type: ignore[assignment]
loaded_users: Table = LoadedUser.__table__  # type: ignore[assignment]
queries: Table = LabQuery.__table__  # type: ignore[assignment]
qrels: Table = Qrel.__table__  # type: ignore[assignment]
loaded: Table = LoadedRow.__table__  # type: ignore[assignment]
runs: Table = LabRun.__table__  # type: ignore[assignment]
hits: Table = LabHit.__table__  # type: ignore[assignment]
scores: Table = LabScore.__table__  # type: ignore[assignment]
for _table in (datasets, runs, scores):  # numbers and names only; questions and hits are the owner's
    after_create(_table, f"GRANT SELECT ON {LAB}.{_table.name} TO {APP}")
