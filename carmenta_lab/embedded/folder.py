"""Where do the server's files and its socket lie?

Below the home folder; where the server's account cannot reach that, in a state folder of the system,
with a link to it in the home.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from carmenta_lab.embedded.account import Account, server_account, state_folder
from carmenta_lab.errors import DatabaseUnavailable

TEMPORARY = (Path(tempfile.gettempdir()), Path("/tmp"))  # noqa: S108 - owner and mode are checked
LONGEST_SOCKET_PATH = 103  # bytes; Linux allows 107, macOS 103


def instance(home: Path) -> Path | None:
    """The folder of the server's files, links resolved; None when there is none yet."""
    place = Path(os.path.abspath(home)) / "postgres"
    try:
        if place.is_dir():
            return place.resolve()
        if not place.is_symlink():
            return None
    except PermissionError as error:
        raise DatabaseUnavailable(
            f"{place} cannot be entered ({error.strerror});"
            " run as its owner, or set CARMENTA_HOME to a folder of your own."
        ) from error
    raise DatabaseUnavailable(
        f"{place} points to {place.readlink()}, which is gone: removed, or not mounted."
        f" Bring it back, or remove {place} to begin with an empty server."
    )


def make_instance(home: Path) -> Path:
    """Make the folder of the server's files: in `home`, or where its account cannot reach that, outside with a link.

    Only under the lock of `home`.
    """
    account = server_account(os.geteuid())
    place = home / "postgres"
    fresh = Path(tempfile.mkdtemp(prefix=".postgres-", dir=home))
    _hand_over(fresh, account)
    if account.can_use(fresh):
        fresh.rename(place)
        return place.resolve()
    fresh.rmdir()
    if os.geteuid() != 0:
        raise DatabaseUnavailable(
            f"The account {account.name!r} cannot write in {home}; set CARMENTA_HOME to another folder."
        )
    outside = Path(tempfile.mkdtemp(prefix="server-", dir=state_folder()))
    (outside / "home").write_bytes(os.fsencode(place) + b"\n")
    _hand_over(outside, account)
    place.symlink_to(outside)
    return outside


def _hand_over(folder: Path, account: Account) -> None:
    """Give a new, empty folder of ours to `account` where the file system lets us."""
    if os.geteuid() != account.uid:
        try:
            os.chown(folder, account.uid, account.gid)
        except PermissionError:  # such a file system is like a folder out of reach
            return


def owner(instance: Path) -> Account:
    """The account whose server `instance` holds, if this process may act for it."""
    uid = instance.stat().st_uid
    if os.geteuid() not in (0, uid) or uid == 0:
        raise DatabaseUnavailable(
            f"{instance} belongs to the user id {uid}, not to that of this process ({os.geteuid()});"
            " run as its owner, or set CARMENTA_HOME to a folder of your own."
        )
    return server_account(uid)


def socket_folder(instance: Path, account: Account) -> Path:
    """A folder of mode 0700 that `account` owns, whose path is short and plain enough for a socket."""
    if _fits(instance):
        return instance
    name = _short_name(instance)
    for folder in [base / name for base in TEMPORARY if _fits(base / name)]:
        try:
            folder.mkdir(mode=0o700)
            _hand_over(folder, account)
        except FileExistsError:
            pass
        except OSError:
            continue
        found = folder.lstat()
        private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        if private and found.st_uid == account.uid and account.can_use(folder):
            return folder
    bases = " or ".join(str(base) for base in dict.fromkeys(TEMPORARY))
    raise DatabaseUnavailable(
        f"The path of {instance} is too long for a socket, and no folder {name!r} below {bases} can take it"
        " (too long as well, or in the hands of another account); set CARMENTA_HOME to a shorter path."
    )


def _short_name(instance: Path) -> str:
    return f"carm-{hashlib.sha256(os.fsencode(instance)).hexdigest()[:12]}"


def _fits(folder: Path) -> bool:
    """Whether a socket's path in `folder` is short enough, and free of what a list of hosts would split."""
    path = os.fsencode(folder / ".s.PGSQL.5432")
    return len(path) <= LONGEST_SOCKET_PATH and not set(path) & set(b',"\\\n') and str(folder).isprintable()


def remove_instance(home: Path, folder: Path) -> None:
    """Remove what a server left in its folder, then the folder unless it holds anything else, and the link to it.

    Only under the lock of `home`, with the server stopped.
    """
    for base in TEMPORARY:
        shutil.rmtree(base / _short_name(folder), ignore_errors=True)
    for part in folder.iterdir():
        if part.name in ("data", ".init"):
            shutil.rmtree(part)
        elif part.name in ("home", "server.log", "server.log.1", ".password"):
            part.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
    place = home / "postgres"
    if place.is_symlink():
        place.unlink()
