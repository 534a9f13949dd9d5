"""What is a table, and how is it printed?"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Literal
from unicodedata import category

from carmenta_lab.display.templates import render

if TYPE_CHECKING:  # printing is no part of a search: what prints is imported when something is printed
    from rich.table import Table as Drawn
    from rich.text import Text

MARKS = {True: "▲", False: "▼"}
"""Better, and worse, than the baseline by more than chance."""

MARKED = "●"
"""Before what a list is about, such as evidence: colour alone is lost in a file, and on some eyes."""

BEST = "*"
"""Behind the best of a column: what is bold on a screen is not bold in a file."""

WIDTH = 120
"""Characters of a line where nothing says how wide the screen is."""

SHOWN_CHARACTERS = 240
"""Of a text in a printed table."""

UNBROKEN, UNBROKEN_NAME = 16, 40
"""Characters up to which the texts of a column, and those of the first one, stay on one line."""

BETWEEN = 2
"""Characters between columns."""

_NUMBER = re.compile(r"[-+−]?[\d.,]+")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table: its text, and how it is shown."""

    text: str
    best: bool = False  # of its column


@dataclass(frozen=True, slots=True)
class Table:
    """A table: heads, rows of texts or cells, a title above it and notes below it."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    title: str = ""
    notes: Sequence[str] = ()

    @property
    def cells(self) -> list[list[Cell]]:
        """The rows with every value as a cell."""
        return [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in self.rows]

    @property
    def sides(self) -> list[Literal["left", "right"]]:
        """The side to which each column is aligned: right for numbers, else left."""
        columns = zip(*self.cells, strict=True) if self.rows else [() for _ in self.heads]
        texts = [[cell.text for cell in column if cell.text] for column in columns]
        return ["right" if found and all(map(_NUMBER.fullmatch, found)) else "left" for found in texts]

    def drawn(self) -> "Drawn":
        """The table for a terminal of the width that there is."""
        from rich import box
        from rich.table import Column
        from rich.table import Table as Drawn
        from rich.text import Text

        columns = [
            Column(_line(head), justify=side, overflow="fold", no_wrap=whole)
            for head, side, whole in zip(self.heads, self.sides, self._whole(screen()), strict=True)
        ]
        caption = Text("\n".join(map(clean, self.notes)), style="none")
        made = Drawn(
            *columns,
            title=_line(self.title) if self.title else None,
            title_justify="left",
            title_style="bold",
            caption=caption if self.notes else None,
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        for row in self.cells:
            made.add_row(*(_line(cell.text, cell.best) for cell in row))
        return made

    def _whole(self, width: int) -> list[bool]:
        """Which columns are not broken into lines: names in the first, and short ones where the others have room."""
        longest = [max(map(len, column)) for column in zip(self.heads, *self._texts(), strict=True)]
        whole = [length <= (UNBROKEN if number else UNBROKEN_NAME) for number, length in enumerate(longest)]
        needed = sum(length if kept else UNBROKEN for length, kept in zip(longest, whole, strict=True))
        fits = needed + BETWEEN * len(longest) <= width
        return whole if fits else [kept and not number for number, kept in enumerate(whole)]

    def _texts(self) -> list[list[str]]:
        return [[cell.text for cell in row] for row in self.cells]

    def __str__(self) -> str:
        return text([self])

    def _repr_html_(self) -> str:
        return html([self])


def screen() -> int:
    """The characters of a line on this terminal."""
    return get_terminal_size((WIDTH, 24)).columns


def _line(content: str, best: bool = False) -> "Text":
    from rich.text import Text

    line = clean(" ".join(content.split()))
    cut = line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"
    return Text(cut + BEST if best else cut, style="bold" if best else "")


def clean(content: str) -> str:
    """A text without the characters by which it could steer a terminal."""
    return "".join("�" if category(c) == "Cc" and c not in "\n\t" else c for c in content)


def text(tables: Iterable[Table]) -> str:
    """Tables one below the other, as wide as the terminal."""
    from rich.console import Console

    file = StringIO()
    console = Console(file=file, width=screen(), color_system=None, highlight=False)
    for number, table in enumerate(tables):
        if number:
            console.print()
        console.print(table.drawn())
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip("\n").split("\n"))


def html(tables: Iterable[Table]) -> str:
    """Tables one below the other, for a notebook."""
    return render("tables.html", tables=list(tables))
