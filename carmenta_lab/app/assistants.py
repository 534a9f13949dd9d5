"""Who is on the user's AI team, and how does the user want to be served?"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import Integer, Select, Text, Uuid, func, insert, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from carmenta_lab.postgres.statement import Rows, Value, given
from carmenta_lab.schema.product.identity import Assistant, Setting


class AssistantLine(NamedTuple):
    """A member of the user's AI team, as a list shows it."""

    id: UUID
    name: str
    role: str
    model: str | None
    instructions: str
    tools: list[Any]


def add_assistant(
    session: Session,
    user_id: UUID,
    name: str,
    role: str,
    *,
    model: str | None = None,
    instructions: str = "",
    tools: Sequence[Any] = (),
) -> UUID:
    """Add an assistant to the team; the database refuses a name that a living assistant has already."""
    id = uuid4()
    row = {"user_id": user_id, "id": id, "name": name, "role": role, "model": model}
    session.execute(insert(Assistant).values(**row, instructions=instructions, tools=list(tools)))
    return id


def assistants_statement(user_id: UUID, limit: int) -> Select[Any]:
    """The statement of `assistants`: living ones, by name."""
    columns = (
        Assistant.id, Assistant.name, Assistant.role, Assistant.model, Assistant.instructions, Assistant.tools,
    )  # fmt: skip
    living = select(*columns).where(Assistant.user_id == user_id, Assistant.deleted_at.is_(None))
    return living.order_by(Assistant.name).limit(limit)


def assistants(session: Session, user_id: UUID, limit: int = 100) -> list[AssistantLine]:
    """The living assistants of the user's team, by name."""
    return _ASSISTANTS.all(session, {"user_id": user_id, "limit": limit})


_USER = given("user_id", Uuid())
_ASSISTANTS = Rows(AssistantLine, lambda: assistants_statement(_USER, given("limit", Integer())))


def keep_setting(session: Session, user_id: UUID, key: str, value: Any) -> None:
    """Store one setting of the user, or replace it; `value` is anything that JSON can express."""
    row = postgresql.insert(Setting).values(user_id=user_id, key=key, value=value)
    session.execute(
        row.on_conflict_do_update(
            index_elements=["user_id", "key"], set_={"value": row.excluded.value, "updated_at": func.now()}
        )
    )


def setting_statement(user_id: UUID, key: str) -> Select[Any]:
    """The statement of `setting`."""
    return select(Setting.value).where(Setting.user_id == user_id, Setting.key == key)


def setting(session: Session, user_id: UUID, key: str, default: Any = None) -> Any:
    """The value of one setting of the user; `default` where none is stored."""
    for chosen in _SETTING.each(session, {"user_id": user_id, "key": key}):  # at most one, which may be null
        return chosen
    return default


_SETTING = Value(lambda: setting_statement(_USER, given("key", Text())))
