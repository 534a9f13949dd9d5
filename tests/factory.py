"""What tests are made of: lines of a dataset folder, and rows of a user; a test names what it is about, no more."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Table, insert, text
from sqlalchemy.orm import Session

from carmenta_lab.postgres import Database
from carmenta_lab.schema.product.conversations import conversations, messages
from carmenta_lab.schema.product.identity import users
from carmenta_lab.schema.product.knowledge import documents
from carmenta_lab.schema.product.memory import memories
from carmenta_lab.schema.search.passages import passages

Lines = list[dict[str, Any]]

NOON = datetime(2025, 3, 14, 12, tzinfo=UTC)


# Lines of a dataset folder


def at(minute: float) -> str:
    """A time, that many minutes after noon."""
    return (NOON + timedelta(minutes=minute)).isoformat()


def message(key: str, said: str = "", conversation: str = "c1", user: str = "u1", **more: Any) -> dict[str, Any]:
    """A line of messages.jsonl; its time follows from the digits of its id."""
    line = {"message_id": key, "conversation_id": conversation, "user_id": user, "role": "user", "author": "Nora"}
    line["created_at"] = at(int("0" + "".join(c for c in key if c.isdigit())[:6]))
    if "parts" not in more:
        line["text"] = said or f"text of {key}"
    return line | more


def memory(key: str, said: str = "", user: str = "u1", **more: Any) -> dict[str, Any]:
    """A line of memories.jsonl."""
    return {"memory_id": key, "user_id": user, "category": "personal", "text": said or f"fact {key}"} | more


def document(key: str, path: str, said: str = "", user: str = "u1", **more: Any) -> dict[str, Any]:
    """A line of documents.jsonl."""
    return {"document_id": key, "user_id": user, "path": path, "name": key, "text": said or f"page {key}"} | more


def query(key: str, asked: str = "what?", user: str = "u1", **more: Any) -> dict[str, Any]:
    """A line of queries.jsonl."""
    return {"query_id": key, "user_id": user, "text": asked} | more


def artifact(key: str, minute: float, said: str = "", **more: Any) -> dict[str, Any]:
    """A line of artifacts.jsonl."""
    line = {"artifact_id": key, "user_id": "u1", "created_at": at(minute), "kind": "text", "title": key}
    return line | {"content": said or f"{key} at {minute}"} | more


def vote(message_id: str, is_upvoted: bool = True, **more: Any) -> dict[str, Any]:
    """A line of votes.jsonl."""
    return {"user_id": "u1", "message_id": message_id, "is_upvoted": is_upvoted, "created_at": at(90)} | more


def feedback(message_id: str, signal: str = "copy", value: float = 1, **more: Any) -> dict[str, Any]:
    """A line of feedback.jsonl."""
    line = {"user_id": "u1", "message_id": message_id, "signal": signal, "value": value, "weight": 0.5}
    return line | {"created_at": at(91)} | more


def tag(name: str, target_type: str, target_id: str, **more: Any) -> dict[str, Any]:
    """A line of tags.jsonl."""
    return {"user_id": "u1", "tag": name, "target_type": target_type, "target_id": target_id} | more


def filed(conversation: str, folder: str | None, **more: Any) -> dict[str, Any]:
    """A line of conversations.jsonl."""
    return {"conversation_id": conversation, "user_id": "u1", "folder": folder} | more


def write(folder: Path, qrels: str | None = None, **files: Lines | str) -> Path:
    """A dataset folder; `messages=[...]` becomes messages.jsonl, a string is written as it is."""
    folder.mkdir(exist_ok=True)
    for name, lines in files.items():
        body = lines if isinstance(lines, str) else "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(body, encoding="utf-8")
    if qrels is not None:
        (folder / "qrels.tsv").write_text("query_id\ttarget_id\trelevance\n" + qrels)
    return folder


# Rows, as a client writes them that knows nothing of the library: what `more` does not name is made up


def add_user(session: Session | Connection, id: UUID | None = None, **more: Any) -> UUID:
    """A user; the id."""
    return _add(session, users, {"id": id or uuid4()} | more)


def add_conversation(session: Session | Connection, user: UUID, id: UUID | None = None, **more: Any) -> UUID:
    """An empty conversation; the id."""
    return _add(session, conversations, {"user_id": user, "id": id or uuid4()} | more)


def add_message(session: Session | Connection, user: UUID, conversation: UUID, said: str = "x", **more: Any) -> UUID:
    """A message of the user at the end of a conversation; the id."""
    row = {"user_id": user, "id": uuid4(), "conversation_id": conversation, "role": "user", "content": said}
    return _add(session, messages, row | more)


def add_memory(session: Session | Connection, user: UUID, said: str = "x", **more: Any) -> UUID:
    """A memory of the category `personal`; the id."""
    return _add(session, memories, {"user_id": user, "id": uuid4(), "category": "personal", "content": said} | more)


def add_document(session: Session | Connection, user: UUID, path: str, said: str = "x", **more: Any) -> UUID:
    """A document that is called as its path is; the id."""
    row = {"user_id": user, "id": uuid4(), "path": path, "name": path, "content": said}
    return _add(session, documents, row | more)


def add_passage(session: Session | Connection, user: UUID, unit: str, said: str = "x", **more: Any) -> UUID:
    """A passage, not indexed, of the source that `more` names; the id."""
    row = {"user_id": user, "id": uuid4(), "unit": unit, "ordinal": 0, "content": said}
    return _add(session, passages, row | more)


def _add(session: Session | Connection, table: Table, row: dict[str, Any]) -> UUID:
    session.execute(insert(table).values(row))
    id = row["id"]
    assert isinstance(id, UUID)
    return id


# Reading


def rows(database: Database, statement: str, **values: Any) -> list[Any]:
    """Rows as the owner sees them; one column comes without its tuple."""
    with database.owner.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(statement), values)]
    return [row[0] for row in found] if found and len(found[0]) == 1 else found
