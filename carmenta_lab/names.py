"""From the ids a dataset gives to the rows they became."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Table, func, or_, select
from sqlalchemy.orm import Session

from carmenta_lab.errors import UnknownName, UsageError
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


@dataclass(frozen=True)
class User:
    """One user of one database: what is searched, assembled and written is theirs alone.

    `id` is the key of their rows, `name` the id that the dataset gives, `dataset` the one that brought them (None: no
    dataset did, and `name` is the id).

    >>> nora = cl.user(lab, "nora")
    >>> nora.name, nora.dataset
    ('nora', 'sample')
    >>> with nora.session() as session:
    ...     ranking = cl.search(session, "Where did we park the bikes?", k=3)
    """

    lab: Database
    id: UUID
    name: str = ""
    dataset: str | None = None

    def session(self) -> AbstractContextManager[Session]:
        """A transaction that acts for the user, committed at the end of the block; row-level security hides others."""
        return self.lab.user_session(self.id)

    def __repr__(self) -> str:
        where = f" of {self.dataset!r}" if self.dataset else ""
        return f"<User {self.name or str(self.id)!r}{where}>"


def user(lab: Database, name: str | UUID | User, dataset: str | None = None) -> User:
    """The user of that name: a small value, to be given to whatever acts for one.

    `name` is the id as the dataset gives it, or a uuid, as text or not; a `User` comes back as it is. `dataset` says
    which one is meant, where several have a user of that name. UsageError when several have one and none is named, or
    for anything else than a name; UnknownName lists the known.

    >>> cl.user(lab, "nora")
    <User 'nora' of 'sample'>
    """
    if not isinstance(lab, Database):
        raise UsageError(f"a user is looked for in the database that open_lab() gives, not in {lab!r}.")
    if isinstance(name, User):
        if name.lab is not lab:
            raise UsageError(f"{name!r} is a user of {name.lab!r}, not of {lab!r}: find them there by user().")
        return name
    if not isinstance(name, str | UUID):
        raise UsageError(f"a user is given by name, by uuid or as a User, not as {name!r}.")
    of_dataset = loaded_users.join(datasets, datasets.c.id == loaded_users.c.dataset_id)
    rows = (
        select(users.c.id, datasets.c.name, loaded_users.c.external_id)
        .select_from(users.outerjoin(of_dataset, loaded_users.c.user_id == users.c.id))
        .where(users.c.deleted_at.is_(None))
    )
    if dataset is not None:
        rows = rows.where(datasets.c.name == dataset)
    given = str(name)
    with lab.owner_session() as session:
        found = session.execute(rows.where(or_(loaded_users.c.external_id == given, users.c.id == _uuid(given)))).all()
        if not found:
            loaded = list(session.scalars(select(datasets.c.name)))
            if dataset is not None and dataset not in loaded:
                raise UnknownName("loaded dataset", dataset, loaded)
            known = session.execute(rows.where(loaded_users.c.external_id.is_not(None)).limit(50)).all()
            raise UnknownName("user", given, [str(row.external_id) for row in known])
    if len({row.id for row in found}) > 1:
        sources = ", ".join(sorted(str(row.name) for row in found))
        raise UsageError(f"several datasets have a user {given!r}: {sources}. Say which with --dataset.")
    return User(lab, found[0].id, found[0].external_id or given, found[0].name)


def find_user(database: Database, name: str, dataset: str | None = None) -> UUID:
    """The id of the user of that name, as `user` finds it."""
    return user(database, name, dataset).id


def conversation_id(session: Session, user_id: UUID, name: str | UUID) -> UUID:
    """The conversation of that id among a user's living ones, as the dataset gives it or as a uuid.

    UsageError when several have it; UnknownName lists the known.
    """
    c, given = conversations.c, str(name)
    mine = select(c.id).where(c.user_id == user_id, c.deleted_at.is_(None))
    found: Sequence[UUID] = session.scalars(mine.where(or_(c.external_id == given, c.id == _uuid(given)))).all()
    if not found:
        known = mine.with_only_columns(c.external_id).limit(100)
        raise UnknownName("conversation", given, [one for one in session.scalars(known) if one])
    if len(found) > 1:
        raise UsageError(
            f"several conversations have the id {given!r}: give the uuid of one, {', '.join(map(str, found))}."
        )
    return found[0]


def find_conversation(database: Database, user_id: UUID, name: str) -> UUID:
    """The id of a user's living conversation, as `conversation_id` finds it, in a session of its own."""
    with database.user_session(user_id) as session:
        return conversation_id(session, user_id, name)


class LoadedDataset(NamedTuple):
    """A loaded dataset, as a list shows it."""

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
    """A user that a dataset brought, as a list shows it."""

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
