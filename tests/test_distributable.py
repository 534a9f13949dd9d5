"""Could these tables be distributed by user? Read off the catalogue: what a distributed PostgreSQL would refuse."""

from typing import Any

import pytest
from factory import rows
from planting import NOBODYS

from carmenta_lab.postgres import Database
from carmenta_lab.scale.filling import crowd_id, fill_crowd

SCHEMAS = "('carmenta'::regnamespace, 'search'::regnamespace)"

REFUSES, PLACES, NOTES = "refuses", "sets its own new row's position", "notes one row of the same user"
TRIGGERS = {
    "carmenta.refuse_superseding_cycle": REFUSES,
    "carmenta.next_position": PLACES,
    "search.note_row": NOTES,
    "search.note_user": NOTES,
}
"""Function of a trigger -> which of the three permitted things it does; each is local to its user, and none keeps an
index or another table."""


@pytest.fixture(scope="module")
def shared(shared: Database) -> Database:
    """A migrated database with rows of fifty users, which these tests only read."""
    fill_crowd(shared, 20_000)
    return shared


def _owned(database: Database) -> dict[str, str]:
    """Table of users' rows -> the column that says whose they are."""
    found = rows(
        database,
        "SELECT c.oid::regclass::text, a.attname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "AND a.attname = CASE c.relname WHEN 'users' THEN 'id' ELSE 'user_id' END "
        f"WHERE c.relnamespace IN {SCHEMAS} AND c.relkind IN ('r', 'p') AND NOT c.relispartition",
    )
    return {table: column for table, column in found if table.partition(".")[2] not in NOBODYS}


def test_every_table_is_of_users_or_of_nobody(shared: Database) -> None:
    tables = rows(
        shared,
        f"SELECT oid::regclass::text FROM pg_class WHERE relnamespace IN {SCHEMAS} AND relkind IN ('r', 'p') "
        "AND NOT relispartition AND relname <> 'alembic_version'",
    )
    assert {table.partition(".")[2] for table in set(tables) - _owned(shared).keys()} == NOBODYS
    assert len(_owned(shared)) >= 35


def test_no_policy_asks_a_subquery(shared: Database) -> None:
    policies = rows(
        shared,
        "SELECT polrelid::regclass::text || ' ' || polname, concat(pg_get_expr(polqual, polrelid), "
        "pg_get_expr(polwithcheck, polrelid)) FROM pg_policy p JOIN pg_class c ON c.oid = polrelid "
        f"WHERE c.relnamespace IN {SCHEMAS}",
    )
    assert len(policies) >= 2 * len(_owned(shared))
    assert [name for name, says in policies if "select" in says.lower()] == []


def test_the_user_is_in_every_unique_key(shared: Database) -> None:
    keys = rows(
        shared,
        "SELECT i.indrelid::regclass::text, c.relname::text, array_agg(a.attname::text) FROM pg_index i "
        "JOIN pg_class c ON c.oid = i.indexrelid "
        "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) "
        f"WHERE i.indisunique AND c.relnamespace IN {SCHEMAS} AND NOT c.relispartition GROUP BY 1, 2",
    )
    owned = _owned(shared)
    assert {name for table, name, columns in keys if table in owned and owned[table] not in columns} == set()


def test_no_reference_sets_anything_when_its_row_goes(shared: Database) -> None:
    keys = rows(
        shared,
        "SELECT conname::text, confdeltype::text, confupdtype::text FROM pg_constraint "
        f"WHERE contype = 'f' AND connamespace IN {SCHEMAS}",
    )
    assert len(keys) >= 50
    assert [name for name, on_delete, on_update in keys if on_delete not in "ac" or on_update not in "ar"] == []


def test_every_reference_between_rows_of_users_carries_the_user_on_both_sides(shared: Database) -> None:
    keys = rows(
        shared,
        "SELECT c.conname::text, c.conrelid::regclass::text, c.confrelid::regclass::text, "
        "(SELECT array_agg(a.attname::text || '=' || b.attname) FROM unnest(c.conkey, c.confkey) AS k(own, other) "
        "JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.own "
        "JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.other) "
        f"FROM pg_constraint c WHERE c.contype = 'f' AND c.connamespace IN {SCHEMAS} AND c.conparentid = 0",
    )
    owned = _owned(shared)
    between = [key for key in keys if key[1] in owned and key[2] in owned]
    assert [key for key in between if f"{owned[key[1]]}={owned[key[2]]}" not in key[3]] == []
    assert [key for key in keys if key[1] not in owned] == []  # what is nobody's refers to nothing
    assert {key[2] for key in keys if key[2] not in owned} <= {"carmenta.sign_ins"}


def test_triggers_refuse_place_or_note_and_nothing_else(shared: Database) -> None:
    functions = rows(
        shared,
        "SELECT DISTINCT n.nspname || '.' || p.proname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid "
        "JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_class c ON c.oid = t.tgrelid "
        f"WHERE NOT t.tgisinternal AND c.relnamespace IN {SCHEMAS}",
    )
    assert set(functions) - TRIGGERS.keys() == set()
    assert {"carmenta.refuse_superseding_cycle", "carmenta.next_position"} <= set(functions)


ME = crowd_id(1)
READ = {
    "every row looked at": ("carmenta.messages", "", "enable_indexscan", "enable_bitmapscan"),
    "by an index": ("carmenta.messages", "AND id = %(id)s", "enable_seqscan", "enable_bitmapscan"),
    "by a bitmap": ("carmenta.messages", "AND role = 'user'", "enable_seqscan", "enable_indexscan"),
    "in every partition": ("carmenta.events", "", "enable_indexscan", "enable_bitmapscan"),
}


@pytest.mark.parametrize(("table", "more", "off", "off_too"), READ.values(), ids=READ)
def test_a_statement_that_names_its_user_has_the_policy_checked_once_and_not_by_the_row(
    shared: Database, table: str, more: str, off: str, off_too: str
) -> None:
    with shared.user_session(ME) as session:
        connection = session.connection()
        for setting in (off, off_too):
            connection.exec_driver_sql(f"SET LOCAL {setting} = off")
        statement = f"EXPLAIN (FORMAT JSON) SELECT * FROM {table} WHERE user_id = %(user)s {more}"
        explained = connection.exec_driver_sql(statement, {"user": ME, "id": crowd_id(50)}).scalar_one()
    once, by_the_row = _checks(explained[0]["Plan"])
    assert (once, by_the_row) == (True, []), explained


def test_a_statement_that_does_not_name_its_user_pays_by_the_row(shared: Database) -> None:
    """A test of the test, and why every statement names its user."""
    with shared.user_session(ME) as session:
        connection = session.connection()
        for setting in ("enable_indexscan", "enable_bitmapscan"):
            connection.exec_driver_sql(f"SET LOCAL {setting} = off")
        explained = connection.exec_driver_sql("EXPLAIN (FORMAT JSON) SELECT * FROM carmenta.messages").scalar_one()
    once, by_the_row = _checks(explained[0]["Plan"])
    assert (once, len(by_the_row)) == (False, 1)


def _checks(plan: dict[str, Any]) -> tuple[bool, list[str]]:
    """Whether the policy is checked once, and the filters that check it by the row."""
    asks = "current_setting"
    once = asks in plan.get("One-Time Filter", "")
    by_the_row = [plan["Filter"]] if asks in plan.get("Filter", "") else []
    for inner in plan.get("Plans", ()):
        found, filters = _checks(inner)
        once, by_the_row = once or found, by_the_row + filters
    return once, by_the_row
