"""What went wrong in a file that somebody else wrote, in half a sentence: the exception, the file, the line."""

import traceback
from pathlib import Path


def failure(error: BaseException, file: str | Path) -> str:
    """`ZeroDivisionError: division by zero, at mine.py:3`; the line is the last one of that file that was executed.

    Of an exception that began elsewhere without passing the file, the place where it began.
    """
    said = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {said[0].rstrip('.')}" if said else type(error).__name__
    return f"{what}, at {_place(error, str(file))}"


def _place(error: BaseException, file: str) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if own := [frame for frame in frames if frame.filename == file]:
        return f"{file}:{own[-1].lineno}"
    if isinstance(error, SyntaxError):  # of the file itself: nothing of it was executed
        return f"{error.filename or file}:{error.lineno or 1}"
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else file
