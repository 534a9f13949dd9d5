"""What a load did."""

from dataclasses import dataclass, field
from pathlib import Path

from carmenta_lab.datasets import Reject
from carmenta_lab.display import Table
from carmenta_lab.ingest.apply import Changes

SHOWN_REJECTS = 5


@dataclass
class LoadReport:
    """What a load did; printed, its lines; in a notebook, a table.

    >>> print(cl.load(lab, "sample_de"))
    sample_de: unchanged
    """

    dataset: str
    folder: Path
    unchanged: bool = False  # the same content was there already
    changes: Changes = field(default_factory=Changes)
    rejects: list[Reject] = field(default_factory=list)
    rejects_file: Path | None = None
    mended: dict[str, int] = field(default_factory=dict)  # what was mended -> how often
    given: dict[str, int] = field(default_factory=dict)  # model -> vectors taken from the folder, new or others
    lacking: dict[str, int] = field(default_factory=dict)  # model of given vectors -> passages that have none
    embedded: int = 0  # passages that got a vector from a model
    tokens: int = 0  # passages that got codes of their tokens
    token_bytes: int = 0  # what the codes of all passages take on disk

    def lines(self) -> list[str]:
        """The report as a person reads it."""
        found = [f"{self.dataset}: unchanged" if self.unchanged else f"{self.dataset}: loaded from {self.folder}"]
        for table, counts in self.changes.items():
            shown = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
            if shown:
                found.append(f"  {table}: {shown}")
        found += [f"  {line}" for line in self._more()]
        if self.rejects:
            place = f", all in {self.rejects_file}" if self.rejects_file else ""
            found.append(f"  {len(self.rejects)} lines rejected{place}; the first: {self.rejects[0]}")
        return found

    def _more(self) -> list[str]:
        """What was mended, and what became searchable."""
        found = [f"{count} {what}" for what, count in self.mended.items()]
        found += [f"vectors of {model} given: {count}" for model, count in self.given.items()]
        for model, count in self.lacking.items():
            found.append(
                f"{count} passages (long messages, memories, sections) have no vector of {model}: "
                f"load with models=({model!r},) to embed them"
            )
        if self.embedded:
            found.append(f"passages embedded: {self.embedded}")
        if self.tokens:
            found.append(f"passages with token codes added: {self.tokens}; all codes take {self.token_bytes:,} bytes")
        return found

    def table(self) -> Table:
        """A row a table of the schema that changed; below it what was mended, embedded and rejected."""
        rows = [
            [name, *(f"{counts[what]:,}" for what in ("added", "updated", "deleted"))]
            for name, counts in self.changes.items()
            if any(counts.values())
        ]
        notes = self._more()
        if self.rejects:
            place = f", all in {self.rejects_file}" if self.rejects_file else ""
            notes.append(f"{len(self.rejects)} lines rejected{place}:")
            notes += [str(reject) for reject in self.rejects[:SHOWN_REJECTS]]
            if len(self.rejects) > SHOWN_REJECTS:
                notes.append("…")
        return Table(["table", "added", "updated", "deleted"], rows, self.lines()[0], notes)

    def __repr__(self) -> str:
        rows = sum(sum(counts.values()) for counts in self.changes.values())
        done = "unchanged" if self.unchanged else f"{rows:,} rows changed"
        return f"<LoadReport of {self.dataset!r}: {done}, {len(self.rejects)} lines rejected>"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()
