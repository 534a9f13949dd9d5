"""Write it, and the next search finds it: messages, memories and documents with their index in one transaction.

Every function takes a session of a user; or the user, and then opens and commits a transaction of its own. The model
is asked before anything is written or locked: before the transaction begins where the function opens it. What a text
costs to write does not depend on how much there is.

with nora.session() as session:
    write_message(session, conversation_id, "user", "I sold the boat.")
    search(session, "the boat")
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, TypeAlias
from uuid import UUID, uuid4

import msgspec
import psycopg
from psycopg.errors import ForeignKeyViolation, UniqueViolation
from sqlalchemy.orm import Session

from carmenta_lab.datasets import kinds as checked
from carmenta_lab.datasets.reasons import explain
from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.errors import UsageError
from carmenta_lab.indexing import following, writing
from carmenta_lab.indexing.passages import as_written, utc_offset
from carmenta_lab.indexing.ready import PreparedSources, make_ready
from carmenta_lab.indexing.sources import TABLES, Source, living, read_living, source
from carmenta_lab.postgres.connect import acting_for
from carmenta_lab.postgres.copying import jsonb
from carmenta_lab.postgres.postponed import PostponingConnection, prepares
from carmenta_lab.postgres.statement import driver
from carmenta_lab.records import SourceKind
from carmenta_lab.schema.vector import Vector


class OpensSession(Protocol):
    """A user of a database, who can open a session that acts for them."""

    def session(self) -> AbstractContextManager[Session]:
        """A transaction, committed at the end of the block."""


Where: TypeAlias = Session | OpensSession
"""A transaction to write in, or whoever opens one for this write alone."""

Role: TypeAlias = Literal["user", "assistant", "system", "tool"]
Parts: TypeAlias = Sequence[Mapping[str, Any]]
Moment: TypeAlias = datetime | Literal["now"] | None
"""When something was written, on the writer's clock: a passage shows that date. None is unknown and stays so."""

MODELS = (DEFAULT_MODEL,)
"""Whose vectors are written, of the models that are registered."""


@dataclass(frozen=True)
class WrittenRow:
    """The id of a row that was written, and of a message its position in the conversation."""

    id: UUID
    position: int | None = None  # of a message in its conversation


class _Unset:
    def __repr__(self) -> str:
        return "as it is"


AS_IT_IS: Final = _Unset()
"""What an edit does not name stays."""


def write_message(
    where: Where,
    conversation_id: UUID,
    role: Role,
    text: str | None = None,
    *,
    parts: Parts | None = None,
    author: str | None = None,
    parent_id: UUID | None = None,
    created_at: Moment = "now",
    content_for_llm: str | None = None,
    model: str | None = None,
    language: str = "en",
    attachments: Sequence[checked.Attachment] = (),
    position: int | None = None,
    id: UUID | None = None,
    vector: Vector | None = None,
    models: Sequence[str] = MODELS,
) -> WrittenRow:
    """Append a message to a living conversation, to be found by the next search.

    Its text is given, or `parts` whose text it is. `position` unless given is the next of the conversation; of two who
    write at once the second waits for the first. `vector` is that of a text that becomes one passage, under the first
    of the models, where it is at hand. UsageError for a text that says nothing and a conversation that is not there.
    """
    _uuids(conversation_id=conversation_id, parent_id=parent_id, id=id)
    at = _moment(created_at)
    line = _checked(
        checked.Message,
        {
            **_SAID,
            "role": role,
            "author": author,
            "created_at": at,
            "text": text,
            "parts": parts,
            "language": language,
            "content_for_llm": content_for_llm,
            "model": model,
            "position": position,
        },
    )
    key = id or uuid4()
    shown = line.author or line.role.capitalize()
    ready = _ready(Source("message", key, line.text, at, line.language, shown, line.author), vector, models)
    with _writing(where) as raw:
        row = {
            "user": raw.user,
            "id": key,
            "conversation": conversation_id,
            "parent": parent_id,
            "role": line.role,
            "author": line.author,
            "model": line.model,
            "parts": jsonb(line.parts),
            "content": line.text,
            "compressed": line.content_for_llm or None,
            "language": line.language,
            "at": at,
            "offset": utc_offset(at),
            "position": line.position,
        }
        with raw.together():
            known = raw.asked(models)
            raw.run(_SPOKEN, row)
            written = raw.run(_MESSAGE, row)
            placed = written.fetchall()
            if not placed:
                raise UsageError(f"there is no conversation {conversation_id} to write into: make it, or undelete it.")
            for file in attachments:
                raw.run(_ATTACHMENT, {"user": raw.user, "id": uuid4(), "message": key, **_file(file)})
            writing.add(raw.raw, raw.user, ready, known())
        [(assigned,)] = placed
        return WrittenRow(key, assigned)


