"""Which strategies and policies are meant? A name, the path of a file, and a value are all the same."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from carmenta_lab import strategies as registry
from carmenta_lab.context import Policy, policies
from carmenta_lab.errors import UsageError
from carmenta_lab.retrieval.retriever import Retriever

Strategy: TypeAlias = registry.Given

PolicyGiven: TypeAlias = policies.Given

Value = TypeVar("Value")

SIMPLE = (bool, int, float, str)


def strategies_of(given: Strategy | Sequence[Strategy]) -> dict[str, Retriever]:
    """The retrievers by their titles, in the order given; one alone may stand without a list.

    A value is titled by the strategy that it differs from by numbers or words, as `hybrid_rrf(depth=80)`, else by its
    class. One that is given twice is there once.
    """
    return _titled(_each(given), registry.load, registry.title, registry.names)


def sent(given: Strategy | Sequence[Strategy], chosen: Mapping[str, Retriever]) -> dict[str, str | Retriever]:
    """What another process finds the strategy by, by title: a name, a path, or the value where no name was given."""
    names = [os.fspath(one) for one in _each(given) if isinstance(one, str | Path)]
    named = {registry.title(name): name for name in names}
    return {title: named.get(title, retriever) for title, retriever in chosen.items()}


def policies_of(given: PolicyGiven | Sequence[PolicyGiven]) -> dict[str, Policy]:
    """The policies by their titles, in the order given; one alone may stand without a list."""
    return _titled(_each(given), policies.load, policies.title, policies.names)


def title_of(given: Strategy | PolicyGiven, among: Mapping[str, Any]) -> str:
    """The title of a strategy or policy among those that were given; of another one its own name."""
    if isinstance(given, str | Path):
        return registry.title(os.fspath(given))
    return next((title for title, value in among.items() if value == given), type(given).__name__)


def budgets_of(given: int | Sequence[int]) -> list[int]:
    """The budgets in tokens, each once; UsageError for what is no whole number of at least 1."""
    found: list[int] = []
    for budget in [given] if isinstance(given, int) else given:
        if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
            raise UsageError(f"budgets are whole numbers of at least 1 token, such as 2_000; found {budget!r}.")
        found.append(budget)
    if not found:
        raise UsageError("no budget is given: name one or more, such as budgets=[500, 2_000].")
    return list(dict.fromkeys(found))


def _each(given: Any) -> list[Any]:
    """One thing or several."""
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]


def _titled(
    given: Iterable[Any], load: Callable[[Any], Value], title: Callable[[str], str], names: Callable[[], list[str]]
) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for one in given:
        if isinstance(one, str | Path):
            name = os.fspath(one)
            found[title(name)] = load(name)
        elif (value := load(one)) not in found.values():
            called = _called(value, {name: load(name) for name in names()})
            number = 1 + sum(other == called or other.startswith(f"{called} ") for other in found)
            found[called if number == 1 else f"{called} {number}"] = value
    return found


def _called(value: Any, known: Mapping[str, Any]) -> str:
    """The name of the known one that a value is, or is the nearest to with its own parameters in brackets."""
    nearest: list[tuple[int, str]] = []
    for name, other in known.items():
        if type(other) is not type(value) or not is_dataclass(other):
            continue
        every = {field.name: getattr(value, field.name) for field in fields(other)}
        own = {key: mine for key, mine in every.items() if mine != getattr(other, key)}
        if not own:
            return name
        if all(isinstance(one, SIMPLE) for one in own.values()):
            nearest.append((len(own), f"{name}({','.join(f'{key}={one}' for key, one in own.items())})"))
    return min(nearest)[1] if nearest else type(value).__name__
