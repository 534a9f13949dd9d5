"""What one user does never changes, shows or counts a row of another; and each hole made on purpose is found."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planting import Planted, plant
from sqlalchemy import Connection, exc, text

from carmenta_lab.indexing.vectors import register
from carmenta_lab.postgres import Database

pytestmark = pytest.mark.everywhere

ENTER = text("SELECT set_config('role', 'carmenta_app', true), set_config('carmenta.user_id', :user, true)")
VISIBLE = "relkind IN ('r', 'p', 'v', 'm') AND has_table_privilege('carmenta_app', c.oid, 'SELECT')"


@dataclass(frozen=True)
class Pair:
    """A database in which two users have rows in every table."""

    database: Database
    ann: UUID
    bob: UUID
    anns: Planted
    bobs: Planted

    def owned(self) -> list[tuple[str, str]]:
        """From the catalogue: each table and view of a user's rows, and the column that names the user."""
        return self._relations("true")

    def tables(self) -> list[tuple[str, str]]:
        """Those that hold rows themselves."""
        return self._relations("c.relkind IN ('r', 'p')")

    def _relations(self, which: str) -> list[tuple[str, str]]:
        with self.database.owner_session() as session:
            rows = session.execute(
                text(
                    "SELECT c.oid::regclass::text, a.attname::text FROM pg_class c JOIN pg_attribute a "
                    "ON a.attrelid = c.oid AND a.attname = CASE c.relname WHEN 'users' THEN 'id' ELSE 'user_id' END "
                    "WHERE c.relnamespace IN ('carmenta'::regnamespace, 'search'::regnamespace) "
                    "AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition AND c.relname <> 'sign_ins' "
                    f"AND {which} ORDER BY 1"
                )
            )
            return [(name, column) for name, column in rows]

    def hashes(self, user: UUID) -> dict[str, str]:
        """Table -> a hash of all its rows of one user, as the owner sees them."""
        with self.database.owner_session() as session:
            return {
                name: str(
                    session.scalar(
                        text(
                            "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '') "
                            f"FROM {name} t WHERE {column} = :user"
                        ),
                        {"user": user},
                    )
                )
                for name, column in self.tables()
            }


def _pair(database: Database) -> Pair:
    vectors = register(database.owner, "tiny", 3)
    ann, bob = uuid4(), uuid4()
    with database.owner_session() as session:
        anns, bobs = plant(session, ann, "ann", vectors), plant(session, bob, "bob", vectors)
    return Pair(database, ann, bob, anns, bobs)


@pytest.fixture(scope="module")
def pair(shared: Database) -> Pair:
    """Shared: what a probe does is rolled back."""
    return _pair(shared)


@pytest.fixture
def own_pair(database: Database) -> Pair:
    """A database of the test's own, in which it may make holes."""
    return _pair(database)


def _attempt(
    connection: Connection, statement: str, values: dict[str, Any], keep: bool = False
) -> tuple[list[Any], int, str]:
    """Rows, affected rows and SQLSTATE of a statement, in a savepoint of its own that is kept or undone."""
    savepoint = connection.begin_nested()
    try:
        result = connection.execute(text(statement), values)
        rows = list(result) if result.returns_rows else []
        found = rows, (len(rows) if result.returns_rows else result.rowcount), ""
        (savepoint.commit if keep else savepoint.rollback)()
    except exc.DBAPIError as error:
        savepoint.rollback()
        return [], 0, error.orig.sqlstate or "?"  # type: ignore[union-attr]
    return found


