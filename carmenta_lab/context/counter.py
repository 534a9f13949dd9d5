"""How many tokens does a text cost? By the bundled tokenizer, or any counter of this shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from carmenta_lab.embedding import load_embedder


class Counter(Protocol):
    """Counts tokens as one family of models does."""

    @property
    def name(self) -> str:
        """The tokenizer's name."""

    @property
    def overhead(self) -> int:
        """Tokens that every block costs beside its text: role markers, the break before the next text."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""


@dataclass(frozen=True)
class BundledCounter:
    """The tokenizer of the bundled embedding model (WordPiece): offline, and additive over texts joined by lines."""

    name: str = "all-MiniLM-L6-v2"
    overhead: int = 0

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text; 0 for a blank one."""
        return load_embedder().count_tokens(texts)
