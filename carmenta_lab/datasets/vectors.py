"""Which vectors does a folder bring along? `embeddings/MODEL.npy`: one row a line of `messages.jsonl`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from carmenta_lab.datasets.folder import vector_files
from carmenta_lab.datasets.kinds import Message
from carmenta_lab.errors import DatasetError

MAX_DIM = 4_000  # of a halfvec
BLOCK_ROWS = 8_192
LEAST_LENGTH = 1e-6
UNIT = 2**-11
"""How far float16 may move a number, and so at most the length of a vector, relative to it."""


@dataclass(frozen=True)
class GivenVectors:
    """The vectors of one model: float16 or float32 of shape (lines, dim), row n for line n + 1, blank lines too."""

    model: str  # the path below `embeddings/` without its ending, so that a name may hold a slash
    path: Path
    lines: int
    dim: int
    unit: bool  # whether every length is 1, as far as float16 can tell

    def rows(self, lines: Sequence[int]) -> NDArray[np.floating]:
        """Unit vectors of these lines, shape (len(lines), dim)."""
        found: NDArray[np.floating] = _opened(self.path)[np.asarray(lines, np.int64) - 1]
        if self.unit:
            return found
        wide = found.astype(np.float32)
        wide /= _lengths(wide)[:, None]
        return wide

    def expect(self, lines: int) -> None:
        """DatasetError unless there is a row for each of so many lines."""
        if self.lines != lines:
            raise DatasetError(
                f"{self.path} has {self.lines} rows and {Message.FILE} has {lines} lines; expected a row for each line."
            )


def given_vectors(folder: Path) -> list[GivenVectors]:
    """The files of vectors for `messages.jsonl`, every number looked at.

    DatasetError names the file, and the row where one is zero or not finite.
    """
    return [_checked(name, path) for name, path in vector_files(folder)]


def _checked(model: str, path: Path) -> GivenVectors:
    found = _opened(path)
    if found.dtype not in (np.float16, np.float32) or found.ndim != 2:
        raise DatasetError(
            f"{path} holds {found.dtype} of shape {found.shape}; expected float16 or float32 of two dimensions, "
            f"a row for each line of {Message.FILE}."
        )
    if not 1 <= found.shape[1] <= MAX_DIM:
        raise DatasetError(f"{path} holds vectors of {found.shape[1]} dimensions; expected 1 to {MAX_DIM}.")
    unit = True
    for start, block in _blocks(path, len(found)):
        lengths = _lengths(block.astype(np.float32))
        bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > LEAST_LENGTH)))
        if bad.size:
            what = "a zero vector" if np.isfinite(lengths[bad[0]]) else "numbers that are not finite"
            raise DatasetError(
                f"{path} holds {what} in row {start + bad[0]}, for line {start + bad[0] + 1} of {Message.FILE}; "
                "embed that message again, or take its line and row out."
            )
        unit = unit and bool((np.abs(lengths - 1) <= UNIT).all())
    return GivenVectors(model, path, len(found), found.shape[1], unit)


def _lengths(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return found


def _blocks(path: Path, rows: int) -> Iterator[tuple[int, NDArray[np.floating]]]:
    for start in range(0, rows, BLOCK_ROWS):
        yield start, _opened(path)[start : start + BLOCK_ROWS]


def _opened(path: Path) -> NDArray[np.floating]:
    """The file, mapped anew each time, so that pages read do not stay in memory."""
    try:
        found: NDArray[np.floating] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DatasetError(f"{path} is not a readable .npy file: {error}.") from error
    if not isinstance(found, np.ndarray):
        raise DatasetError(f"{path} is an archive of arrays; expected one array, as numpy.save writes it.")
    return found
