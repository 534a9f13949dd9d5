"""Who works on which background query, and what awaits a user who comes back?"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import CursorResult, Select, Update, case, func, literal, null, select, tuple_, update
from sqlalchemy.orm import Session

from carmenta_lab.schema.conversations import Conversation
from carmenta_lab.schema.operations import BackgroundQuery


class Work(NamedTuple):
    """A query that this worker has until its lease ends."""

    id: UUID
    kind: str
    input: Any
    attempt: int  # from 1
    lease_until: datetime


class Finished(NamedTuple):
    """A query that ended while the user was away."""

    id: UUID
    kind: str
    status: str  # completed or failed
    result: Any
    summary_for_llm: str | None
    error: str | None
    conversation_id: UUID | None


def users_with_work_statement(at_most: int) -> Select[Any]:
    """By a function of the owner: a worker is nobody before it knows for whom to act."""
    return select(func.carmenta.users_with_due_queries(at_most))


def users_with_work(session: Session, at_most: int) -> list[UUID]:
    """For whom a worker should act next, longest waiting first."""
    return list(session.scalars(users_with_work_statement(at_most)))


def take_statement(user_id: UUID, worker: str, lease: timedelta) -> Update:
    """The longest due, skipping what others are taking; one whose last attempt was given up fails instead."""
    due = (
        select(BackgroundQuery.user_id, BackgroundQuery.id)
        .where(
            BackgroundQuery.user_id == user_id,
            BackgroundQuery.status.in_(("pending", "running")),
            BackgroundQuery.run_after <= func.now(),
        )
        .order_by(BackgroundQuery.run_after, BackgroundQuery.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    exhausted = BackgroundQuery.attempts >= BackgroundQuery.max_attempts
    until = func.now() + literal(lease)
    return (
        update(BackgroundQuery)
        .where(tuple_(BackgroundQuery.user_id, BackgroundQuery.id) == due.scalar_subquery())
        .values(
            status=case((exhausted, "failed"), else_="running"),
            worker=case((exhausted, null()), else_=worker),
            lease_until=case((exhausted, null()), else_=until),
            run_after=case((exhausted, BackgroundQuery.run_after), else_=until),
            finished_at=case((exhausted, func.now()), else_=null()),
            attempts=case((exhausted, BackgroundQuery.attempts), else_=BackgroundQuery.attempts + 1),
            error=case((exhausted, "no worker finished it within its lease"), else_=BackgroundQuery.error),
        )
        .returning(
            BackgroundQuery.id,
            BackgroundQuery.kind,
            BackgroundQuery.input,
            BackgroundQuery.attempts,
            BackgroundQuery.lease_until,
        )
        .execution_options(synchronize_session=False)
    )


def take(session: Session, user_id: UUID, worker: str, lease: timedelta) -> Work | None:
    """Lease the next due query of a user; None when nothing is due. Commit before the work begins."""
    while True:
        row = session.execute(take_statement(user_id, worker, lease)).one_or_none()
        if row is None:
            return None
        if row.lease_until is not None:
            return Work(*row)


def finish_statement(user_id: UUID, id: UUID, worker: str, result: Any, summary_for_llm: str | None) -> Update:
    """Only by the worker that has it."""
    return _leased(user_id, id, worker).values(
        status="completed",
        result=result,
        summary_for_llm=summary_for_llm,
        error=None,
        worker=None,
        lease_until=None,
        finished_at=func.now(),
    )


def finish(
    session: Session, user_id: UUID, id: UUID, worker: str, result: Any, summary_for_llm: str | None = None
) -> bool:
    """Keep the result; False when another worker has taken the query meanwhile."""
    return _changed(session, finish_statement(user_id, id, worker, result, summary_for_llm))


def fail_statement(user_id: UUID, id: UUID, worker: str, error: str, retry_after: timedelta) -> Update:
    """Pending again until the attempts are used up, then failed."""
    exhausted = BackgroundQuery.attempts >= BackgroundQuery.max_attempts
    return _leased(user_id, id, worker).values(
        status=case((exhausted, "failed"), else_="pending"),
        error=error,
        worker=None,
        lease_until=None,
        run_after=func.now() + literal(retry_after),
        finished_at=case((exhausted, func.now()), else_=null()),
    )


def fail(session: Session, user_id: UUID, id: UUID, worker: str, error: str, retry_after: timedelta) -> bool:
    """Note why an attempt failed; False when another worker has taken the query meanwhile."""
    return _changed(session, fail_statement(user_id, id, worker, error, retry_after))


def come_back_statement(user_id: UUID) -> Update:
    """Each result is handed over once, with its conversation unless that was deleted."""
    living = (
        select(Conversation.id)
        .where(
            Conversation.user_id == user_id,
            Conversation.id == BackgroundQuery.conversation_id,
            Conversation.deleted_at.is_(None),
        )
        .correlate(BackgroundQuery)
        .scalar_subquery()
    )
    return (
        update(BackgroundQuery)
        .where(
            BackgroundQuery.user_id == user_id,
            BackgroundQuery.finished_at.is_not(None),
            BackgroundQuery.seen_at.is_(None),
        )
        .values(seen_at=func.now())
        .returning(
            BackgroundQuery.id,
            BackgroundQuery.kind,
            BackgroundQuery.status,
            BackgroundQuery.result,
            BackgroundQuery.summary_for_llm,
            BackgroundQuery.error,
            living.label("conversation_id"),
        )
        .execution_options(synchronize_session=False)
    )


def come_back(session: Session, user_id: UUID) -> list[Finished]:
    """What ended while the user was away; marks it as seen."""
    return sorted((Finished(*row) for row in session.execute(come_back_statement(user_id))), key=lambda f: f.id)


def _leased(user_id: UUID, id: UUID, worker: str) -> Update:
    return (
        update(BackgroundQuery)
        .where(
            BackgroundQuery.user_id == user_id,
            BackgroundQuery.id == id,
            BackgroundQuery.worker == worker,
            BackgroundQuery.status == "running",
        )
        .execution_options(synchronize_session=False)
    )


def _changed(session: Session, statement: Update) -> bool:
    return cast("CursorResult[Any]", session.execute(statement)).rowcount == 1
