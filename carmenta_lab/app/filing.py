"""Where does a conversation lie? Workspaces, folders and tags: made, listed, put on, and deleted for good."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import (
    Delete,
    Integer,
    Select,
    SQLColumnExpression,
    Text,
    Update,
    Uuid,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from carmenta_lab.app.conversations import ConversationLine
from carmenta_lab.postgres.statement import Change, Rows, given
from carmenta_lab.schema.product.conversations import Conversation, ConversationTag, Folder, Tag, Workspace


class WorkspaceLine(NamedTuple):
    """A workspace as a list shows it."""

    id: UUID
    name: str
    description: str | None


class FolderLine(NamedTuple):
    """A folder as a tree shows it."""

    id: UUID
    path: str
    depth: int  # labels in the path, from 1
    name: str


class TagLine(NamedTuple):
    """A tag as a list shows it."""

    id: UUID
    name: str
    color: str | None


_USER, _LIMIT, _ID = given("user_id", Uuid()), given("limit", Integer()), given("id", Uuid())
_LINE = (Conversation.id, Conversation.title, Conversation.status, Conversation.last_message_at)
_NEWEST_FIRST = (Conversation.last_message_at.desc().nulls_last(), Conversation.id.desc())


def add_workspace(session: Session, user_id: UUID, name: str, description: str | None = None) -> UUID:
    """Add a workspace; the database refuses a name that a living workspace has already."""
    id = uuid4()
    session.execute(insert(Workspace).values(user_id=user_id, id=id, name=name, description=description))
    return id


def workspaces_statement(user_id: UUID, limit: int) -> Select[UUID, str, str | None]:
    """The statement of `workspaces`: living ones, by name."""
    living = select(Workspace.id, Workspace.name, Workspace.description).where(
        Workspace.user_id == user_id, Workspace.deleted_at.is_(None)
    )
    return living.order_by(Workspace.name).limit(limit)


def workspaces(session: Session, user_id: UUID, limit: int = 100) -> list[WorkspaceLine]:
    """The user's living workspaces, by name."""
    return _WORKSPACES.all(session, {"user_id": user_id, "limit": limit})


_WORKSPACES = Rows(WorkspaceLine, lambda: workspaces_statement(_USER, _LIMIT))


def move(session: Session, user_id: UUID, conversation_id: UUID, workspace_id: UUID | None) -> bool:
    """Move a conversation to a workspace, or out of all; False when there is no such conversation."""
    return _WORKSPACE.put(session, user_id, conversation_id, workspace_id)


def in_workspace(session: Session, user_id: UUID, workspace_id: UUID, limit: int) -> list[ConversationLine]:
    """The conversations of a workspace, newest first."""
    return _WORKSPACE.held(session, user_id, workspace_id, limit)


def delete_workspace(session: Session, user_id: UUID, workspace_id: UUID) -> bool:
    """Delete a workspace for good, and keep the conversations in it; False when there is none."""
    return _WORKSPACE.delete(session, user_id, workspace_id)


def add_folder(session: Session, user_id: UUID, path: str, name: str) -> UUID:
    """Add a folder at an ltree path, such as "home.roof"; the database refuses a path that a living folder has."""
    id = uuid4()
    session.execute(insert(Folder).values(user_id=user_id, id=id, path=path, name=name))
    return id


def folders_statement(user_id: UUID, limit: int) -> Select[Any]:
    """The statement of `folders`: parents before children."""
    living = select(Folder.id, Folder.path, func.nlevel(Folder.path).label("depth"), Folder.name).where(
        Folder.user_id == user_id, Folder.deleted_at.is_(None)
    )
    return living.order_by(Folder.path).limit(limit)


def folders(session: Session, user_id: UUID, limit: int = 1000) -> list[FolderLine]:
    """The user's living folders in the order of their tree, parents before children."""
    return _FOLDERS.all(session, {"user_id": user_id, "limit": limit})


_FOLDERS = Rows(FolderLine, lambda: folders_statement(_USER, _LIMIT))


def file(session: Session, user_id: UUID, conversation_id: UUID, folder_id: UUID | None) -> bool:
    """Put a conversation into a folder, or out of it; False when there is no such conversation."""
    return _FOLDER.put(session, user_id, conversation_id, folder_id)


def in_folder(session: Session, user_id: UUID, folder_id: UUID, limit: int) -> list[ConversationLine]:
    """The conversations that lie in a folder itself, newest first."""
    return _FOLDER.held(session, user_id, folder_id, limit)


def delete_folder(session: Session, user_id: UUID, folder_id: UUID) -> bool:
    """Delete a folder for good, and keep what lies in it and the folders below; False when there is none."""
    return _FOLDER.delete(session, user_id, folder_id)


class Holder(NamedTuple):
    """A kind of thing that holds conversations, workspace or folder; a conversation lies in at most one of each."""

    table: type[Workspace] | type[Folder]
    held_by: SQLColumnExpression[UUID | None]  # the column of a conversation that says in which


WORKSPACE = Holder(Workspace, Conversation.workspace_id)
FOLDER = Holder(Folder, Conversation.folder_id)


