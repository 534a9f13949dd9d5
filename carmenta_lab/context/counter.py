"""How many tokens does a text cost? By the bundled tokenizer, by tiktoken's, or by any counter of this shape."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Any, Protocol

from carmenta_lab.embedding import DEFAULT_MODEL, load_embedder
from carmenta_lab.errors import UnknownName, UsageError

ENCODINGS = {
    "o200k_base": "o200k_base",
    "o200k_harmony": "o200k_base",
    "cl100k_base": "cl100k_base",
    "p50k_base": "p50k_base",
    "r50k_base": "r50k_base",
}
"""Names that tiktoken knows -> the file it keeps in its cache."""
ORIGIN = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
"""Where tiktoken fetches a file from; the cache names the file by the hash of this address."""


class Counter(Protocol):
    """Counts tokens as one family of models does."""

    @property
    def name(self) -> str:
        """The tokenizer's name, under which counts are stored: another way to count needs another name."""

    @property
    def overhead(self) -> int:
        """Tokens that every block costs beside its text: role markers, the break before the next text."""

    @property
    def additive(self) -> bool:
        """Whether two texts joined by white space always count as the sum of both."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""


@dataclass(frozen=True)
class BundledCounter:
    """The tokenizer of the bundled embedding model (WordPiece): offline, and additive over texts joined by lines."""

    name: str = DEFAULT_MODEL
    overhead: int = 0
    additive: bool = True

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text; 0 for a blank one."""
        return load_embedder().count_tokens(texts)


@dataclass(frozen=True)
class TiktokenCounter:
    """An encoding of tiktoken: how the models of OpenAI count."""

    encoding: Any  # a tiktoken.Encoding
    overhead: int = 4  # three for a message and its role, one for the break between texts
    additive: bool = False

    @property
    def name(self) -> str:
        """The encoding's name."""
        return str(self.encoding.name)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text; what looks like a special token counts as the text it is."""
        return [len(tokens) for tokens in self.encoding.encode_ordinary_batch(list(texts), num_threads=1)]


def load_counter(name: str = DEFAULT_MODEL) -> Counter:
    """The counter of that name: the bundled one, or a tiktoken encoding whose file is in tiktoken's cache.

    Nothing is downloaded. UnknownName lists the known; UsageError says what is missing for the named one.
    """
    if name == DEFAULT_MODEL:
        return BundledCounter()
    if name not in ENCODINGS:
        raise UnknownName("token counter", name, [DEFAULT_MODEL, *ENCODINGS])
    try:
        import tiktoken
    except ImportError:
        raise UsageError(
            f"the counter {name} needs the package tiktoken: pip install 'carmenta-lab[tiktoken]'."
        ) from None
    folder = _cache()
    file = folder / sha1(ORIGIN.format(ENCODINGS[name]).encode(), usedforsecurity=False).hexdigest()
    if not file.is_file():
        raise UsageError(
            f"the counter {name} needs {ENCODINGS[name]}.tiktoken in {folder}, and nothing is downloaded here: run "
            f"tiktoken.get_encoding({name!r}) once where there is a network, and set TIKTOKEN_CACHE_DIR to its cache."
        )
    try:
        return TiktokenCounter(tiktoken.get_encoding(name))
    except Exception as error:
        raise UsageError(
            f"tiktoken cannot use {file} as {name}: {type(error).__name__}: {error}; fetch it again."
        ) from None


def _cache() -> Path:
    """Where tiktoken keeps its files."""
    named = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    return Path(named) if named else Path(tempfile.gettempdir()) / "data-gym-cache"
