"""The way to a database: URLs, roles, migrations, and the session of one user."""

import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from factory import add_conversation, add_memory, add_passage, add_user
from planting import plant
from psycopg.errors import DuplicateObject
from pydantic import SecretStr
from sqlalchemy import insert, select, text

from carmenta_lab.erasure import forget_user
from carmenta_lab.errors import DatabaseUnavailable, DatabaseUnsuitable, UsageError
from carmenta_lab.indexing.vectors import register
from carmenta_lab.postgres import Database, as_user, migrate, open_migrated
from carmenta_lab.postgres.hosts import parse
from carmenta_lab.postgres.lab import Logins, logins_by_url
from carmenta_lab.postgres.lab import revisions as revisions_of
from carmenta_lab.postgres.migrate import BRANCHES, current, heads, offline_sql, plan, revisions
from carmenta_lab.postgres.roles import connect, set_up
from carmenta_lab.schema import metadata
from carmenta_lab.schema.product.identity import users
from carmenta_lab.schema.search.passages import embedding_table
from carmenta_lab.schema.vector import HalfVec
from carmenta_lab.settings import Settings

pytestmark = pytest.mark.everywhere

CATALOGUE = Path(__file__).parent / "catalogue.sql"


@pytest.mark.parametrize(
    ("url", "pooled"),
    [
        ("postgres://u:p@localhost:5432/db", False),
        ("postgresql://u:p@localhost/db?sslmode=disable", False),
        ("postgresql+psycopg://u:p@localhost/db", False),
        ("psql 'postgresql://u:p@localhost/db'", False),
        ("postgresql://u:p@localhost:6543/db", True),
        ("postgresql://u:p@localhost:6432/db", True),
        ("postgresql://u:p@localhost/db?pgbouncer=true&schema=public&pool_timeout=3", True),
        ("postgresql://u:p@ep-cool-pooler.eu.neon.tech/db?sslmode=require", True),
        ("postgresql://postgres.ref:p@aws-0-eu.pooler.supabase.com:5432/postgres", False),
        ("postgresql://postgres.ref:p@aws-0-eu.pooler.supabase.com:6543/postgres", True),
    ],
)
def test_a_url_is_read_as_people_paste_it(url: str, pooled: bool) -> None:
    host = parse(url)
    assert host.url.drivername == "postgresql+psycopg"
    assert not {"pgbouncer", "schema", "pool_timeout"} & set(host.url.query)
    assert host.pooled is pooled
    assert host.connect_args() == ({"prepare_threshold": None} if pooled else {})
    assert ":p@" not in host.shown()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u@h/db", "expected a URL like postgresql://"),
        ("postgresql://u:[YOUR-PASSWORD]@h/db", "placeholder"),
        ("postgresql://u:p@ss@h/db", "%40"),
        ("postgresql://u:p@h", "names no database"),
        ("postgresql://u:p@h:port/db", "not a URL"),
    ],
)
def test_a_wrong_url_gets_one_sentence(url: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        parse(url)
    assert "CARMENTA_DATABASE_URL" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_pooler_without_a_direct_url_is_refused() -> None:
    with pytest.raises(DatabaseUnsuitable, match="CARMENTA_DIRECT_URL"):
        logins_by_url(Settings(database_url=SecretStr("postgresql://u:p@h:6543/db")))


def test_the_pool_mode_can_be_forced() -> None:
    assert parse("postgresql://u:p@h/db", pool_mode="transaction").pooled
    assert not parse("postgresql://u:p@h:6543/db", pool_mode="session").pooled


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"password": "wrong"}, "user or the password is wrong"),
        ({"database": "nowhere"}, "does not exist"),
        ({"host": "127.0.0.1", "port": 1, "query": {}}, "nothing listens there"),
    ],
)
def test_no_connection_says_why_in_a_sentence(logins: Logins, change: dict[str, object], says: str) -> None:
    host = replace(logins.owner, url=logins.owner.url.set(**change))  # type: ignore[arg-type]
    with pytest.raises(DatabaseUnavailable, match=says) as caught:
        connect(host)
    assert "wrong@" not in str(caught.value)