def put_statement(holder: Holder, user_id: UUID, conversation_id: UUID, holder_id: UUID | None) -> Update:
    """The statement that puts a conversation into a workspace or folder, or with null out of it."""
    living = update(Conversation).where(
        Conversation.user_id == user_id, Conversation.id == conversation_id, Conversation.deleted_at.is_(None)
    )
    return _without_entities(living.values({holder.held_by: holder_id}))


def held_statement(
    holder: Holder, user_id: UUID, holder_id: UUID, limit: int
) -> Select[UUID, str | None, str, datetime | None]:
    """The statement that reads the conversations in a workspace or folder, newest first."""
    return _living(user_id, limit).where(holder.held_by == holder_id)


def clear_statement(holder: Holder, user_id: UUID, holder_id: UUID) -> Update:
    """The statement that takes all conversations out of a workspace or folder."""
    held = update(Conversation).where(Conversation.user_id == user_id, holder.held_by == holder_id)
    return _without_entities(held.values({holder.held_by: None}))


def delete_statement(holder: Holder, user_id: UUID, holder_id: UUID) -> Delete:
    """The statement that deletes a workspace or folder, once no conversation lies in it.

    Artifacts lose their folder.
    """
    return delete(holder.table).where(holder.table.user_id == user_id, holder.table.id == holder_id)


class _Holding:
    """These statements for one kind of holder, compiled once."""

    def __init__(self, holder: Holder) -> None:
        holder_id = given("holder_id", Uuid())
        self._put = Change(lambda: put_statement(holder, _USER, _ID, holder_id))
        self._held = Rows(ConversationLine, lambda: held_statement(holder, _USER, holder_id, _LIMIT))
        self._clear = Change(lambda: clear_statement(holder, _USER, holder_id))
        self._delete = Change(lambda: delete_statement(holder, _USER, holder_id))

    def put(self, session: Session, user_id: UUID, conversation_id: UUID, holder_id: UUID | None) -> bool:
        return self._put.count(session, {"user_id": user_id, "id": conversation_id, "holder_id": holder_id}) == 1

    def held(self, session: Session, user_id: UUID, holder_id: UUID, limit: int) -> list[ConversationLine]:
        return self._held.all(session, {"user_id": user_id, "holder_id": holder_id, "limit": limit})

    def delete(self, session: Session, user_id: UUID, holder_id: UUID) -> bool:
        values = {"user_id": user_id, "holder_id": holder_id}
        self._clear.count(session, values)
        return self._delete.count(session, values) == 1


_WORKSPACE, _FOLDER = _Holding(WORKSPACE), _Holding(FOLDER)


def keep_tag(session: Session, user_id: UUID, name: str, color: str | None = None) -> UUID:
    """The id of the tag of that name, which is added where it is absent.

    A colour that is given replaces the old one.
    """
    row = postgresql.insert(Tag).values(user_id=user_id, id=uuid4(), name=name, color=color)
    kept = row.on_conflict_do_update(
        index_elements=["user_id", "name"], set_={"color": func.coalesce(row.excluded.color, Tag.color)}
    )
    return session.execute(kept.returning(Tag.id)).scalar_one()


def tags_statement(user_id: UUID, limit: int) -> Select[UUID, str, str | None]:
    """The statement of `tags`: by name."""
    return select(Tag.id, Tag.name, Tag.color).where(Tag.user_id == user_id).order_by(Tag.name).limit(limit)


def tags(session: Session, user_id: UUID, limit: int = 1000) -> list[TagLine]:
    """The user's tags, by name."""
    return _TAGS.all(session, {"user_id": user_id, "limit": limit})


_TAGS = Rows(TagLine, lambda: tags_statement(_USER, _LIMIT))


def tag(session: Session, user_id: UUID, conversation_id: UUID, tag_id: UUID) -> None:
    """Put a tag on a conversation; putting it there twice changes nothing."""
    row = postgresql.insert(ConversationTag).values(user_id=user_id, conversation_id=conversation_id, tag_id=tag_id)
    session.execute(row.on_conflict_do_nothing())


def tagged_statement(user_id: UUID, name: str, limit: int) -> Select[UUID, str | None, str, datetime | None]:
    """The statement of `tagged`: newest first."""
    return (
        _living(user_id, limit)
        .join(
            ConversationTag,
            (ConversationTag.user_id == user_id) & (ConversationTag.conversation_id == Conversation.id),
        )
        .join(Tag, (Tag.user_id == user_id) & (Tag.id == ConversationTag.tag_id) & (Tag.name == name))
    )


def tagged(session: Session, user_id: UUID, name: str, limit: int) -> list[ConversationLine]:
    """The conversations that have a tag, newest first."""
    values = {"user_id": user_id, "name": name, "limit": limit}
    return _TAGGED.all(session, values)


_TAGGED = Rows(ConversationLine, lambda: tagged_statement(_USER, given("name", Text()), _LIMIT))


def _living(user_id: UUID, limit: int) -> Select[UUID, str | None, str, datetime | None]:
    mine = select(*_LINE).where(Conversation.user_id == user_id, Conversation.deleted_at.is_(None))
    return mine.order_by(*_NEWEST_FIRST).limit(limit)


def _without_entities(statement: Update) -> Update:
    return statement.execution_options(synchronize_session=False)