def write_memory(
    where: Where,
    category: Literal["personal", "project", "preference", "decision", "knowledge"],
    text: str,
    *,
    confidence: float = 1.0,
    source_message_id: UUID | None = None,
    supersedes: UUID | None = None,
    created_at: Moment = "now",
    language: str = "en",
    id: UUID | None = None,
    vector: Vector | None = None,
    models: Sequence[str] = MODELS,
) -> WrittenRow:
    """Keep a fact; the memory that it `supersedes` is marked as replaced by it.

    UsageError when there is no such memory, or it has been replaced already.
    """
    _uuids(source_message_id=source_message_id, supersedes=supersedes, id=id)
    at = _moment(created_at)
    about = {"category": category, "text": text, "confidence": confidence, "created_at": at, "language": language}
    line = _checked(checked.Memory, {"memory_id": "new", "user_id": "own", **about})
    key = id or uuid4()
    ready = _ready(Source("memory", key, line.text, at, line.language, None, None), vector, models)
    with _writing(where) as raw:
        row = {
            "user": raw.user,
            "id": key,
            "category": line.category,
            "content": line.text,
            "source": source_message_id,
            "confidence": line.confidence,
            "language": line.language,
            "at": at,
            "offset": utc_offset(at),
        }
        replaced = {"user": raw.user, "id": supersedes, "by": key}
        if supersedes is not None and raw.run(_HOLDS, replaced).fetchone() is None:
            raise UsageError(f"there is no memory {supersedes} that still holds, so it cannot be superseded.")
        with raw.together():
            known = raw.asked(models)
            raw.run(_MEMORY, row)
            if supersedes is not None:
                raw.run(_SUPERSEDE, replaced)
            writing.add(raw.raw, raw.user, ready, known())
    return WrittenRow(key)


def write_document(
    where: Where,
    path: str,
    name: str,
    text: str,
    *,
    tags: Sequence[str] = (),
    source_type: str | None = None,
    created_at: Moment = "now",
    language: str = "en",
    id: UUID | None = None,
    models: Sequence[str] = MODELS,
) -> WrittenRow:
    """Store a document under an ltree path; a living document there is edited, and keeps its id and time."""
    _uuids(id=id)
    at = _moment(created_at)
    about: dict[str, Any] = {"path": path, "name": name, "text": text, "tags": tuple(tags), "source_type": source_type}
    about |= {"created_at": at, "language": language}
    line = _checked(checked.Document, {"document_id": "new", "user_id": "own", **about})
    new = Source("document", id or uuid4(), line.text, at, line.language, line.name, None)
    row = {
        "path": line.path,
        "name": line.name,
        "content": line.text,
        "tags": list(line.tags),
        "source_type": line.source_type,
        "language": line.language,
        "at": at,
        "offset": utc_offset(at),
    }
    while True:
        with _reading(where) as raw:
            found = raw.run(living("document", "s.path = %(path)s::ltree"), {"user": raw.user, "path": path}).fetchone()
        if found is not None:
            there = source("document", found).id
            beside = {"name": line.name, "tags": row["tags"], "source_type": line.source_type}
            _edit(where, "document", there, models, lambda old: old._replace(text=line.text), beside)
            return WrittenRow(there)
        ready = make_ready([new], models)
        with _writing(where) as raw:
            known = raw.known(models)
            if raw.run(_DOCUMENT, {"user": raw.user, "id": new.id, **row}).fetchone() is not None:
                writing.add(raw.raw, raw.user, ready, known)
                return WrittenRow(new.id)


