"""Writes what is derived: the names for type checkers, the API reference and the command reference.

python tests/reference.py
"""

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

from typer.cli import app as typer_program
from typer.testing import CliRunner

import carmenta_lab

PACKAGE = Path(carmenta_lab.__file__).parent
WIDTH = 120


def stub() -> str:
    """The public names as a type checker reads them."""
    homes = {name: f"carmenta_lab.{home}" if home else "carmenta_lab" for name, home in carmenta_lab._PUBLIC.items()}
    lines = ['"""The public names; written by tests/reference.py from what `__init__.py` lists."""', ""]
    for home, names in groupby(sorted(homes, key=lambda name: (homes[name], name)), key=homes.__getitem__):
        given = list(names)
        line = f"from {home} import {', '.join(given)}"
        lines += [line] if len(line) <= WIDTH else [f"from {home} import (", *(f"    {n}," for n in given), ")"]
    return "\n".join([*lines, "", "__all__ = [", *(f'    "{name}",' for name in carmenta_lab.__all__), "]", ""])


def api() -> str:
    """What `import carmenta_lab as cl` offers."""
    parts = [
        "# What Python offers",
        "`import carmenta_lab as cl`: the names below and no others. Written from the docstrings by "
        "`python tests/reference.py`; a test runs every example on the sample, `lab` being `cl.open_lab()` with "
        '`cl.load(lab, "sample", tokens=True)` and `nora` being `cl.user(lab, "nora")`.',
        "`Strategy` is a name, the path of a file, a retriever, or a function `(session, query, k) -> [(source id, "
        "score)]`.",
        "Errors are of one family, `carmenta_lab.errors.CarmentaError`, and one sentence each: `UsageError` (also a "
        "`ValueError`) is the caller's to mend, and `UnknownName`, one of them, lists what is known.",
    ]
    public = {name: getattr(carmenta_lab, name) for name in carmenta_lab.__all__}
    kinds = {
        "Functions": [name for name, value in public.items() if inspect.isfunction(value)],
        "Values": [name for name, value in public.items() if inspect.isclass(value)],
        "Modules": [name for name, value in public.items() if inspect.ismodule(value)],
    }
    for title, names in kinds.items():
        parts += [f"## {title}", " · ".join(f"[`{name}`](#{name.lower()})" for name in names)]
        for name in names:
            parts += [f"### {name}", *_described(name, public[name])]
    return "\n\n".join(parts) + "\n"


def _described(name: str, value: Any) -> Iterator[str]:
    if inspect.isfunction(value):
        yield "\n".join(["```python", *_signatures(f"cl.{name}", value), "```"])
    yield _markdown(inspect.getdoc(value) or "")
    if inspect.isclass(value):
        yield from _members(value)
    if isinstance(value, ModuleType):
        found = {each: getattr(value, each) for each in value.__all__}
        rows = [f"| `cl.{name}.{each}` | {_first(inspect.getdoc(one) or '')} |" for each, one in found.items()]
        yield "\n".join(["| name | what it does |", "|---|---|", *rows])


def _members(kind: type) -> Iterator[str]:
    """Fields with what their lines say, then methods."""
    if dataclasses.is_dataclass(kind):
        said = _comments(kind)
        rows = [
            f"| `{field.name}` | `{_cell(_type(field.type))}` | {said.get(field.name, '')} |"
            for field in dataclasses.fields(kind)
            if not field.name.startswith("_")
        ]
        yield "\n".join(["| field | type | |", "|---|---|---|", *rows])
    methods = [
        f"| `{name}{_cell(_signature(one)) if inspect.isfunction(one) else ''}` | {_first(inspect.getdoc(one) or '')} |"
        for name, one in vars(kind).items()
        if not name.startswith("_") and (inspect.isfunction(one) or isinstance(one, property))
    ]
    if methods:
        yield "\n".join(["| member | what it is |", "|---|---|", *methods])


