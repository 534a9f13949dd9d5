"""A strategy with other parameters, as a name: `vector_hnsw(ef_search=40)`; and the cells of a grid of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

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
