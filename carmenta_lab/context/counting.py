"""How many tokens does a text cost? Counters, and how each text is counted once: in a context, and in the database."""

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import md5, sha1
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy.orm import Session

from carmenta_lab.embedding import DEFAULT_MODEL, load_embedder
from carmenta_lab.errors import UnknownName, UsageError
from carmenta_lab.postgres.statement import Change

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


class TokenCounts:
    """Tokens by text: asks the counter for unknown texts only, many at a time.

    Kept over several contexts, it counts what they share once. Without the counter's overhead per block.
    """

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self._known: dict[str, int] = {"": 0}

    def remember(self, text: str, tokens: int) -> None:
        """What was counted before."""
        self._known[text] = tokens

    def count(self, texts: Iterable[tuple[str, str]]) -> None:
        """Count every (head, body) that `of` will be asked for, in one call."""
        wanted = [part for head, body in texts for part in self._parts(head, body)]
        new = [text for text in dict.fromkeys(wanted) if text not in self._known]
        if new:
            self._known.update(zip(new, self.counter.count(new), strict=True))

    def of(self, head: str, body: str) -> int:
        """Tokens of a block that shows `body` after `head`; counted now if it was not."""
        known = self._known
        try:
            return known[head] + known[body] if self.counter.additive else known[head + body]
        except KeyError:
            self.count([(head, body)])
            return self.of(head, body)

    def _parts(self, head: str, body: str) -> tuple[str, ...]:
        """Where counts do not simply add up, a text under a head is a text of its own."""
        return (head, body) if self.counter.additive else (head + body,)


_KEEP = Change("""
    INSERT INTO carmenta.token_counts AS t (user_id, message_id, counter, tokens, content_hash)
    SELECT %(user_id)s, n.id, %(counter)s, n.tokens, hashtextextended(m.content, 0)
    FROM unnest(%(ids)s::uuid[], %(tokens)s::int[], %(digests)s::text[]) AS n (id, tokens, digest)
    JOIN (SELECT id, content FROM carmenta.messages WHERE user_id = %(user_id)s AND id = ANY(%(ids)s) FOR KEY SHARE) m
    ON m.id = n.id AND md5(m.content) = n.digest
    ON CONFLICT (user_id, message_id, counter)
    DO UPDATE SET tokens = excluded.tokens, content_hash = excluded.content_hash
    WHERE t.content_hash <> excluded.content_hash
""")
"""A message that went or changed since it was read gets no count; a count of its earlier text is replaced."""


def keep_counts(session: Session, user_id: UUID, messages: Iterable[tuple[UUID, str]], counts: TokenCounts) -> None:
    """Store the tokens of messages that the counter has counted; one statement, none where there is nothing new."""
    every = list(messages)
    if not every:
        return
    counts.count(("", text) for _, text in every)
    values = {
        "user_id": user_id,
        "counter": counts.counter.name,
        "ids": [key for key, _ in every],
        "tokens": [counts.of("", text) for _, text in every],
        "digests": [md5(text.encode(), usedforsecurity=False).hexdigest() for _, text in every],
    }
    _KEEP.count(session, values)
