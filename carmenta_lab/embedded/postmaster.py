"""Which process, if any, is the server of a data folder?"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from carmenta_lab.errors import DatabaseUnavailable

PID_FILE = "postmaster.pid"


@dataclass(frozen=True)
class Postmaster:
    """The server that was started on a data folder last, as the folder names it."""

    data: Path
    pid: int
    port: int
    socket_folder: Path

    def lives(self) -> bool:
        """Whether that process runs and is that server: not a zombie, nor another process with its number."""
        command = _command(self.pid)
        return f" -D {self.data} " in f"{command} "

    def stop(self, immediate: bool, patience_s: float = 120) -> None:
        """End the server and wait until it is gone; `immediate` skips the checkpoint and recovers at the next start."""
        os.kill(self.pid, signal.SIGQUIT if immediate else signal.SIGINT)
        deadline = time.monotonic() + patience_s
        while self.lives():
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    f"The server of {self.data} (process {self.pid}) has not stopped within {patience_s:g} s;"
                    " its log is beside that folder."
                )
            time.sleep(0.02)


def last_started(data: Path) -> Postmaster | None:
    """The server that `data` names, dead or alive; None when the last one was stopped properly."""
    try:
        lines = os.fsdecode((data / PID_FILE).read_bytes()).splitlines()
        return Postmaster(data, int(lines[0]), int(lines[3]), Path(lines[4]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (IndexError, ValueError):  # being written, or cut off by a full disk
        return None


def forget(data: Path) -> None:
    """Remove the lock files of a server that does not live: PostgreSQL respects those of zombies and namesakes.

    Only under the lock of its home. PostgreSQL still refuses while a process of the dead server holds
    its shared memory.
    """
    last = last_started(data)
    if last is not None:
        (last.socket_folder / f".s.PGSQL.{last.port}.lock").unlink(missing_ok=True)
    (data / PID_FILE).unlink(missing_ok=True)


def _command(pid: int) -> str:
    """The command line of the process `pid`; empty for a zombie, for no process, and for one that hides it."""
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""
