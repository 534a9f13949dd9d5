"""What an assistant asks all day: one statement each, built apart from its execution, columns and not entities.

Every statement names its user beside row-level security, and none shows what was deleted softly. Those that read a
list take a `limit`; the session is the caller's, inside `postgres.as_user`. What is written through `writing` is found
by the next search; the names of that module are those of this package as well.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carmenta_lab.app.writing import (
        Acting,
        Written,
        acting,
        delete_conversation,
        delete_document,
        delete_memory,
        delete_message,
        edit_document,
        edit_memory,
        edit_message,
        undelete_conversation,
        undelete_document,
        undelete_memory,
        undelete_message,
        write_document,
        write_memory,
        write_message,
    )

__all__ = [
    "Acting",
    "Written",
    "acting",
    "delete_conversation",
    "delete_document",
    "delete_memory",
    "delete_message",
    "edit_document",
    "edit_memory",
    "edit_message",
    "undelete_conversation",
    "undelete_document",
    "undelete_memory",
    "undelete_message",
    "write_document",
    "write_memory",
    "write_message",
]


def __getattr__(name: str) -> Any:
    """Imported at first use: whoever only reads need not have the parts that cut and embed."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("carmenta_lab.app.writing"), name)