def leaks(pair: Pair) -> list[str]:
    """Every probe of every table that shows, changes or attaches to a row of another user; empty when all is well."""
    found: list[str] = []
    mine, theirs = {"user": str(pair.ann)}, {"them": pair.bob, "me": pair.ann}
    tables = dict(pair.tables())
    with pair.database.app.connect() as connection, connection.begin() as outer:
        connection.execute(ENTER, mine)
        for name, column in pair.owned():
            rows, _, _ = _attempt(connection, f"SELECT {column} FROM {name}", {})
            if any(row[0] != pair.ann for row in rows):
                found.append(f"read {name}")
            if not rows:
                found.append(f"blind {name}")
            if name not in tables:
                continue
            for verb, statement in (
                ("update", f"UPDATE {name} SET {column} = {column} WHERE {column} = :them"),
                ("delete", f"DELETE FROM {name} WHERE {column} = :them"),
                ("give away", f"UPDATE {name} SET {column} = :them WHERE {column} = :me"),
            ):
                _, count, _ = _attempt(connection, statement, theirs)
                if count:
                    found.append(f"{verb} {name}")
            found += [f"insert {name}"] * _inserts_for(connection, name, column, pair)
        outer.rollback()
    with pair.database.app.connect() as connection, connection.begin() as outer:
        for name, column in pair.owned():  # nobody at all
            rows, _, state = _attempt(connection, f"SELECT {column} FROM {name}", {})
            if rows or state:
                found.append(f"anonymous {name}")
        outer.rollback()
    return found + _references(pair)


def _inserts_for(connection: Connection, name: str, column: str, pair: Pair) -> bool:
    """Whether a copy of an own row can be written in another's name, whatever its other columns say."""
    columns = [
        row[0]
        for row in connection.execute(
            text(
                "SELECT attname FROM pg_attribute WHERE attrelid = CAST(:name AS regclass) AND attnum > 0 "
                "AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"
            ),
            {"name": name},
        )
    ]
    values = ", ".join(":them" if c == column else f'"{c}"' for c in columns)
    names = ", ".join(f'"{c}"' for c in columns)
    statement = f"INSERT INTO {name} ({names}) SELECT {values} FROM {name} WHERE {column} = :me LIMIT 1"
    _, _, state = _attempt(connection, statement, {"them": pair.bob, "me": pair.ann})
    return state != "42501"  # refused by the policy, before any key is looked at


def _references(pair: Pair) -> list[str]:
    """Every foreign key through which an own row can be attached to another's."""
    found = []
    with pair.database.owner_session() as session:
        keys = session.execute(
            text(
                "SELECT c.conname::text AS key, c.conrelid::regclass::text AS child, "
                "c.confrelid::regclass::text AS parent, a.attname::text AS column, p.attname::text AS target "
                "FROM pg_constraint c JOIN LATERAL unnest(c.conkey, c.confkey) AS k(own, other) ON true "
                "JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.own "
                "JOIN pg_attribute p ON p.attrelid = c.confrelid AND p.attnum = k.other "
                "WHERE c.contype = 'f' AND c.connamespace IN ('carmenta'::regnamespace, 'search'::regnamespace) "
                "AND p.attname = 'id' AND c.confrelid <> 'carmenta.users'::regclass ORDER BY 1, 4"
            )
        ).all()
        assert len(keys) >= 30
    with pair.database.app.connect() as connection, connection.begin() as outer:
        connection.execute(ENTER, {"user": str(pair.ann)})
        for key in keys:
            other = pair.bobs[key.parent.partition(".")[2]][0]["id"]
            statement = (
                f'UPDATE {key.child} SET "{key.column}" = :other WHERE user_id = :me AND "{key.column}" IS NOT NULL'
            )
            _, count, state = _attempt(connection, statement, {"other": other, "me": pair.ann})
            if count:
                found.append(f"attach {key.child}.{key.column}")
            elif state not in ("23503", "42501"):  # neither the key nor a missing privilege refused it
                found.append(f"untested {key.child}.{key.column}: {state or 'no row'}")
        outer.rollback()
    return found


def test_no_probe_of_any_table_gets_through(pair: Pair) -> None:
    assert len(pair.tables()) >= 31
    assert leaks(pair) == []


def test_nothing_the_application_may_read_lacks_a_policy_or_its_users_rights(pair: Pair) -> None:
    """Partitions and materialised views included: a policy on the parent does not bind them."""
    with pair.database.owner_session() as session:
        open_ones = session.scalars(
            text(
                f"SELECT c.oid::regclass::text FROM pg_class c WHERE {VISIBLE} "
                "AND c.relnamespace IN ('carmenta'::regnamespace, 'search'::regnamespace) AND NOT CASE c.relkind "
                "WHEN 'v' THEN coalesce('security_invoker=true' = ANY (c.reloptions), false) WHEN 'm' THEN false "
                "ELSE c.relrowsecurity AND c.relforcerowsecurity END ORDER BY 1"
            )
        ).all()
    assert open_ones == ["search.embedding_models"]


