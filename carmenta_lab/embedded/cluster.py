"""How is a data folder made, and a server launched on it?"""

import os
import shlex
import shutil
import time
from pathlib import Path

from carmenta_lab.embedded.account import Account
from carmenta_lab.embedded.bundle import LOCALE, Bundle
from carmenta_lab.embedded.folder import socket_folder
from carmenta_lab.errors import DatabaseUnavailable

PORT = 5432  # part of the socket's name, no network port
SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "work_mem": "64MB",
    "maintenance_work_mem": "512MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
PATIENCE_S = 300  # recovery after a crash of a large load takes minutes


def initialise(folder: Path, account: Account, bundle: Bundle, password: str) -> None:
    """Make the data folder; it appears under its name only when it is complete."""
    draft, password_file = folder / ".init", folder / ".password"
    shutil.rmtree(draft, ignore_errors=True)  # of an initialisation killed midway
    password_file.unlink(missing_ok=True)
    handle = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(password)
        if os.geteuid() == 0:
            os.fchown(handle, account.uid, account.gid)
    options = ["--username=postgres", f"--pwfile={password_file}", "--auth=scram-sha-256", "--encoding=UTF8"]
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", f"--locale={LOCALE}", "--lc-messages=C"]
    try:
        command: list[str | Path] = [
            bundle.program("initdb"),
            "--pgdata",
            draft,
            *options,
            *locale,
            "--no-instructions",
        ]
        done = account.run(command, bundle.environment())
    finally:
        password_file.unlink()
    if done.returncode != 0:
        shutil.rmtree(draft, ignore_errors=True)
        reason = _reason(done.stdout.decode(errors="replace"))
        raise DatabaseUnavailable(
            f"The database could not be created in {folder} ({reason}); it needs 100 MB there and more for data,"
            f" of which {shutil.disk_usage(folder).free // 10**6} MB are free."
        )
    draft.rename(folder / "data")


def launch(folder: Path, account: Account, bundle: Bundle) -> None:
    """Start a server on the data in `folder` and return when it accepts connections.

    Only when no server runs there. DatabaseUnavailable quotes the line of its log that says why it does not start.
    """
    log = folder / "server.log"
    settings = SETTINGS | {"unix_socket_directories": str(socket_folder(folder, account))}
    settings |= _dynamic_shared_memory()
    options = ["-D", str(folder / "data")]  # the shell of pg_ctl would expand a `$` in its own -D
    options += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command: list[str | Path] = [
        bundle.program("pg_ctl"),
        "start",
        "-s",
        "-w",
        "-t",
        str(PATIENCE_S),
        "-o",
        shlex.join(options),
    ]
    environment = bundle.environment() | {"PGDATA": str(folder / "data")}
    deadline = time.monotonic() + 10
    while True:
        if log.exists():
            log.replace(folder / "server.log.1")
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            done = account.run(command, environment, output)
        finally:
            os.close(output)
        if done.returncode == 0:
            return
        reason = _reason(log.read_text("utf-8", errors="replace"))
        if "is still in use" not in reason or time.monotonic() > deadline:  # processes of a killed server are ending
            raise DatabaseUnavailable(f"The embedded server does not start ({reason}); the whole log is {log}.")
        time.sleep(0.05)


def _dynamic_shared_memory() -> dict[str, str]:
    """Files instead of /dev/shm where that is small, as in containers: parallel index builds need more."""
    try:
        found = os.statvfs("/dev/shm")  # noqa: S108 - nothing is written
    except OSError:
        return {}
    return {"dynamic_shared_memory_type": "mmap"} if found.f_blocks * found.f_frsize < 2**30 else {}


def _reason(output: str) -> str:
    """The line of a log or of what a program printed that says why it ended."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for words in (["No space left"], ["FATAL:", "PANIC:", "error:", "denied"]):
        telling = [line for line in lines if any(word in line for word in words)]
        if telling:
            return telling[-1]
    return lines[-1] if lines else "it says nothing"
