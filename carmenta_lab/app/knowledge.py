"""Which documents does a user keep, where, what refers to what, and which have these words?"""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import REAL, Delete, Integer, Select, Text, Uuid, cast, column, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from carmenta_lab.postgres.statement import Change, Rows, given
from carmenta_lab.schema.product.knowledge import Document, DocumentLink
from carmenta_lab.schema.vector import Ltree


class DocumentLine(NamedTuple):
    """A document as a tree shows it."""

    id: UUID
    path: str
    depth: int  # labels in the path, from 1
    name: str
    tags: list[str]


class FoundDocument(NamedTuple):
    """A document that shares words with a query."""

    id: UUID
    path: str
    name: str
    rank: float  # larger: more of the words, more often, in fewer others


class Link(NamedTuple):
    """A link between two documents, seen from either end."""

    document_id: UUID
    target_id: UUID
    label: str | None


def tree_statement(user_id: UUID, under: str | None, limit: int) -> Select[Any]:
    """The statement of `tree`: parents before children; `under` is an ltree path whose own document is included."""
    statement = (
        select(Document.id, Document.path, func.nlevel(Document.path).label("depth"), Document.name, Document.tags)
        .where(Document.user_id == user_id, Document.deleted_at.is_(None))
        .order_by(Document.path)
        .limit(limit)
    )
    return statement if under is None else statement.where(Document.path.op("<@")(cast(under, Ltree())))


def tree(session: Session, user_id: UUID, under: str | None = None, limit: int = 1000) -> list[DocumentLine]:
    """The user's living documents in the order of their tree, parents before children; all, or those under a path."""
    values = {"user_id": user_id, "limit": limit}
    if under is None:
        return _TREE.all(session, values)
    return _BRANCH.all(session, values | {"under": under})


_USER, _LIMIT = given("user_id", Uuid()), given("limit", Integer())
_TREE = Rows(DocumentLine, lambda: tree_statement(_USER, None, _LIMIT))
_BRANCH = Rows(DocumentLine, lambda: tree_statement(_USER, given("under", Text()), _LIMIT))


def search_documents_statement(query: str, language: str, at_most: int) -> Select[Any]:
    """The statement of `search_documents`: it calls a function of the owner, who alone can use the index of words."""
    found = func.carmenta.search_documents(query, language, at_most).table_valued(
        column("id", Uuid()), column("path", Ltree()), column("name", Text()), column("rank", REAL())
    )
    return select(found)


def search_documents(
    session: Session, user_id: UUID, query: str, language: str = "en", at_most: int = 20
) -> list[FoundDocument]:
    """Living documents of the user, for whom the session acts, that have any word of the query, best first.

    Words are cut as the documents' are, in the query's language; a query of stop words alone finds nothing.
    """
    values = {"user_id": user_id, "query": query, "language": language, "at_most": at_most}
    return _SEARCH.all(session, values)


_SEARCH = Rows(
    FoundDocument,
    lambda: search_documents_statement(
        given("query", Text()), given("language", Text()), given("at_most", Integer())
    ).where(func.carmenta.current_user_id() == _USER),
)


def link(session: Session, user_id: UUID, document_id: UUID, target_id: UUID, label: str | None = None) -> None:
    """Let a document refer to another one; a later label replaces the earlier one."""
    row = insert(DocumentLink).values(user_id=user_id, document_id=document_id, target_id=target_id, label=label)
    session.execute(
        row.on_conflict_do_update(
            index_elements=["user_id", "document_id", "target_id"], set_={"label": row.excluded.label}
        )
    )


def links_statement(user_id: UUID, document_id: UUID, limit: int) -> Select[UUID, UUID, str | None]:
    """The statement of `links`: both directions, without deleted documents."""
    living = select(Document.id).where(
        Document.user_id == user_id,
        Document.deleted_at.is_(None),
        or_(Document.id == DocumentLink.document_id, Document.id == DocumentLink.target_id),
    )
    return (
        select(DocumentLink.document_id, DocumentLink.target_id, DocumentLink.label)
        .where(
            DocumentLink.user_id == user_id,
            or_(DocumentLink.document_id == document_id, DocumentLink.target_id == document_id),
            living.with_only_columns(func.count()).correlate(DocumentLink).scalar_subquery() == 2,
        )
        .order_by(DocumentLink.document_id, DocumentLink.target_id)
        .limit(limit)
    )


def links(session: Session, user_id: UUID, document_id: UUID, limit: int = 1000) -> list[Link]:
    """The documents that a document refers to, and those that refer to it."""
    values = {"user_id": user_id, "id": document_id, "limit": limit}
    return _LINKS.all(session, values)


_ID = given("id", Uuid())
_LINKS = Rows(Link, lambda: links_statement(_USER, _ID, _LIMIT))


def delete_document_statement(user_id: UUID, document_id: UUID) -> Delete:
    """The statement of `delete_document`; links and references to the document go with it."""
    return delete(Document).where(Document.user_id == user_id, Document.id == document_id)


def delete_document(session: Session, user_id: UUID, document_id: UUID) -> bool:
    """Delete a document for good, with its links and what artifacts say of it; False when there is none."""
    return _DELETE.count(session, {"user_id": user_id, "id": document_id}) == 1


_DELETE = Change(lambda: delete_document_statement(_USER, _ID))
