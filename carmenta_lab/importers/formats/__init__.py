"""One format a file: its name is the file's, and `FORMAT` says what it reads, under which licence, and how."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from runpy import run_path

from carmenta_lab.errors import CarmentaError, UnknownName, UsageError
from carmenta_lab.failure import failure
from carmenta_lab.importers.writing import Format


def names() -> list[str]:
    """Names of all formats, sorted."""
    return sorted(module.name for module in iter_modules(__path__))


def load(name: str) -> Format:
    """The format of that name, or of a Python file outside the package given by its path.

    UnknownName lists the known ones; UsageError when a file cannot be executed or defines no `FORMAT`.
    """
    if name.endswith(".py"):
        found = _outside(Path(name)).get("FORMAT")
    elif name in names():
        found = vars(import_module(f"{__name__}.{name}")).get("FORMAT")
    else:
        raise UnknownName("format", name, names())
    if not isinstance(found, Format):
        raise UsageError(f"{name} defines no FORMAT: assign Format(what it reads, its licence, read) to that name.")
    return found


def _outside(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise UsageError(
            f"there is no format file {path}; give a name ({', '.join(names())}) or the path of a .py file."
        )
    try:
        return run_path(str(path))
    except (Exception, SystemExit) as error:
        if isinstance(error, CarmentaError):
            raise
        raise UsageError(f"the format file {path} cannot be executed: {failure(error, path)}.") from error
