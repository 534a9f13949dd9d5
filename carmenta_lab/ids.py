"""From the ids of a folder to uuids: stable, and apart from those of every other dataset."""

import hashlib
from datetime import datetime
from uuid import UUID

ROOT = UUID("8a1f2c0e-5d7b-5e3a-9c44-6b0f1e2d3c4b").bytes
"""Namespace of the names of all datasets."""

_sha1 = hashlib.sha1(usedforsecurity=False).copy  # copied in half the time that it is made in
_KEPT = ~(0xF000 << 64 | 0xC000 << 48)
_VERSION_5 = 0x5000 << 64 | 0x8000 << 48  # and the usual variant


def _uuid5(namespace: bytes, name: str) -> bytes:
    """The bytes of `uuid.uuid5`: two are made for every message, and the garbage collector need not look at them."""
    digest = _sha1()
    digest.update(namespace + name.encode())
    return (int.from_bytes(digest.digest()[:16], "big") & _KEPT | _VERSION_5).to_bytes(16, "big")


class Ids:
    """The uuids of one dataset, by kind ("user", "conversation", "message", ...) and the id as given."""

    def __init__(self, dataset: str) -> None:
        self._namespace = _uuid5(ROOT, dataset)
        self.dataset = UUID(bytes=self._namespace)

    def of(self, kind: str, given: str) -> UUID:
        """The uuid of a thing, by its kind and its id as given."""
        return UUID(bytes=self.key(kind, given))

    def key(self, kind: str, given: str) -> bytes:
        """The 16 bytes of that uuid, as binary COPY takes them."""
        return _uuid5(self._namespace, f"{kind}:{given}")


def passage_key(
    source: bytes, unit: str, ordinal: int, content: str, created_at: datetime | None, author: str | None, language: str
) -> bytes:
    """The 16 bytes of the uuid of a passage.

    Whatever differs in the passage gives another one, so none is ever stale.
    """
    return _uuid5(source, f"{unit}:{ordinal}:{language}:{created_at!s}:{author}:{content}")