def edit_message(
    where: Where,
    message_id: UUID,
    text: str | None = None,
    *,
    parts: Parts | None = None,
    content_for_llm: str | None = None,
    models: Sequence[str] = MODELS,
) -> None:
    """Replace the text of a living message; its compressed text is dropped, unless a new one is given."""
    about = {"role": "user", "text": text, "parts": parts, "content_for_llm": content_for_llm}
    line = _checked(checked.Message, {**_SAID, **about})
    beside = {"parts": jsonb(line.parts), "content_for_llm": line.content_for_llm or None}
    _edit(where, "message", message_id, models, lambda old: old._replace(text=line.text), beside)


def edit_memory(where: Where, memory_id: UUID, text: str, *, models: Sequence[str] = MODELS) -> None:
    """Correct the text of a living memory; a fact that has changed is a new memory (`write_memory`)."""
    about = {"category": "personal", "text": text}
    line = _checked(checked.Memory, {"memory_id": "own", "user_id": "own", **about})
    _edit(where, "memory", memory_id, models, lambda old: old._replace(text=line.text), {})


def edit_document(
    where: Where,
    document_id: UUID,
    text: str | _Unset = AS_IT_IS,
    *,
    name: str | _Unset = AS_IT_IS,
    tags: Sequence[str] | _Unset = AS_IT_IS,
    models: Sequence[str] = MODELS,
) -> None:
    """Change the text, the name or the tags of a living document."""

    def changed(old: Source) -> Source:
        about = {
            "name": old.shown if isinstance(name, _Unset) else name,
            "text": old.text if isinstance(text, _Unset) else text,
            "tags": () if isinstance(tags, _Unset) else tuple(tags),
        }
        line = _checked(checked.Document, {"document_id": "own", "user_id": "own", "path": "own", **about})
        return old._replace(text=line.text, shown=line.name)

    beside: dict[str, Any] = {} if isinstance(name, _Unset) else {"name": name}
    _edit(
        where,
        "document",
        document_id,
        models,
        changed,
        beside | ({} if isinstance(tags, _Unset) else {"tags": list(tags)}),
    )


def delete_message(where: Where, message_id: UUID) -> bool:
    """Delete a message softly: nobody finds or sees it until it is undeleted. False when there is none living."""
    return _delete(where, "message", message_id)


def delete_memory(where: Where, memory_id: UUID) -> bool:
    """Delete a memory softly: nobody finds or sees it until it is undeleted. False when there is none living."""
    return _delete(where, "memory", memory_id)


def delete_document(where: Where, document_id: UUID) -> bool:
    """Delete a document softly, which frees its path; False when there is none living."""
    return _delete(where, "document", document_id)


def delete_conversation(where: Where, conversation_id: UUID) -> bool:
    """Delete a conversation softly with its messages; False when there is none living."""
    _uuids(conversation_id=conversation_id)
    with _writing(where) as raw:
        values = {"user": raw.user, "id": conversation_id}
        if not raw.run(_DELETE.format(table="conversations"), values).fetchone():
            return False
        raw.unindex(_OF_CONVERSATION, values)
        writing.forget_notes(raw.raw, raw.user, [conversation_id])
    return True


def undelete_message(where: Where, message_id: UUID, *, models: Sequence[str] = MODELS) -> bool:
    """Undo the soft deletion of a message, which is found again; False when it is not deleted."""
    return _undelete(where, "message", message_id, models)


def undelete_memory(where: Where, memory_id: UUID, *, models: Sequence[str] = MODELS) -> bool:
    """Undo the soft deletion of a memory, which is found again; False when it is not deleted."""
    return _undelete(where, "memory", memory_id, models)


def undelete_document(where: Where, document_id: UUID, *, models: Sequence[str] = MODELS) -> bool:
    """Undo the soft deletion of a document; UsageError when another document has its path by now."""
    return _undelete(where, "document", document_id, models)


def undelete_conversation(where: Where, conversation_id: UUID, *, models: Sequence[str] = MODELS) -> bool:
    """Undo the soft deletion of a conversation; messages that were deleted one by one stay deleted."""
    return _undelete(where, "conversation", conversation_id, models)


