"""What a transaction begins with may wait for its first statement: nobody acts for a user who is not theirs."""

from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

import psycopg
import pytest
from factory import add_user
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from carmenta_lab.postgres import Database
from carmenta_lab.postgres.connect import engine
from carmenta_lab.postgres.lab import Logins
from carmenta_lab.postgres.postponed import postponing_connection
from carmenta_lab.postgres.roles import connect
from carmenta_lab.postgres.statement import Rows, both, driver
from carmenta_lab.schema.base import APP
from carmenta_lab.schema.product.identity import users

WHO = text("SELECT coalesce(current_setting('carmenta.user_id', true), '')")

RENAME = text("UPDATE carmenta.users SET name = :name")


@pytest.fixture
def ann(database: Database) -> UUID:
    """A user among others."""
    with database.owner_session() as session:
        add_user(session)
        return add_user(session)


def test_a_transaction_begins_as_its_user_before_the_first_statement(database: Database, ann: UUID) -> None:
    with database.user_connection(ann) as connection:
        raw = postponing_connection(connection)
        assert not raw.postponed
        assert not raw.untouched
        assert raw.info.transaction_status.name == "INTRANS"
        assert connection.scalars(select(users.c.id)).all() == [ann]
    with database.user_session(ann) as session:
        assert not postponing_connection(session.connection()).postponed
    with database.app_session() as session:
        assert not postponing_connection(session.connection()).postponed


def test_nothing_is_sent_before_the_first_statement_of_a_late_transaction(database: Database, ann: UUID) -> None:
    with database.user_connection(ann, searches_first=True) as connection:
        raw = postponing_connection(connection)
        assert raw.untouched
        assert raw.info.transaction_status.name == "IDLE"
        assert connection.scalars(select(users.c.id)).all() == [ann]
        assert not raw.untouched
        assert raw.info.transaction_status.name == "INTRANS"
    assert raw.postponed == []


def test_a_connection_that_begins_by_itself_runs_as_the_role(database: Database, logins: Logins) -> None:
    as_admin = engine(logins.admin, APP)
    with as_admin.connect() as connection:
        assert connection.scalar(text("SELECT current_user")) == APP
        connection.commit()
        assert connection.scalar(text("SELECT current_user")) == APP
        connection.rollback()
    with Session(as_admin) as session:
        assert session.scalar(text("SELECT current_user")) == APP
    as_admin.dispose()


@pytest.mark.parametrize("way_in", ["execute", "cursor", "server cursor", "copy", "transaction", "pipeline"])
def test_every_way_to_a_statement_acts_for_the_user(database: Database, ann: UUID, way_in: str) -> None:
    with database.user_connection(ann, searches_first=True) as connection:
        raw = postponing_connection(connection)
        if way_in == "execute":
            rows = raw.execute("SELECT id::text FROM carmenta.users").fetchall()
        elif way_in == "cursor":
            rows = raw.cursor().execute("SELECT id::text FROM carmenta.users").fetchall()
        elif way_in == "server cursor":
            with raw.cursor("named") as cursor:
                rows = cursor.execute("SELECT id::text FROM carmenta.users").fetchall()
        elif way_in == "copy":
            with raw.cursor().copy("COPY (SELECT id::text FROM carmenta.users) TO STDOUT") as copy:
                rows = list(copy.rows())
        elif way_in == "transaction":
            with raw.transaction():
                rows = raw.execute("SELECT id::text FROM carmenta.users").fetchall()
        else:
            with raw.pipeline():
                rows = raw.execute("SELECT id::text FROM carmenta.users").fetchall()
        assert rows == [(str(ann),)]


def test_a_session_closed_within_its_block_leaves_nobody_to_the_next_borrower(database: Database, ann: UUID) -> None:
    with database.user_connection(ann, searches_first=True) as connection:
        raw = postponing_connection(connection)
        connection.close()
        pooled = database.app.raw_connection()
        assert pooled.driver_connection is raw
        assert raw.execute(str(WHO)).fetchall() == [("",)]
        pooled.close()
        with database.app_session() as session:
            assert postponing_connection(session.connection()) is raw
            assert session.scalar(WHO) == ""
            assert session.scalars(select(users.c.id)).all() == []


def test_a_statement_alone_is_a_transaction_of_its_own_that_acts_for_the_user(database: Database, ann: UUID) -> None:
    with database.user_connection(ann, searches_first=True) as connection:
        raw = postponing_connection(connection)
        assert raw.untouched
        first, rows = raw.alone(["set_config('work_mem', '8MB', true)"], b"SELECT id FROM carmenta.users", {})
        assert (first, rows) == (("8MB",), [(ann,)])
        assert raw.info.transaction_status.name == "IDLE"
        assert not raw.untouched
        assert connection.scalar(text("SELECT current_setting('work_mem')")) != "8MB"
        assert connection.scalars(select(users.c.id)).all() == [ann]
    with database.user_connection(ann, searches_first=True) as connection:
        raw = postponing_connection(connection)
        with pytest.raises(psycopg.Error, match="division by zero"):
            raw.alone([], b"SELECT 1/0", {})
        assert connection.scalars(select(users.c.id)).all() == [ann]


