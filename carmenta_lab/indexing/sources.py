"""Which rows does the index follow, and what do they say now? Messages, memories and documents of one user."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

import psycopg

from carmenta_lab.indexing.passages import as_written, header
from carmenta_lab.records import SourceKind

KINDS: tuple[SourceKind, ...] = ("message", "memory", "document")

UNITS: Mapping[SourceKind, str] = {"message": "turn", "memory": "memory", "document": "section"}
"""The unit of the passages of a source of each kind."""

TABLES: Mapping[SourceKind, str] = {"message": "messages", "memory": "memories", "document": "documents"}
"""Its table in the product."""


class Source(NamedTuple):
    """A message, memory or document, as far as its passages depend on it."""

    kind: SourceKind
    id: UUID
    text: str
    created_at: datetime | None  # on the clock of whoever wrote it, as a passage's header shows that day
    language: str
    shown: str | None  # whose name stands before the text
    author: str | None  # as the row has it

    @property
    def head(self) -> str:
        """The text that stands before the source's own in each of its passages."""
        return header(self.created_at, self.shown)


class _Row(NamedTuple):
    """A row of `living`."""

    id: UUID
    content: str
    created_at: datetime | None
    utc_offset: int | None
    language: str
    shown: str | None
    author: str | None


Living: TypeAlias = dict[tuple[SourceKind, UUID], Source]

_WHO = {
    "message": "coalesce(nullif(s.author, ''), initcap(s.role)) AS shown, s.author",
    "memory": "NULL::text AS shown, NULL::text AS author",
    "document": "s.name AS shown, NULL::text AS author",
}
_LIVING = """
    SELECT s.id, s.content, s.created_at, s.utc_offset, s.language, {who}
    FROM carmenta.{table} s {join}
    WHERE s.user_id = %(user)s AND {which} {living}
    AND EXISTS (SELECT FROM carmenta.users u WHERE u.id = s.user_id AND u.deleted_at IS NULL)
    ORDER BY s.id {rest}
"""
_JOIN = "JOIN carmenta.conversations c ON c.user_id = s.user_id AND c.id = s.conversation_id"

_HOLD_CONVERSATIONS = """
    SELECT FROM carmenta.conversations WHERE user_id = %(user)s AND id IN (
        SELECT conversation_id FROM carmenta.messages WHERE user_id = %(user)s AND id = ANY(%(ids)s)
    ) ORDER BY id FOR SHARE
"""
"""Before their messages, as everybody does who locks both."""

_IDS: Mapping[str, Mapping[SourceKind, str]] = {
    "user": {kind: f"SELECT id FROM carmenta.{table} WHERE user_id = %(user)s" for kind, table in TABLES.items()},
    "conversation": {
        "message": "SELECT id FROM carmenta.messages WHERE user_id = %(user)s AND conversation_id = %(id)s"
    },
}


def living(
    kind: SourceKind, which: str, revived: SourceKind | Literal["conversation"] | None = None, rest: str = ""
) -> str:
    """The statement that reads sources of a kind as they are now, without those that are deleted softly.

    Sources below something deleted softly are left out too. With `revived`, rows of that kind that are deleted softly
    are read as if they were not.
    """
    conditions = "" if revived == kind else " AND s.deleted_at IS NULL"
    conditions += " AND c.deleted_at IS NULL" if kind == "message" and revived != "conversation" else ""
    join = _JOIN if kind == "message" else ""
    return _LIVING.format(who=_WHO[kind], table=TABLES[kind], join=join, which=which, living=conditions, rest=rest)


def source(kind: SourceKind, row: tuple[Any, ...]) -> Source:
    """The source that a row of `living` describes."""
    found = _Row._make(row)
    at = as_written(found.created_at, found.utc_offset)
    return Source(kind, found.id, found.content, at, found.language, found.shown, found.author)


def read_living(
    raw: psycopg.Connection[Any], user: UUID, wanted: Iterable[tuple[SourceKind, UUID]], hold: bool = False
) -> Living:
    """The living ones of the wanted sources, by kind and id.

    With `hold` nobody can change or delete them until the transaction ends.
    """
    found: Living = {}
    for kind, ids in by_kind(wanted).items():
        values = {"user": user, "ids": ids}
        if hold and kind == "message":
            raw.execute(_HOLD_CONVERSATIONS, values)
        if hold:  # by a plan that cannot leave out the lock, and whoever lives no more is locked as well
            raw.execute(
                f"SELECT FROM carmenta.{TABLES[kind]} WHERE user_id = %(user)s AND id = ANY(%(ids)s) ORDER BY id "
                "FOR NO KEY UPDATE",
                values,
            )
        for row in raw.execute(living(kind, "s.id = ANY(%(ids)s)"), values, binary=True).fetchall():
            one = source(kind, row)
            found[kind, one.id] = one
    return found


def below(
    raw: psycopg.Connection[Any], user: UUID, kind: Literal["conversation", "user"], id: UUID
) -> list[tuple[SourceKind, UUID]]:
    """All sources of a conversation or of a user, whether they live or not."""
    values = {"user": user, "id": id}
    return [(each, key) for each, ids in _IDS[kind].items() for (key,) in raw.execute(ids, values, binary=True)]


def by_kind(wanted: Iterable[tuple[SourceKind, UUID]]) -> dict[SourceKind, list[UUID]]:
    """The ids of these sources, by kind; kinds without any are left out."""
    found: dict[SourceKind, list[UUID]] = {}
    for kind, id in wanted:
        found.setdefault(kind, []).append(id)
    return {kind: sorted(ids) for kind, ids in found.items()}


def in_blocks(wanted: Sequence[tuple[SourceKind, UUID]], size: int) -> list[Sequence[tuple[SourceKind, UUID]]]:
    """These sources in blocks of at most `size`, in their order."""
    return [wanted[start : start + size] for start in range(0, len(wanted), size)]
