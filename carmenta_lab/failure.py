"""What went wrong in a file that somebody else wrote, in half a sentence: the exception, the file, the line."""

import ast
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from carmenta_lab.errors import UsageError

T = TypeVar("T")


def failure(error: BaseException, file: str | Path) -> str:
    """`ZeroDivisionError: division by zero, at mine.py:3`; the line is the last one of that file that was executed.

    Of an exception that began elsewhere without passing the file, the place where it began.
    """
    said = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {said[0].rstrip('.')}" if said else type(error).__name__
    return f"{what}, at {_place(error, str(file))}"


def executed(what: str, file: str, act: Callable[[], T]) -> T:
    """What comes of code in a file of somebody else; UsageError when it raises or exits, `what` being what failed."""
    try:
        return act()
    except (Exception, SystemExit) as error:
        raise UsageError(f"{what} cannot be executed: {failure(error, file)}.") from error


def assigned_at(name: str, file: Path) -> int:
    """The line in which a file that was executed assigns a name, last of all; 1 where it came in another way."""
    lines = [1]
    for node in ast.parse(file.read_bytes()).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets += [node.target] if isinstance(node, ast.AnnAssign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            lines.append(node.lineno)
    return lines[-1]


def _place(error: BaseException, file: str) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if own := [frame for frame in frames if frame.filename == file]:
        return f"{file}:{own[-1].lineno}"
    if isinstance(error, SyntaxError):  # of the file itself: nothing of it was executed
        return f"{error.filename or file}:{error.lineno or 1}"
    if not frames or frames[-1].filename.startswith("<frozen"):  # the file could not even be read as Python
        return file
    return f"{frames[-1].filename}:{frames[-1].lineno}"
