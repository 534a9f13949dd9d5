"""The embedded server, for real: every test here starts, kills, or fails to start PostgreSQL."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from carmenta_lab import embedded, resources
from carmenta_lab.embedded import Server, bundle, cluster, home, postmaster
from carmenta_lab.embedded import folder as folders
from carmenta_lab.embedded.account import caller, server_account
from carmenta_lab.embedded.lock import locked
from carmenta_lab.errors import DatabaseUnavailable, DatabaseUnsuitable, UsageError

pytestmark = pytest.mark.slow

AS_ROOT = os.geteuid() == 0
START = """
import sys
from pathlib import Path
from carmenta_lab import embedded
print(embedded.start(Path(sys.argv[1])).pid)
"""


def connect(server: Server) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(
        host=str(server.socket_folder),
        port=server.port,
        user="postgres",
        password=server.password,
        dbname="postgres",
        autocommit=True,
    )


def ask(server: Server, question: str) -> object:
    with connect(server) as connection:
        answer = connection.execute(question.encode())
        row = answer.fetchone() if answer.description else None
        return row[0] if row else None


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that the server's account can reach, even when pytest runs as root."""
    made = Path(tempfile.mkdtemp(prefix="carmenta-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def its_home(folder: Path) -> Iterator[Path]:
    """One home for all tests that leave it usable."""
    made = folder / "a home, 家 $HOME `x` 'q'"
    yield made
    embedded.destroy(made)


@pytest.fixture
def server(its_home: Path) -> Server:
    return embedded.start(its_home)


@pytest.fixture
def new_home(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "home"
    yield made
    embedded.destroy(made)


def test_a_server_is_reused_stopped_and_started_again(its_home: Path) -> None:
    first = embedded.start(its_home)
    assert embedded.start(its_home) == first == embedded.status(its_home)
    ask(first, "create table if not exists kept as select 'so' as word")
    assert embedded.stop(its_home)
    assert embedded.status(its_home) is None
    assert not embedded.stop(its_home)
    again = embedded.start(its_home)
    assert again.pid != first.pid
    assert ask(again, "select word from kept") == "so"


def test_a_relative_home_is_the_same_home(its_home: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(its_home.parent)
    assert embedded.start(Path(its_home.name)) == server
    assert (its_home / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [("fsync", "on"), ("listen_addresses", ""), ("unix_socket_permissions", "0700"), ("TimeZone", "UTC")],
)
def test_the_server_is_durable_and_has_no_network_port(server: Server, name: str, value: str) -> None:
    assert ask(server, f"select current_setting('{name}')") == value


def test_the_rules_of_text_do_not_depend_on_the_machine(server: Server) -> None:
    locale = "select datlocprovider::text || datlocale from pg_database where datname = 'template1'"
    assert ask(server, locale) == "bC.UTF-8"
    assert ask(server, "select lower('ÄÉ')") == "äé"


def test_a_wrong_password_is_refused(server: Server) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(
            host=str(server.socket_folder), port=server.port, user="postgres", dbname="postgres", password="postgres"
        )


def test_the_extensions_of_the_schema_are_there(server: Server) -> None:
    found = "select count(*) from pg_available_extensions where name in ('vector', 'ltree', 'pg_trgm')"
    assert ask(server, found) == 3


def test_nobody_else_reads_the_files_the_password_or_the_socket(its_home: Path, server: Server) -> None:
    assert mode(its_home / "secrets" / "postgres") == 0o600
    assert mode(its_home / "secrets") == 0o700
    assert mode(server.data_folder) == mode(server.data_folder.parent) == mode(server.socket_folder) == 0o700
    assert mode(server.data_folder.parent / "server.log") == 0o600
    assert server.data_folder.stat().st_uid == server_account(os.geteuid()).uid
    assert server.password not in repr(server)
    assert not list(server.data_folder.parent.glob(".password"))


def test_a_wrong_kept_password_is_named(its_home: Path, server: Server) -> None:
    kept = its_home / "secrets" / "postgres"
    kept.write_text("another")
    try:
        with pytest.raises(DatabaseUnavailable, match="is not that of the server"):
            embedded.start(its_home)
    finally:
        kept.write_text(server.password)


def test_a_killed_server_starts_again_with_what_was_committed(its_home: Path, server: Server) -> None:
    ask(server, "create table if not exists survivors as select 7 as number")
    os.kill(server.pid, signal.SIGKILL)
    again = embedded.start(its_home)
    assert again.pid != server.pid
    assert ask(again, "select number from survivors") == 7


def test_processes_of_a_killed_server_are_waited_for(its_home: Path, server: Server) -> None:
    log = server.data_folder.parent / "server.log"
    log.write_bytes(b"")
    with connect(server) as connection, ThreadPoolExecutor() as pool:
        left = connection.info.backend_pid
        os.kill(left, signal.SIGSTOP)
        os.kill(server.pid, signal.SIGKILL)
        starting = pool.submit(embedded.start, its_home)
        try:
            while not starting.done() and not any(
                b"still in use" in part.read_bytes() for part in log.parent.glob("*.1")
            ):
                pass
        finally:
            os.kill(left, signal.SIGCONT)
        assert ask(starting.result(), "select 1") == 1


@pytest.mark.parametrize("ended", [False, True], ids=["a living process", "a zombie"])
def test_a_left_over_pid_of_something_else_is_no_obstacle(its_home: Path, server: Server, ended: bool) -> None:
    left = (server.data_folder / "postmaster.pid").read_bytes()
    assert embedded.stop(its_home)
    owner = folders.owner(server.data_folder.parent)
    other = owner.uid if os.geteuid() != owner.uid else None
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=other) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if ended:
            process.stdin.close()
            process.stdout.read()  # to its end: the process is over, and nobody has asked for its exit code
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        for path in (server.data_folder / "postmaster.pid", server.socket_folder / ".s.PGSQL.5432.lock"):
            path.write_bytes(left.replace(str(server.pid).encode(), str(process.pid).encode(), 1))
            os.chown(path, owner.uid, owner.gid)
        assert embedded.status(its_home) is None
        assert not embedded.stop(its_home)
        assert ask(embedded.start(its_home), "select 1") == 1
        assert process.returncode is None


def test_an_empty_pid_file_is_no_obstacle(its_home: Path, server: Server) -> None:
    assert embedded.stop(its_home, immediate=True)
    (server.data_folder / "postmaster.pid").touch(mode=0o666)
    assert ask(embedded.start(its_home), "select 1") == 1


def test_a_server_that_does_not_start_says_why(its_home: Path, server: Server) -> None:
    settings = server.data_folder / "postgresql.auto.conf"
    before = settings.read_bytes()
    assert embedded.stop(its_home)
    settings.write_bytes(before + b"shared_preload_libraries = 'no_such_library'\n")
    try:
        with pytest.raises(DatabaseUnavailable, match=r"does not start \(.*no_such_library.*server\.log"):
            embedded.start(its_home)
    finally:
        settings.write_bytes(before)


def test_three_processes_that_start_at_once_get_one_server(new_home: Path) -> None:
    found = os.pathsep.join([str(resources.PACKAGE.parent), os.environ.get("PYTHONPATH", "/")])
    environment = os.environ | {"PYTHONPATH": found, "LANG": "xx_YY.UTF-8", "TZ": "Mars/Base"}
    command = [sys.executable, "-c", START, str(new_home)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(3)]
    answers = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    running = embedded.status(new_home)
    assert running is not None
    assert {int(answer) for answer in answers} == {running.pid}


def test_destroying_leaves_the_home_and_the_files_of_others(new_home: Path) -> None:
    gone = embedded.start(new_home)
    foreign = gone.data_folder.parent / "notes.txt"
    foreign.touch()
    embedded.destroy(new_home)
    assert postmaster.last_started(gone.data_folder) is None
    assert not gone.data_folder.exists()
    assert not (new_home / "secrets").exists()
    assert list(foreign.parent.iterdir()) == [foreign]
    shutil.rmtree(foreign.parent)


def test_a_long_path_gets_a_short_socket_folder(folder: Path) -> None:
    far = folder / ("long" * 25)
    try:
        server = embedded.start(far)
        assert server.socket_folder.name.startswith("carm-")
        assert mode(server.socket_folder) == 0o700
        assert ask(server, "select 1") == 1
        assert embedded.status(far) == server
    finally:
        embedded.destroy(far)
    assert not server.socket_folder.exists()


def test_a_socket_folder_in_the_hands_of_another_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = server_account(os.geteuid())
    far = folder / ("far" * 40)
    monkeypatch.setattr(folders, "TEMPORARY", (folder,))
    taken = folders.socket_folder(far, account)
    taken.chmod(0o777)
    with pytest.raises(DatabaseUnavailable, match="CARMENTA_HOME to a shorter path"):
        folders.socket_folder(far, account)
    monkeypatch.setattr(folders, "TEMPORARY", (folder / ("deep" * 30),))
    with pytest.raises(DatabaseUnavailable, match="too long"):
        folders.socket_folder(far, account)


@pytest.mark.skipif(not AS_ROOT, reason="only root serves by another account")
def test_a_home_out_of_reach_points_to_a_folder_in_reach(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    made = folders.make_instance(home.make_home(closed / "home"))
    try:
        assert made.parent.name == "carmenta"
        assert folders.instance(closed / "home") == made
        assert (made / "home").read_text() == f"{closed / 'home' / 'postgres'}\n"
        assert folders.owner(made) == server_account(0)
        assert mode(made) == 0o700
    finally:
        folders.remove_instance(closed / "home", made)
    assert not made.exists()
    assert folders.instance(closed / "home") is None


def test_a_link_to_nowhere_is_no_reason_to_begin_anew(tmp_path: Path) -> None:
    (tmp_path / "postgres").symlink_to(tmp_path / "unmounted")
    with pytest.raises(DatabaseUnavailable, match="which is gone"):
        embedded.start(tmp_path)


@pytest.mark.skipif(not AS_ROOT, reason="only root can give a folder away")
def test_root_does_not_run_a_server_of_its_own_folder(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="belongs to the user id 0"):
        folders.owner(tmp_path)


def test_the_status_of_nothing_creates_nothing(tmp_path: Path) -> None:
    assert embedded.status(tmp_path / "none") is None
    assert not embedded.stop(tmp_path / "none")
    embedded.destroy(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnavailable, match=r"file/home cannot hold .*set CARMENTA_HOME"):
        embedded.start(tmp_path / "file" / "home")


@pytest.mark.skipif(AS_ROOT, reason="root writes everywhere")
def test_a_read_only_home_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DatabaseUnavailable, match="Permission denied"):
        embedded.start(tmp_path / "home")


def test_data_of_another_major_version_are_refused(tmp_path: Path) -> None:
    made = folders.make_instance(home.make_home(tmp_path))
    (made / "data").mkdir()
    (made / "data" / "PG_VERSION").write_text("14\n")
    with pytest.raises(DatabaseUnsuitable, match=r"written by PostgreSQL 14; .*pg_dumpall of version 14"):
        embedded.start(tmp_path)
    embedded.destroy(tmp_path)


def test_a_failed_initialisation_leaves_nothing_half_made(new_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "LOCALE", "xx_YY")
    with pytest.raises(DatabaseUnavailable, match=r"could not be created in .*locale"):
        embedded.start(new_home)
    made = folders.instance(new_home)
    assert made is not None
    assert [part.name for part in made.iterdir() if part.name != "home"] == []


def test_a_user_id_without_an_account_is_named() -> None:
    with pytest.raises(DatabaseUnavailable, match="user id 1954321 has no entry"):
        server_account(1_954_321)


def test_a_platform_without_the_bundle_is_told_of_the_way_by_url() -> None:
    with pytest.raises(DatabaseUnavailable, match=r"not installed here .*CARMENTA_DATABASE_URL"):
        bundle.archive("carmenta-no-such-package")


def test_an_unpacking_killed_midway_is_done_again(tmp_path: Path) -> None:
    _, key = bundle.archive()
    half = tmp_path / key
    (half / "bin").mkdir(parents=True)
    (half / "bin" / "postgres").touch()
    (tmp_path / f".{key}-killed").mkdir()
    found = bundle.unpacked(tmp_path)
    said = caller().run([found.program("postgres"), "--version"], found.environment()).stdout.decode()
    assert said == f"postgres (PostgreSQL) {found.version}\n"
    assert found.major == found.version.split(".")[0]
    assert sorted(part.name for part in tmp_path.iterdir()) == [key, f"{key}.lock"]
    assert all(mode(path) & 0o005 == 0o005 for path in (found.tree, found.tree / "share", found.program("initdb")))
    assert bundle.unpacked(tmp_path) == found


def test_a_package_that_unpacks_nothing_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "archive", lambda: (Path("/bin/echo"), "key"))
    with pytest.raises(
        DatabaseUnavailable, match=r"vector, ltree, pg_trgm missing.* MB are free; .*said: start --name"
    ):
        bundle.unpacked(tmp_path)
    assert [part.name for part in tmp_path.iterdir()] == ["key.lock"]


def test_programs_cannot_run_from_a_path_that_a_shell_expands(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="set XDG_CACHE_HOME"):
        bundle.unpacked(tmp_path / "a$b")


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert bundle.default_cache() == Path("/elsewhere/carmenta")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert bundle.default_cache() == Path.home() / ".cache" / "carmenta"


def test_a_password_is_made_once_and_kept_to_oneself(tmp_path: Path) -> None:
    first = home.secret(tmp_path, "carmenta_app")
    assert home.secret(tmp_path, "carmenta_app") == first
    assert home.secret(tmp_path, "carmenta_owner") != first
    assert len(first) == 32
    assert mode(tmp_path / "secrets" / "carmenta_app") == 0o600


@pytest.mark.parametrize("name", ["", "../up", ".lock", "a/b", "a\n"])
def test_the_name_of_a_password_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="name of a password"):
        home.secret(tmp_path, name)


def test_a_lock_excludes_others_until_it_is_given_back(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with locked(lock), pytest.raises(DatabaseUnavailable, match="Another process has held"), locked(lock, 0):
        pass
    with locked(lock, 0):
        pass


def test_a_process_is_known_by_its_command_line() -> None:
    command_of = postmaster._command
    command = ["/bin/sh", "-c", "echo; read line", "-D", "/a b", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)  # it runs what it was told to
        assert " -D /a b " in command_of(process.pid)
        assert process.stdin is not None
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert command_of(process.pid) == ""
    assert command_of(process.pid) == ""


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("FATAL:  could not write: No space left on device\nPANIC:  cannot abort\n", "No space left on device"),
        ("LOG:  starting\nFATAL:  first\nFATAL:  second\nLOG:  shut down\n", "FATAL:  second"),
        ("something\nelse\n", "else"),
        ("\n", "it says nothing"),
    ],
)
def test_the_reason_of_a_failure_is_the_line_that_tells_it(output: str, reason: str) -> None:
    assert cluster._reason(output).endswith(reason)
