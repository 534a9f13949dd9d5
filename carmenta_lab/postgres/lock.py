"""How do several processes take turns at one folder?"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from carmenta_lab.errors import DatabaseUnavailable


@contextmanager
def locked(path: Path, patience_s: float = 300) -> Iterator[None]:
    """Hold the lock file `path`, made if absent, alone among all processes and threads of this machine.

    The lock ends with the block or with the process. It is not re-entrant. DatabaseUnavailable when it
    cannot be had within `patience_s` seconds, or when the file system knows no locks.
    """
    import fcntl  # not on Windows, where this module must still be importable

    deadline = time.monotonic() + patience_s
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DatabaseUnavailable(
            f"The lock file {path} cannot be opened ({error.strerror}); make its folder writable for this account."
        ) from error
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DatabaseUnavailable(
                        f"Another process has held {path} for more than {patience_s:g} s; end that process."
                    ) from None
                time.sleep(0.02)
            except OSError as error:
                raise DatabaseUnavailable(
                    f"The file system of {path} offers no locks ({error.strerror});"
                    " set CARMENTA_HOME to a folder on a local disk."
                ) from error
        yield
    finally:
        os.close(descriptor)
