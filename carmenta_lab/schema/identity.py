"""Who the data belongs to: users."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Table, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema.base import Base, isolated


class User(Base):
    """A person, registered or anonymous."""

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("source", "external_id"),
        CheckConstraint("kind IN ('registered', 'anonymous')", name="kind"),
        Index("ix_users_external_id", "external_id"),
        {"comment": "A person, registered or anonymous."},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, comment="May be the id of an external identity provider.")
    kind: Mapped[str] = mapped_column(default="registered", server_default="registered")
    name: Mapped[str | None] = mapped_column(default=None)
    region: Mapped[str | None] = mapped_column(default=None, comment="Data region in which the rows must stay.")
    source: Mapped[str | None] = mapped_column(default=None, comment="The dataset or system the user came from.")
    external_id: Mapped[str | None] = mapped_column(default=None, comment="The id as the source gave it.")
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())
    deleted_at: Mapped[datetime | None] = mapped_column(default=None)


users: Table = User.__table__  # type: ignore[assignment]
isolated(users, column="id")
