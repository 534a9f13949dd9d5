"""A dataset folder in the making: lines, judgements, counts, what was repaired, and a README that says all that."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

from carmenta_lab.errors import UsageError

LISTED = 200
"""Repairs that the README lists one by one."""

COUNTED = {
    "conversations.jsonl": "titles and places of conversations",
    "messages.jsonl": "messages",
    "documents.jsonl": "documents",
    "memories.jsonl": "memories",
    "profiles.jsonl": "profiles",
    "queries.jsonl": "questions",
    "qrels.tsv": "judgements",
    "artifacts.jsonl": "versions of artifacts",
    "votes.jsonl": "votes",
    "feedback.jsonl": "feedback signals",
    "tags.jsonl": "tags",
}
"""File of a dataset -> what its lines are counted as."""


@dataclass(frozen=True)
class Options:
    """What can be chosen when importing; each format reads the options it knows."""

    adversarial: bool = True  # locomo: keep the questions that nothing answers, without judgements
    split: str = "test"  # beir: which file under qrels/


class Format(NamedTuple):
    """A format that can be imported: what a file of `formats/` declares."""

    what: str  # the source, as it is named in messages: "LoCoMo's JSON"
    licence: str  # of the source, as the folder's README says it
    read: "Callable[[Path, Writer, Options], None]"  # writes what a source holds


class Writer:
    """Writes a dataset folder beside its place and moves it there at the end; a block that fails leaves nothing."""

    def __init__(self, source: Path, folder: Path, form: str, what: str, licence: str) -> None:
        self.source, self.folder = source, folder
        self.form, self.what, self.licence = form, what, licence
        self.counts: Counter[str] = Counter()
        self.notes: list[str] = []  # how the source's fields became those of a dataset
        self.repairs: list[str] = []  # what was not as it should be, and what became of it
        self._files: dict[str, IO[str]] = {}
        if not source.exists():
            raise UsageError(f"there is no {source}: give the file or folder to import.")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} is there already and not empty: give a new folder.")

    def line(self, file: str, **fields: Any) -> None:
        """Write one record, its empty fields left out and times in ISO 8601.

        ValueError when no dataset has such a file.
        """
        if file not in COUNTED:
            raise ValueError(f"{file} is no file of a dataset; known: {', '.join(COUNTED)}.")
        kept = {name: value for name, value in fields.items() if value is not None and value != []}
        if file == "messages.jsonl":
            kept.setdefault("created_at", None)
        kept = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in kept.items()}
        self._write(file, json.dumps(kept, ensure_ascii=not _whole(kept)))

    def judge(self, query_id: str, target_id: str, relevance: int = 1) -> None:
        """Write one judgement."""
        if "qrels.tsv" not in self._files:
            self._open("qrels.tsv").write("query_id\ttarget_id\trelevance\n")
        self._write("qrels.tsv", f"{query_id}\t{target_id}\t{relevance}")

    def repaired(self, what: str) -> None:
        """Report something that was not as it should be, and what became of it."""
        self.repairs.append(what)

    def __enter__(self) -> Self:
        """Make the place to write to, on the same file system as the folder."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._place = Path(mkdtemp(prefix=".import-", dir=self.folder.parent))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Finish the folder, or leave nothing behind."""
        for file in self._files.values():
            file.close()
        try:
            if kind is None:
                (self._place / "README.md").write_text(self._readme(), encoding="utf-8")
                self._place.chmod(0o755)
                self._place.replace(self.folder)
        finally:
            shutil.rmtree(self._place, ignore_errors=True)

    def _open(self, file: str) -> IO[str]:
        self._files[file] = (self._place / file).open("w", encoding="utf-8")
        return self._files[file]

    def _write(self, file: str, text: str) -> None:
        handle = self._files.get(file) or self._open(file)
        handle.write(text + "\n")
        self.counts[COUNTED[file]] += 1

    def _readme(self) -> str:
        more = len(self.repairs) - LISTED
        parts = [
            f"# {self.folder.name}",
            f"Made of {self.what}, `{self.source.name}`, by `carmenta-lab import {self.form}`. "
            f"Its licence is that of the source: {self.licence}.",
            "## Counts",
            "\n".join(f"- {name}: {count:,}" for name, count in sorted(self.counts.items())),
            "## How it was made",
            "\n".join(f"- {note}" for note in self.notes),
            f"## Repaired, or left out ({len(self.repairs):,})",
            "\n".join(f"- {repair}" for repair in self.repairs[:LISTED]) or "Nothing.",
        ]
        return "\n\n".join(parts) + (f"\n- and {more:,} more" if more > 0 else "") + "\n"


def _whole(fields: dict[str, Any]) -> bool:
    """Whether all texts can be written as they are: half a surrogate pair cannot, and is escaped."""
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
