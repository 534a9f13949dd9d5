"""Labelled sets that others published, as dataset folders: from files that the user has, never from the network.

import_dataset("locomo", "locomo10.json", "data/locomo")
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from carmenta_lab.errors import DatasetError, UnknownName
from carmenta_lab.importers import beir, locomo, longmemeval
from carmenta_lab.importers.writing import Options, Writer

__all__ = ["FORMATS", "Options", "Writer", "import_dataset"]

FORMATS: Mapping[str, tuple[str, str, Callable[[Path, Writer, Options], None]]] = {
    "beir": ("a BEIR folder", "that of the set it holds", beir.read),
    "locomo": ("LoCoMo's JSON", "LoCoMo is published under CC BY-NC 4.0", locomo.read),
    "longmemeval": ("LongMemEval's JSON", "LongMemEval is published under MIT", longmemeval.read),
}
"""Name -> what the source is, its licence, and the reader."""


def import_dataset(form: str, source: str | Path, folder: str | Path, options: Options | None = None) -> Writer:
    """Make a dataset folder of a labelled set that others published; what was written, counted and repaired.

    The folder appears when all is written, never half.

    Parameters:
        form: one of `FORMATS`: beir, locomo, longmemeval.
        source: the file, of beir the folder.
        folder: the one to make; it must not exist, or be empty.
        options: what can be chosen; each format looks at its own.

    Raises:
        UnknownName: for a format that there is not; it lists those that there are.
        UsageError: when there is no such source, or the folder has something in it.
        DatasetError: when the source is not of that format.

    >>> made = cl.import_dataset("beir", beir, folder / "mine")  # `beir`: corpus.jsonl, queries.jsonl, qrels/test.tsv
    >>> made.counts["documents"], made.counts["judgements"]
    (2, 1)
    """
    if form not in FORMATS:
        raise UnknownName("format", form, FORMATS)
    what, licence, read = FORMATS[form]
    with Writer(Path(source), Path(folder), form, what, licence) as writer:
        try:
            read(Path(source), writer, options or Options())
        except (AttributeError, KeyError, TypeError, UnicodeDecodeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise DatasetError(
                f"{source} is not {what} as published, after {writer.counts.total()} lines: {reason}."
            ) from error
    return writer
