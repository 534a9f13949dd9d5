"""How does a context look in a notebook? What its page is filled with."""

from collections.abc import Sequence
from typing import NamedTuple

from carmenta_lab.display import render

COLOURS = {
    "profile": "#8e6bbf",
    "message": "#3f83c4",
    "memory": "#2f9468",
    "passage": "#b9822a",
    "query": "#c4504a",
}
"""Middle tones: at least 3:1 against white and against #111."""

FAINT = "rgba(128,128,128,.22)"
STRIPES = "repeating-linear-gradient(135deg,transparent 0 3px,rgba(255,255,255,.45) 3px 5px)"
"""Over the colour of what stands compressed."""


class Shown(NamedTuple):
    """A block of the page."""

    kind: str
    role: str
    tokens: int
    before: int  # tokens before compression
    sources: str
    why: str
    text: str
    percent: float  # of the budget

    @property
    def compressed(self) -> bool:
        """Whether it takes fewer tokens than its source has."""
        return self.tokens < self.before


class Left(NamedTuple):
    """What was left out."""

    kind: str
    tokens: int
    source: str
    reason: str


def page(title: str, blocks: Sequence[Shown], dropped: Sequence[Left], notes: Sequence[str] = ()) -> str:
    """The title, a bar of the budget, a row a block, and what was left out."""
    sums: dict[str, int] = {}
    for block in blocks:
        sums[block.kind] = sums.get(block.kind, 0) + block.tokens
    return render(
        "context.html",
        title=title,
        blocks=blocks,
        dropped=dropped,
        notes=notes,
        sums=sums,
        colours=COLOURS,
        faint=FAINT,
        stripes=STRIPES,
    )