def test_a_key_that_another_has_tells_nothing(pair: Pair) -> None:
    """Every unique key begins with the user, so that nobody learns by a conflict what others have."""
    with pair.database.owner_session() as session:
        global_keys = session.scalars(
            text(
                "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid "
                "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] "
                "WHERE i.indisunique AND c.relnamespace IN ('carmenta'::regnamespace, 'search'::regnamespace) "
                "AND a.attname <> 'user_id' "
                "AND c.relname NOT IN ('alembic_version', 'embedding_models', 'sign_ins') ORDER BY 1"
            )
        ).all()
    assert global_keys == ["carmenta.pk_users"]


def test_nobodys_table_and_the_partitions_are_closed_to_the_application(own_pair: Pair) -> None:
    """Whose account it is, functions say; and a policy on a parent does not bind who may read a partition itself."""
    with own_pair.database.owner_session() as session:
        session.execute(text("SELECT * FROM carmenta.make_event_partitions(1)"))
        partitions = session.scalars(
            text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'carmenta.events'::regclass")
        ).all()
        moved = session.scalar(text("SELECT count(*) FROM carmenta.events_2026_03"))
    assert len(partitions) == 4
    assert moved == 2
    with own_pair.database.app.connect() as connection, connection.begin() as outer:
        connection.execute(ENTER, {"user": str(own_pair.ann)})
        for name in ("carmenta.sign_ins", *partitions):
            for statement in (f"SELECT FROM {name}", f"DELETE FROM {name}", f"INSERT INTO {name} SELECT * FROM {name}"):
                assert _attempt(connection, statement, {})[2] == "42501", statement
        outer.rollback()


MUTATIONS: dict[str, tuple[str, Callable[[list[str]], bool]]] = {
    "row security switched off": (
        "ALTER TABLE carmenta.votes DISABLE ROW LEVEL SECURITY",
        lambda found: {"read carmenta.votes", "update carmenta.votes", "insert carmenta.votes"} <= set(found),
    ),
    "a policy that shows everything": (
        "DROP POLICY app_own_rows ON carmenta.memories; CREATE POLICY app_own_rows ON carmenta.memories "
        "TO carmenta_app USING (true) WITH CHECK (user_id = carmenta.current_user_id())",
        lambda found: {"read carmenta.memories", "read carmenta.memory_tiers"} <= set(found),
    ),
    "a policy without a check": (
        "DROP POLICY app_own_rows ON carmenta.folders; CREATE POLICY app_own_rows ON carmenta.folders "
        "TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (true)",
        lambda found: "insert carmenta.folders" in found,
    ),
    "an additional policy for everybody": (
        "CREATE POLICY helpful ON carmenta.settings USING (true)",
        lambda found: "read carmenta.settings" in found,
    ),
    "a foreign key without the user": (
        "ALTER TABLE carmenta.tags ADD CONSTRAINT alone UNIQUE (id); "
        "ALTER TABLE carmenta.conversation_tags DROP CONSTRAINT fk_conversation_tags_user_id_tag_id; "
        "ALTER TABLE carmenta.conversation_tags ADD FOREIGN KEY (tag_id) REFERENCES carmenta.tags (id)",
        lambda found: "attach carmenta.conversation_tags.tag_id" in found,
    ),
    "a view with its owner's rights": (
        "ALTER VIEW carmenta.artifact_relations SET (security_invoker = false)",
        lambda found: "read carmenta.artifact_relations" in found,
    ),
    "a policy that opens when nobody is named": (
        "DROP POLICY app_own_rows ON carmenta.events; CREATE POLICY app_own_rows ON carmenta.events TO carmenta_app "
        "USING (user_id = carmenta.current_user_id() OR carmenta.current_user_id() IS NULL)",
        lambda found: "anonymous carmenta.events" in found,
    ),
    "a policy that hides everything": (
        "DROP POLICY app_own_rows ON carmenta.streams",
        lambda found: "blind carmenta.streams" in found,
    ),
}


