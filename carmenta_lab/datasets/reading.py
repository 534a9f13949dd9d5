"""Is this line a record, and if not, why? The stream of a file's records and rejects."""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Generic

import msgspec

from carmenta_lab.datasets.kinds import Judgement, RecordT
from carmenta_lab.datasets.lines import MAX_LINE_BYTES, numbered_lines
from carmenta_lab.datasets.reasons import explain
from carmenta_lab.datasets.rejects import KEPT_BYTES, Reject
from carmenta_lab.errors import DatasetError

MAX_DEPTH = 500  # levels of lists and objects in a line: what Python reads and writes from any stack
COLUMNS = ("query_id", "target_id", "relevance")

RELEVANCE = re.compile(r"[0-9]{1,10}")
ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|u0000|u[dD][89a-fA-F]..|.)", re.DOTALL)
MENDABLE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
ID = re.compile(rb'"(\w+_id)"\s*:\s*("(?:[^"\\]|\\.)+")')


class Unreadable(ValueError):
    """Raised for a line that is no record, with the reason; `found` is what could be read of it."""

    def __init__(self, reason: str, found: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.found = found


def read(folder: Path, kind: type[RecordT]) -> Iterator[tuple[int, RecordT] | Reject]:
    """Stream the records of `kind.FILE`, each with its line number from 1, and a Reject for each bad line.

    A missing file yields nothing; blank lines are skipped but counted. NUL characters are taken out of
    every string, a lone surrogate becomes U+FFFD, and unknown fields are ignored. A line is rejected when it
    is above 10 MiB, no UTF-8, no JSON object, nested deeper than 500 levels, or not as `kind` says; a time
    must lie in the years 1 to 9999 in UTC. DatasetError when the file cannot be read or `qrels.tsv` has no header.
    """
    path = folder / kind.FILE
    form = _form(kind)
    lines = numbered_lines(path)
    if kind is Judgement:
        _check_header(path, next(lines, None))
    for number, line, whole in lines:
        try:
            if not whole:
                raise Unreadable(f"longer than {MAX_LINE_BYTES} bytes")
            yield number, form.row(line) if kind is Judgement else form.record(line)
        except Unreadable as error:
            ids = _ids(line[:KEPT_BYTES]) if error.found is None else _ids_of(error.found)
            yield Reject(kind.FILE, number, str(error), ids, line[:KEPT_BYTES])


class _Form(Generic[RecordT]):
    """The way from a line to one kind of record."""

    def __init__(self, kind: type[RecordT]) -> None:
        self.kind = kind
        self.decoder = msgspec.json.Decoder(kind)
        fields = msgspec.structs.fields(kind)
        self.times = tuple(field.name for field in fields if field.name in ("created_at", "asked_at"))
        self.optional = frozenset(field.name for field in fields if not field.required)

    def record(self, line: bytes) -> RecordT:
        """The record of a JSON line; Unreadable says why there is none."""
        _check_utf8(line)
        line = mended(line)
        try:
            if line.count(b"[") + line.count(b"{") > MAX_DEPTH and _depth(msgspec.json.decode(line)) > MAX_DEPTH:
                raise Unreadable(f"nested deeper than {MAX_DEPTH} levels")
            try:
                record = self.decoder.decode(line)
            except msgspec.ValidationError as error:
                if str(error).partition(" - at ")[0].endswith("out of range"):
                    raise  # a number that Python does not hold: no second way to read it
                return self.convert(msgspec.json.decode(line))
        except RecursionError:
            raise Unreadable(f"nested deeper than {MAX_DEPTH} levels") from None
        except msgspec.ValidationError as error:
            raise Unreadable(explain(str(error), {}, self.kind)) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreadable(f"not JSON: {error}") from None
        return self.checked(record, None)

    def row(self, line: bytes) -> RecordT:
        """The record of a line of tab-separated columns; Unreadable says why there is none."""
        _check_utf8(line)
        cells = line.replace(b"\0", b"").decode().split("\t")
        if len(cells) != len(COLUMNS):
            raise Unreadable(f"expected {len(COLUMNS)} columns separated by tabs, found {len(cells)}")
        found: dict[str, Any] = dict(zip(COLUMNS, cells, strict=True))
        if not RELEVANCE.fullmatch(cells[-1]):
            raise Unreadable(f"relevance: expected an integer from 0, found {cells[-1][:20]!r}", found)
        return self.convert(found | {"relevance": int(cells[-1])})

    def convert(self, found: Any) -> RecordT:
        """The record of decoded values, nulls and wider forms of ISO 8601 allowed; slower than the decoder."""
        if not isinstance(found, dict):
            raise Unreadable(f"expected an object, found {type(found).__name__}")
        given = {name: v for name, v in found.items() if v is not None or name not in self.optional}
        for name in self.times:
            with suppress(KeyError, TypeError, ValueError):
                given[name] = datetime.fromisoformat(given[name])
        try:
            return self.checked(msgspec.convert(given, self.kind), found)
        except msgspec.ValidationError as error:
            raise Unreadable(explain(str(error), found, self.kind), found) from None

    def checked(self, record: RecordT, found: dict[str, Any] | None) -> RecordT:
        for name in self.times:
            at = getattr(record, name)
            if at is not None and not 1 < at.year < 9999:
                try:
                    at.astimezone(UTC)
                except OverflowError:
                    ids = found or msgspec.structs.asdict(record)
                    raise Unreadable(f"{name}: not within the years 1 to 9999 in UTC, found {at}", ids) from None
        return record


@cache
def _form(kind: type[RecordT]) -> _Form[RecordT]:
    return _Form(kind)


def _check_header(path: Path, first: tuple[int, bytes, bool] | None) -> None:
    if first is not None and first[1].split(b"\t") != [name.encode() for name in COLUMNS]:
        found = first[1][:60].decode(errors="backslashreplace")
        raise DatasetError(
            f"{path}:{first[0]}: expected the header line {'<tab>'.join(COLUMNS)}, found {found!r}; "
            "write it as the first line."
        )


def _check_utf8(line: bytes) -> None:
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError as error:
            raise Unreadable(f"not UTF-8: {error.reason} at byte {error.start + 1} of the line") from None


def mended(line: bytes) -> bytes:
    """A line of JSON without NUL characters and halves of surrogate pairs."""
    return ESCAPE.sub(_mend, line) if b"\\u" in line and MENDABLE.search(line) else line


def _mend(escape: re.Match[bytes]) -> bytes:
    sequence = escape[0]
    if sequence == b"\\u0000":
        return b""
    return b"\\ufffd" if len(sequence) == 6 else sequence


def _depth(value: Any) -> int:
    """How many levels of lists and objects lie within each other."""
    depth = 0
    level = [value] if isinstance(value, dict | list) else []
    while level:
        depth += 1
        inner = (child for outer in level for child in (outer.values() if isinstance(outer, dict) else outer))
        level = [child for child in inner if isinstance(child, dict | list)]
    return depth


def _ids_of(found: dict[str, Any]) -> dict[str, str]:
    return {k: v for k, v in found.items() if k.endswith("_id") and isinstance(v, str) and v}


def _ids(line: bytes) -> dict[str, str]:
    """The ids in a line that is no JSON, as far as they can be told; the first of each name."""
    ids: dict[str, str] = {}
    for match in ID.finditer(line):
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            ids.setdefault(match[1].decode(), msgspec.json.decode(match[2], type=str))
    return ids