_SPOKEN = """
    UPDATE carmenta.conversations SET started_at = least(started_at, %(at)s::timestamptz),
        last_message_at = greatest(last_message_at, %(at)s::timestamptz)
    WHERE user_id = %(user)s AND id = %(conversation)s AND deleted_at IS NULL
"""
"""Holds the conversation too, so that of two who write at once the second sees the position of the first."""
_MESSAGE = """
    INSERT INTO carmenta.messages (user_id, id, conversation_id, parent_id, position, role, author, model, parts,
        content, content_for_llm, language, created_at, utc_offset)
    SELECT user_id, %(id)s, id, %(parent)s, coalesce(%(position)s, (SELECT m.position + 1 FROM carmenta.messages m
            WHERE m.user_id = %(user)s AND m.conversation_id = %(conversation)s ORDER BY m.position DESC LIMIT 1), 0),
        %(role)s, %(author)s, %(model)s, %(parts)s, %(content)s, %(compressed)s, %(language)s, %(at)s, %(offset)s
    FROM carmenta.conversations WHERE user_id = %(user)s AND id = %(conversation)s AND deleted_at IS NULL
    RETURNING position
"""
_ATTACHMENT = """
    INSERT INTO carmenta.attachments (user_id, id, message_id, name, media_type, bucket, key, size_bytes, sha256)
    VALUES (%(user)s, %(id)s, %(message)s, %(name)s, %(media_type)s, %(bucket)s, %(key)s, %(size)s, %(sha256)s)
"""
_MEMORY = """
    INSERT INTO carmenta.memories
        (user_id, id, category, content, confidence, source_message_id, language, created_at, utc_offset)
    VALUES (%(user)s, %(id)s, %(category)s, %(content)s, %(confidence)s, %(source)s, %(language)s, %(at)s, %(offset)s)
"""
_HOLDS = """
    SELECT FROM carmenta.memories
    WHERE user_id = %(user)s AND id = %(id)s AND superseded_by IS NULL AND deleted_at IS NULL FOR NO KEY UPDATE
"""
_SUPERSEDE = "UPDATE carmenta.memories SET superseded_by = %(by)s WHERE user_id = %(user)s AND id = %(id)s"
_DOCUMENT = """
    INSERT INTO carmenta.documents
        (user_id, id, path, name, content, tags, source_type, language, created_at, utc_offset)
    VALUES (%(user)s, %(id)s, %(path)s::ltree, %(name)s, %(content)s, %(tags)s, %(source_type)s, %(language)s, %(at)s,
        %(offset)s)
    ON CONFLICT (user_id, path) WHERE deleted_at IS NULL DO NOTHING RETURNING id
"""
_EDIT = "UPDATE carmenta.{table} SET content = %(content)s{beside} WHERE user_id = %(user)s AND id = %(id)s"
_DELETE = """
    UPDATE carmenta.{table} SET deleted_at = now() WHERE user_id = %(user)s AND id = %(id)s AND deleted_at IS NULL
    RETURNING id
"""
_UNDELETE = """
    UPDATE carmenta.{table} SET deleted_at = NULL WHERE user_id = %(user)s AND id = %(id)s AND deleted_at IS NOT NULL
    RETURNING id
"""
_DELETED = "SELECT FROM carmenta.{table} WHERE user_id = %(user)s AND id = %(id)s AND deleted_at IS NOT NULL"
_OF_SOURCE = "SELECT id FROM search.passages WHERE user_id = %(user)s AND {kind}_id = %(id)s"
_OF_CONVERSATION = """
    SELECT p.id FROM carmenta.messages m JOIN search.passages p ON p.user_id = m.user_id AND p.message_id = m.id
    WHERE m.user_id = %(user)s AND m.conversation_id = %(id)s
"""
_COUNTS = "DELETE FROM carmenta.token_counts WHERE user_id = %(user)s AND message_id = %(id)s"


