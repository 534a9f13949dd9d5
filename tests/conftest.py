"""A server of the tests' own, and databases cloned from templates that are migrated and loaded once."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from skips import pytest_make_collect_report, pytest_runtest_makereport

from carmenta_lab import embedded
from carmenta_lab.ingest import load
from carmenta_lab.postgres import Database
from carmenta_lab.postgres.lab import Logins, embedded_logins, logins_by_url, open_migrated
from carmenta_lab.postgres.roles import connect, set_up
from carmenta_lab.settings import Settings

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport"]  # hooks

URL = os.environ.get("CARMENTA_TEST_DATABASE_URL")
"""Runs the suite on another server; its login must be allowed to create databases and roles."""

RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid4().hex)[:8]


def _shared(factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run share."""
    base = factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


class Cluster:
    """The server of the tests: makes, clones and drops databases."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "carmenta-home"
        self.lock = folder / "carmenta-templates.lock"

    def logins(self, name: str) -> Logins:
        """The logins of a database of that name, made where it is absent."""
        if URL is None:
            return embedded_logins(self.home, name)
        logins = logins_by_url(Settings(database_url=URL))
        with connect(logins.admin) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        given = {role: getattr(logins, role) for role in ROLES}
        hosts = {role: replace(host, url=host.url.set(database=name)) for role, host in given.items()}
        return replace(logins, **hosts)

    def template(self, name: str, dataset: str | None) -> str:
        """The name of a migrated database, with a dataset loaded if one is named; made once a run."""
        full = f"carmenta_{RUN}_{name}"
        with self.lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            done = self.lock.with_suffix(f".{name}")
            if not done.exists():
                logins = self.logins(full)
                if URL is None:  # databases that live for a second need not survive a power cut
                    with connect(logins.admin) as connection:
                        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                            connection.execute(f"ALTER SYSTEM SET {setting} = off")
                        connection.execute("SELECT pg_reload_conf()")
                database = open_migrated(logins)
                if dataset is not None:
                    load(database, dataset, tokens=True)
                database.dispose()
                done.touch()
        return full

    def environment(self, logins: Logins) -> dict[str, str]:
        """What a process of its own needs to find a database."""
        found = {k: v for k, v in os.environ.items() if not k.startswith("CARMENTA_")}
        if URL is None:
            return found | {"CARMENTA_HOME": str(self.home), "CARMENTA_DATABASE": logins.app.url.database or ""}
        url = logins.app.url.set(drivername="postgresql").render_as_string(hide_password=False)
        return found | {"CARMENTA_DATABASE_URL": url, "CARMENTA_HOME": str(self.home)}

    def clone(self, template: str) -> Logins:
        """A copy of a template under a name of its own."""
        name = f"carmenta_{RUN}_{uuid4().hex[:12]}"
        with self._elsewhere(self.logins(template)) as connection:
            names = sql.Identifier(name), sql.Identifier(template)
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
        found = self.logins(name)
        set_up(found.admin, found.passwords)  # what is granted on a database is not copied with it
        return found

    def copy(self, name: Literal["empty", "sample"]) -> Iterator[Logins]:
        """A clone of one of the two templates, dropped afterwards."""
        logins = self.clone(self.template(name, None if name == "empty" else name))
        yield logins
        self.drop(logins)

    def drop(self, logins: Logins) -> None:
        """Remove a database."""
        with self._elsewhere(logins) as connection:
            name = sql.Identifier(logins.admin.url.database or "")
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    @staticmethod
    def _elsewhere(logins: Logins) -> psycopg.Connection[Any]:
        """The administrator in a database that is neither made nor dropped."""
        return connect(replace(logins.admin, url=logins.admin.url.set(database="postgres")))


ROLES = ("admin", "owner", "app")


def url_of(logins: Logins) -> str:
    """The administrator's login as one line, as it stands in CARMENTA_DATABASE_URL."""
    return logins.admin.url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The server of this run."""
    return Cluster(_shared(tmp_path_factory))


@pytest.fixture
def logins(cluster: Cluster) -> Iterator[Logins]:
    """The logins of an empty, migrated database of the test's own."""
    yield from cluster.copy("empty")


@pytest.fixture
def fresh(logins: Logins) -> Iterator[Database]:
    """An empty, migrated database of the test's own."""
    with open_migrated(logins) as found:
        yield found


@pytest.fixture
def database(fresh: Database) -> Database:
    """The same; a file may put another in its place under this name."""
    return fresh


@pytest.fixture(scope="module")
def shared_logins(cluster: Cluster) -> Iterator[Logins]:
    """The logins of an empty, migrated database that all tests of a file share."""
    yield from cluster.copy("empty")


@pytest.fixture(scope="module")
def shared(shared_logins: Logins) -> Iterator[Database]:
    """An empty, migrated database that all tests of a file share."""
    with open_migrated(shared_logins) as found:
        yield found


@pytest.fixture(scope="session")
def sample_logins(cluster: Cluster) -> Iterator[Logins]:
    """The logins of a copy of the loaded sample that all tests of this process share."""
    yield from cluster.copy("sample")


@pytest.fixture(scope="session")
def sample(sample_logins: Logins) -> Iterator[Database]:
    """A database with the sample loaded; shared by all tests of this process, which leave it as it is."""
    with open_migrated(sample_logins) as found:
        yield found


@pytest.fixture(scope="module")
def shared_sample_logins(cluster: Cluster) -> Iterator[Logins]:
    """The logins of a copy of the loaded sample that the tests of a file share and may change."""
    yield from cluster.copy("sample")


@pytest.fixture(scope="module")
def shared_sample(shared_sample_logins: Logins) -> Iterator[Database]:
    """A copy of the loaded sample that the tests of a file share and may change."""
    with open_migrated(shared_sample_logins) as found:
        yield found


@pytest.fixture
def own_sample_logins(cluster: Cluster) -> Iterator[Logins]:
    """The logins of a copy of the loaded sample that a test may change."""
    yield from cluster.copy("sample")


@pytest.fixture
def own_sample(own_sample_logins: Logins) -> Iterator[Database]:
    """A copy of the loaded sample that a test may change."""
    with open_migrated(own_sample_logins) as found:
        yield found


@pytest.fixture
def own_environment(cluster: Cluster, own_sample_logins: Logins) -> dict[str, str]:
    """The environment of a process whose database is a copy of the loaded sample."""
    return cluster.environment(own_sample_logins)


@pytest.fixture(scope="session")
def sample_environment(cluster: Cluster, sample_logins: Logins) -> dict[str, str]:
    """The environment of a process that reads the loaded sample."""
    return cluster.environment(sample_logins)


@pytest.fixture
def empty_environment(cluster: Cluster, logins: Logins) -> dict[str, str]:
    """The environment of a process whose database is empty."""
    return cluster.environment(logins)


ONE_DATABASE = ("test_main_road.py", "test_cutting.py")
"""Files of which all tests share one small database, and are fast on it."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `fast` what asks for no database, or only for a small one, and is not marked `slow`."""
    for item in items:
        asks = "cluster" in getattr(item, "fixturenames", ()) and item.path.name not in ONE_DATABASE
        if not asks and item.get_closest_marker("slow") is None:
            item.add_marker("fast")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Take the server down with the run: in the process that started the workers, or the only one."""
    if hasattr(session.config, "workerinput"):
        return
    factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]
    home = factory.getbasetemp() / "carmenta-home"
    if URL is None and home.exists():
        embedded.destroy(home)
        shutil.rmtree(home, ignore_errors=True)
