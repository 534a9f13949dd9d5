"""The elements of a JSON list, or the lines of JSON lines, one at a time: the file may be larger than the memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from carmenta_lab.errors import DatasetError

CHUNK = 2**20
LONGEST = 2**28
"""Characters of one element; more is taken for a file that is not JSON."""


def elements(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number from 1 and object of every element of the list in a file; DatasetError says where it is no such list."""
    decoder = json.JSONDecoder()
    number = 0
    with _opened(path) as file:
        text = file.read(CHUNK).lstrip()
        if not text.startswith("["):
            raise DatasetError(f"{path} does not begin with a JSON list: expected [, found {text[:1]!r}.")
        text = text[1:].lstrip(" \t\r\n")
        while True:
            text = text.lstrip(" \t\r\n,")
            if text.startswith("]"):
                return
            try:
                value, end = decoder.raw_decode(text)
            except json.JSONDecodeError as error:
                more = file.read(max(CHUNK, len(text)))
                if not more or len(text) > LONGEST:
                    raise DatasetError(f"{path}: element {number + 1} is no whole JSON: {error.msg}.") from None
                text += more
                continue
            number += 1
            text = text[end:]
            yield number, _object(path, number, value)


def lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number from 1 and object of every line that is not blank; DatasetError says which line is none."""
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    value = json.loads(line)
                except ValueError as error:
                    raise DatasetError(f"{path}:{number}: no JSON: {error}.") from None
                yield number, _object(path, number, value)


def _opened(path: Path) -> Any:
    try:
        return path.open(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}.") from None


def _object(path: Path, number: int, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DatasetError(f"{path}: element {number} is of the type {type(value).__name__}; an object is expected.")
    return value
