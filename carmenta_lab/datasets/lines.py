"""Which lines does a file have, when no line may fill the memory?"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from carmenta_lab.errors import DatasetError

MAX_LINE_BYTES = 10 * 2**20  # a text of 10 MB with its envelope still fits
SKIP_BYTES = 2**18
BOM = b"\xef\xbb\xbf"


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Number from 1, bytes and wholeness of each line that is not blank; nothing when there is no file.

    A line above `MAX_LINE_BYTES` comes as its beginning with False, its rest unread. A byte order mark at
    the start of the file and the line ending are taken off. DatasetError when the file cannot be read.
    """
    try:
        with path.open("rb", buffering=SKIP_BYTES) as file:
            for number in count(1):
                line = file.readline(MAX_LINE_BYTES + 1)
                if not line:
                    return
                whole = len(line) <= MAX_LINE_BYTES or line.endswith(b"\n")
                while not whole and (rest := file.readline(SKIP_BYTES)):
                    if rest.endswith(b"\n"):
                        break
                if number == 1:
                    line = line.removeprefix(BOM)
                if line and not line.isspace():
                    yield number, line.rstrip(b"\r\n"), whole
    except FileNotFoundError:
        return
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}.") from error
