"""What does one line of each file hold? One frozen struct per file; its annotations are the validation.

A field without a default must be there. A field with one may be left out, and null counts as left out.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from carmenta_lab.datasets.parts import flatten

MAX_INT = 2**31 - 1  # an `integer` column

NOT_BLANK = r"\S"
LANGUAGE = r"^[a-z]{2}\Z"
LABELS = r"^[A-Za-z0-9_]{1,255}(?:\.[A-Za-z0-9_]{1,255}){0,99}\Z"
SHA256 = r"^[0-9a-f]{64}\Z"

MEANING = {  # pattern: what is wrong with a value that does not match
    NOT_BLANK: "is empty",
    LANGUAGE: "is no language code of two small letters (ISO 639-1), such as 'en'",
    LABELS: "is no path: 1 to 100 labels of A-Z a-z 0-9 _ (up to 255 each) joined by dots; "
    "write '_' for a hyphen, space or accented letter, '.' for '/'",
    SHA256: "is no SHA-256 in 64 small hexadecimal digits",
}

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=500)]  # 500 characters always fit an index
Time: TypeAlias = Annotated[datetime, Meta(tz=True)]
Text: TypeAlias = Annotated[str, Meta(pattern=NOT_BLANK)]
Language: TypeAlias = Annotated[str, Meta(pattern=LANGUAGE)]
LabelPath: TypeAlias = Annotated[str, Meta(pattern=LABELS, max_length=1000)]
"""An ltree path: without hyphens, which need PostgreSQL 16, and short enough for a B-tree entry."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a dataset; `FILE` is the file whose lines have this form."""

    FILE: ClassVar[str]


RecordT = TypeVar("RecordT", bound=Record)


class Conversation(Record, frozen=True, kw_only=True):
    """What is known of a conversation beyond its messages."""

    FILE: ClassVar[str] = "conversations.jsonl"
    conversation_id: Id
    user_id: Id
    title: str | None = None
    status: Literal["active", "background", "archived"] = "active"
    visibility: Literal["private", "public"] = "private"
    folder: LabelPath | None = None


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A file that hangs on a message and lies in object storage."""

    name: Text
    media_type: Text
    bucket: Text
    key: Text
    size: Annotated[int, Meta(ge=0, le=2**63 - 1)]  # bytes
    sha256: Annotated[str, Meta(pattern=SHA256)] | None = None


class Message(Record, frozen=True, kw_only=True):
    """One message; `text` is never blank: as given, or flattened from `parts` (None when `text` was given)."""

    FILE: ClassVar[str] = "messages.jsonl"
    message_id: Id
    conversation_id: Id
    user_id: Id
    role: Literal["user", "assistant", "system", "tool"]
    author: str | None = None
    created_at: Time | None
    text: Text = ""
    parts: list[dict[str, Any]] | None = None
    position: Annotated[int, Meta(ge=0, le=MAX_INT)] | None = None
    parent_id: Id | None = None
    attachments: tuple[Attachment, ...] = ()
    content_for_llm: str | None = None
    model: str | None = None
    language: Language = "en"

    def __post_init__(self) -> None:
        """Fill `text` from `parts`; ValueError when both or neither are given, or nothing readable is."""
        if self.parts is None:
            if not self.text:
                raise ValueError("text, parts: neither is given, one is needed")
        elif self.text:
            raise ValueError("text, parts: both are given, only one may be")
        else:
            text = flatten(self.parts)
            if not text:
                raise ValueError("parts: empty text, no part holds anything to read")
            msgspec.structs.force_setattr(self, "text", text)


class Document(Record, frozen=True, kw_only=True):
    """One document of the knowledge base."""

    FILE: ClassVar[str] = "documents.jsonl"
    document_id: Id
    user_id: Id
    path: LabelPath
    name: Text
    text: Text
    tags: tuple[Text, ...] = ()
    source_type: str | None = None
    created_at: Time | None = None
    language: Language = "en"


class Memory(Record, frozen=True, kw_only=True):
    """One remembered statement about a user."""

    FILE: ClassVar[str] = "memories.jsonl"
    memory_id: Id
    user_id: Id
    category: Literal["personal", "project", "preference", "decision", "knowledge"]
    text: Text
    confidence: Annotated[float, Meta(ge=0, le=1)] = 1.0
    source_message_id: Id | None = None
    created_at: Time | None = None
    superseded_by: Id | None = None
    language: Language = "en"


class Profile(Record, frozen=True, kw_only=True):
    """What stands at the start of every context of a user."""

    FILE: ClassVar[str] = "profiles.jsonl"
    user_id: Id
    text: Text
    language: Language = "en"


class QueryLine(Record, frozen=True, kw_only=True):
    """One question; `asked_at` None stands for the end of time."""

    FILE: ClassVar[str] = "queries.jsonl"
    query_id: Id
    user_id: Id
    text: Text
    category: str = ""
    asked_at: Time | None = None
    answers: tuple[str, ...] = ()
    language: Language = "en"


class Judgement(Record, frozen=True, kw_only=True):
    """How relevant a message, memory or document is to a question; 0 is not relevant."""

    FILE: ClassVar[str] = "qrels.tsv"
    query_id: Id
    target_id: Id
    relevance: Annotated[int, Meta(ge=0, le=MAX_INT)]


class Artifact(Record, frozen=True, kw_only=True):
    """One version of an artifact: versions share `artifact_id` and differ in `created_at`."""

    FILE: ClassVar[str] = "artifacts.jsonl"
    artifact_id: Id
    user_id: Id
    conversation_id: Id | None = None
    message_id: Id | None = None
    created_at: Time
    kind: Literal["text", "code", "sheet", "image", "mermaid", "ag-ui"]
    title: Text
    content: str
    summary_for_llm: str | None = None
    component_tree: dict[str, Any] | None = None
    data_bindings: dict[str, Any] | None = None
    ui_state: dict[str, Any] | None = None


class Vote(Record, frozen=True, kw_only=True):
    """A user's thumb up or down on one message."""

    FILE: ClassVar[str] = "votes.jsonl"
    user_id: Id
    message_id: Id
    is_upvoted: bool
    created_at: Time


class Feedback(Record, frozen=True, kw_only=True):
    """One implicit signal; `value` is in seconds for `session_duration`, a count otherwise."""

    FILE: ClassVar[str] = "feedback.jsonl"
    user_id: Id
    message_id: Id
    signal: Literal["regeneration", "abandonment", "copy", "edit", "session_duration"]
    value: float
    weight: Annotated[float, Meta(ge=-1, le=1)]
    created_at: Time


class Tag(Record, frozen=True, kw_only=True):
    """One tag on one thing of a user."""

    FILE: ClassVar[str] = "tags.jsonl"
    user_id: Id
    tag: Text
    target_type: Literal["conversation", "document", "artifact"]
    target_id: Id


KINDS: tuple[type[Record], ...] = (
    Conversation,
    Message,
    Document,
    Memory,
    Profile,
    QueryLine,
    Judgement,
    Artifact,
    Vote,
    Feedback,
    Tag,
)