def test_the_application_sees_nothing_before_it_acts_for_somebody(database: Database) -> None:
    with database.owner_session() as session:
        add_user(session)
    with database.app_session() as session:
        assert session.scalar(text("SELECT count(*) FROM carmenta.users")) == 0


def test_a_user_sees_only_own_rows_and_only_within_the_block(database: Database) -> None:
    with database.owner_session() as session:
        ann, bob = add_user(session, name="Ann"), add_user(session, name="Bob")
    with database.app_session() as session:
        with as_user(session, ann):
            assert session.scalars(select(users.c.name)).all() == ["Ann"]
            with as_user(session, bob):
                assert session.scalars(select(users.c.name)).all() == ["Bob"]
            assert session.scalars(select(users.c.name)).all() == ["Ann"]
        assert session.scalars(select(users.c.name)).all() == []


def test_a_user_session_acts_for_one_user_and_leaves_nothing_on_the_connection(database: Database) -> None:
    with database.owner_session() as session:
        ann, _ = add_user(session), add_user(session)
    with database.user_session(ann) as session:
        assert session.scalars(select(users.c.id)).all() == [ann]
        backend = session.scalar(text("SELECT pg_backend_pid()"))
        with as_user(session, uuid4()):
            assert session.scalars(select(users.c.id)).all() == []
        assert session.scalars(select(users.c.id)).all() == [ann]
    with database.app_session() as session:
        assert session.scalar(text("SELECT pg_backend_pid()")) == backend
        assert session.scalars(select(users.c.id)).all() == []


@pytest.mark.parametrize("asks", [False, True])
def test_connections_that_the_server_has_closed_are_replaced(
    database: Database, logins: Logins, monkeypatch: pytest.MonkeyPatch, asks: bool
) -> None:
    if asks:
        monkeypatch.setattr("carmenta_lab.postgres.connect.ASK_AFTER_SECONDS", 0.0)
    for _ in range(2):
        with database.user_session(uuid4()) as one, database.user_session(uuid4()) as other:
            before = {session.scalar(text("SELECT pg_backend_pid()")) for session in (one, other)}
    assert len(before) == 2
    with connect(logins.admin) as admin:
        for backend in before:
            assert admin.execute("SELECT pg_terminate_backend(%s, 5000)", (backend,)).fetchone() == (True,)
    with database.user_session(uuid4()) as one, database.user_session(uuid4()) as other:
        after = {session.scalar(text("SELECT pg_backend_pid()")) for session in (one, other)}
    assert len(after) == 2
    assert not after & before


def test_the_owner_acting_for_a_user_is_bound_as_well(database: Database) -> None:
    with database.owner_session() as session:
        ann, _ = add_user(session, name="Ann"), add_user(session, name="Bob")
        with as_user(session, ann):
            assert session.scalar(text("SELECT current_user")) == "carmenta_app"
            assert session.scalars(select(users.c.name)).all() == ["Ann"]
        assert session.scalar(text("SELECT current_user")) == "carmenta_owner"
        assert len(session.scalars(select(users.c.name)).all()) == 2


def test_nobody_writes_rows_of_another(database: Database) -> None:
    with database.owner_session() as session:
        ann, bob = add_user(session, name="Ann"), add_user(session, name="Bob")
    with pytest.raises(Exception, match="row-level security"), database.app_session() as session, as_user(session, ann):
        add_conversation(session, bob)


def test_every_table_of_users_is_isolated(database: Database) -> None:
    with database.owner_session() as session:
        rows = session.execute(
            text(
                "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS forced, "
                "(SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies "
                "FROM pg_class c WHERE c.relnamespace IN ('carmenta'::regnamespace, 'search'::regnamespace) "
                "AND c.relkind = 'r'"
            )
        ).all()
    open_ones = {row.relname for row in rows if not row.forced or row.policies != 2}
    assert open_ones == {"alembic_version", "embedding_models", "sign_ins", "events_default"}


