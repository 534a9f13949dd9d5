"""One named policy per file: its name is the file's, its docstring the hypothesis, `POLICY` the parameters."""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from runpy import run_path
from typing import TypeAlias

from carmenta_lab.context.policy import Policy
from carmenta_lab.errors import UnknownName, UsageError
from carmenta_lab.failure import assigned_at, executed

Given: TypeAlias = str | Path | Policy
"""A name, the path of a file, or the policy itself."""


def names() -> list[str]:
    """Names of all policies, sorted."""
    return sorted(module.name for module in iter_modules(__path__))


def load(given: Given) -> Policy:
    """The policy of that name, or of a Python file outside the package given by its path; a value as it is.

    UnknownName lists the known ones; UsageError, with file and line, when a file cannot be executed or its `POLICY` is
    no policy, and for a value that is none.
    """
    if isinstance(given, Policy):
        return given
    if not isinstance(given, str | Path):
        raise UsageError(f"a policy is given by name, by path or as a Policy, not as {given!r}.")
    name = os.fspath(given)
    if name.endswith(".py"):
        file, values = name, _outside(Path(name))
    elif name in names():
        module = import_module(f"{__name__}.{name}")
        file, values = str(module.__file__), vars(module)
    else:
        raise UnknownName("policy", name, names())
    if "POLICY" not in values:
        raise UsageError(f"{file} defines no POLICY: assign a carmenta_lab.context.Policy to that name.")
    policy = values["POLICY"]
    if not isinstance(policy, Policy):
        what = (
            f"the class {policy.__name__}" if isinstance(policy, type) else f"no policy but a {type(policy).__name__}"
        )
        raise UsageError(
            f"POLICY of {name} ({file}:{assigned_at('POLICY', Path(file))}) is {what}: assign a "
            "carmenta_lab.context.Policy to it, such as Policy(k=20)."
        )
    return policy


def title(name: str) -> str:
    """The name under which a policy appears in tables: the file's, without folder and ending."""
    return Path(name).stem if name.endswith(".py") else name


def _outside(path: Path) -> Mapping[str, object]:
    if not path.is_file():
        raise UsageError(
            f"there is no policy file {path}; give a name ({', '.join(names())}) or the path of a .py file."
        )
    return executed(f"the policy {path.name}", str(path), lambda: run_path(str(path)))
