"""What is true of a user now, what was at a date, and what was of use?"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import (
    Delete,
    Integer,
    Select,
    Update,
    Uuid,
    any_,
    column,
    delete,
    func,
    insert,
    or_,
    select,
    table,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.orm import Session, aliased

from carmenta_lab.postgres.statement import Change, Rows, Value, bound, given
from carmenta_lab.schema.base import PRODUCT
from carmenta_lab.schema.product.memory import FeedbackSignal, Memory, Profile

TIERS = table("memory_tiers", column("user_id", Uuid()), column("id", Uuid()), column("tier"), schema=PRODUCT)
"""The view that derives how recent a living memory is."""


class Fact(NamedTuple):
    """A memory that held at the moment asked about."""

    id: UUID
    category: str
    content: str
    confidence: float
    created_at: datetime | None


def facts_statement(
    user_id: UUID, as_of: datetime | None, limit: int
) -> Select[UUID, str, str, float, datetime | None]:
    """The statement of `facts`: newest first; `as_of` None means now.

    A fact holds from `valid_from` (else from when it was learned) to `valid_to`, and until the memory that replaced it
    begins to hold. A rejected memory never holds.
    """
    moment = func.now() if as_of is None else bound(as_of, TIMESTAMP(timezone=True))
    next_ = aliased(Memory)
    return (
        select(Memory.id, Memory.category, Memory.content, Memory.confidence, Memory.created_at)
        .outerjoin(
            next_,
            (next_.user_id == user_id) & (next_.id == Memory.superseded_by) & next_.deleted_at.is_(None),
        )
        .where(
            Memory.user_id == user_id,
            Memory.deleted_at.is_(None),
            Memory.review_status != "rejected",
            or_(
                func.coalesce(Memory.valid_from, Memory.created_at).is_(None),
                func.coalesce(Memory.valid_from, Memory.created_at) <= moment,
            ),
            or_(Memory.valid_to.is_(None), Memory.valid_to > moment),
            or_(next_.id.is_(None), func.coalesce(next_.valid_from, next_.created_at) > moment),
        )
        .order_by(Memory.created_at.desc().nulls_last(), Memory.id.desc())
        .limit(limit)
    )


def facts(session: Session, user_id: UUID, as_of: datetime | None = None, limit: int = 100) -> list[Fact]:
    """The facts of a user that hold now, or that held at a date."""
    values = {"user_id": user_id, "limit": limit}
    if as_of is None:
        return _FACTS.all(session, values)
    return _FACTS_THEN.all(session, values | {"as_of": as_of})


_USER, _LIMIT = given("user_id", Uuid()), given("limit", Integer())
_FACTS = Rows(Fact, lambda: facts_statement(_USER, None, _LIMIT))
_FACTS_THEN = Rows(Fact, lambda: facts_statement(_USER, given("as_of", TIMESTAMP(timezone=True)), _LIMIT))


def mark_used_statement(user_id: UUID, ids: Sequence[UUID]) -> Update:
    """The statement of `mark_used`; the tier of a memory follows from its use."""
    return (
        update(Memory)
        .where(Memory.user_id == user_id, Memory.id == any_(bound(ids, ARRAY(Uuid()))), Memory.deleted_at.is_(None))
        .values(use_count=Memory.use_count + 1, last_used_at=func.now())
        .execution_options(synchronize_session=False)
    )


def mark_used(session: Session, user_id: UUID, ids: Sequence[UUID]) -> int:
    """Mark memories as used by a context, now; returns how many of them there are."""
    return _MARK_USED.count(session, {"user_id": user_id, "ids": list(ids)})


_MARK_USED = Change(lambda: mark_used_statement(_USER, given("ids", ARRAY(Uuid()))))


class _Tier(NamedTuple):
    id: UUID
    tier: str


def tiers_statement(user_id: UUID, ids: Sequence[UUID]) -> Select[Any]:
    """The statement of `tiers`: living memories."""
    return select(TIERS.c.id, TIERS.c.tier).where(
        TIERS.c.user_id == user_id, TIERS.c.id == any_(bound(ids, ARRAY(Uuid())))
    )


def tiers(session: Session, user_id: UUID, ids: Sequence[UUID]) -> dict[UUID, str]:
    """The tier of each of the user's living memories, by its age and use now: immediate, recent or historical."""
    return dict(_TIERS.all(session, {"user_id": user_id, "ids": list(ids)}))


_TIERS = Rows(_Tier, lambda: tiers_statement(_USER, given("ids", ARRAY(Uuid()))))


def clear_successor_statement(user_id: UUID, memory_id: UUID) -> Update:
    """The statement by which memories count as replaced no more, once the memory that replaced them is about to go."""
    replaced = update(Memory).where(Memory.user_id == user_id, Memory.superseded_by == memory_id)
    return replaced.values(superseded_by=None).execution_options(synchronize_session=False)


def delete_memory_statement(user_id: UUID, memory_id: UUID) -> Delete:
    """The statement that deletes a memory, once it replaces no other one."""
    return delete(Memory).where(Memory.user_id == user_id, Memory.id == memory_id)


def delete_memory(session: Session, user_id: UUID, memory_id: UUID) -> bool:
    """Delete a memory for good; a fact that it had replaced holds again. False when there is none."""
    values = {"user_id": user_id, "id": memory_id}
    _CLEAR_SUCCESSOR.count(session, values)
    return _DELETE_MEMORY.count(session, values) == 1


_ID = given("id", Uuid())
_CLEAR_SUCCESSOR = Change(lambda: clear_successor_statement(_USER, _ID))
_DELETE_MEMORY = Change(lambda: delete_memory_statement(_USER, _ID))


def profile_statement(user_id: UUID) -> Select[Any]:
    """The statement of `profile`."""
    return select(Profile.content).where(Profile.user_id == user_id)


def profile(session: Session, user_id: UUID) -> str | None:
    """The user's profile, which stands at the start of every context; None when there is none."""
    found: str | None = _PROFILE.get(session, {"user_id": user_id})
    return found


_PROFILE = Value(lambda: profile_statement(_USER))


def signal(
    session: Session,
    user_id: UUID,
    kind: str,
    weight: float,
    *,
    message_id: UUID | None = None,
    conversation_id: UUID | None = None,
    duration_s: float | None = None,
    detail: dict[str, Any] | None = None,
) -> UUID:
    """Store an implicit signal about a message or a conversation (exactly one is named), weighted from -1 to 1."""
    id = uuid4()
    about = {"message_id": message_id, "conversation_id": conversation_id}
    row = {"user_id": user_id, "id": id, "kind": kind, "weight": weight, "duration_s": duration_s, "detail": detail}
    session.execute(insert(FeedbackSignal).values(**row, **about))
    return id
