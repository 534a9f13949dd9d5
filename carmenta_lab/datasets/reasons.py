"""In which words does a rejected line say which field is wrong, and how?"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, get_args, get_type_hints

from carmenta_lab.datasets.kinds import MEANING

SHOWN_CHARACTERS = 60
FAULT = re.compile(r"(?P<fault>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?", re.DOTALL)


def explain(error: str, found: Mapping[str, Any], kind: type) -> str:
    """A sentence `field: finding` for an error of msgspec about the values `found` for a `kind`.

    A value is shown where that helps, cut at 60 characters, and never when it is a text that was empty.
    """
    match = FAULT.fullmatch(error)
    fault, path = (match["fault"], match["path"] or "") if match else (error, "")
    if missing := re.fullmatch(r"Object missing required field `(.*)`", fault):
        return f"{path}.{missing[1]}: missing".lstrip(".")
    value = found.get(path)
    shown = f", found {_cut(repr(value))}" if isinstance(value, str | int | float) else ""
    if "with a timezone component" in fault:
        return f"{path}: has no zone; expected ISO 8601 with an offset or Z{shown}"
    if fault.startswith(("Invalid RFC3339", "Expected `datetime")):
        return f"{path}: expected a time in ISO 8601 with zone, in the years 1 to 9999{shown}"
    if fault.startswith("Invalid enum value"):
        return f"{path}: unknown value{shown}; known: {', '.join(_known(kind, path))}"
    if pattern := re.fullmatch(r"Expected `str` matching regex '(.*)'", fault):
        for known_pattern, meaning in MEANING.items():
            if repr(known_pattern) == f"'{pattern[1]}'":
                return f"{path}: {meaning}{shown if value != '' and meaning != 'is empty' else ''}"
    if not path:
        return fault
    plain = fault[:1].lower() + fault[1:].replace("`", "")
    return f"{path}: {plain}{'' if ', got ' in fault else shown}"


@cache
def _known(kind: type, name: str) -> tuple[str, ...]:
    return get_args(get_type_hints(kind)[name])


def _cut(shown: str) -> str:
    return shown if len(shown) <= SHOWN_CHARACTERS else shown[:SHOWN_CHARACTERS] + "…"
