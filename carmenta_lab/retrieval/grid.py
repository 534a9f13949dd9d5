"""A strategy with other parameters, as a name: `vector_hnsw(ef_search=40)`; and the cells of a grid of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from itertools import product
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from carmenta_lab.errors import UnknownName, UsageError
from carmenta_lab.parameters import NotOfType, is_plain, typed, types_of

_CELL = re.compile(r"(?P<name>[^()]+)\((?P<given>[^()]*)\)")


def split(name: str) -> tuple[str, dict[str, str]]:
    """The name of a strategy and the parameters in brackets behind it; UsageError when they cannot be read."""
    found = _CELL.fullmatch(name)
    if found is None:
        return name, {}
    pairs = [text.partition("=") for text in found["given"].split(",")]
    if any(not equals or not key.strip() for key, equals, _ in pairs):
        raise UsageError(f"{name}: expected parameters like {found['name']}(name=value,name=value).")
    return found["name"], {key.strip(): value.strip() for key, _, value in pairs}


def changed(name: str, strategy: Any, given: Mapping[str, str]) -> Any:
    """The strategy with these parameters instead; UnknownName for one it does not have."""
    if not given:
        return strategy
    known = parameters(strategy)
    for key in given:
        if key not in known:
            raise UnknownName(f"parameter of {name}", key, known)
    values = {}
    for key, value in given.items():
        try:
            values[key] = typed(value, known[key])
        except NotOfType as error:
            raise UsageError(f"{key} of {name} must be {error}, not {value!r}.") from None
    return replace(strategy, **values)


def parameters(strategy: Any) -> dict[str, Any]:
    """The parameters of a strategy that are numbers, truth values or words, with their types."""
    return {name: kind for name, kind in types_of(strategy).items() if is_plain(kind)}


def adjusted(name: str, value: Any, given: Mapping[str, Any]) -> Any:
    """A strategy or policy with these parameters instead; UnknownName for one it does not have.

    UsageError for a number, truth value or word of the wrong kind; whatever else a parameter holds is taken as it is.
    """
    if not given:
        return value
    known = [field.name for field in fields(value) if field.init] if is_dataclass(value) else []
    hints = get_type_hints(type(value))
    for key, one in given.items():
        if key not in known:
            raise UnknownName(f"parameter of {name}", key, known)
        if not _fits(one, hints[key]):
            wanted = hints[key].__name__ if isinstance(hints[key], type) else str(hints[key]).replace("typing.", "")
            raise UsageError(f"{key} of {name} must be of the type {wanted}, not {one!r}.")
    return replace(value, **given)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value may be a parameter of that type; more than plain types is not looked at."""
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    return not isinstance(hint, type) or hint not in (str, bool, NoneType) or isinstance(value, hint)


def cells(strategies: Mapping[str, Any], grid: Mapping[str, Sequence[str]]) -> list[str]:
    """Every strategy (by name) with every combination of the parameters of the grid that it has.

    In the order of the strategies, then of the grid, the last parameter fastest. UsageError for a parameter that none
    of them has.
    """
    every = {key for strategy in strategies.values() for key in parameters(strategy)}
    for key in grid:
        if key not in every:
            raise UnknownName("parameter of these strategies", key, every)
    found = []
    for name, strategy in strategies.items():
        own = [key for key in grid if key in parameters(strategy)]
        for values in product(*(grid[key] for key in own)):
            given = ",".join(f"{key}={value}" for key, value in zip(own, values, strict=True))
            found.append(f"{name}({given})" if given else name)
    return found
