"""Every error raised on purpose: one sentence that says what was expected, what was found, where, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class CarmentaError(Exception):
    """Base of all errors raised on purpose; the command line prints its text and exits with `exit_code`."""

    exit_code = 1


class UsageError(CarmentaError, ValueError):
    """The caller asked for something that cannot be: a wrong name, value or combination."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that is not among the known ones; the message lists them, the nearest first."""

    def __init__(self, kind: str, got: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(got, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        listing = ", ".join(names) if names else "none"
        super().__init__(f"unknown {kind} {got!r}.{hint} Known: {listing}.")


class DatasetError(CarmentaError, ValueError):
    """A dataset folder that cannot be read or loaded as it stands."""


class EmbeddingError(CarmentaError):
    """A model that cannot be had or used."""


class DimensionMismatch(EmbeddingError, ValueError):
    """Vectors of one dimension where another is stored."""

    def __init__(self, expected: int, got: int, source: str) -> None:
        super().__init__(f"{source} produced {got} dimensions; {expected} are expected.")


class DatabaseUnavailable(CarmentaError, RuntimeError):
    """No server, or none that answers."""


class DatabaseUnsuitable(CarmentaError, RuntimeError):
    """A server that answers but lacks a version, an extension or a privilege."""


class NotebookFailed(CarmentaError):
    """A notebook whose execution ended with an error."""


class WorseThanBaseline(CarmentaError):
    """A measure that is lower than its baseline by more than is allowed."""