def test_no_role_of_ours_is_a_superuser_or_bypasses_policies(database: Database) -> None:
    with database.owner_session() as session:
        rows = session.execute(
            text("SELECT rolname FROM pg_roles WHERE rolname LIKE 'carmenta%' AND (rolsuper OR rolbypassrls)")
        )
        assert rows.all() == []


def test_a_vector_travels_in_binary_both_ways(database: Database) -> None:
    import numpy as np

    name = register(database.owner, "tiny", 3)
    table = embedding_table(name, 3)
    with database.owner_session() as session:
        user = add_user(session)
        source = add_memory(session, user)
        passage = add_passage(session, user, "memory", memory_id=source)
        value = np.array([0.6, 0.8, 0.0], np.float32)
        keys = {"user_id": user, "passage_id": passage, "source_id": source, "unit": "memory"}
        session.execute(insert(table).values(**keys, embedding=value))
        found = session.scalar(select(table.c.embedding))
        raw = session.connection().connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        assert raw.execute("SELECT 1").format == psycopg.pq.Format.BINARY
    assert isinstance(table.c.embedding.type, HalfVec)
    assert found is not None
    assert found.dtype == np.float32
    assert np.allclose(found, value, atol=1e-3)


def _catalogue(database: Database) -> list[tuple[object, ...]]:
    with database.owner.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(CATALOGUE.read_text().replace("%", "%%"))]


def test_the_migrated_catalogue_equals_that_of_the_metadata(database: Database) -> None:
    migrated = _catalogue(database)
    assert len(migrated) > 200
    migrate(database.owner, "base")
    with database.owner.begin() as connection:
        for schema in ("search", "lab"):
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
        metadata.create_all(connection)
    created = _catalogue(database)
    assert [row for row in migrated if row not in created] == []
    assert [row for row in created if row not in migrated] == []


def _walk(branch: str) -> list[str]:
    """Targets that take a branch down one revision after another, and up again."""
    every = [*revisions(branch)[::-1], f"{branch}@base"]
    return [*every[1:], *every[-2::-1]]


@pytest.mark.parametrize("branch", BRANCHES)
def test_each_revision_of_a_branch_goes_down_as_it_came_up(database: Database, branch: str) -> None:
    """With rows in every table: what is left after a step down is what the step up found, to the definition."""
    with database.owner_session() as session:
        plant(session, uuid4(), "planted")
    if branch == "product":
        migrate(database.owner, "lab@base")
        migrate(database.owner, "search@base")
    seen = {heads()[branch]: _catalogue(database)}
    for target in _walk(branch):
        migrate(database.owner, target)
        found = _catalogue(database)
        assert found == seen.setdefault(target, found), target
    assert len(seen) == len(revisions(branch)) + 1
    assert len({str(facts) for facts in seen.values()}) == len(seen)  # each revision changes something


def test_migrating_twice_does_nothing_and_base_removes_everything(database: Database) -> None:
    register(database.owner, "some model", 3)
    assert migrate(database.owner) == []
    done = migrate(database.owner, "base")
    assert [(step.branch, step.before, step.after) for step in done] == [
        (branch, heads()[branch], None) for branch in reversed(BRANCHES)
    ]
    with database.owner.connect() as connection:
        left = connection.exec_driver_sql(
            "SELECT nspname, (SELECT count(*) FROM pg_class WHERE relnamespace = n.oid), "
            "(SELECT count(*) FROM pg_proc WHERE pronamespace = n.oid) FROM pg_namespace n "
            "WHERE nspname IN ('carmenta', 'search', 'lab')"
        ).all()
        assert [tuple(row) for row in left] == [("carmenta", 0, 0)]  # it belongs to whoever set the database up
        assert current(connection) == {}


