"""Which documents does a user keep, and where?"""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Integer, Select, Text, Uuid, cast, func, select
from sqlalchemy.orm import Session

from carmenta_lab.app.prepared import Prepared, given
from carmenta_lab.schema.product.knowledge import Document
from carmenta_lab.schema.vector import Ltree


class DocumentLine(NamedTuple):
    """A document as a tree shows it."""

    id: UUID
    path: str
    depth: int  # labels in the path, from 1
    name: str
    tags: list[str]


def tree_statement(user_id: UUID, under: str | None, limit: int) -> Select[Any]:
    """Parents before children; `under` is an ltree path whose document is included."""
    statement = (
        select(Document.id, Document.path, func.nlevel(Document.path), Document.name, Document.tags)
        .where(Document.user_id == user_id, Document.deleted_at.is_(None))
        .order_by(Document.path)
        .limit(limit)
    )
    return statement if under is None else statement.where(Document.path.op("<@")(cast(under, Ltree())))


def tree(session: Session, user_id: UUID, under: str | None = None, limit: int = 1000) -> list[DocumentLine]:
    """A user's documents in the order of their tree, or of a branch of it."""
    values = {"user_id": user_id, "limit": limit}
    if under is None:
        return list(map(DocumentLine._make, _TREE.rows(session, values)))
    return list(map(DocumentLine._make, _BRANCH.rows(session, values | {"under": under})))


_USER, _LIMIT = given("user_id", Uuid()), given("limit", Integer())
_TREE = Prepared(lambda: tree_statement(_USER, None, _LIMIT))
_BRANCH = Prepared(lambda: tree_statement(_USER, given("under", Text()), _LIMIT))
