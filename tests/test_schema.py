"""The tables: what the constraints refuse, what the views derive, and what a migration leaves as it was."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from factory import add_conversation, add_memory, add_user
from planting import NOBODYS, plant, plant_lab, user_tables
from sqlalchemy import exc, insert, select, text, update
from sqlalchemy.orm import Session

from carmenta_lab.app import knowledge, operations
from carmenta_lab.errors import DatabaseUnavailable
from carmenta_lab.indexing.vectors import register
from carmenta_lab.postgres import Database, migrate, open_migrated
from carmenta_lab.postgres.migrate import BRANCHES, heads, offline_sql, revisions
from carmenta_lab.postgres.roles import connect, set_up
from carmenta_lab.schema import DOMAINS, metadata
from carmenta_lab.schema.product.artifacts import artifact_tags, artifacts, suggestions
from carmenta_lab.schema.product.conversations import tags
from carmenta_lab.schema.product.identity import accounts, sessions
from carmenta_lab.schema.product.memory import memories
from carmenta_lab.schema.product.operations import events

PACKAGE = Path(__file__).parent.parent / "carmenta_lab"


@pytest.fixture
def ann(shared: Database) -> Iterator[tuple[Session, UUID]]:
    """A session of the owner in which one user has rows everywhere; rolled back."""
    user = uuid4()
    with shared.owner.connect() as connection, connection.begin() as outer:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            plant(session, user, "planted")
            yield session, user
        outer.rollback()


def test_every_domain_of_the_product_has_its_tables() -> None:
    found = {name: len(vars(module)) for name, module in DOMAINS.items()}
    assert set(found) == {
        "identity", "conversations", "artifacts", "memory", "knowledge", "concierge", "operations", "retrieval",
        "words", "outbox", "tokens", "lab",
    }  # fmt: skip
    assert len(user_tables()) >= 30


def test_every_table_and_view_has_a_comment_in_the_database(shared: Database) -> None:
    with shared.owner_session() as session:
        silent = session.scalars(
            text(
                "SELECT relname FROM pg_class WHERE relnamespace IN "
                "(SELECT oid FROM pg_namespace WHERE nspname IN ('carmenta', 'search', 'lab')) "
                "AND relkind IN ('r', 'v', 'p', 'm') AND NOT relispartition "
                "AND obj_description(oid, 'pg_class') IS NULL"
            )
        ).all()
    assert silent == ["alembic_version"] * len(BRANCHES)


def test_every_key_begins_with_its_user_and_every_reference_carries_the_user() -> None:
    for table in user_tables():
        if table.name == "users":
            continue
        assert next(iter(table.primary_key.columns)).name == "user_id", table.name
        for key in table.foreign_key_constraints:
            assert "user_id" in key.column_keys, (table.name, key.name)


def test_no_foreign_key_leads_out_of_the_lab_or_from_the_product_elsewhere(shared: Database) -> None:
    """The product stands alone; what is searched refers to it, and the lab to nothing."""
    with shared.owner_session() as session:
        leading = session.execute(
            text(
                "SELECT DISTINCT f.relnamespace::regnamespace::text, t.relnamespace::regnamespace::text "
                "FROM pg_constraint c JOIN pg_class f ON f.oid = c.conrelid JOIN pg_class t ON t.oid = c.confrelid "
                "WHERE c.contype = 'f' AND f.relnamespace <> t.relnamespace"
            )
        ).all()
    assert [tuple(row) for row in leading] == [("search", "carmenta")]


def test_every_foreign_key_has_an_index_that_serves_it(shared: Database) -> None:
    unserved = text(
        """
        SELECT c.conrelid::regclass || ' ' || c.conname FROM pg_constraint c
        WHERE c.contype = 'f' AND c.connamespace IN ('carmenta'::regnamespace, 'search'::regnamespace) AND NOT EXISTS (
            SELECT FROM pg_index i WHERE i.indrelid = c.conrelid
            AND (i.indkey::int2[])[0:least(cardinality(c.conkey), 2) - 1] <@ c.conkey)
        """
    )
    with shared.owner_session() as session:
        assert session.scalars(unserved).all() == []


IDLE = "worker = NULL, lease_until = NULL, finished_at = NULL, result = NULL"
NONSENSE = {
    "a confidence above one": ("memories", "confidence = 1.1"),
    "a validity that ends before it begins": ("memories", "valid_from = now(), valid_to = now() - interval '1 s'"),
    "a memory that supersedes itself": ("memories", "superseded_by = id"),
    "an unknown category": ("memories", "category = 'gossip'"),
    "a negative count of uses": ("memories", "use_count = -1"),
    "a weight beyond one": ("feedback_signals", "weight = -1.5"),
    "a duration of what does not last": ("feedback_signals", "kind = 'copy'"),
    "a feedback about nothing": ("feedback_signals", "message_id = NULL, conversation_id = NULL"),
    "a running query without a lease": ("background_queries", f"status = 'running', {IDLE}"),
    "a finished query without a time": ("background_queries", f"status = 'completed', {IDLE}"),
    "a pending query with half a lease": (
        "background_queries", "status = 'pending', finished_at = NULL, result = NULL, worker = 'w', lease_until = NULL",
    ),
    "a pending query with a whole lease": (
        "background_queries",
        "status = 'pending', finished_at = NULL, result = NULL, worker = 'w', lease_until = now()",
    ),
    "a failed query with a result": (
        "background_queries", "status = 'failed', worker = NULL, lease_until = NULL, finished_at = now(), result = '1'",
    ),
    "more attempts than allowed": ("background_queries", "attempts = max_attempts + 1"),
    "an interface without components": ("artifacts", "component_tree = NULL"),
    "components of what is no interface": ("artifacts", "kind = 'text'"),
    "an unknown kind of artifact": ("artifacts", "kind = 'hologram'"),
    "no target of a reference": (
        "artifact_references",
        "target_artifact_id = NULL, target_artifact_created_at = NULL, conversation_id = NULL, message_id = NULL, "
        "document_id = NULL",
    ),
    "an artifact that refers to itself": ("artifact_references", "target_artifact_id = artifact_id"),
    "half a target": ("artifact_references", "target_artifact_created_at = now() WHERE target_artifact_id IS NULL"),
    "a document linked to itself": ("document_links", "target_id = document_id"),
    "a token kept in the clear": ("sessions", "token_sha256 = 'token'"),
    "encrypted tokens without the key's name": ("service_connections", "key_id = NULL"),
    "an active connection without a token": ("service_connections", "access_token_encrypted = NULL"),
    "a password account without a hash": ("accounts", "provider = 'password', password_hash = NULL"),
    "tools that are no list": ("assistants", "tools = '{}'"),
    "a path of nothing": ("folders", "path = ''"),
    "a clarity above one": ("preprocessing_logs", "clarity = 2"),
    "follow-ups that are no list": ("postprocessing_logs", "follow_ups = '{}'"),
    "candidates that are no list": ("model_selections", "candidates = '{}'"),
    "properties that are no object": ("events", "properties = '[]'"),
}  # fmt: skip


@pytest.mark.parametrize(("table", "change"), NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_refused(ann: tuple[Session, UUID], table: str, change: str) -> None:
    with pytest.raises(exc.IntegrityError) as caught:
        ann[0].execute(text(f"UPDATE carmenta.{table} SET {change}"))
    assert caught.value.orig.sqlstate == "23514"  # type: ignore[union-attr]


def _memories(session: Session, user: UUID, count: int) -> list[UUID]:
    return [add_memory(session, user) for _ in range(count)]


def _supersede(session: Session, old: UUID, new: UUID) -> None:
    session.execute(update(memories).where(memories.c.id == old).values(superseded_by=new))


def test_memories_supersede_each_other_in_a_chain_but_never_in_a_ring(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    first, second, third = _memories(session, user, 3)
    _supersede(session, first, second)
    _supersede(session, second, third)
    with pytest.raises(exc.IntegrityError, match="would be superseded by itself"):
        _supersede(session, third, first)


def test_a_ring_made_by_one_statement_is_refused(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    one, two = uuid4(), uuid4()
    row = {"user_id": user, "category": "personal", "content": "x"}
    with pytest.raises(exc.IntegrityError, match="would be superseded by itself"):
        session.execute(
            insert(memories).values([row | {"id": one, "superseded_by": two}, row | {"id": two, "superseded_by": one}])
        )


def test_two_transactions_cannot_close_a_ring_together(database: Database) -> None:
    with database.owner_session() as session:
        user = add_user(session)
        one, two = _memories(session, user, 2)
    with Session(database.owner) as here, Session(database.owner) as there:
        _supersede(here, one, two)
        there.execute(text("SET LOCAL lock_timeout = '200ms'"))
        with pytest.raises(exc.OperationalError):  # it waits for the row that `here` walked over
            _supersede(there, two, one)
        here.commit()
        there.rollback()
        with pytest.raises(exc.IntegrityError, match="would be superseded by itself"):
            _supersede(there, two, one)


@pytest.mark.parametrize(
    ("age_days", "used_days", "uses", "ended", "tier"),
    [
        (1, None, 0, False, "immediate"),
        (400, 2, 1, False, "immediate"),
        (30, None, 0, False, "recent"),
        (200, None, 0, False, "historical"),
        (400, 200, 5, False, "recent"),
        (400, 200, 4, False, "historical"),
        (900, 400, 9, False, "historical"),
        (1, 1, 9, True, "historical"),
    ],
)
def test_the_tier_follows_from_age_and_use(
    ann: tuple[Session, UUID], age_days: int, used_days: int | None, uses: int, ended: bool, tier: str
) -> None:
    session, user = ann
    (memory,) = _memories(session, user, 1)
    now = datetime.now(UTC)
    session.execute(
        update(memories)
        .where(memories.c.id == memory)
        .values(
            created_at=now - timedelta(days=age_days),
            last_used_at=None if used_days is None else now - timedelta(days=used_days),
            use_count=uses,
            valid_to=now - timedelta(hours=1) if ended else None,
        )
    )
    found = text("SELECT tier FROM carmenta.memory_tiers WHERE user_id = :user AND id = :id")
    assert session.scalar(found, {"user": user, "id": memory}) == tier


def _artifact(session: Session, user: UUID, id: UUID, version: int) -> datetime:
    created = datetime(2026, 1, version, tzinfo=UTC)
    session.execute(
        insert(artifacts).values(user_id=user, id=id, created_at=created, kind="text", title="t", content="c")
    )
    return created


def test_of_two_writers_of_the_next_version_none_is_lost_and_none_at_the_same_moment(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    id = uuid4()
    first = _artifact(session, user, id, 1)
    _artifact(session, user, id, 2)
    _artifact(session, user, id, 3)
    assert session.scalar(text("SELECT count(*) FROM carmenta.artifacts WHERE id = :id"), {"id": id}) == 3
    with pytest.raises(exc.IntegrityError, match="pk_artifacts"):
        session.execute(insert(artifacts).values(user_id=user, id=id, created_at=first, kind="text", title="t"))


def test_a_suggestion_goes_with_its_version_and_a_tag_with_the_first(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    id, tag = uuid4(), uuid4()
    first = _artifact(session, user, id, 1)
    second = _artifact(session, user, id, 2)
    row = {"user_id": user, "artifact_id": id, "original_text": "a", "suggested_text": "b"}
    session.execute(insert(suggestions).values(**row, id=uuid4(), artifact_created_at=second))
    session.execute(insert(tags).values(user_id=user, id=tag, name="n"))
    hanging = {"user_id": user, "artifact_id": id, "tag_id": tag, "artifact_created_at": first}
    session.execute(insert(artifact_tags).values(hanging))
    session.execute(artifacts.delete().where(artifacts.c.id == id, artifacts.c.created_at == second))
    assert session.scalars(select(suggestions.c.id).where(suggestions.c.artifact_id == id)).all() == []
    assert session.scalars(select(artifact_tags.c.tag_id).where(artifact_tags.c.artifact_id == id)).all() == [tag]
    session.execute(artifacts.delete().where(artifacts.c.id == id))
    assert session.scalars(select(artifact_tags.c.tag_id).where(artifact_tags.c.artifact_id == id)).all() == []


def test_a_reference_is_read_from_both_ends(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    rows = session.execute(
        text("SELECT from_id, to_id, direction FROM carmenta.artifact_relations WHERE user_id = :u"), {"u": user}
    ).all()
    forward = {(row.from_id, row.to_id) for row in rows if row.direction == "refers"}
    backward = {(row.to_id, row.from_id) for row in rows if row.direction == "referred"}
    assert len(forward) == 4
    assert forward == backward


def test_a_session_is_found_by_its_token_alone_and_only_while_it_lasts(database: Database) -> None:
    token, late, twice = b"a" * 32, b"b" * 32, b"d" * 32
    row = {"id": uuid4(), "expires_at": datetime(2999, 1, 1, tzinfo=UTC)}
    with database.owner_session() as session:
        user, other, third = (add_user(session) for _ in range(3))
        session.execute(insert(sessions).values(**row, user_id=user, token_sha256=token))
        session.execute(insert(sessions).values(**row, user_id=other, token_sha256=late))
        session.execute(text("UPDATE carmenta.sessions SET created_at = '2000-01-01', expires_at = '2001-01-01' WHERE user_id = :u"), {"u": other})  # fmt: skip  # noqa: E501
        session.execute(insert(sessions).values(**row, user_id=third, token_sha256=twice))
        session.execute(insert(sessions).values(**row | {"id": uuid4()}, user_id=user, token_sha256=twice))
    whose = text("SELECT carmenta.user_of_session(:token)")
    with database.app_session() as session:
        assert session.scalar(whose, {"token": token}) == user
        assert session.scalar(whose, {"token": late}) is None
        assert session.scalar(whose, {"token": b"c" * 32}) is None
        assert session.scalar(whose, {"token": twice}) is None  # two have it: it signs in neither
        assert session.scalar(text("SELECT count(*) FROM carmenta.sessions")) == 0


def test_no_account_row_stands_without_the_sign_in_of_the_same_user(database: Database) -> None:
    row = {"provider": "google", "provider_account_id": "117", "id": uuid4()}
    with database.owner_session() as session:
        ann, bob = add_user(session), add_user(session)
    with database.user_session(ann) as session:
        session.execute(text("SELECT carmenta.claim_account('google', '117')"))
        session.execute(insert(accounts).values(**row, user_id=ann))
    for act in (bob, uuid4()):  # neither another's nor, with no user of that id, anybody's
        with pytest.raises(exc.IntegrityError, match="fk_accounts"), database.user_session(bob) as session:
            session.execute(insert(accounts).values(**row, user_id=bob))
        with pytest.raises(exc.DBAPIError), database.user_session(act) as session:
            session.execute(text("SELECT carmenta.claim_account('google', '117')"))
    with database.owner_session() as session:
        session.execute(text("DELETE FROM carmenta.sign_ins WHERE user_id = :u"), {"u": ann})  # as an erasure does
        assert session.scalar(text("SELECT count(*) FROM carmenta.accounts")) == 0


def test_the_month_of_an_event_gets_a_partition_and_none_is_lost(database: Database) -> None:
    """Made twice changes nothing; what lay in the default partition is in its month afterwards."""
    now = datetime.now(UTC)
    ages = {"now": 0, "two months ago": 62, "three years ago": 3 * 366}
    with database.owner_session() as session:
        user = add_user(session)
        for name, days in ages.items():
            session.execute(
                insert(events).values(user_id=user, id=uuid4(), name=name, created_at=now - timedelta(days=days))
            )
    with database.owner_session() as session:
        made = operations.make_event_partitions(session, 2)
        assert [partition.moved for partition in made] == [1, 1, 0, 0]
        assert made[1].name == f"events_{now:%Y_%m}"
        assert operations.make_event_partitions(session, 2) == []
        assert [found.name for found in operations.make_event_partitions(session, 3)] == [f"events_{_after(now, 3)}"]
        lie = text("SELECT tableoid::regclass::text, name FROM carmenta.events ORDER BY created_at")
        assert [tuple(row) for row in session.execute(lie)] == [
            ("carmenta.events_default", "three years ago"),
            (f"carmenta.{made[0].name}", "two months ago"),
            (f"carmenta.{made[1].name}", "now"),
        ]
    with database.user_session(user) as session:
        operations.append_event(session, user, "later")
        assert len(operations.events(session, user, now - timedelta(days=5000), now + timedelta(days=1))) == 4
        assert [e.name for e in operations.events(session, user, now, now + timedelta(days=1), 1)] == ["now"]
    with pytest.raises(exc.ProgrammingError, match="permission denied"), database.user_session(user) as session:
        session.execute(text("SELECT * FROM carmenta.make_event_partitions(0)"))


def _after(now: datetime, months: int) -> str:
    years, month = divmod(now.month - 1 + months, 12)
    return f"{now.year + years}_{month + 1:02}"


def test_two_writers_of_one_conversation_never_tie(database: Database) -> None:
    with database.owner_session() as session:
        user = add_user(session)
        conversation = add_conversation(session, user)
    say = text(
        "INSERT INTO carmenta.messages (user_id, id, conversation_id, role, content) "
        "VALUES (:u, gen_random_uuid(), :c, 'user', 'x') RETURNING position"
    )

    def write(_: int) -> list[int]:
        given = []
        for _ in range(10):
            with database.user_session(user) as session:
                given += session.execute(say, {"u": user, "c": conversation}).scalars().all()
                given += session.execute(say, {"u": user, "c": conversation}).scalars().all()
        return given

    with ThreadPoolExecutor(4) as pool:
        given = [position for found in pool.map(write, range(4)) for position in found]
    assert sorted(given) == list(range(80))


def test_a_position_that_is_given_is_kept_and_takes_no_lock(database: Database) -> None:
    with database.owner_session() as session:
        user = add_user(session)
        values = {"u": user, "c": add_conversation(session, user)}
    say = (
        "INSERT INTO carmenta.messages (user_id, id, conversation_id, role, content, position) "
        "VALUES (:u, gen_random_uuid(), :c, 'user', 'x', {}) RETURNING position"
    )
    with Session(database.owner) as here, database.user_session(user) as there:
        assert here.scalar(text(say.format("NULL")), values) == 0
        there.execute(text("SET LOCAL lock_timeout = '200ms'"))
        assert there.scalar(text(say.format("7")), values) == 7
        with pytest.raises(exc.OperationalError, match="lock timeout"), there.begin_nested():
            there.scalar(text(say.format("NULL")), values)
        here.rollback()
        assert there.scalar(text(say.format("NULL")), values) == 8


def test_a_twelfth_language_rewrites_no_table(database: Database) -> None:
    words = text("SELECT text_search::text FROM carmenta.documents WHERE language = 'ro'")
    row = {"u": uuid4(), "id": uuid4()}
    with database.owner_session() as session:
        plant(session, row["u"], "planted")
        node = text("SELECT pg_relation_filenode(t) FROM unnest(ARRAY['carmenta.documents', 'search.passages']) t")
        before = session.scalars(node).all()
        body = session.scalar(text("SELECT pg_get_functiondef('carmenta.lexemes(text, text)'::regprocedure)"))
        assert body is not None
        execute = session.connection().exec_driver_sql
        execute(body.replace("carmenta.lexemes(", "carmenta.eleven(", 1).replace("%", "%%"))
        execute(
            """
            CREATE OR REPLACE FUNCTION carmenta.lexemes(language text, content text) RETURNS tsvector
            LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN CASE language
                WHEN 'ro' THEN to_tsvector('pg_catalog.romanian', content) ELSE carmenta.eleven(language, content) END
            """
        )
        session.execute(
            text(
                "INSERT INTO carmenta.documents (user_id, id, path, name, content, language) "
                "VALUES (:u, :id, 'ro', 'n', 'copiilor', 'ro')"
            ),
            row,
        )
        assert session.scalar(words) == "'cop':1"
        assert session.scalars(node).all() == before


def test_a_user_goes_with_every_row_in_one_statement(database: Database) -> None:
    """Optional references do nothing of themselves, and stand against nothing that goes in the same statement."""
    user, other = uuid4(), uuid4()
    with database.owner_session() as session:
        plant(session, user, "planted")
        plant(session, other, "another")
        session.execute(text("UPDATE carmenta.messages m SET parent_id = (SELECT min(id::text)::uuid FROM carmenta.messages p WHERE p.user_id = m.user_id AND p.id <> m.id)"))  # fmt: skip  # noqa: E501
        session.execute(text("DELETE FROM carmenta.users WHERE id = :u"), {"u": user})
        for table in user_tables():
            column = "id" if table.name == "users" else "user_id"
            left = session.scalars(text(f"SELECT DISTINCT {column} FROM {table.fullname}")).all()
            assert left == [other], table.fullname


def test_events_are_added_and_never_changed_by_the_application(database: Database) -> None:
    with database.owner_session() as session:
        user = add_user(session)
    with database.user_session(user) as session:
        session.execute(insert(events).values(user_id=user, id=uuid4(), name="opened"))
        assert session.scalar(select(events.c.name)) == "opened"
    for statement in ("UPDATE carmenta.events SET name = 'x'", "DELETE FROM carmenta.events"):
        with database.app_session() as session:
            session.execute(text(f"SELECT set_config('carmenta.user_id', '{user}', true)"))
            with pytest.raises(exc.ProgrammingError, match="permission denied"):
                session.execute(text(statement))
            session.rollback()


def test_no_function_of_ours_runs_for_everybody(shared: Database) -> None:
    """A function that runs as its owner is callable by the application alone and pins its search path."""
    open_ones = text(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE prosecdef AND pronamespace IN "
        "('carmenta'::regnamespace, 'search'::regnamespace, 'lab'::regnamespace) "
        "AND (has_function_privilege('public', oid, 'EXECUTE') OR proconfig IS NULL)"
    )
    with shared.owner_session() as session:
        assert session.scalars(open_ones).all() == []
        count = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'carmenta'::regnamespace AND prosecdef"
        assert session.scalar(text(count)) == 6


def _contents(database: Database, names: list[str]) -> dict[str, list[Any]]:
    """Table, `schema.name` -> its rows."""
    with database.owner_session() as session:
        return {
            name: sorted(map(str, session.scalars(text(f"SELECT to_jsonb(t) - 'use_count' FROM {name} t"))))
            for name in names
        }


def _tables(database: Database) -> list[str]:
    """Every table of the three schemas but Alembic's own."""
    with database.owner_session() as session:
        return list(
            session.scalars(
                text(
                    "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
                    "AND relname <> 'alembic_version' AND relnamespace IN "
                    "(SELECT oid FROM pg_namespace WHERE nspname IN ('carmenta', 'search', 'lab')) ORDER BY 1"
                )
            )
        )