def test_a_branch_goes_down_and_up_and_leaves_the_others_as_they_are(database: Database) -> None:
    user = uuid4()
    with database.owner_session() as session:
        plant(session, user, "planted", register(database.owner, "tiny", 3))
        before = session.scalar(text("SELECT count(*) FROM carmenta.messages"))
    whole = _catalogue(database)
    for branch, gone in (("search", "search"), ("lab", "lab")):
        assert [str(step) for step in migrate(database.owner, f"{branch}@base")] == [f"{branch}: {heads()[branch]} -> base"]  # fmt: skip  # noqa: E501
        assert {str(row[1]).split(".")[0] for row in _catalogue(database)}.isdisjoint({gone})
    with database.owner_session() as session:
        assert session.scalar(text("SELECT count(*) FROM carmenta.messages")) == before
    assert [step.after for step in migrate(database.owner)] == [heads()["search"], heads()["lab"]]
    assert _catalogue(database) == whole


def test_a_branch_that_another_stands_on_does_not_go_down_under_it(database: Database) -> None:
    with pytest.raises(
        UsageError, match="search and lab stand on product, which therefore stays at product_"
    ) as caught:
        migrate(database.owner, "product@base")
    assert len(str(caught.value).splitlines()) == 1
    assert "migrate search@base and lab@base first" in str(caught.value)
    migrate(database.owner, "search@base")
    with pytest.raises(UsageError, match="lab stand"):
        migrate(database.owner, revisions("product")[0])
    with database.owner.connect() as connection:
        assert current(connection) == {branch: heads()[branch] for branch in ("product", "lab")}


def test_a_branch_brings_the_product_up_and_never_down() -> None:
    first, *_ = revisions("product")
    head = heads()
    assert [step[:] for step in plan({}, "search@head")] == [("product", None, head["product"]), ("search", None, head["search"])]  # fmt: skip  # noqa: E501
    assert [step.branch for step in plan({"product": first}, "lab@head")] == ["product", "lab"]
    assert [step.branch for step in plan({**head, "product": first}, "search@base")] == ["search"]
    assert plan(head, "head") == []


@pytest.mark.parametrize("target", ["9999", "0019", "search@0001", "nothing@head", "product_1@head", ""])
def test_an_unknown_revision_is_refused_with_the_known_ones(database: Database, target: str) -> None:
    with pytest.raises(UsageError, match=r"Known: head, base, product@head, .*product_1, .*search_1, .*lab_1"):
        migrate(database.owner, target)


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_database_from_the_future_is_refused(database: Database, logins: Logins, branch: str) -> None:
    with database.owner.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {BRANCHES[branch]}.alembic_version SET version_num = '{branch}_9999'")
    for refused in (lambda: migrate(database.owner), lambda: open_migrated(logins), lambda: revisions_of(logins)):
        with pytest.raises(DatabaseUnsuitable, match=f"at revision {branch}_9999 of {branch}.*update carmenta_lab"):
            refused()


def test_a_database_from_before_the_schema_was_parted_is_refused_with_the_way_out(
    database: Database, logins: Logins
) -> None:
    with database.owner.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA search, lab CASCADE")
        connection.exec_driver_sql("UPDATE carmenta.alembic_version SET version_num = '0019'")
    for refused in (
        lambda: migrate(database.owner, "search@head"),
        lambda: open_migrated(logins),
        lambda: revisions_of(logins),
    ):
        with pytest.raises(DatabaseUnsuitable, match=f"db reset --confirm {database.name}`") as caught:
            refused()
        assert len(str(caught.value).splitlines()) == 1