@dataclass
class _Open:
    """A transaction in which something is written."""

    raw: PostponingConnection
    user: UUID

    def run(self, statement: str, values: Mapping[str, Any]) -> psycopg.Cursor[Any]:
        """Execute a statement, prepared unless the connection forbids it."""
        return self.raw.execute(statement, values, prepare=prepares(self.raw), binary=True)

    def together(self) -> AbstractContextManager[object]:
        """A block whose statements travel together."""
        return writing.pipelined(self.raw)  # type: ignore[no-any-return]

    def known(self, models: Sequence[str]) -> writing.State:
        """The models and tables that are to be written for this user."""
        return writing.state(self.raw, self.user, models)

    def asked(self, models: Sequence[str]) -> Callable[[], writing.State]:
        """`known` in two steps, for a pipeline: the statement is sent now, its result read when the value is called."""
        return writing.asked_state(self.raw, self.user, models)

    def unindex(self, passages: str, values: Mapping[str, Any]) -> None:
        """Take out of the index the sources that a statement names."""
        writing.remove(self.raw, self.user, [id for (id,) in self.run(passages, values)])


@contextmanager
def _reading(where: Where) -> Iterator[_Open]:
    """A transaction to look something up, which is over before a model is asked unless it is the caller's."""
    with _session(where) as session:
        user = acting_for(session)
        session.flush()
        yield _Open(driver(session), user)


@contextmanager
def _writing(where: Where) -> Iterator[_Open]:
    """A transaction in which nothing is noted, as the index follows; after it the caller's writes are noted again."""
    with _reading(where) as opened:
        writing.at_once(opened.raw)
        try:
            yield opened
        except (ForeignKeyViolation, UniqueViolation) as error:
            found = error.diag.message_detail or str(error)
            raise UsageError(f"what is written does not fit what is there: {found}") from error
        finally:
            writing.noted_again(opened.raw)


@contextmanager
def _session(where: Where) -> Iterator[Session]:
    if isinstance(where, Session):
        yield where
    elif not hasattr(where, "session"):
        raise UsageError(f"give a session of a user, or the user, to write in; found {type(where).__name__}.")
    else:
        with where.session() as session:
            yield session


def _uuids(**given: object) -> None:
    """UsageError for an id that is none, before the server refuses it and with it the rest of the transaction."""
    for name, id in given.items():
        if id is not None and not isinstance(id, UUID):
            raise UsageError(f"{name} is a UUID, such as the `id` of what was read or written, not {id!r}.")


def _moment(at: Moment) -> datetime | None:
    """A time as the database gives it back: in a zone of whole minutes."""
    if at == "now":
        return datetime.now(UTC)
    if at is None:
        return None
    if at.tzinfo is None:
        raise UsageError(f"created_at must have a time zone, as {at.isoformat()}+00:00 has; {at.isoformat()} has none.")
    return as_written(at, utc_offset(at))


_SAID = {"message_id": "own", "conversation_id": "own", "user_id": "own", "created_at": None}


def _checked(kind: type[checked.RecordT], given: Mapping[str, Any]) -> checked.RecordT:
    """What is given, checked as a line of a dataset is; UsageError says what is wrong with it."""
    try:
        return msgspec.convert(
            {name: _storable(value) for name, value in given.items() if value is not None or name == "created_at"}, kind
        )
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(_plain(str(error), given, kind)) from None


def _storable(value: Any) -> Any:
    """A value whose texts PostgreSQL can hold: without NUL, halves of characters replaced; as a load does."""
    if isinstance(value, str):
        if value.isascii() and "\0" not in value:
            return value
        return value.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {_storable(key): _storable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(each) for each in value]
    return value


def _plain(message: str, given: Mapping[str, Any], kind: type) -> str:
    """What msgspec says, with the meaning of a pattern in place of the pattern; else as of a line of a dataset."""
    for pattern, meaning in checked.MEANING.items():
        if pattern in message or repr(pattern)[1:-1] in message:
            field = message.rpartition("at `$.")[2].rstrip("`") or "a value"
            return f"{field} {meaning}."
    return f"{explain(message, given, kind)}."


def _file(file: checked.Attachment) -> dict[str, Any]:
    return {
        "name": file.name,
        "media_type": file.media_type,
        "bucket": file.bucket,
        "key": file.key,
        "size": file.size,
        "sha256": bytes.fromhex(file.sha256) if file.sha256 else None,
    }


