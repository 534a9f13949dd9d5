"""One named strategy per file: its name is the file's, its docstring the hypothesis, `STRATEGY` the retriever."""

from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import cast

from carmenta_lab.errors import UnknownName, UsageError
from carmenta_lab.retrieval.retriever import Retriever


def names() -> list[str]:
    """Names of all strategies, sorted."""
    return sorted(module.name for module in iter_modules(__path__))


def load(name: str) -> Retriever:
    """The strategy of that name, or of a Python file outside the package given by its path.

    UnknownName lists the known ones; UsageError when a file cannot be read or defines no `STRATEGY`.
    """
    module = _outside(Path(name)) if name.endswith(".py") else _inside(name)
    strategy = getattr(module, "STRATEGY", None)
    if strategy is None:
        raise UsageError(f"{name} defines no STRATEGY: assign a retriever to that name.")
    return cast("Retriever", strategy)


def title(name: str) -> str:
    """The name under which a strategy appears in tables: the file's, without folder and ending."""
    return Path(name).stem if name.endswith(".py") else name


def _inside(name: str) -> ModuleType:
    if name not in names():
        raise UnknownName("strategy", name, names())
    return import_module(f"{__name__}.{name}")


def _outside(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(
            f"there is no strategy file {path}; give a name ({', '.join(names())}) or the path of a .py file."
        )
    spec = spec_from_file_location(f"carmenta_strategy_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"the strategy file {path} cannot be executed: {type(error).__name__}: {error}.") from error
    return module
