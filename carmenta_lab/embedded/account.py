"""Which account of this system runs the server, and what can that account reach?"""

import os
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from carmenta_lab.errors import DatabaseUnavailable

STATE_FOLDERS = (Path("/var/lib/carmenta"), Path("/var/tmp/carmenta"))  # noqa: S108 - owner and mode are checked


@dataclass(frozen=True)
class Account:
    """An account that PostgreSQL agrees to run as."""

    name: str
    uid: int
    gid: int

    def run(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
        output: int = subprocess.PIPE,
        umask: int = 0o077,
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run `command` as this account, both output streams into `output`; the exit code is the caller's to judge.

        DatabaseUnavailable when the command cannot be run at all.
        """
        other = os.geteuid() != self.uid
        try:
            return subprocess.run(
                command,
                check=False,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath), **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                umask=umask,
                user=self.uid if other else None,
                group=self.gid if other else None,
                extra_groups=[] if other else None,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise DatabaseUnavailable(
                f"{command[0]} cannot be run as the account {self.name!r} ({error});"
                " run under another account, or set CARMENTA_DATABASE_URL to a server of your own."
            ) from error

    def can_use(self, folder: Path) -> bool:
        """Whether this account can enter `folder` and write there, as the system itself decides it."""
        test: list[str | Path] = ["/bin/sh", "-c", 'test -w "$1" && test -x "$1"', "sh", folder]
        return self.run(test).returncode == 0


def caller() -> Account:
    """The account of this process, whether PostgreSQL would run as it or not."""
    return Account("of this process", os.geteuid(), os.getegid())


def server_account(uid: int) -> Account:
    """The account that serves the user `uid`: that user, or for root an unprivileged account."""
    import pwd  # not on Windows, where this module must still be importable

    if uid != 0:
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            raise DatabaseUnavailable(
                f"The user id {uid} has no entry in /etc/passwd, without which PostgreSQL does not start;"
                " add one, run under another account, or set CARMENTA_DATABASE_URL to a server of your own."
            ) from None
        return Account(entry.pw_name, uid, entry.pw_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise DatabaseUnavailable(
        "PostgreSQL refuses to run as root, and neither the account 'postgres' nor 'nobody' exists here;"
        " run as an ordinary user, or set CARMENTA_DATABASE_URL to a server of your own."
    )


def state_folder() -> Path:
    """A folder for root's servers: every account may enter it, only root may change it."""
    for folder in STATE_FOLDERS:
        try:
            folder.mkdir(mode=0o755, exist_ok=True)
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and not found.st_mode & 0o022:
                folder.chmod(0o755)  # mkdir obeys the umask
                return folder
        except OSError:
            continue
    first, second = STATE_FOLDERS
    raise DatabaseUnavailable(
        f"Neither {first} nor {second} can serve as a folder that root owns and alone may write;"
        " run as an ordinary user, or set CARMENTA_DATABASE_URL to a server of your own."
    )
