"""What text does a message made of parts hold? The shapes are those of the AI SDK, versions 4 to 6."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

SHOWN_CHARACTERS = 500  # of a tool's input, and of its output
UNSPOKEN = ("reasoning", "redacted-reasoning", "thinking")


def flatten(parts: Sequence[Mapping[str, Any]]) -> str:
    """The readable content of the parts, in their order, joined by blank lines; "" when there is none.

    A tool call becomes `[tool NAME] input: JSON -> output: JSON` (or `-> error: TEXT`), each side cut at 500
    characters, a side that is a plain string without quotes; a file becomes `[file NAME]`. Reasoning is left
    out, and so is a part of an unknown type unless it has a string `text`. ValueError names a text part
    whose text is no string.
    """
    pieces = (_piece(part, at) for at, part in enumerate(parts))
    return "\n\n".join(piece for piece in pieces if piece.strip())


def _piece(part: Mapping[str, Any], at: int) -> str:
    kind = part.get("type")
    if kind == "text" and not isinstance(part.get("text"), str):
        raise ValueError(f"parts[{at}].text: expected a string, found {type(part.get('text')).__name__}")
    if kind in UNSPOKEN:
        return ""
    if kind == "tool-invocation":
        call = part.get("toolInvocation")
        return _tool(call, call.get("toolName")) if isinstance(call, Mapping) else ""
    if kind in ("tool-call", "tool-result", "dynamic-tool"):
        return _tool(part, part.get("toolName"))
    if isinstance(kind, str) and kind.startswith("tool-"):
        return _tool(part, kind.removeprefix("tool-"))
    if kind == "file":
        name = part.get("filename") or part.get("name") or part.get("mediaType") or part.get("mimeType")
        return f"[file {name}]" if name else "[file]"
    text = part.get("text")
    return text if isinstance(text, str) else ""


def _tool(call: Mapping[str, Any], name: object) -> str:
    sides = " -> ".join(_sides(call))
    head = f"[tool {name}]" if name else "[tool]"
    return f"{head} {sides}" if sides else head


def _sides(call: Mapping[str, Any]) -> Iterator[str]:
    for label, keys in (("input", ("input", "args")), ("output", ("output", "result")), ("error", ("errorText",))):
        value = next((call[key] for key in keys if call.get(key) is not None), None)
        if value is not None:
            shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            yield f"{label}: {shown if len(shown) <= SHOWN_CHARACTERS else shown[:SHOWN_CHARACTERS] + '…'}"