STEPS = [(branch, revision) for branch in BRANCHES for revision in revisions(branch)[:-1]]


@pytest.mark.parametrize(("branch", "revision"), STEPS)
def test_each_upgrade_keeps_what_the_tables_of_its_revision_held(
    database: Database, branch: str, revision: str
) -> None:
    """Down to a revision, of which the tables keep their rows, and up again to the head."""
    with database.owner_session() as session:
        rows = plant(session, uuid4(), "planted", register(database.owner, "tiny", 3))
        plant_lab(session, uuid4(), "planted", uuid4(), rows["messages"][0]["id"])
    if branch == "product":
        migrate(database.owner, "lab@base")
        migrate(database.owner, "search@base")
    migrate(database.owner, revision)
    names = _tables(database)
    before = _contents(database, names)
    assert {name.split(".")[1] for name, held in before.items() if not held} <= NOBODYS
    migrate(database.owner)
    assert _contents(database, names) == before


def test_what_the_lab_and_the_product_hold_outlives_the_branch_that_is_searched(database: Database) -> None:
    with database.owner_session() as session:
        rows = plant(session, uuid4(), "planted", register(database.owner, "tiny", 3))
        plant_lab(session, uuid4(), "planted", uuid4(), rows["messages"][0]["id"])
    names = [name for name in _tables(database) if not name.startswith("search.")]
    before = _contents(database, names)
    assert all(before[name] for name in names if name.startswith("lab."))
    migrate(database.owner, "search@base")
    migrate(database.owner, "search@head")
    assert _contents(database, names) == before