def _comments(kind: type) -> dict[str, str]:
    """Field -> the comment beside it."""
    source = inspect.getsource(kind)
    found = re.findall(r"^    (\w+): [^#\n]*(?:\([^()#]*\n\s*[^()#]*\))?[^#\n]*#\s*(.*)$", source, re.MULTILINE)
    found += re.findall(r"^    (\w+): \(\n[^#)]*\n    \)\s*#\s*(.*)$", source, re.MULTILINE)
    return {name: _cell(said) for name, said in found}


def _signatures(name: str, function: Any) -> list[str]:
    """A line each way to call it; long ones a parameter a line."""
    lines: list[str] = []
    for one in typing.get_overloads(function) or [function]:
        whole = f"{name}{_signature(one)}"
        if len(whole) <= WIDTH:
            lines.append(whole)
            continue
        inside, _, after = whole.removeprefix(f"{name}(").rpartition(")")
        lines += [f"{name}(", *(f"    {each}," for each in _split(inside)), f"){after}"]
    return lines


def _split(inside: str) -> list[str]:
    """Parameters: at the commas that stand in no bracket."""
    found, depth = [""], 0
    for character in inside:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and not depth:
            found.append("")
        else:
            found[-1] += character
    return [each.strip() for each in found if each.strip()]


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    kept = [
        parameter.replace(annotation=inspect.Parameter.empty if name == "self" else parameter.annotation)
        for name, parameter in signature.parameters.items()
        if name != "self"
    ]
    text = str(signature.replace(parameters=kept))
    text = re.sub(r"<function <lambda> at 0x[0-9a-f]+>", "...", text)
    return _type(text)


STRATEGY = re.compile(
    r"str \| Path \| SqlRetriever \| PythonRetriever \| "
    r"Callable\[\[Session, Query, int\], Iterable\[tuple\[UUID \| str, float\]\]\]"
)
"""A strategy, however it is given."""


def _type(text: Any) -> str:
    """A type without the modules that its parts come from."""
    shown = text if isinstance(text, str) else inspect.formatannotation(text)
    shown = re.sub(r"\b(?:[a-z_][\w]*\.)+(?=[A-Za-z_])", "", shown).replace("'", '"')
    shown = re.sub(r"Optional\[((?:[^\[\]]|\[[^\[\]]*\])*)\]", r"\1 | None", shown)  # as Python 3.14 writes it
    return STRATEGY.sub("Strategy", shown)


def _markdown(doc: str) -> str:
    """A docstring: its sections in bold, its examples as code."""
    lines: list[str] = []
    code = False
    for line in doc.splitlines():
        example = line.startswith((">>>", "...")) or (code and line.strip())
        if example and not code:
            lines.append("```pycon")
        elif code and not example:
            lines.append("```")
        code = bool(example)
        if re.fullmatch(r"[A-Z]\w+:", line):
            lines += [f"**{line[:-1]}**", ""]
        elif found := re.match(r"    (\w+): (.*)", line):
            lines.append(f"- `{found[1]}`: {found[2]}")
        elif not code and line.startswith("        "):
            lines.append(f"  {line.strip()}")
        else:
            lines.append(line)
    return "\n".join([*lines, "```"] if code else lines)


def _first(doc: str) -> str:
    return _cell(" ".join(doc.partition("\n\n")[0].split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def commands() -> str:
    """What `carmenta-lab` offers, as typer writes it."""
    made = CliRunner().invoke(typer_program, ["carmenta_lab.cli.main", "utils", "docs", "--name", "carmenta-lab"])
    assert made.exit_code == 0, made.output
    said = "Written from the commands' own help by `python tests/reference.py`.\n"
    head, _, rest = made.stdout.partition("\n\n")
    return f"{head.replace('`', '')}\n\n{said}\n{rest.rstrip()}\n"


WRITTEN = {
    PACKAGE / "__init__.pyi": stub,
    PACKAGE / "API.md": api,
    PACKAGE / "COMMANDS.md": commands,
}
"""File -> what it holds."""

if __name__ == "__main__":
    for path, write in WRITTEN.items():
        path.write_text(write(), encoding="utf-8")
