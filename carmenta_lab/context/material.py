"""What a context can be made of: plain values, as read, before anything is chosen."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from carmenta_lab.records import Query

BYTES_PER_TOKEN = 64
"""A text of more bytes than this for every token of the budget is not fetched: no language packs tokens so densely."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message of the conversation."""

    id: UUID
    source: str  # the id as given, else the uuid
    role: Literal["system", "user", "assistant"]
    text: str | None  # None: longer than any budget of this context, and not read
    compressed: str | None = None
    author: str | None = None
    length_bytes: int = 0  # of the text


@dataclass(frozen=True, slots=True)
class Found:
    """One retrieved source."""

    id: UUID  # of the memory, message or document
    source: str
    kind: Literal["memory", "passage"]
    text: str  # as it would be shown, with its date
    says: str  # without date and author
    rank: int  # from 1
    score: float  # larger is better
    created_at: datetime | None = None
    made_from: UUID | None = None  # the message a memory was extracted from
    obsolete: str = ""  # why it no longer counts: superseded, replaced, expired, rejected; "" when it does


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that may stand in one context."""

    query: Query
    profile: str | None = None
    profile_source: str = ""
    said: tuple[Said, ...] = ()  # oldest first
    found: tuple[Found, ...] = ()  # best first
