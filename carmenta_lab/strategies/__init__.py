"""One named strategy per file: its name is the file's, its docstring the hypothesis, `STRATEGY` the retriever."""

import os
import sys
from hashlib import sha256
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from inspect import isroutine
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, TypeAlias, cast, get_args

from carmenta_lab.errors import CarmentaError, UnknownName, UsageError
from carmenta_lab.failure import assigned_at, executed, failure
from carmenta_lab.retrieval.grid import changed, split
from carmenta_lab.retrieval.python import function
from carmenta_lab.retrieval.retriever import KINDS, Declared, Need, PythonRetriever, Rank, Retriever, SqlRetriever

__all__ = ["Given", "PythonRetriever", "function", "load", "names", "needs_tokens", "title"]

Given: TypeAlias = str | Path | Retriever | Rank
"""A name such as `bm25` or `vector_hnsw(ef_search=40)`, the path of a file, a retriever, or a function that ranks."""

MEMBERS = tuple(name for kind in (Declared, SqlRetriever) for name in vars(kind) if not name.startswith("_"))
"""What every retriever that is a statement has."""


def names() -> list[str]:
    """Names of all strategies, sorted."""
    return sorted(module.name for module in iter_modules(__path__))


def load(strategy: Given) -> Retriever:
    """The strategy of that name, or of a Python file outside the package given by its path; a value as it is.

    Parameters in brackets stand in for its own: `vector_hnsw(ef_search=40)`. UnknownName lists the known ones;
    UsageError, with file and line, when a file cannot be executed or its `STRATEGY` is no retriever, and for a value
    that is none.
    """
    if not isinstance(strategy, str | Path):
        try:
            return _retriever(strategy)
        except _Unfit as error:
            raise UsageError(f"the strategy {error}.") from error.__cause__
    name, given = split(os.fspath(strategy))
    module = _outside(Path(name)) if name.endswith(".py") else _inside(name)
    file = module.__file__ or name
    if "STRATEGY" not in vars(module):
        raise UsageError(f"{file} defines no STRATEGY: assign a retriever to that name, or function(rank).")
    try:
        return cast("Retriever", changed(name, _retriever(module.STRATEGY), given))
    except _Unfit as error:
        raise UsageError(
            f"STRATEGY of {name} ({file}:{assigned_at('STRATEGY', Path(file))}) {error}."
        ) from error.__cause__
    except (Exception, SystemExit) as error:
        if isinstance(error, CarmentaError):  # ours, and says what is wrong
            raise
        raise UsageError(f"STRATEGY of {name} cannot be read: {failure(error, file)}.") from error


def needs_tokens(strategy: Given) -> bool:
    """Whether a strategy compares codes of single tokens, which loading writes only when they are asked for."""
    return "tokens" in load(strategy).needs


def title(name: str) -> str:
    """The name under which a strategy appears in tables: the file's, without folder and ending."""
    file, _, given = name.partition("(")
    return Path(file).stem + (f"({given}" if given else "") if file.endswith(".py") else name


def _inside(name: str) -> ModuleType:
    if (known := sys.modules.get(f"{__name__}.{name}")) is not None:  # without a look at the folder
        return known
    if name not in names():
        raise UnknownName("strategy", name, names())
    file = str(Path(__file__).with_name(f"{name}.py"))
    return executed(f"the strategy {name}", file, lambda: import_module(f"{__name__}.{name}"))


def _outside(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(
            f"there is no strategy file {path}; give a name ({', '.join(names())}) or the path of a .py file."
        )
    path = path.absolute()
    place = sha256(os.fsencode(path)).hexdigest()[:8]
    spec = spec_from_file_location(f"carmenta_strategy_{path.stem}_{place}", path)
    assert spec is not None
    loader = spec.loader
    assert loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses and pickle look
    try:
        executed(f"the strategy {path.name}", str(path), lambda: loader.exec_module(module))
    except UsageError:
        del sys.modules[spec.name]
        raise
    return module


class _Unfit(Exception):
    """What a `STRATEGY` is instead of a retriever, as the end of a sentence."""


def _retriever(strategy: Any) -> Retriever:
    """What a file assigned; a bare function becomes a retriever."""
    if isroutine(strategy):
        return function(strategy)
    if isinstance(strategy, type):
        raise _Unfit(f"is the class {strategy.__name__}: expected a value of it, {strategy.__name__}()")
    if not isinstance(strategy, PythonRetriever) and (lacking := [m for m in MEMBERS if not hasattr(strategy, m)]):
        without = f" without {', '.join(lacking)}" if len(lacking) < len(MEMBERS) else ""
        raise _Unfit(
            f"is no retriever but of the type {type(strategy).__name__}{without}: expected a configured retriever such "
            "as VectorSearch(), or function(rank)"
        )
    units, model, needs = strategy.units, strategy.model, strategy.needs
    if not isinstance(units, tuple) or not units or not KINDS.keys() >= set(units):
        raise _Unfit(f"has the units {units!r}: expected a tuple of some of {', '.join(KINDS)}")
    if not isinstance(model, str | None):
        raise _Unfit(f"has the model {model!r}: expected the name of an embedding model, or None")
    if not isinstance(needs, frozenset) or not needs <= {*get_args(Need)}:
        raise _Unfit(f"has the needs {needs!r}: expected a frozenset of some of {', '.join(get_args(Need))}")
    if needs and isinstance(strategy, PythonRetriever):
        raise _Unfit(f"needs {', '.join(sorted(needs))}: what ranks in Python is given the query alone")
    if needs & {"vector", "tokens"} and model is None:
        raise _Unfit(f"needs {', '.join(sorted(needs))} and names no model that makes it of a question")
    try:
        hash(strategy)
    except TypeError as error:
        raise _Unfit("cannot be hashed: write its parameters as tuples and keep it frozen") from error
    return cast("Retriever", strategy)
