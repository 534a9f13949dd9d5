"""Where does each column of Vercel's ai-chatbot go? Both generations of its schema, for an import and for a reader."""

from typing import NamedTuple


class ColumnMapping(NamedTuple):
    """A column of the ai-chatbot schema, and the columns here that hold what it holds."""

    generation: str  # "first", "second"; a column that both have stands once, as "both"
    table: str
    column: str
    type: str  # as there
    targets: tuple[str, ...]  # table.column, of the schema `carmenta`
    note: str = ""


_KEY = "kept as it is: ids are uuids on both sides"
_OWNER = "every row carries its user, so a row below a chat gets the chat's"
_TIME = "there without a zone; read as UTC"
_OLD = "the first generation's table, with the later one's places"


def _table(generation: str, table: str, *columns: tuple[str, str, str, str]) -> tuple[ColumnMapping, ...]:
    return tuple(
        ColumnMapping(generation, table, name, kind, tuple(to.split()), note) for name, kind, to, note in columns
    )


_MESSAGE_ID = ("id", "uuid", "messages.id", _KEY)
_CHAT_ID = ("chatId", "uuid", "messages.conversation_id messages.user_id", _OWNER)
_ROLE = ("role", "varchar", "messages.role", "")
_SAID_AT = ("createdAt", "timestamp", "messages.created_at messages.position", f"{_TIME}; the order by it is kept")
_VOTE = (
    ("chatId", "uuid", "votes.user_id", "follows from the message"),
    ("messageId", "uuid", "votes.message_id", ""),
    ("isUpvoted", "boolean", "votes.is_upvoted", ""),
)

COLUMN_MAPPINGS = (
    *_table(
        "both", "User",
        ("id", "uuid", "users.id", _KEY),
        ("email", "varchar(64)", "accounts.email accounts.provider_account_id", "a way to sign in, not the person"),
        ("password", "varchar(64)", "accounts.password_hash", "a bcrypt hash there; provider 'password' here"),
    ),
    *_table(
        "second", "User",
        ("name", "text", "users.name", ""),
        ("image", "text", "users.image_url", ""),
        ("emailVerified", "boolean", "accounts.email_verified", ""),
        ("isAnonymous", "boolean", "users.kind", "'anonymous' or 'registered'"),
        ("createdAt", "timestamp", "users.created_at", _TIME),
        ("updatedAt", "timestamp", "users.updated_at", _TIME),
    ),
    *_table(
        "both", "Chat",
        ("id", "uuid", "conversations.id", _KEY),
        ("createdAt", "timestamp", "conversations.created_at conversations.started_at", _TIME),
        ("title", "text", "conversations.title", ""),
        ("userId", "uuid", "conversations.user_id", ""),
        ("visibility", "varchar", "conversations.visibility", "'public' or 'private'; checked here"),
    ),
    *_table(
        "first", "Chat",
        ("lastContext", "jsonb", "events.properties", "what the last answer used; there for a while"),
    ),
    *_table(
        "first", "Message", _MESSAGE_ID, _CHAT_ID, _ROLE,
        ("content", "json", "messages.content messages.parts", f"a string or a list of parts; {_OLD}"), _SAID_AT,
    ),
    *_table(
        "both", "Message_v2", _MESSAGE_ID, _CHAT_ID, _ROLE,
        ("parts", "json", "messages.parts messages.content", "kept whole, and flattened to the text that is searched"),
        ("attachments", "json", "attachments.name attachments.media_type attachments.key",
         "a row each: name, contentType and url"),
        _SAID_AT,
    ),
    *_table("first", "Vote", *_VOTE),
    *_table("both", "Vote_v2", *_VOTE),
    *_table(
        "both", "Document",
        ("id", "uuid", "artifacts.id", "what is called a document there is an artifact here"),
        ("createdAt", "timestamp", "artifacts.created_at", "tells versions apart, as there"),
        ("title", "text", "artifacts.title", ""),
        ("content", "text", "artifacts.content", ""),
        ("text", "varchar", "artifacts.kind", "the kind (text, code, image, sheet), in a column of that name"),
        ("userId", "uuid", "artifacts.user_id", ""),
    ),
    *_table(
        "both", "Suggestion",
        ("id", "uuid", "suggestions.id", _KEY),
        ("documentId", "uuid", "suggestions.artifact_id", ""),
        ("documentCreatedAt", "timestamp", "suggestions.artifact_created_at", "hangs on one version, as there"),
        ("originalText", "text", "suggestions.original_text", ""),
        ("suggestedText", "text", "suggestions.suggested_text", ""),
        ("description", "text", "suggestions.description", ""),
        ("isResolved", "boolean", "suggestions.is_resolved", ""),
        ("userId", "uuid", "suggestions.user_id", ""),
        ("createdAt", "timestamp", "suggestions.created_at", _TIME),
    ),
    *_table(
        "both", "Stream",
        ("id", "uuid", "streams.id", _KEY),
        ("chatId", "uuid", "streams.conversation_id streams.user_id", _OWNER),
        ("createdAt", "timestamp", "streams.created_at", _TIME),
    ),
)  # fmt: skip
"""Every column of both generations; both have Message_v2 and Vote_v2, whose names keep what they replaced."""
