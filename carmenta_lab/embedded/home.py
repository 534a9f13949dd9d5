"""What lies in the home folder: the lock and the passwords."""

import os
import re
import secrets
import tempfile
from pathlib import Path

from carmenta_lab.embedded.lock import locked
from carmenta_lab.errors import DatabaseUnavailable, UsageError


def make_home(home: Path) -> Path:
    """Make the folder `home` if it is absent, and return its absolute path."""
    home = Path(os.path.abspath(home))
    try:
        home.mkdir(parents=True, exist_ok=True)
        ignore = home / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise DatabaseUnavailable(
            f"{home} cannot hold the embedded server ({error.strerror});"
            " set CARMENTA_HOME to a folder that this account can write."
        ) from error
    return home


def lock_file(home: Path) -> Path:
    """The file that is locked while a server is started, stopped or destroyed."""
    return home / "lock"


def kept_secret(home: Path, name: str) -> str | None:
    """The password kept under `name`, or None."""
    path = home / "secrets" / name
    try:
        return path.read_text().strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DatabaseUnavailable(
            f"The password in {path} cannot be read ({error.strerror}); run as the account that owns {home}."
        ) from error


def secret(home: Path, name: str) -> str:
    """The random password kept in `home` under `name`, made at the first call (32 characters, file mode 0600)."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", name):
        raise UsageError(f"The name of a password is up to 63 letters, digits, _ . or -; found {name!r}.")
    home = make_home(home)
    folder = home / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    with locked(folder / ".lock"):
        kept = kept_secret(home, name)
        if kept is not None:
            return kept
        made = secrets.token_urlsafe(24)
        handle, draft = tempfile.mkstemp(prefix=".draft-", dir=folder)  # mode 0600
        with os.fdopen(handle, "w") as file:
            file.write(made)
            file.flush()
            os.fsync(handle)
            if os.geteuid() == 0:  # root in the home of another
                os.fchown(handle, folder.stat().st_uid, folder.stat().st_gid)
        os.replace(draft, folder / name)
        return made
