"""From the ids a dataset gives to the rows they became."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Table, func, or_, select
from sqlalchemy.orm import Session

from carmenta_lab.errors import UnknownName, UsageError
from carmenta_lab.ids import Ids
from carmenta_lab.postgres.connect import Database
from carmenta_lab.schema.lab.measurements import datasets, loaded_users, queries
from carmenta_lab.schema.product.conversations import conversations, messages
from carmenta_lab.schema.product.identity import users
from carmenta_lab.schema.product.knowledge import documents
from carmenta_lab.schema.product.memory import memories


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def find_user(database: Database, name: str, dataset: str | None = None) -> UUID:
    """The user of that id, as the dataset gives it or as a uuid.

    UsageError when several datasets have one of that name and none is named; UnknownName lists the known.
    """
    of_dataset = loaded_users.join(datasets, datasets.c.id == loaded_users.c.dataset_id)
    rows = (
        select(users.c.id, datasets.c.name, loaded_users.c.external_id)
        .select_from(users.outerjoin(of_dataset, loaded_users.c.user_id == users.c.id))
        .where(users.c.deleted_at.is_(None))
    )
    if dataset is not None:
        rows = rows.where(datasets.c.name == dataset)
    with database.owner_session() as session:
        found = session.execute(rows.where(or_(loaded_users.c.external_id == name, users.c.id == _uuid(name)))).all()
        if not found:
            known = session.execute(rows.where(loaded_users.c.external_id.is_not(None)).limit(50)).all()
            raise UnknownName("user", name, [str(row.external_id) for row in known])
    ids = {UUID(str(row.id)) for row in found}
    if len(ids) > 1:
        sources = ", ".join(sorted(str(row.name) for row in found))
        raise UsageError(f"several datasets have a user {name!r}: {sources}. Say which with --dataset.")
    return ids.pop()


def find_conversation(database: Database, user_id: UUID, name: str) -> UUID:
    """The conversation of that id among a user's, as the dataset gives it or as a uuid."""
    with database.owner_session() as session:
        sources = session.scalars(
            select(datasets.c.name)
            .join(loaded_users, loaded_users.c.dataset_id == datasets.c.id)
            .where(loaded_users.c.user_id == user_id)
        )
        keys = [key for key in (_uuid(name), *(Ids(source).of("conversation", name) for source in sources)) if key]
        mine = select(conversations.c.id).where(
            conversations.c.user_id == user_id, conversations.c.deleted_at.is_(None)
        )
        found = session.scalar(mine.where(conversations.c.id.in_(keys)))
        if found is None:
            known = mine.with_only_columns(conversations.c.external_id).limit(100)
            raise UnknownName("conversation", name, [given for given in session.scalars(known) if given])
    return UUID(str(found))


class LoadedDataset(NamedTuple):
    """A dataset that was loaded."""

    name: str
    origin: str  # its folder
    complete: bool  # False after a load that was cut off
    users: int
    questions: int


def loaded_datasets(session: Session) -> list[LoadedDataset]:
    """All datasets that were loaded, by name; read by the owner."""
    d = datasets.c
    people = select(func.count()).where(loaded_users.c.dataset_id == d.id).scalar_subquery()
    asked = select(func.count()).where(queries.c.dataset_id == d.id).scalar_subquery()
    rows = session.execute(select(d.name, d.origin, d.content_hash.is_not(None), people, asked).order_by(d.name))
    return [LoadedDataset._make(row) for row in rows]


class KnownUser(NamedTuple):
    """A user that a dataset brought."""

    name: str  # as the dataset gives it
    dataset: str
    messages: int
    memories: int
    documents: int
    questions: int


def users_of(session: Session, dataset: str | None = None) -> list[KnownUser]:
    """The users of a loaded dataset, or of all, by dataset and name; read by the owner, without erased ones.

    UnknownName lists the datasets that are loaded.
    """
    u, d = loaded_users.c, datasets.c
    if dataset is not None:
        known = list(session.scalars(select(d.name)))
        if dataset not in known:
            raise UnknownName("loaded dataset", dataset, known)

    def count(table: Table) -> ColumnElement[int]:
        living = [table.c.deleted_at.is_(None)] if "deleted_at" in table.c else [table.c.dataset_id == u.dataset_id]
        return select(func.count()).where(table.c.user_id == u.user_id, *living).scalar_subquery()

    counts = [count(table) for table in (messages, memories, documents, queries)]
    rows = (
        select(u.external_id, d.name, *counts)
        .join(datasets, d.id == u.dataset_id)
        .join(users, users.c.id == u.user_id)
        .where(users.c.deleted_at.is_(None))
        .order_by(d.name, u.external_id)
    )
    if dataset is not None:
        rows = rows.where(d.name == dataset)
    return [KnownUser._make(row) for row in session.execute(rows)]
