"""How does a result read, printed and in a notebook? A table is a value that becomes text or HTML."""

from carmenta_lab.display.table import MARKED, MARKS, Cell, Table, clean, html, screen, text
from carmenta_lab.display.templates import render

__all__ = ["MARKED", "MARKS", "Cell", "Table", "clean", "html", "render", "screen", "text"]