def test_a_transaction_that_sees_one_moment_is_never_cut_up(database: Database, ann: UUID, logins: Logins) -> None:
    strict = replace(database, app=engine(logins.app, APP, isolation_level="REPEATABLE READ"))
    with strict.user_connection(ann, searches_first=True) as connection:
        assert not postponing_connection(connection).untouched
    strict.app.dispose()
    try:
        _default_isolation(
            logins, f"ALTER DATABASE \"{database.name}\" SET default_transaction_isolation = 'serializable'"
        )
        by_default = replace(database, app=engine(logins.app, APP))
        with by_default.user_connection(ann, searches_first=True) as connection:
            assert not postponing_connection(connection).untouched
            assert connection.scalars(select(users.c.id)).all() == [ann]
        by_default.app.dispose()
    finally:
        _default_isolation(logins, f'ALTER DATABASE "{database.name}" RESET default_transaction_isolation')


def _default_isolation(logins: Logins, statement: str) -> None:
    with connect(logins.admin) as admin:
        admin.execute(statement.encode())


def test_what_is_pending_is_written_at_the_end_and_at_a_commit_on_the_way(database: Database, ann: UUID) -> None:
    with database.user_session(ann) as session:
        session.execute(RENAME, {"name": "first"})
        session.commit()
        assert session.scalar(WHO) == str(ann)
        session.execute(RENAME, {"name": "second"})
    with pytest.raises(DBAPIError, match="division by zero"):
        _rename_and_fail(database, ann)
    with database.user_session(ann) as session:
        assert session.scalars(select(users.c.name)).all() == ["second"]
        session.execute(RENAME, {"name": "fourth"})
        session.rollback()
    with database.owner_session() as owner:
        assert owner.scalar(select(users.c.name).where(users.c.id == ann)) == "second"


def _rename_and_fail(database: Database, user: UUID) -> None:
    with database.user_session(user) as session:
        session.execute(RENAME, {"name": "third"})
        session.commit()  # the block is one transaction
        session.execute(text("SELECT 1/0"))


def test_what_is_late_waits_for_a_failed_transaction_to_be_rolled_back(database: Database, ann: UUID) -> None:
    memory = text("SELECT current_setting('work_mem')")
    with database.user_connection(ann) as connection:
        usual = connection.scalar(memory)
        raw = postponing_connection(connection)
        raw.execute("SAVEPOINT before")
        raw.plain_cursor().execute("SET LOCAL work_mem = '9MB'")
        raw.postponed = [(f"set_config('work_mem', '{usual}', true)", ())]
        with pytest.raises(psycopg.Error, match="division by zero"):
            raw.plain_cursor().execute("SELECT 1/0")
        raw.execute("ROLLBACK TO before")
        assert raw.postponed
        assert connection.scalar(memory) == usual
        assert not raw.postponed


class Acting(NamedTuple):
    person: str
    role: str


class Known(NamedTuple):
    id: UUID


ACTING = Rows(Acting, "SELECT current_setting('carmenta.user_id') AS person, current_user::text AS role")
KNOWN = Rows(Known, "SELECT id FROM carmenta.users WHERE id >= %(least)s")
BROKEN = Rows(Known, "SELECT id FROM carmenta.users WHERE id = %(least)s AND 1 / (least(1, 2) - 1) = 1")


def test_two_statements_go_together_with_what_a_transaction_begins_with(database: Database, ann: UUID) -> None:
    with database.user_session(ann, searches_first=True) as session, driver(session).hearing() as heard:
        assert both(session, {"least": UUID(int=0)}, ACTING, KNOWN) == ([Acting(str(ann), APP)], [Known(ann)])
    assert [text for text, _ in heard][1:] == [ACTING.text, KNOWN.text]
    assert "set_config" in heard[0][0]


@pytest.mark.parametrize("pair", [(BROKEN, KNOWN), (KNOWN, BROKEN)])
def test_of_two_statements_the_one_that_fails_is_told(
    database: Database, ann: UUID, pair: tuple[Rows[Known], Rows[Known]]
) -> None:
    with database.user_session(ann) as session:
        with pytest.raises(DBAPIError, match="division by zero"), session.begin_nested():
            both(session, {"least": ann}, *pair)
        assert both(session, {"least": ann}, KNOWN, KNOWN) == ([Known(ann)], [Known(ann)])


def test_whoever_listens_hears_what_is_executed_and_nobody_else_does(database: Database, ann: UUID) -> None:
    with database.user_session(ann) as session:
        raw = driver(session)
        with raw.hearing() as heard:
            session.execute(WHO)
            raw.execute(b"SELECT %s::int", (1,))
        session.execute(WHO)
    assert [(text, given) for text, given in heard][-1] == ("SELECT %s::int", (1,))
    assert len(heard) == 2
