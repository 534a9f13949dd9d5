"""Which lines did not become records, why, and where are they kept?"""

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from carmenta_lab.errors import DatasetError

KEPT_BYTES = 10_000


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that does not become a record."""

    file: str  # "messages.jsonl"
    line: int  # from 1
    reason: str  # field: finding
    ids: Mapping[str, str] = field(default_factory=dict)  # the ids that could be read, by field
    raw: bytes = b""  # the line as it was, its first 10 kB

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


def write_rejects(path: Path, rejects: Iterable[Reject]) -> int:
    """Append the rejects as JSON lines and return their number; the file is for its owner only (mode 0600).

    Bytes that are no UTF-8 are written as `\\xNN`. Without rejects no file is made. DatasetError when the
    file cannot be written.
    """
    written = 0
    file = None
    try:
        for reject in rejects:
            file = file or os.fdopen(_private(path), "ab")
            entry = {
                "file": reject.file,
                "line": reject.line,
                "reason": reject.reason,
                "raw": reject.raw.decode(errors="backslashreplace"),
            }
            file.write(msgspec.json.encode(entry) + b"\n")
            written += 1
    except OSError as error:
        raise DatasetError(f"rejects cannot be written to {path}: {error.strerror or error}.") from error
    finally:
        if file is not None:
            file.close()
    return written


def _private(path: Path) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):  # never a device such as /dev/stdout
        os.fchmod(descriptor, 0o600)
    return descriptor
