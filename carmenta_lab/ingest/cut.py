"""From a text to the passages that are searched: one, or several where the encoder would cut it off."""

from datetime import datetime

from carmenta_lab.embedding import load_embedder
from carmenta_lab.schema.base import INDEXED_CHARACTERS

VERSION = "1"
"""Changes whenever the same text would be cut otherwise; a folder loaded under another version is cut anew."""

OVERLAP_TOKENS = 32


def header(created_at: datetime | None, author: str | None) -> str:
    """What stands before a passage's text: "[2025-03-14] Nora: "."""
    date = f"[{created_at:%Y-%m-%d}] " if created_at is not None else ""
    return f"{date}{author}: " if author else date


def pieces(head: str, text: str) -> list[str]:
    """Passages of `head` and a part of the text, none longer than the bundled encoder reads; in order.

    Only the first 200,000 characters of a text are cut into passages; the rest is stored and not searched.
    """
    if len(head) + len(text) <= 250:  # a token is at least a character
        return [head + text]
    embedder = load_embedder()
    text = text[:INDEXED_CHARACTERS]
    room = embedder.max_tokens - embedder.count_tokens([head])[0]
    if room < 2 * OVERLAP_TOKENS:  # a name longer than anybody's
        head, room = "", embedder.max_tokens
    return [head + chunk for chunk in embedder.split(text, room, OVERLAP_TOKENS)]
