"""What others have as dataset folders: from files that the user has, never from the network.

import_dataset("locomo", "locomo10.json", "data/locomo")
"""

from pathlib import Path

from carmenta_lab.errors import CarmentaError, DatasetError
from carmenta_lab.failure import failure
from carmenta_lab.importers.formats import load, names
from carmenta_lab.importers.writing import Format, Options, Writer

__all__ = ["Format", "Options", "Writer", "import_dataset", "load", "names"]


def import_dataset(form: str, source: str | Path, folder: str | Path, options: Options | None = None) -> Writer:
    """Make a dataset folder of a labelled set that others published; what was written, counted and repaired.

    The folder appears when all is written, never half.

    Parameters:
        form: the name of a format, or the path of a `.py` file with one.
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
    found = load(form)
    with Writer(Path(source), Path(folder), Path(form).name, found.what, found.licence) as writer:
        try:
            found.read(Path(source), writer, options or Options())
        except (CarmentaError, OSError):
            raise
        except Exception as error:
            own = form.endswith(".py")  # of a format of ours the line says nothing about the source
            reason = failure(error, form) if own else f"{type(error).__name__}: {error}"
            raise DatasetError(
                f"{source} cannot be read as {found.what}, after {writer.counts.total()} lines: {reason}."
            ) from error
    return writer
