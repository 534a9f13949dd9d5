"""One named policy per file: its name is the file's, its docstring the hypothesis, `POLICY` the parameters."""

import os
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from runpy import run_path
from typing import TypeAlias

from carmenta_lab.context.policy import Policy
from carmenta_lab.errors import UnknownName, UsageError

Given: TypeAlias = str | Path | Policy
"""A name, the path of a file, or the policy itself."""


def names() -> list[str]:
    """Names of all policies, sorted."""
    return sorted(module.name for module in iter_modules(__path__))


def load(given: Given) -> Policy:
    """The policy of that name, or of a Python file outside the package given by its path; a value as it is.

    UnknownName lists the known ones; UsageError when a file cannot be read or defines no `POLICY`, and for a value
    that is none.
    """
    if isinstance(given, Policy):
        return given
    if not isinstance(given, str | Path):
        raise UsageError(f"a policy is given by name, by path or as a Policy, not as {given!r}.")
    name = os.fspath(given)
    policy: object
    if name.endswith(".py"):
        policy = _outside(Path(name))
    elif name in names():
        policy = getattr(import_module(f"{__name__}.{name}"), "POLICY", None)
    else:
        raise UnknownName("policy", name, names())
    if not isinstance(policy, Policy):
        raise UsageError(f"{name} defines no POLICY: assign a carmenta_lab.context.Policy to that name.")
    return policy


def title(name: str) -> str:
    """The name under which a policy appears in tables: the file's, without folder and ending."""
    return Path(name).stem if name.endswith(".py") else name


def _outside(path: Path) -> object:
    if not path.is_file():
        raise UsageError(
            f"there is no policy file {path}; give a name ({', '.join(names())}) or the path of a .py file."
        )
    try:
        return run_path(str(path)).get("POLICY")
    except Exception as error:
        raise UsageError(f"the policy file {path} cannot be executed: {type(error).__name__}: {error}.") from error
