"""What a context can be made of: plain values, as read, before anything is chosen."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from carmenta_lab.context.compress import Gists
from carmenta_lab.records import Query

BYTES_PER_TOKEN = 64
"""A text of more bytes than this for every token of the budget is not fetched: no language packs tokens so densely."""


class MessageText(NamedTuple):
    """One message of the conversation, or a tool call with the messages that hold its results."""

    ids: tuple[UUID, ...]
    sources: tuple[str, ...]  # the ids as given, else the uuids
    role: Literal["system", "user", "assistant"]
    text: str | None  # None: longer than any budget of this context, and not read
    language: str = "en"  # ISO 639-1
    compressed: str | None = None
    compressed_by: str = "as stored"
    author: str | None = None
    length_bytes: int = 0  # of the text, where it was not read
    created_at: datetime | None = None
    tokens: int | None = None  # of the text, where the counter has counted it before
    is_result: bool = False  # of a tool, whose call stands before it
    head: str = ""  # the speaker, where the role does not tell who speaks


class RetrievedText(NamedTuple):
    """One retrieved source."""

    id: UUID  # of the memory, message or document
    source: str
    kind: Literal["memory", "passage"]
    head: str  # the speaker, or what it is: "Ann: ", "Memory: "
    says: str  # without date and author
    rank: int  # from 1
    score: float  # larger is better
    language: str = "en"  # ISO 639-1
    created_at: datetime | None = None
    made_from: UUID | None = None  # the message a memory was extracted from
    obsolete: str = ""  # why it no longer counts: superseded, replaced, expired, rejected; "" when it does
    tokens: int | None = None  # of what it says, where the counter has counted it before
    whole: bool = False  # says all that its message says
    date: str = ""  # what stands before all that was retrieved of one day: "[2025-03-14] "


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that may stand in one context."""

    query: Query
    profile: str | None = None
    profile_source: str = ""
    messages: tuple[MessageText, ...] = ()  # oldest first
    retrieved: tuple[RetrievedText, ...] = ()  # best first
    notes: tuple[str, ...] = ()  # what the reader must know about how it was had
    gists: Gists = field(default_factory=Gists, compare=False, repr=False)  # of its texts, made once

    def uncounted(self) -> list[tuple[UUID, str]]:
        """Messages whose whole text was read and has no stored count, each with its text."""
        hits = [(one.id, one.says) for one in self.retrieved if one.whole and one.tokens is None]
        said = [
            (key, one.text) for one in self.messages if one.text is not None and one.tokens is None for key in one.ids
        ]
        return list(dict([*hits, *said]).items())
