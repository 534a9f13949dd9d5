"""What value does a text give to a parameter of a type? Types are those of annotations."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


class NotOfType(ValueError):
    """A text that is no value of a type; says what one must be."""


def types_of(value: object) -> dict[str, Any]:
    """The type of each parameter of a dataclass; empty for anything else."""
    if not is_dataclass(value):
        return {}
    hints = get_type_hints(type(value))
    return {field.name: hints[field.name] for field in fields(value) if field.init}


def evaluated(annotations: Mapping[str, str]) -> dict[str, Any]:
    """Names -> types as they are written, as in "list[str]"; without those that name something else than builtins."""
    found: dict[str, Any] = {}
    for name, annotation in annotations.items():
        try:
            found |= get_type_hints(type("Parameters", (), {"__annotations__": {name: annotation}}))
        except (NameError, SyntaxError, TypeError):
            continue
    return found


def is_plain(kind: Any) -> bool:
    """Whether a type is a number, a truth value, a text or a choice of these, or one of them or None."""
    members = _members(kind)
    return bool(members) and all(one in (bool, int, float, str) or get_origin(one) is Literal for one in members)


def typed(text: str, kind: Any) -> Any:
    """The value that a text gives; NotOfType when it gives none, or when no text gives a value of that type."""
    if get_origin(kind) in (Union, UnionType):
        return _of_any(text, kind)
    if get_origin(kind) is Literal:
        known = {str(value): value for value in get_args(kind)}
        if text not in known:
            raise NotOfType(f"one of {', '.join(known)}")
        return known[text]
    if (get_origin(kind) or kind) is list:
        return _list(text, *(get_args(kind) or (str,)))
    try:
        if kind is bool:
            return BOOLEANS[text.lower()]
        if kind in (int, float, str):
            return kind(text)
    except (KeyError, ValueError):
        pass
    raise NotOfType(f"of the type {_name(kind)}")


def _members(kind: Any) -> list[Any]:
    """The types of which a value may be, but for None."""
    every = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return [one for one in every if one is not NoneType]


def _of_any(text: str, kind: Any) -> Any:
    """What the first of several types makes of a text; `none` where it may be absent."""
    if NoneType in get_args(kind) and text.lower() == "none":
        return None
    members = _members(kind)
    for one in members[:-1]:
        try:
            return typed(text, one)
        except NotOfType:
            continue
    return typed(text, members[-1])


def _list(text: str, kind: Any) -> list[Any]:
    """A JSON list, or values between commas."""
    try:
        items = json.loads(text) if text.startswith("[") else [part.strip() for part in text.split(",") if part]
    except ValueError:
        raise NotOfType(f"a list of values of the type {_name(kind)}") from None
    return [typed(str(item), kind) for item in items]


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
