"""Through a real PgBouncer in transaction mode: two users alternate over one pooled connection."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from factory import add_user, message, write
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from carmenta_lab.postgres import Database, as_user
from carmenta_lab.postgres.connect import open_database
from carmenta_lab.postgres.hosts import parse
from carmenta_lab.postgres.lab import Logins
from carmenta_lab.schema.product.identity import users

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed (Debian: apt install pgbouncer)")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def pooled(logins: Logins, database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The application role behind a pooler with one server connection; the owner past it."""
    url = logins.app.url
    server = url.query.get("host", url.host)
    owner = os.stat(str(server)).st_uid if str(server).startswith("/") else os.geteuid()
    folder = Path("/var/tmp") / f"carmenta-pooler-{uuid4().hex[:8]}"  # the server's account must reach it
    folder.mkdir(mode=0o700)
    port = _free_port()
    (folder / "users").write_text(f'"{url.username}" "{url.password}"\n')
    place = f"host={server} port={url.query.get('port', url.port or 5432)}"
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{url.database} = {place} dbname={url.database}\n[pgbouncer]\npool_mode = transaction\n"
        f"default_pool_size = 1\nmax_client_conn = 20\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {folder}/users\n"
    )
    account = pwd.getpwuid(owner)
    if os.geteuid() == 0 and owner == 0:
        account = pwd.getpwnam("nobody")
    as_root = os.geteuid() == 0
    if as_root:
        for path in (folder, *folder.iterdir()):
            os.chown(path, account.pw_uid, account.pw_gid)
    who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if as_root else {}
    assert PGBOUNCER is not None
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        [PGBOUNCER, str(folder / "pgbouncer.ini")],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        **who,  # type: ignore[arg-type]
    )
    host = parse(f"postgresql://{url.username}:{url.password}@127.0.0.1:{port}/{url.database}?pgbouncer=true")
    try:
        _wait(host.url.set(drivername="postgresql").render_as_string(hide_password=False), folder / "log")
        found = open_database(logins.owner, host)
        yield found
        found.dispose()
    finally:
        process.terminate()
        process.wait(timeout=10)
        log.close()
        shutil.rmtree(folder)


def _wait(url: str, log: Path) -> None:
    for _ in range(100):
        try:
            psycopg.connect(url, prepare_threshold=None).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"pgbouncer did not answer: {log.read_text()}")


@pytest.fixture
def two(pooled: Database) -> tuple[UUID, UUID]:
    """Two users with a row each."""
    with pooled.owner_session() as session:
        return add_user(session, name="Ann"), add_user(session, name="Bob")


def test_two_users_alternate_over_one_connection_and_never_see_each_other(
    pooled: Database, two: tuple[UUID, UUID]
) -> None:
    servers = set()
    for turn in range(40):
        user, name = (two[0], "Ann") if turn % 2 else (two[1], "Bob")
        with pooled.app_session() as session:
            assert session.scalars(select(users.c.name)).all() == []
            with as_user(session, user):
                assert session.scalars(select(users.c.name)).all() == [name]
                servers.add(session.scalar(text("SELECT pg_backend_pid()")))
        with pooled.user_session(user) as session:
            assert session.scalars(select(users.c.name)).all() == [name]
            servers.add(session.scalar(text("SELECT pg_backend_pid()")))
    assert len(servers) == 1


def test_a_transaction_that_fails_leaves_no_user_behind(pooled: Database, two: tuple[UUID, UUID]) -> None:
    for user in two:
        failing = pytest.raises(DBAPIError, match="division by zero")
        with failing, pooled.user_session(user) as session:
            session.execute(text("SELECT 1/0"))
        with pooled.app_session() as session:
            assert session.scalars(select(users.c.name)).all() == []


def test_nothing_is_prepared_through_the_pooler(pooled: Database, two: tuple[UUID, UUID]) -> None:
    for _ in range(12):  # psycopg would prepare at the sixth
        with pooled.user_session(two[0]) as session:
            session.scalars(select(users.c.name)).all()
            assert session.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0


def test_a_search_works_through_the_pooler(pooled: Database, tmp_path: Path) -> None:
    from carmenta_lab import strategies
    from carmenta_lab.ingest import load
    from carmenta_lab.names import find_user
    from carmenta_lab.records import Query
    from carmenta_lab.retrieval import search

    folder = write(tmp_path / "keys", messages=[message("m1", "The spare key is under the blue pot.", user="ann")])
    load(replace(pooled), folder, tokens=True)
    user = find_user(pooled, "ann")
    for name in strategies.names():
        for _ in range(7):
            with pooled.user_session(user) as session:
                ranking = search(session, strategies.load(name), Query("q", user, "spare key"), 3)
            assert len(ranking.hits) == 1, name
