"""How do several processes take turns at one folder?"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from carmenta_lab.errors import DatabaseUnavailable


@contextmanager
def locked(path: Path, patience_s: float = 300) -> Iterator[None]:
    """Hold the lock file `path`, made if absent, alone among all processes and threads of this machine.

    The lock ends with the block or with the process. It is not re-entrant. DatabaseUnavailable when it
    cannot be had within `patience_s` seconds, or when the file system knows no locks.
    """
    lock = FileLock(path, timeout=patience_s, mode=0o600, thread_local=False)
    try:
        lock.acquire(poll_interval=0.02)
    except Timeout:
        raise DatabaseUnavailable(
            f"Another process has held {path} for more than {patience_s:g} s; end that process."
        ) from None
    except NotImplementedError:
        raise DatabaseUnavailable(
            f"The file system of {path} offers no locks; set CARMENTA_HOME to a folder on a local disk."
        ) from None
    except OSError as error:
        raise DatabaseUnavailable(
            f"The lock file {path} cannot be opened ({error.strerror}); make its folder writable for this account."
        ) from error
    try:
        yield
    finally:
        lock.release()