def test_the_offline_sql_builds_the_same_catalogue(database: Database, logins: Logins) -> None:
    migrated = _catalogue(database)
    migrate(database.owner, "base")
    with connect(logins.owner) as connection:
        connection.execute("SET ROLE carmenta_owner")
        for statement in offline_sql().split(";\n\n"):  # one by one: some stand outside a transaction
            connection.execute(statement.encode())
    assert _catalogue(database) == migrated
    assert migrate(database.owner) == []  # it knows what the SQL did


def test_base_has_no_sql() -> None:
    with pytest.raises(UsageError, match="no SQL to print"):
        offline_sql("search@base")


def test_the_product_alone_needs_ltree_and_leaves_no_trace_of_the_rest(cluster: Any, tmp_path: Path) -> None:
    """In a database where neither pgvector nor pg_trgm is: what a team takes over."""
    logins = cluster.logins(f"carmenta_{uuid4().hex[:12]}")
    try:
        set_up(logins.admin, logins.passwords, branches=["product"])
        with logins.database() as alone:
            assert [str(step) for step in migrate(alone.owner, "product@head")] == [f"product: base -> {heads()['product']}"]  # fmt: skip  # noqa: E501
            with alone.owner_session() as session:
                extensions = session.scalars(text("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'")).all()
                assert extensions == ["ltree"]
                schemas = session.scalars(
                    text("SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$|^public$'")
                ).all()
                assert schemas == ["carmenta"]
                user = uuid4()
                plant(session, user, "planted", schemas=("carmenta",))
            facts = " ".join(str(fact) for row in _catalogue(alone) for fact in row)
            assert not re.search(r"\b(search|lab)\.", facts)
            with alone.user_session(user) as session:
                assert session.scalar(text("SELECT count(*) FROM carmenta.messages")) == 2
            forgotten = forget_user(alone.owner, user)
            assert forgotten.rows["carmenta.messages"] == 2
        if logins.passwords is not None:
            dumped = _dump(logins, tmp_path)
            assert "CREATE TABLE carmenta.messages" in dumped
            assert not re.search(r"\b(search|lab)\.|\b(vector|halfvec|pg_trgm)\b", dumped)
    finally:
        cluster.drop(logins)


