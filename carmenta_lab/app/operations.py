"""Who works on which background query, what awaits a user who comes back, and what happened?"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import (
    Integer,
    Interval,
    Select,
    Text,
    Update,
    Uuid,
    case,
    func,
    insert,
    null,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import Session

from carmenta_lab.postgres.statement import Change, Rows, Value, bound, given
from carmenta_lab.schema.product.conversations import Conversation
from carmenta_lab.schema.product.operations import BackgroundQuery, Event


class LeasedQuery(NamedTuple):
    """A background query that a worker may work on until its lease ends."""

    id: UUID
    kind: str
    input: Any
    attempt: int  # from 1
    lease_until: datetime


class FinishedQuery(NamedTuple):
    """A background query that ended, completed or failed, while the user was away."""

    id: UUID
    kind: str
    status: str  # completed or failed
    result: Any
    summary_for_llm: str | None
    error: str | None
    conversation_id: UUID | None


class EventLine(NamedTuple):
    """An event of a user."""

    created_at: datetime
    id: UUID
    name: str
    properties: dict[str, Any]
    conversation_id: UUID | None


def ask(
    session: Session,
    user_id: UUID,
    kind: str,
    question: Any,
    conversation_id: UUID | None = None,
    max_attempts: int = 3,
) -> UUID:
    """Put a background query in the queue; its result is awaited in the conversation, if one is named."""
    id = uuid4()
    row = {"user_id": user_id, "id": id, "kind": kind, "input": question, "max_attempts": max_attempts}
    session.execute(insert(BackgroundQuery).values(**row, conversation_id=conversation_id))
    return id


def users_with_work_statement(at_most: int) -> Select[Any]:
    """The statement of `users_with_work`: it calls a function of the owner, as a worker acts for nobody yet."""
    return select(func.carmenta.users_with_due_queries(at_most))


def users_with_work(session: Session, at_most: int) -> list[UUID]:
    """The users whose background queries are due, the longest waiting first."""
    return _USERS.each(session, {"at_most": at_most})


_USERS = Value(lambda: users_with_work_statement(given("at_most", Integer())))


def take_statement(user_id: UUID, worker: str, lease: timedelta) -> Update:
    """The statement of `take`: the query that has been due longest and that no other worker is taking.

    A query whose last attempt ran out of its lease fails instead.
    """
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
    until = func.now() + bound(lease)
    return (
        update(BackgroundQuery)
        .where(tuple_(BackgroundQuery.user_id, BackgroundQuery.id) == due.scalar_subquery())
        .values(
            status=case((exhausted, "failed"), else_="running"),
            worker=case((exhausted, null()), else_=bound(worker)),
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
            BackgroundQuery.attempts.label("attempt"),
            BackgroundQuery.lease_until,
        )
        .execution_options(synchronize_session=False)
    )


def take(session: Session, user_id: UUID, worker: str, lease: timedelta) -> LeasedQuery | None:
    """Lease the next due query of a user; None when nothing is due.

    Commit before the work begins, so that others see it.
    """
    values = {"user_id": user_id, "worker": worker, "lease": lease}
    while (work := _TAKE.first(session, values)) is not None:
        if work.lease_until is not None:  # else it had no attempt left, and has failed now
            return work
    return None


_USER, _ID, _WORKER = given("user_id", Uuid()), given("id", Uuid()), given("worker", Text())
_TAKE = Rows(LeasedQuery, lambda: take_statement(_USER, _WORKER, given("lease", Interval())))


def finish_statement(user_id: UUID, id: UUID, worker: str, result: Any, summary_for_llm: str | None) -> Update:
    """The statement of `finish`; it changes the query only while this worker has its lease."""
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
    """Store the result of a leased query; False when its lease ran out and another worker has it."""
    values = {"user_id": user_id, "id": id, "worker": worker, "result": result, "summary": summary_for_llm}
    return _FINISH.count(session, values) == 1


_FINISH = Change(
    lambda: finish_statement(
        _USER, _ID, _WORKER, given("result", BackgroundQuery.__table__.c.result.type), given("summary", Text())
    )
)


def fail_statement(user_id: UUID, id: UUID, worker: str, error: str, retry_after: timedelta) -> Update:
    """The statement of `fail`: the query is pending again until its attempts are used up, then failed."""
    exhausted = BackgroundQuery.attempts >= BackgroundQuery.max_attempts
    return _leased(user_id, id, worker).values(
        status=case((exhausted, "failed"), else_="pending"),
        error=error,
        worker=None,
        lease_until=None,
        run_after=func.now() + bound(retry_after),
        finished_at=case((exhausted, func.now()), else_=null()),
    )


def fail(session: Session, user_id: UUID, id: UUID, worker: str, error: str, retry_after: timedelta) -> bool:
    """Store why an attempt failed, to be tried again after `retry_after`; False when another worker has the query."""
    values = {"user_id": user_id, "id": id, "worker": worker, "error": error, "retry_after": retry_after}
    return _FAIL.count(session, values) == 1


_FAIL = Change(lambda: fail_statement(_USER, _ID, _WORKER, given("error", Text()), given("retry_after", Interval())))


def come_back_statement(user_id: UUID) -> Update:
    """The statement of `come_back`: a result is returned once, without its conversation if that was deleted."""
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


def come_back(session: Session, user_id: UUID) -> list[FinishedQuery]:
    """The queries that ended since the user was here last; marks them as seen, so that each is returned once."""
    return sorted(_COME_BACK.all(session, {"user_id": user_id}), key=lambda finished: finished.id)


_COME_BACK = Rows(FinishedQuery, lambda: come_back_statement(_USER))


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


def append_event(
    session: Session,
    user_id: UUID,
    name: str,
    properties: dict[str, Any] | None = None,
    conversation_id: UUID | None = None,
) -> UUID:
    """Store an event, with the time of the transaction; returns its id."""
    id = uuid4()
    row = {"user_id": user_id, "id": id, "name": name, "properties": properties or {}}
    session.execute(insert(Event).values(**row, conversation_id=conversation_id))
    return id


def events_statement(user_id: UUID, since: datetime, until: datetime, limit: int) -> Select[Any]:
    """The statement of `events`: in the order of time; only the partitions of the months between are read."""
    return (
        select(Event.created_at, Event.id, Event.name, Event.properties, Event.conversation_id)
        .where(Event.user_id == user_id, Event.created_at >= since, Event.created_at < until)
        .order_by(Event.created_at, Event.id)
        .limit(limit)
    )


def events(session: Session, user_id: UUID, since: datetime, until: datetime, limit: int = 1000) -> list[EventLine]:
    """The events from one moment to before another, in the order of time."""
    values = {"user_id": user_id, "since": since, "until": until, "limit": limit}
    return _EVENTS.all(session, values)


_SINCE, _UNTIL = given("since", TIMESTAMP(timezone=True)), given("until", TIMESTAMP(timezone=True))
_EVENTS = Rows(EventLine, lambda: events_statement(_USER, _SINCE, _UNTIL, given("limit", Integer())))


class Partition(NamedTuple):
    """A partition of `events` that was made: one month."""

    name: str
    moved: int  # rows that lay in the default partition


def make_event_partitions(session: Session, months: int) -> list[Partition]:
    """Make the missing partitions of `events` for this month and that many after it; to be called as the owner.

    Returns those that were made; none when nothing is missing.
    """
    return _PARTITIONS.all(session, {"months": months})


_PARTITIONS = Rows(Partition, lambda: _partitions_made(given("months", Integer())))


def _partitions_made(months: int) -> Select[str, int]:
    made = func.carmenta.make_event_partitions(months).table_valued("partition", "moved")
    return select(made.c.partition.label("name"), made.c.moved)