@pytest.mark.parametrize(("hole", "seen"), MUTATIONS.values(), ids=MUTATIONS)
def test_a_hole_made_on_purpose_is_found(own_pair: Pair, hole: str, seen: Callable[[list[str]], bool]) -> None:
    with own_pair.database.owner.begin() as connection:
        for statement in hole.split(";"):
            connection.exec_driver_sql(statement)
    found = leaks(own_pair)
    assert seen(found), found


VERBS = ("select", "update", "delete", "insert", "give", "attach", "join")
OPERATION = st.tuples(st.sampled_from(VERBS), st.integers(0, 10_000), st.integers(0, 10_000), st.booleans())
"""Verb, which table, which column, and whether it names the other user or relies on the policy."""


def _shuffled(pair: Pair) -> dict[str, list[str]]:
    with pair.database.owner_session() as session:
        rows = session.execute(
            text(
                "SELECT c.oid::regclass::text, a.attname::text FROM pg_class c JOIN pg_attribute a "
                "ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' "
                "WHERE c.relnamespace IN ('carmenta'::regnamespace, 'search'::regnamespace) "
                "AND c.relkind IN ('r', 'p') ORDER BY 1, a.attnum"
            )
        )
        columns: dict[str, list[str]] = {}
        for name, column in rows:
            columns.setdefault(name, []).append(column)
    return columns


def _statement(
    operation: tuple[str, int, int, bool], owned: list[tuple[str, str]], columns: dict[str, list[str]]
) -> str:
    verb, table, column, names_them = operation
    name, user = owned[table % len(owned)]
    second, other_user = owned[column % len(owned)]
    its = columns[name][column % len(columns[name])]
    which = f"{user} = :them" if names_them else "true"
    return {
        "select": f"SELECT {user} FROM {name} WHERE {which}",
        "update": f'UPDATE {name} SET "{its}" = "{its}" WHERE {which} RETURNING {user}',
        "delete": f"DELETE FROM {name} WHERE {which} RETURNING {user}",
        "insert": f"INSERT INTO {name} ({', '.join(columns[name])}) SELECT {', '.join(':them' if c == user else c for c in columns[name])} FROM {name} RETURNING {user}",  # noqa: E501
        "give": f"UPDATE {name} SET {user} = :them RETURNING {user}",
        "attach": f'UPDATE {name} SET "{its}" = (SELECT CAST(:their AS uuid)) RETURNING {user}',
        "join": f"SELECT a.{user} FROM {name} a JOIN {second} b ON b.{other_user} <> a.{user}",
    }[verb]


def test_whatever_one_user_does_the_rows_of_another_neither_show_nor_change(pair: Pair) -> None:
    owned, columns = pair.tables(), _shuffled(pair)
    theirs = [row["id"] for rows in pair.bobs.values() for row in rows if "id" in row]
    ran = {"operations": 0, "refused": 0, "changed": 0}

    @settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(operations=st.lists(OPERATION, min_size=20, max_size=25))
    def neither_shows_nor_changes(operations: list[tuple[str, int, int, bool]]) -> None:
        with pair.database.owner.connect() as connection, connection.begin() as outer:
            before = _bobs_rows(connection, pair, owned)
            connection.execute(ENTER, {"user": str(pair.ann)})
            for operation in operations:
                values = {"them": pair.bob, "their": theirs[operation[2] % len(theirs)]}
                rows, count, state = _attempt(connection, _statement(operation, owned, columns), values, keep=True)
                assert all(row[0] == pair.ann for row in rows), operation
                ran["operations"] += 1
                ran["refused"] += bool(state)
                ran["changed"] += bool(count and operation[0] != "select")
            connection.execute(text("SELECT set_config('role', 'carmenta_owner', true)"))
            assert _bobs_rows(connection, pair, owned) == before
            outer.rollback()

    neither_shows_nor_changes()
    assert ran["operations"] >= 2_000  # many, and of every outcome: operations that all fail would prove nothing
    assert ran["refused"] > 100
    assert ran["changed"] > 100
    assert ran["operations"] - ran["refused"] > 500


def _bobs_rows(connection: Connection, pair: Pair, owned: list[tuple[str, str]]) -> list[Any]:
    each = " UNION ALL ".join(
        f"SELECT '{name}', count(*), md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM {name} t WHERE {column} = :bob"
        for name, column in owned
    )
    return sorted(tuple(row) for row in connection.execute(text(each), {"bob": pair.bob}))