def _dump(logins: Logins, folder: Path) -> str:
    """What pg_dump says of the schema."""
    from carmenta_lab.embedded.bundle import default_cache, unpacked

    bundle = unpacked(default_cache())
    url = logins.owner.url
    place = {"PGHOST": str(url.query["host"]), "PGPORT": str(url.query["port"]), "PGUSER": "carmenta_owner"}
    password = {"PGPASSWORD": (logins.passwords or {})["carmenta_owner"]}
    command = [bundle.program("pg_dump"), "-s", "-d", url.database or ""]
    done = subprocess.run(command, env=bundle.environment() | place | password, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_setting_up_twice_changes_nothing(logins: Logins) -> None:
    set_up(logins.admin, logins.passwords)
    set_up(logins.admin, logins.passwords)
    open_migrated(logins).dispose()


def test_a_role_that_bypasses_isolation_is_refused(logins: Logins) -> None:
    with connect(logins.admin, autocommit=False) as connection:
        may = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
        if not may or not may[0]:
            pytest.skip("only a superuser can make such a role")
    # in a transaction of its own that is rolled back, so that other tests never see it
    from carmenta_lab.postgres import roles

    with connect(logins.admin, autocommit=False) as connection:
        connection.execute("ALTER ROLE carmenta_app BYPASSRLS")
        with pytest.raises(DatabaseUnsuitable, match="NOBYPASSRLS"):
            roles._role(connection, "carmenta_app", None)
        connection.rollback()


def test_a_missing_extension_is_named(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    from carmenta_lab.postgres import roles

    monkeypatch.setitem(roles.EXTENSIONS, "lab", {"no_such_extension": (1, 0)})
    with pytest.raises(DatabaseUnsuitable, match="no_such_extension is not available"):
        set_up(logins.admin, logins.passwords)


def test_an_old_extension_is_named_with_what_is_needed(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    from carmenta_lab.postgres import roles

    monkeypatch.setitem(roles.EXTENSIONS, "search", {"vector": (99, 0)})
    with pytest.raises(DatabaseUnsuitable, match=r"99\.0 or newer is needed"):
        set_up(logins.admin, logins.passwords)


def test_a_login_that_may_not_create_roles_is_told_what_to_ask_for(logins: Logins) -> None:
    from carmenta_lab.postgres import roles

    with connect(logins.owner, autocommit=False) as connection:
        if connection.execute("SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user").fetchone() != (False,):
            pytest.skip("this login may create roles")
        with pytest.raises(DatabaseUnsuitable, match="have an administrator run CREATE ROLE somebody"):
            roles._role(connection, "somebody", None)


def test_two_migrators_at_once_end_with_one_schema(cluster, logins: Logins, database: Database) -> None:  # type: ignore[no-untyped-def]
    migrate(database.owner, "base")
    code = (
        "import sys; from carmenta_lab.postgres.lab import find_logins; "
        "from carmenta_lab.postgres.migrate import migrate;"
        "migrate(find_logins().database().owner)"
    )
    home = cluster.environment(logins)
    processes = [subprocess.Popen([sys.executable, "-c", code], env=home, stderr=subprocess.PIPE) for _ in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    with database.owner.connect() as connection:
        assert current(connection) == heads()


def test_extensions_in_a_schema_of_their_own_are_found(cluster) -> None:  # type: ignore[no-untyped-def]
    name = f"carmenta_{uuid4().hex[:12]}"
    logins = cluster.logins(name)
    try:
        with connect(logins.admin) as connection:
            connection.execute("CREATE SCHEMA extensions")
            connection.execute("CREATE SCHEMA trigrams")
            for extension, schema in (("vector", "extensions"), ("ltree", "extensions"), ("pg_trgm", "trigrams")):
                connection.execute(f"CREATE EXTENSION {extension} SCHEMA {schema}")
            connection.execute("GRANT USAGE ON SCHEMA extensions, trigrams TO PUBLIC")
        database = open_migrated(logins)
        register(database.owner, "tiny", 3)
        with database.app_session() as session, as_user(session, uuid4()):
            assert session.scalar(text("SELECT '[1,2,3]'::halfvec <=> '[1,2,3]'::halfvec")) == pytest.approx(
                0, abs=1e-6
            )
            assert session.scalar(text("SELECT word_similarity('key', 'a keyring')")) == 0.75
        database.dispose()
    finally:
        cluster.drop(logins)


def test_what_the_readme_has_an_administrator_run_is_enough_for_a_login_that_may_nothing(cluster: Any) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    statements = readme.partition("```sql\nCREATE ROLE carmenta_owner")[2].partition("```")[0]
    name, login = f"carmenta_{uuid4().hex[:12]}", f"carmenta_me_{uuid4().hex[:12]}"
    logins = cluster.logins(name)
    try:
        with connect(logins.admin) as connection:
            connection.execute(f"CREATE ROLE {login} LOGIN PASSWORD 'x'")
            for statement in f"CREATE ROLE carmenta_owner{statements}".splitlines():
                mine = re.sub(r"\bme\b", login, statement).replace("DATABASE mine", f"DATABASE {name}")
                with suppress(DuplicateObject):  # the roles, where other databases of the server have them
                    connection.execute(mine)
        host = replace(logins.admin, url=logins.admin.url.set(username=login, password="x"))
        with open_migrated(Logins(host, host, host)) as database:
            user = uuid4()
            with database.owner_session() as session:
                plant(session, user, "planted", register(database.owner, "tiny", 3))
            with database.user_session(user) as session:
                assert session.scalar(text("SELECT count(*) FROM carmenta.messages")) == 2
    finally:
        cluster.drop(logins)
        with connect(cluster.logins("postgres").admin) as connection:
            connection.execute(f"DROP ROLE IF EXISTS {login}")
