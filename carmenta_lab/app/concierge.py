"""What was decided around a message: before the model saw it, after it answered, and which model did?"""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import Integer, Select, Uuid, insert, select
from sqlalchemy.orm import Session

from carmenta_lab.postgres.statement import Statement, given
from carmenta_lab.schema.product.concierge import model_selections, postprocessing_logs, preprocessing_logs


class Preprocessing(NamedTuple):
    """What was understood of a message before a model answered it: a row of `preprocessing_logs`."""

    intent: str | None = None
    emotion: str | None = None
    routing: dict[str, Any] | None = None
    memory_query: str | None = None
    clarity: float | None = None  # 0..1; low: ask back
    response_hints: dict[str, Any] | None = None


class Postprocessing(NamedTuple):
    """What was extracted from an answer after a model gave it: a row of `postprocessing_logs`."""

    memory_extraction: list[Any] | None = None
    quality_assessment: dict[str, Any] | None = None
    follow_ups: list[Any] | None = None
    display_hints: dict[str, Any] | None = None


class ModelChoice(NamedTuple):
    """Which model was chosen for a message, from which candidates, and why: a row of `model_selections`."""

    candidates: list[Any]
    chosen: str
    reason: str | None = None


class LogEntry(NamedTuple):
    """One logged entry, and when it was logged."""

    created_at: datetime
    entry: Preprocessing | Postprocessing | ModelChoice


KINDS = {Preprocessing: preprocessing_logs, Postprocessing: postprocessing_logs, ModelChoice: model_selections}
"""What is logged -> the table that keeps it."""


def log_preprocessing(session: Session, user_id: UUID, message_id: UUID, entry: Preprocessing) -> UUID:
    """Log what was understood of a message; returns the id of the entry."""
    return _log(session, user_id, message_id, entry)


def log_postprocessing(session: Session, user_id: UUID, message_id: UUID, entry: Postprocessing) -> UUID:
    """Log what was extracted from an answer; returns the id of the entry."""
    return _log(session, user_id, message_id, entry)


def log_model_selection(session: Session, user_id: UUID, message_id: UUID, entry: ModelChoice) -> UUID:
    """Log which model was chosen for a message; returns the id of the entry."""
    return _log(session, user_id, message_id, entry)


def _log(
    session: Session, user_id: UUID, message_id: UUID, entry: Preprocessing | Postprocessing | ModelChoice
) -> UUID:
    id = uuid4()
    row = insert(KINDS[type(entry)]).values(user_id=user_id, id=id, message_id=message_id, **entry._asdict())
    session.execute(row)
    return id


def log_statement(
    kind: type[Preprocessing | Postprocessing | ModelChoice], user_id: UUID, message_id: UUID, limit: int
) -> Select[Any]:
    """The statement that reads the entries of one kind for a message, oldest first."""
    table = KINDS[kind].c
    entry = [table[name] for name in kind._fields]
    return (
        select(table.created_at, *entry)
        .where(table.user_id == user_id, table.message_id == message_id)
        .order_by(table.created_at, table.id)
        .limit(limit)
    )


def log(session: Session, user_id: UUID, message_id: UUID, limit: int = 100) -> list[LogEntry]:
    """All entries logged for a message, oldest first; at most `limit` of each kind."""
    values = {"user_id": user_id, "message_id": message_id, "limit": limit}
    found = [
        LogEntry(created_at, kind(*entry))
        for kind, statement in _LOGS.items()
        for created_at, *entry in statement.cursor(session, values)
    ]
    return sorted(found, key=lambda logged: logged.created_at)


_USER, _MESSAGE, _LIMIT = given("user_id", Uuid()), given("message_id", Uuid()), given("limit", Integer())


def _of_kind(kind: type[Preprocessing | Postprocessing | ModelChoice]) -> Statement:
    return Statement(lambda: log_statement(kind, _USER, _MESSAGE, _LIMIT))


_LOGS = {kind: _of_kind(kind) for kind in KINDS}
