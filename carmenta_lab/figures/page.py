"""What is every figure made of? A page with a title, a caption of its circumstances, sizes, colours and safe texts."""

from functools import cache
from io import BytesIO
from textwrap import fill
from typing import Literal

from matplotlib import font_manager, ft2font
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

TITLE, TEXT, SMALL = 12, 9, 8
"""Sizes in points; nothing is smaller than `SMALL`."""

INK, QUIET, RULE = "#222222", "#5a5a5a", "#d9d9d9"
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9"
"""The palette of Okabe and Ito, told apart by colour-blind readers too."""

CHARACTERS_PER_INCH = 16.0
"""Of a caption in `SMALL` letters."""

LONGEST_NAME = 32


class Page(Figure):
    """A figure that a notebook shows without pyplot, sharp on any screen."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=2 * self.dpi)
        width, height = self.get_size_inches() * self.dpi
        return buffer.getvalue(), {"width": int(width), "height": int(height)}


def page(title: str, caption: str, width: float, height: float) -> Page:
    """An empty page, in inches: the title above, the caption below, the axes laid out between them."""
    figure = Page(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    margin = 0.12 / width
    figure.suptitle(title, x=margin, ha="left", fontsize=TITLE, fontweight="bold", color=INK)
    glued = caption.replace(" · ", "\u00a0· ")  # no line begins with a dot
    wrapped = fill(glued, int((width - 0.3) * CHARACTERS_PER_INCH))
    figure.supxlabel(wrapped, x=margin, ha="left", fontsize=SMALL, color=QUIET)
    return figure


def plain(axes: Axes, x_label: str, y_label: str, grid: Literal["x", "y", "both"] | None = None) -> None:
    """Label the axes and take away what carries no information."""
    axes.set_xlabel(x_label, fontsize=TEXT, color=INK)
    axes.set_ylabel(y_label, fontsize=TEXT, color=INK)
    axes.tick_params(labelsize=TEXT, colors=INK, length=0 if grid else 3, pad=6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(axis=grid, color=RULE, linewidth=0.7)


def safe(text: str, longest: int = LONGEST_NAME) -> str:
    """A text from the data as it can be drawn: one line, shortened in the middle, "$" as itself, no absent letter."""
    known = _letters()
    line = "".join(letter if ord(letter) in known else "□" for letter in " ".join(text.split()))
    if len(line) > longest:
        tail = longest // 3
        line = f"{line[: longest - tail - 1].rstrip()}…{line[-tail:].lstrip()}"
    return line.replace("$", r"\$")


@cache
def _letters() -> frozenset[int]:
    """What the font can draw."""
    return frozenset(ft2font.FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap())


def counted(number: int, noun: str) -> str:
    """ "1 message", "2,300 messages"."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
