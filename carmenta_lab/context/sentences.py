"""Which pieces of a message can stand alone? Sentences, and what is kept whole or not at all. Pure."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias
from unicodedata import category

Kind: TypeAlias = Literal["sentence", "code", "quote", "table", "tool"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text that is kept or left as a whole."""

    text: str
    kind: Kind
    paragraph: int  # pieces of one paragraph are joined by a space, others by a line break


_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})")
_LINES: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("tool", re.compile(r"\[tool\b")),
    ("quote", re.compile(r"[ \t]*>")),
    ("table", re.compile(r"[ \t]*\|")),
)
_END = re.compile(r"""(?<![.!?…])[.!?…]++["'”’»)\]*_]*+\s+|[。！？]+[」』”’）]*\s*""")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"“])(?:[A-Za-z]|\d{1,2}|[Dd]r|[Mm]rs?|[Mm]s|[Pp]rof|[Ss]t|[Nn]o|[Nn]r|vs|etc|[Ee]\.g|[Ii]\.e|[Zz]\.B|bzw|ca|approx|Jan|Feb|Mar|Apr|Aug|Sept?|Oct|Nov|Dec)\.\s+$"
)
_PAIRS = (("“", "”"), ("„", "“"), ("«", "»"), ("「", "」"), ("(", ")"), ("[", "]"))
_MARKS = re.compile("[" + re.escape("".join({'"', "`", *(mark for pair in _PAIRS for mark in pair)})) + "]")
_LONGEST = 16
"""More characters than an abbreviation has, and what stands before it."""
_JOINED = "\u200d"
_TOOL = re.compile(r"^(\[tool\b[^\]\n]*\])[^\n]*? ?(?:-> )?((?:output|error): [^\n]*)$")


def pieces(text: str) -> list[Piece]:
    """The text's pieces in their order; nothing but white space lies between them.

    A fence of code with its ends, a run of quoted lines, a table and a tool call are a piece each; elsewhere a piece
    is a sentence, or several where a boundary would lie within a quotation, brackets or a grapheme.
    """
    found: list[Piece] = []
    for number, (kind, block) in enumerate(_blocks(text)):
        parts = _sentences(block) if kind == "sentence" else [block.strip("\r\n")]
        found += [Piece(part, kind, number) for part in parts if part.strip()]
    return found


def reduced(text: str) -> str:
    """A tool call as its name and result; any other text as it is."""
    match = _TOOL.match(text)
    return f"{match[1]} {match[2]}" if match else text


def _blocks(text: str) -> Iterator[tuple[Kind, str]]:
    """Runs of lines of one kind; every other line is a paragraph of its own."""
    run: list[str] = []
    kind: Kind = "sentence"
    fence = ""
    for line in text.splitlines(keepends=True):
        opening = _FENCE.match(line)
        if fence:
            run.append(line)
            if opening and opening[1].startswith(fence) and not line.strip().strip(fence[0]):
                yield "code", "".join(run)
                run, fence = [], ""
            continue
        here: Kind = next((name for name, pattern in _LINES if pattern.match(line)), "sentence")
        if run and (opening or here != kind or here in ("sentence", "tool")):
            yield kind, "".join(run)
            run = []
        kind = here
        run.append(line)
        if opening:
            kind, fence = "code", opening[1]
    if run:
        yield kind, "".join(run)


def _sentences(line: str) -> list[str]:
    found: list[str] = []
    start = read = 0
    opened: Counter[str] = Counter()
    for match in _END.finditer(line):
        end = match.end()
        if end == len(line) or not _may_end(line, end):
            continue
        opened.update(_MARKS.findall(line, read, end))
        read = end
        if _balanced(opened) and not _ABBREVIATION.search(line[max(start, match.start() - _LONGEST) : end]):
            found.append(_trimmed(line[start:end]))
            start = end
            opened.clear()
    found.append(_trimmed(line[start:]))
    return found


def _may_end(line: str, position: int) -> bool:
    """Not within a grapheme, and not before a small letter, which goes on with the sentence."""
    return not _extends(line[position]) and category(line[position]) != "Ll" and line[position - 1] != _JOINED


def _extends(letter: str) -> bool:
    """Whether it makes one grapheme with what stands before it."""
    return category(letter).startswith("M") or letter == _JOINED


def _trimmed(text: str) -> str:
    """Without white space around; a blank that carries an accent stays."""
    short = text.strip()
    blanks = len(text) - len(text.lstrip())
    return text[blanks - 1 : blanks] + short if short and blanks and _extends(short[0]) else short


def _balanced(marks: Counter[str]) -> bool:
    """Whether no quotation, bracket or code is open, given how often each mark stands."""
    if marks['"'] % 2 or marks["`"] % 2:
        return False
    return all(marks[opening] <= marks[closing] for opening, closing in _PAIRS)
