"""From a text to the passages that are searched: one, or several where the encoder would cut it off."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from unicodedata import category

from carmenta_lab.embedding import Embedder, load_embedder
from carmenta_lab.embedding.plain import fits
from carmenta_lab.schema.base import INDEXED_CHARACTERS
from carmenta_lab.text import readable

VERSION = "3"
"""Changes whenever the same text would be cut otherwise; a folder loaded under another version is cut anew."""

OVERLAP_TOKENS = 32
SURE_CHARACTERS = 250

DATE = re.compile(r"\[\d{4,}-\d\d-\d\d\] ")
"""What the text of a passage whose source has a time begins with."""

_WORD = re.compile(r"\w")
_UNREAD = ("Cc", "Cf", "Co", "Cs", "Mn", "Zl", "Zp", "Zs")  # encoders drop controls, blanks and bare accents


def header(created_at: datetime | None, author: str | None) -> str:
    """What stands before a passage's text: "[2025-03-14] Nora: "."""
    date = f"[{created_at.date().isoformat()}] " if created_at is not None else ""
    return f"{date}{author}: " if author else date


def utc_offset(at: datetime | None) -> int | None:
    """Minutes that a time's zone is ahead of UTC: the part of it that a timestamptz does not keep."""
    offset = at.utcoffset() if at is not None else None
    return None if offset is None else int(offset.total_seconds()) // 60


def as_written(at: datetime | None, offset: int | None) -> datetime | None:
    """A stored time on the clock of whoever wrote it, so that a header shows that day's date."""
    return None if at is None else at.astimezone(timezone(timedelta(minutes=offset or 0)))


def short(head: str, text: str) -> bool:
    """Whether a passage fits the encoder for sure: a token is at least a character, a common word one token."""
    return len(head) + len(text) <= SURE_CHARACTERS or fits(head + text)


def as_they_stand(head: str, text: str) -> bool:
    """Whether head and text are one passage as they are: most are, and so need not be gathered to be cut."""
    return short(head, text) and readable(text) == text and readable(head) == head


def pieces(texts: Sequence[tuple[str, str]]) -> list[list[str]]:
    """For every (head, text) its passages: head and a part of the text, none longer than the bundled encoder reads.

    A piece in which nothing can be read, such as zero-width spaces alone, becomes no passage. Only the
    first 200,000 characters of a text are cut into passages; the rest is stored and not searched.
    """
    texts = [(readable(head), readable(text[:INDEXED_CHARACTERS])) for head, text in texts]
    whole = [head + text for head, text in texts]
    long = [row for row, (head, text) in enumerate(texts) if not short(head, text)]
    found = [[text] for text in whole]
    if long:
        embedder = load_embedder()
        for row, count in zip(long, embedder.count_tokens([whole[row] for row in long]), strict=True):
            if count > embedder.max_tokens:
                found[row] = _split(embedder, *texts[row])
    return [[piece for piece in row if _readable(piece)] for row in found]


def _split(embedder: Embedder, head: str, text: str) -> list[str]:
    room = embedder.max_tokens - embedder.count_tokens([head])[0]
    if room < 2 * OVERLAP_TOKENS:  # a name longer than anybody's
        head, room = "", embedder.max_tokens
    return [head + chunk for chunk in embedder.split(text, room, OVERLAP_TOKENS)]


def _readable(text: str) -> bool:
    return _WORD.search(text) is not None or any(category(c) not in _UNREAD and c != "\ufffd" for c in text)
