"""One named strategy per file: its name is the file's, its docstring the hypothesis, `STRATEGY` the retriever."""

import os
import sys
from hashlib import sha256
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import cast

from carmenta_lab.errors import UnknownName, UsageError
from carmenta_lab.retrieval.grid import changed, split
from carmenta_lab.retrieval.retriever import Retriever

PARTS = ("units", "model", "route", "statement", "settings")
"""What every retriever has."""


def names() -> list[str]:
    """Names of all strategies, sorted."""
    return sorted(module.name for module in iter_modules(__path__))


def load(name: str) -> Retriever:
    """The strategy of that name, or of a Python file outside the package given by its path.

    Parameters in brackets stand in for its own: `vector_hnsw(ef_search=40)`. UnknownName lists the known ones;
    UsageError when a file cannot be read or defines no `STRATEGY`.
    """
    name, given = split(name)
    module = _outside(Path(name)) if name.endswith(".py") else _inside(name)
    strategy = getattr(module, "STRATEGY", None)
    if strategy is None:
        raise UsageError(f"{name} defines no STRATEGY: assign a retriever to that name.")
    if lacking := [part for part in PARTS if not hasattr(strategy, part)]:
        raise UsageError(
            f"STRATEGY of {name} is no retriever but a {type(strategy).__name__} without {', '.join(lacking)}."
        )
    try:
        hash(strategy)
    except TypeError:
        raise UsageError(
            f"STRATEGY of {name} cannot be hashed: write its parameters as tuples and keep it frozen."
        ) from None
    return cast("Retriever", changed(name, strategy, given))


def needs_tokens(name: str) -> bool:
    """Whether a strategy compares codes of single tokens, which loading writes only when they are asked for."""
    return "tokens" in load(name).needs


def title(name: str) -> str:
    """The name under which a strategy appears in tables: the file's, without folder and ending."""
    file, _, given = name.partition("(")
    return Path(file).stem + (f"({given}" if given else "") if file.endswith(".py") else name


def _inside(name: str) -> ModuleType:
    if name not in names():
        raise UnknownName("strategy", name, names())
    return import_module(f"{__name__}.{name}")


def _outside(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(
            f"there is no strategy file {path}; give a name ({', '.join(names())}) or the path of a .py file."
        )
    place = sha256(os.fsencode(path.absolute())).hexdigest()[:8]
    spec = spec_from_file_location(f"carmenta_strategy_{path.stem}_{place}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses and pickle look
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise UsageError(f"the strategy file {path} cannot be executed: {type(error).__name__}: {error}.") from error
    return module
