"""From the ids a dataset gives to the rows they became."""

from uuid import UUID

from sqlalchemy import or_, select

from carmenta_lab.errors import UnknownName, UsageError
from carmenta_lab.ids import Ids
from carmenta_lab.postgres.connect import Database
from carmenta_lab.schema.product.conversations import conversations
from carmenta_lab.schema.product.identity import users


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def find_user(database: Database, name: str, dataset: str | None = None) -> UUID:
    """The user of that id, as the dataset gives it or as a uuid.

    UsageError when several datasets have one of that name and none is named; UnknownName lists the known.
    """
    rows = select(users.c.id, users.c.source, users.c.external_id).where(users.c.deleted_at.is_(None))
    if dataset is not None:
        rows = rows.where(users.c.source == dataset)
    with database.owner_session() as session:
        found = session.execute(rows.where(or_(users.c.external_id == name, users.c.id == _uuid(name)))).all()
        if not found:
            known = session.scalars(rows.with_only_columns(users.c.external_id).limit(50)).all()
            raise UnknownName("user", name, [given for given in known if given])
    if len(found) > 1:
        sources = ", ".join(sorted(str(row.source) for row in found))
        raise UsageError(f"several datasets have a user {name!r}: {sources}. Say which with --dataset.")
    return UUID(str(found[0].id))


def find_conversation(database: Database, user_id: UUID, name: str) -> UUID:
    """The conversation of that id among a user's, as the dataset gives it or as a uuid."""
    with database.owner_session() as session:
        source = session.scalar(select(users.c.source).where(users.c.id == user_id))
        keys = [key for key in (_uuid(name), Ids(source).of("conversation", name) if source else None) if key]
        mine = select(conversations.c.id).where(
            conversations.c.user_id == user_id, conversations.c.deleted_at.is_(None)
        )
        found = session.scalar(mine.where(conversations.c.id.in_(keys)))
        if found is None:
            known = mine.with_only_columns(conversations.c.external_id).limit(100)
            raise UnknownName("conversation", name, [given for given in session.scalars(known) if given])
    return UUID(str(found))
