"""Everything that Vercel's ai-chatbot stores has a place here, in the tables of both of its generations."""

from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from carmenta_lab.postgres import Database
from carmenta_lab.schema.vercel import COLUMN_MAPPINGS

HERE = Path(__file__).parent
GENERATIONS = {"first": ("vercel_first.sql", "vercel_both.sql"), "second": ("vercel_second.sql", "vercel_both.sql")}

COLUMNS = text(
    "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
    "AND NOT a.attisdropped WHERE c.relkind IN ('r', 'p') AND c.relnamespace = CAST(:schema AS regnamespace)"
)
TYPES = text(
    "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_class c JOIN pg_attribute a "
    "ON a.attrelid = c.oid AND a.attnum > 0 WHERE c.relkind = 'r' AND c.relnamespace = CAST(:schema AS regnamespace)"
)
SHORT = {"character varying": "varchar", "timestamp without time zone": "timestamp"}


@pytest.mark.parametrize("generation", GENERATIONS)
def test_every_column_of_a_generation_has_a_place_that_exists(database: Database, generation: str) -> None:
    scratch = f"vercel_{generation}"
    with database.owner_session() as session:
        session.execute(text(f"CREATE SCHEMA {scratch}"))
        session.execute(text(f"SET LOCAL search_path = {scratch}"))
        for file in GENERATIONS[generation]:
            for statement in (HERE / file).read_text().split(";\n"):
                if statement.strip():
                    session.connection().exec_driver_sql(statement)
        theirs = {tuple(row) for row in session.execute(TYPES, {"schema": scratch})}
        ours = {f"{table}.{column}" for table, column in session.execute(COLUMNS, {"schema": "carmenta"})}
        session.execute(text(f"DROP SCHEMA {scratch} CASCADE"))
    places = [place for place in COLUMN_MAPPINGS if place.generation in (generation, "both")]
    plain = set()
    for table, column, kind in theirs:
        short, bracket, size = kind.partition("(")
        plain.add((table, column, SHORT.get(short, short) + bracket + size))
    assert {(place.table, place.column, place.type) for place in places} == plain
    assert {target for place in places for target in place.targets} <= ours
    assert all(place.targets for place in places)


def test_no_column_is_placed_twice() -> None:
    for generation in GENERATIONS:
        named = [(p.table, p.column) for p in COLUMN_MAPPINGS if p.generation in (generation, "both")]
        assert len(named) == len(set(named))


def test_a_conversation_from_there_fits_into_the_places(database: Database) -> None:
    """Rows written by the mapping alone satisfy every constraint: required columns have a source or a default."""
    user, chat, message, document = (uuid4() for _ in range(4))
    values: dict[str, dict[str, object]] = {
        "users": {"id": user, "name": "n", "image_url": "u", "kind": "anonymous"},
        "accounts": {"email": "a@b.c", "provider_account_id": "a@b.c", "password_hash": "$2a$10$x", "id": uuid4(),
                     "provider": "password", "email_verified": True},
        "conversations": {"id": chat, "title": "t", "visibility": "public"},
        "messages": {"id": message, "conversation_id": chat, "role": "user", "content": "x", "position": 0},
        "attachments": {"id": uuid4(), "message_id": message, "name": "n", "media_type": "image/png", "key": "https://x"},
        "votes": {"message_id": message, "is_upvoted": True},
        "artifacts": {"id": document, "created_at": "2025-01-01Z", "kind": "sheet", "title": "t"},
        "suggestions": {"id": uuid4(), "artifact_id": document, "artifact_created_at": "2025-01-01Z",
                        "original_text": "a", "suggested_text": "b", "is_resolved": True},
        "streams": {"id": uuid4(), "conversation_id": chat},
    }  # fmt: skip
    placed = {target for place in COLUMN_MAPPINGS for target in place.targets}
    with database.owner_session() as session:
        for table, row in values.items():
            if table != "users":
                row["user_id"] = user
            if table == "accounts":  # which goes through a function, so that no two users have one
                session.execute(text(f"SELECT set_config('carmenta.user_id', '{user}', true)"))
                session.execute(text("SELECT carmenta.claim_account('password', 'a@b.c')"))
            names = ", ".join(row)
            bound = ", ".join(f":{name}" for name in row)
            session.execute(text(f"INSERT INTO carmenta.{table} ({names}) VALUES ({bound})"), row)
            made = {"accounts.id", "accounts.provider", "attachments.id"}  # given out by the import
            keys = {f"{table}.user_id", "attachments.message_id", "messages.position"}
            assert {f"{table}.{name}" for name in row} <= placed | made | keys