SQUAWK_EXCLUDED = {
    "prefer-bigint-over-smallint": "minutes of a clock, less than a day",
    "prefer-bigint-over-int": "positions, sizes and counts of one conversation",
    "prefer-robust-stmts": "outside a transaction stand only indexes, and a second attempt drops what is left",
    "prefer-text-field": "Alembic's own table",
    "require-lock-timeout": "set by migrate()",
    "require-statement-timeout": "an index of a big table takes the time it takes",
}


def test_the_linter_of_migrations_has_nothing_to_say(tmp_path: Path) -> None:
    squawk = Path(sys.executable).parent / "squawk"
    file = tmp_path / "upgrade.sql"
    file.write_text(offline_sql())
    excluded = ",".join(SQUAWK_EXCLUDED)
    done = subprocess.run([squawk, "--pg-version=16", f"--exclude={excluded}", file], capture_output=True, text=True)
    assert (done.returncode, "warning" in done.stdout) == (0, False), done.stdout + done.stderr
    risky = tmp_path / "risky.sql"
    risky.write_text("ALTER TABLE carmenta.messages ALTER COLUMN position TYPE bigint;")
    done = subprocess.run([squawk, "--pg-version=16", f"--exclude={excluded}", risky], capture_output=True, text=True)
    assert "changing-column-type" in done.stdout  # it does find what is risky


