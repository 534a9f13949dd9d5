"""Which folder is meant by a name or a path, and has its content changed?"""

import hashlib
import os
from pathlib import Path

from carmenta_lab import resources
from carmenta_lab.datasets.kinds import KINDS, Document, Message
from carmenta_lab.errors import DatasetError, UnknownName, UsageError

FILES = tuple(kind.FILE for kind in KINDS)
"""The files that are read, in the order of the hash; whatever else lies in the folder is ignored."""

REQUIRED = (Message.FILE, Document.FILE)
EMBEDDINGS = "embeddings"


def is_dataset(folder: Path) -> bool:
    """Whether one of the two files of which a dataset has at least one is there."""
    return any(os.path.isfile(folder / name) for name in REQUIRED)


def names() -> list[str]:
    """Names of the datasets that are found without a path, sorted."""
    shelves = [shelf for shelf in _shelves() if os.path.isdir(shelf) and os.access(shelf, os.R_OK)]
    return sorted({folder.name for shelf in shelves for folder in shelf.iterdir() if is_dataset(folder)})


def find(name_or_path: str | Path) -> Path:
    """The absolute folder of a dataset: a name under the project's data, `data/` here, or any path.

    UsageError when there is no such folder, DatasetError when it holds no messages and no documents.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise UsageError(f"a dataset is given by name or by the path of its folder, not as {name_or_path!r}.")
    given = os.fspath(name_or_path)
    if not given.strip():
        raise UsageError("the dataset's name is empty; give a name or the path of a folder.")
    plain = os.path.basename(given) == given and given not in (os.curdir, os.pardir)
    candidates = [shelf / given for shelf in _shelves()] if plain else []
    candidates.append(Path(os.path.expanduser(given)))
    folder = next((path for path in candidates if os.path.isdir(path)), None)
    if folder is None and os.path.isfile(candidates[-1]):
        raise UsageError(f"{given} is a file; give the folder that holds it.")
    if folder is None and plain:
        raise UnknownName("dataset", given, names())
    if folder is None:
        raise UsageError(f"there is no folder {given}; known by name: {', '.join(names()) or 'none'}.")
    if not is_dataset(folder):
        raise DatasetError(f"{folder} holds neither {' nor '.join(REQUIRED)}; a dataset has at least one.")
    return Path(os.path.abspath(folder))  # not resolved: a link's own name is the dataset's


def title(folder: str | Path) -> str:
    """What a dataset's README says it is: its first heading, without the name before a colon; "" without one."""
    try:
        with (Path(folder) / "README.md").open(encoding="utf-8", errors="replace") as file:
            first = next((line for line in file if line.startswith("# ")), "")
    except OSError:
        return ""
    name, colon, said = first[2:].strip().partition(": ")
    return said if colon and name == Path(folder).name else first[2:].strip()


def content_hash(folder: Path) -> str:
    """SHA-256, in hexadecimal, over the names and bytes of the known files that exist, and of given vectors."""
    whole = hashlib.sha256()
    files = [(name, folder / name) for name in FILES]
    files += [(f"{EMBEDDINGS}/{model}", path) for model, path in vector_files(folder)]
    for name, path in files:
        try:
            with path.open("rb") as file:
                whole.update(name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {error.strerror or error}.") from error
    return whole.hexdigest()


def vector_files(folder: Path) -> list[tuple[str, Path]]:
    """Model and file of each `embeddings/MODEL.npy`, sorted; a slash in a model's name is a folder."""
    place = folder / EMBEDDINGS
    found = sorted(path for path in place.rglob("*.npy") if path.is_file())
    return [(path.relative_to(place).with_suffix("").as_posix(), path) for path in found]


def _shelves() -> tuple[Path, Path]:
    return resources.datasets(), Path("data")
