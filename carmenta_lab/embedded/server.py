"""How does a PostgreSQL server of one's own come to run, without installation and without a network port?"""

import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from carmenta_lab.embedded import folder as folders
from carmenta_lab.embedded import postmaster
from carmenta_lab.embedded.account import Account, server_account, state_folder
from carmenta_lab.embedded.bundle import Bundle, default_cache, unpacked
from carmenta_lab.embedded.cluster import PATIENCE_S, initialise, launch
from carmenta_lab.embedded.home import kept_secret, lock_file, make_home, secret
from carmenta_lab.embedded.lock import locked
from carmenta_lab.embedded.postmaster import Postmaster
from carmenta_lab.errors import DatabaseUnavailable, DatabaseUnsuitable

__all__ = ["Server", "destroy", "secret", "start", "status", "stop"]


@dataclass(frozen=True)
class Server:
    """A running embedded server."""

    socket_folder: Path  # the `host` of a connection
    port: int
    password: str = field(repr=False)  # of the superuser `postgres`
    data_folder: Path
    pid: int


def start(home: Path) -> Server:
    """The server of `home`, answering: reused, started, or at the first time unpacked and initialised.

    Processes that start it at once get the same server. It outlives this process; `stop` ends it.
    DatabaseUnavailable or DatabaseUnsuitable says what stands in the way.
    """
    server_account(os.geteuid())
    home = make_home(home)
    running = status(home)
    if running is not None:
        return running
    with locked(lock_file(home), PATIENCE_S * 2):
        folder = folders.instance(home) or folders.make_instance(home)
        account = folders.owner(folder)
        password = secret(home, "postgres")
        bundle = unpacked(state_folder() if os.geteuid() == 0 else default_cache())
        if not (folder / "data").is_dir():
            initialise(folder, account, bundle, password)
        written = (folder / "data" / "PG_VERSION").read_text().strip()
        if written != bundle.major:
            raise DatabaseUnsuitable(
                f"{folder / 'data'} was written by PostgreSQL {written}; the embedded server is {bundle.version}."
                f" Dump it with pg_dumpall of version {written}, move that folder away, start, and restore the dump."
            )
        return _running(folder, account, bundle, password)


def status(home: Path) -> Server | None:
    """The server of `home` if it answers; None when it does not run. Starts and creates nothing."""
    folder = folders.instance(home)
    if folder is None:
        return None
    folders.owner(folder)
    last = postmaster.last_started(folder / "data")
    password = kept_secret(Path(os.path.abspath(home)), "postgres")
    if last is None or not _answers(last, password or ""):
        return None
    return Server(last.socket_folder, last.port, password or "", last.data, last.pid)


def stop(home: Path, immediate: bool = False) -> bool:
    """End the server of `home` with its connections, and wait for its end; False when it did not run.

    `immediate` leaves the checkpoint to the recovery at the next start.
    """
    folder = folders.instance(home)
    if folder is None:
        return False
    home = Path(os.path.abspath(home))
    with locked(lock_file(home)):
        return _stop(home, folder, immediate)


def destroy(home: Path) -> None:
    """End the server of `home` at once and remove its data and passwords; the unpacked programs stay."""
    folder = folders.instance(home)
    if folder is None:
        return
    home = Path(os.path.abspath(home))
    with locked(lock_file(home)):
        _stop(home, folder, immediate=True)
        folders.remove_instance(home, folder)
        shutil.rmtree(home / "secrets", ignore_errors=True)


def _running(folder: Path, account: Account, bundle: Bundle, password: str) -> Server:
    """Launch the server unless its process lives, and wait until it answers."""
    data = folder / "data"
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        last = postmaster.last_started(data)
        if last is not None and _answers(last, password):
            return Server(last.socket_folder, last.port, password, data, last.pid)
        if last is None or not last.lives():
            postmaster.forget(data)
            launch(folder, account, bundle)
        else:
            time.sleep(0.02)
    raise DatabaseUnavailable(
        f"The server of {data} was started and has not answered for {PATIENCE_S} s; see {folder / 'server.log'}."
    )


def _stop(home: Path, folder: Path, immediate: bool) -> bool:
    folders.owner(folder)
    last = postmaster.last_started(folder / "data")
    if last is None or not last.lives():
        if last is not None and _answers(last, kept_secret(home, "postgres") or ""):
            raise DatabaseUnavailable(
                f"The server of {folder} answers, but its process {last.pid} is not to be seen from here;"
                " stop it from the container that started it."
            )
        return False
    last.stop(immediate)
    return True


def _answers(last: Postmaster, password: str) -> bool:
    """Whether the server lets its superuser in, now."""
    try:
        psycopg.connect(
            host=str(last.socket_folder),
            port=last.port,
            user="postgres",
            password=password,
            dbname="postgres",
            connect_timeout=5,
            hostaddr="",  # these three against PGHOSTADDR, PGOPTIONS and PGGSSENCMODE
            options="",
            gssencmode="disable",
        ).close()
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise DatabaseUnavailable(
                f"The password that the home folder keeps in secrets/postgres is not that of the server of {last.data};"
                " put the right file back, or remove that data folder to begin with an empty server."
            ) from None
        return "too many clients" in str(error)
    return True