KEYS = "user_id=uuid4(), id=uuid4(), conversation_id=uuid4()"
SNIPPETS = {
    "a wrong type": (f"Message({KEYS}, position='1', role='user', content='x')", "arg-type"),
    "a missing field": (f"Message({KEYS}, role='user', content='x')", "call-arg"),
    "a misspelt column": ("select(Message.contents)", "attr-defined"),
}  # fmt: skip


@pytest.mark.slow
def test_the_type_checker_catches_a_wrong_type_a_missing_field_and_a_misspelt_column(tmp_path: Path) -> None:
    right = f"Message({KEYS}, position=1, role='user', content='x')"
    lines = [right, *(snippet for snippet, _ in SNIPPETS.values())]
    file = tmp_path / "snippets.py"
    file.write_text(
        textwrap.dedent(
            """\
            from uuid import uuid4
            from sqlalchemy import select
            from carmenta_lab.schema.product.conversations import Message
            """
        )
        + "\n".join(lines)
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "cache"), file],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
    )
    errors = [line for line in done.stdout.splitlines() if "snippets.py" in line and ": error:" in line]
    assert [(line.split(":")[1], line.rpartition("[")[2].rstrip("]")) for line in errors] == [
        (str(number), code) for number, (_, code) in enumerate(SNIPPETS.values(), 5)
    ], done.stdout