def _ready(one: Source, vector: Vector | None, models: Sequence[str]) -> PreparedSources:
    if vector is None or not models:
        return make_ready([one], models)
    ready = make_ready([one], models[1:], given={models[0]: vector[None, :]})
    if len(ready.passages) != 1:
        raise UsageError(
            f"a vector is that of one passage, and the text becomes {len(ready.passages)}: leave the vector out."
        )
    return ready


def _edit(
    where: Where,
    kind: SourceKind,
    id: UUID,
    models: Sequence[str],
    change: Callable[[Source], Source],
    beside: Mapping[str, Any],
) -> None:
    """Read, embed, then write where nothing else has changed meanwhile; else again."""
    _uuids(**{f"{kind}_id": id})
    while True:
        with _reading(where) as raw:
            row = raw.run(living(kind, "s.id = %(id)s"), {"user": raw.user, "id": id}).fetchone()
            if row is None:
                raise UsageError(f"there is no {kind} {id} to edit: give the id of a living one of this user.")
            old = source(kind, row)
            known = raw.known(models)
            new = change(old)
            there = following.known_passages(raw.raw, raw.user, [(kind, id)], known)
        ready = make_ready([new], models, there)
        with _writing(where) as raw:
            if read_living(raw.raw, raw.user, [(kind, id)], hold=True).get((kind, id)) != old:
                continue
            names = "".join(f", {name} = %({name})s" for name in beside)
            values = {"user": raw.user, "id": id, "content": new.text, **beside}
            raw.run(_EDIT.format(table=TABLES[kind], beside=names), values)
            if kind == "message" and new.text != old.text:
                raw.run(_COUNTS, values)
            writing.replace(raw.raw, raw.user, [(kind, id)], ready, known)
            writing.forget_notes(raw.raw, raw.user, [id])
            return


def _delete(where: Where, kind: SourceKind, id: UUID) -> bool:
    _uuids(**{f"{kind}_id": id})
    with _writing(where) as raw:
        read_living(raw.raw, raw.user, [(kind, id)], hold=True)
        values = {"user": raw.user, "id": id}
        if not raw.run(_DELETE.format(table=TABLES[kind]), values).fetchone():
            return False
        raw.unindex(_OF_SOURCE.format(kind=kind), values)
        writing.forget_notes(raw.raw, raw.user, [id])
    return True


def _undelete(where: Where, kind: SourceKind | Literal["conversation"], id: UUID, models: Sequence[str]) -> bool:
    """Read as it will be once it lives again, embed, then undelete; again where something has changed meanwhile."""
    _uuids(**{f"{kind}_id": id})
    whole = kind == "conversation"
    table = "conversations" if kind == "conversation" else TABLES[kind]
    below: SourceKind = "message" if kind == "conversation" else kind
    while True:
        with _reading(where) as raw:
            values = {"user": raw.user, "id": id}
            if raw.run(_DELETED.format(table=table), values).fetchone() is None:
                return False
            rows = raw.run(
                living(below, "s.conversation_id = %(id)s" if whole else "s.id = %(id)s", revived=kind), values
            )
            sources = [source(below, row) for row in rows.fetchall()]
            known = raw.known(models)
        ready = make_ready(sources, models)
        wanted = [(each.kind, each.id) for each in sources] if whole else [(below, id)]
        try:
            with _writing(where) as raw, raw.raw.transaction() as undone:
                if not whole:
                    read_living(raw.raw, raw.user, wanted, hold=True)
                if raw.run(_UNDELETE.format(table=table), values).fetchone() is None:
                    return False
                now = read_living(raw.raw, raw.user, wanted, hold=True)
                if now != {(each.kind, each.id): each for each in sources}:
                    raise psycopg.Rollback(undone)
                writing.replace(raw.raw, raw.user, wanted, ready, known)
                writing.forget_notes(raw.raw, raw.user, [id])
                return True
        except UsageError as error:
            if isinstance(error.__cause__, UniqueViolation):
                raise UsageError(f"another document has the path of {id} now: move or delete that one first.") from None
            raise
