"""Fifty users with rows in the tables that an assistant asks all day: enough that an index must answer."""

from uuid import UUID

from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.postgres.connect import Database

USERS = 50


def number(n: int) -> UUID:
    """The uuid of the n-th row of its table, from 1; row n belongs to user (n mod 50) + 1."""
    return UUID(int=n)


_ID = "lpad(to_hex({}), 32, '0')::uuid"
_I, _USER = _ID.format("i"), _ID.format(f"i % {USERS} + 1")
_START = "timestamptz '2026-01-01Z'"


def _rows(count: str) -> str:
    return f"generate_series(1, {count}) i"


def statements(messages: int) -> list[str]:
    """SQL that fills an empty schema: conversations of 20 messages, a fifth as many memories, and so on."""
    conversations, memories, few = messages // 20, messages // 5, messages // 20
    own = f"SELECT {_USER}, {_I}"
    return [
        f"INSERT INTO carmenta.users (id) SELECT {_I} FROM {_rows(str(USERS))}",
        "INSERT INTO carmenta.conversations (user_id, id, title, last_message_at) "
        f"{own}, 'title', CASE WHEN i % 100 >= 50 THEN {_START} + i * interval '1 min' END "
        f"FROM {_rows(str(conversations))}",
        "INSERT INTO carmenta.messages (user_id, id, conversation_id, position, role, content, created_at) "
        f"{own}, {_ID.format(f'(i - 1) % {conversations} + 1')}, i / {conversations}, "
        f"CASE WHEN i / {conversations} % 2 = 0 THEN 'user' ELSE 'assistant' END, 'x', {_START} + i * interval '1 s' "
        f"FROM {_rows(str(messages))}",
        "INSERT INTO carmenta.memories (user_id, id, category, content, created_at) "
        f"{own}, 'personal', 'x', {_START} + i * interval '1 s' FROM {_rows(str(memories))}",
        "INSERT INTO carmenta.documents (user_id, id, path, name, content) "
        f"{own}, format('a%s.b%s', i % 7, i)::ltree, 'n', 'x' FROM {_rows(str(few))}",
        "INSERT INTO carmenta.artifacts (user_id, id, created_at, kind, title) "
        f"{own}, {_START} + v * interval '1 h', 'text', 't' FROM {_rows(str(few))}, generate_series(1, 2) v",
        "INSERT INTO carmenta.artifact_references (user_id, id, artifact_id, artifact_created_at, "
        "target_artifact_id, target_artifact_created_at, relation) "
        f"SELECT {_USER}, gen_random_uuid(), {_I}, {_START} + interval '1 h', {_ID.format(f'i + {USERS}')}, "
        f"{_START} + interval '1 h', 'cites' "
        f"FROM {_rows(str(few - USERS))}",
        f"INSERT INTO carmenta.background_queries (user_id, id, kind, input) {own}, 'k', '{{}}' FROM {_rows(str(few))}",
        "INSERT INTO carmenta.background_queries (user_id, id, kind, input, status, finished_at) "
        f"SELECT {_USER}, gen_random_uuid(), 'k', '{{}}', 'completed', now() FROM {_rows(str(few))}",
    ]


def fill(database: Database, messages: int) -> None:
    """Fill an empty schema, and let the planner know."""
    with database.owner.begin() as connection:
        connection.exec_driver_sql(UNNOTED, (True,))
        for statement in statements(messages):
            connection.exec_driver_sql(statement.replace("%", "%%"))
    with database.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