def test_the_metadata_names_every_table(shared: Database) -> None:
    assert set(_tables(shared)) == {table.fullname for table in metadata.sorted_tables}


def test_a_backfill_of_the_owner_sees_every_row_in_spite_of_forced_policies(database: Database) -> None:
    ann, bob = uuid4(), uuid4()
    with database.owner_session() as session:
        plant(session, ann, "ann")
        plant(session, bob, "bob")
        assert (
            session.scalar(text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")) is False
        )
        filled = session.execute(text("UPDATE carmenta.messages SET model = 'back-filled' RETURNING user_id")).all()
        assert {row.user_id for row in filled} == {ann, bob}
        assert len(filled) == 4


def test_what_the_owner_dumps_and_restores_is_all_of_it(database: Database, cluster: Any, tmp_path: Path) -> None:
    """With the programs of the bundle, as the owner and no superuser; row security is on and hides nothing."""
    from carmenta_lab.embedded.bundle import default_cache, unpacked

    logins = cluster.logins(database.name)
    url = logins.owner.url
    if logins.passwords is None:
        pytest.skip("another server may be of another version than the programs at hand")
    bundle = unpacked(default_cache())
    with database.owner_session() as session:
        plant(session, uuid4(), "ann")
        plant(session, uuid4(), "bob")
    place = {"PGHOST": str(url.query["host"]), "PGPORT": str(url.query["port"]), "PGUSER": "carmenta_owner"}
    environment = bundle.environment() | place | {"PGPASSWORD": logins.passwords["carmenta_owner"]}

    def run(program: str, *arguments: str) -> None:
        done = subprocess.run([bundle.program(program), *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    file = str(tmp_path / "carmenta.dump")
    schemas = ("-n", "carmenta", "-n", "search", "-n", "lab")
    run("pg_dump", "--enable-row-security", "-Fc", *schemas, "-f", file, "-d", database.name)
    restored_logins = cluster.logins(f"carmenta_{uuid4().hex[:12]}")
    try:
        set_up(restored_logins.admin, restored_logins.passwords)
        name = restored_logins.owner.url.database or ""
        run("pg_restore", "--enable-row-security", "--clean", "--if-exists", "--exit-on-error", "-d", name, file)
        restored = open_migrated(restored_logins)
        names = [table.fullname for table in user_tables()]
        before, after = _contents(database, names), _contents(restored, names)
        assert all(len(rows) >= 2 for rows in before.values())
        assert after == before
        with restored.app_session() as session:
            assert session.scalar(text("SELECT count(*) FROM carmenta.messages")) == 0
        restored.dispose()
    finally:
        cluster.drop(restored_logins)


def test_the_owner_alone_migrates_both_ways_where_the_extensions_lie_elsewhere(cluster: Any) -> None:
    """As on a host that has no superuser for its customers and keeps extensions in a schema of their own."""
    logins = cluster.logins(f"carmenta_{uuid4().hex[:12]}")
    try:
        set_up(logins.admin, logins.passwords)
        with connect(logins.admin) as connection:
            connection.execute("CREATE SCHEMA extensions")
            for extension in ("vector", "ltree", "pg_trgm"):
                connection.execute(f"ALTER EXTENSION {extension} SET SCHEMA extensions")
            connection.execute("GRANT USAGE ON SCHEMA extensions TO PUBLIC")
        owner_alone = replace(logins, admin=logins.owner, passwords=None)
        database = open_migrated(owner_alone)
        user = uuid4()
        with database.owner_session() as session:
            plant(session, user, "planted")
        with database.user_session(user) as session:
            assert [line.path for line in knowledge.tree(session, user, "another")] == ["another.document"]
            found = knowledge.search_documents(session, user, "planted", "xx")
            assert {line.path for line in found} == {"another.document", "planted.documents"}
        assert [step.branch for step in migrate(database.owner, "base")] == ["lab", "search", "product"]
        assert [step.after for step in migrate(database.owner)] == list(heads().values())
        database.dispose()
    finally:
        cluster.drop(logins)


def test_a_migration_that_cannot_get_its_lock_says_so_and_can_be_run_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives up in one sentence, leaves its revision undone, and no shorter patience on the connection."""
    monkeypatch.setattr(sys.modules["carmenta_lab.postgres.migrate"], "LOCK_TIMEOUT", "300ms")
    register(database.owner, "tiny", 3)
    before = _tables(database)
    assert "search.embeddings_tiny" in before
    with database.owner.connect() as writer:
        writer.execute(text("INSERT INTO carmenta.users (id) VALUES (gen_random_uuid())"))
        writer.execute(text("LOCK TABLE search.passages IN ROW EXCLUSIVE MODE"))
        with pytest.raises(DatabaseUnavailable, match=r"gave up.*migrate again") as caught:
            migrate(database.owner, "search@base")
        assert len(str(caught.value).splitlines()) == 1
        writer.rollback()
    assert _tables(database) == before
    with database.owner_session() as session:
        assert session.scalar(text("SHOW lock_timeout")) == "0"
    assert [step.after for step in migrate(database.owner, "search@base")] == [None]
    assert [step.after for step in migrate(database.owner)] == [heads()["search"]]
    assert _tables(database) == [name for name in before if name != "search.embeddings_tiny"]
