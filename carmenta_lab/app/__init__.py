"""What an assistant asks all day: one statement each, built apart from its execution, columns and not entities.

Every statement names its user beside row-level security, and none shows what was deleted softly. Those that read a
list take a `limit`; the session is the caller's, one of a user. What is written through `writing` is found by the next
search; the names of that module are those of this package as well.

>>> with nora.session() as session:
...     latest = cl.app.conversations.page(session, nora.id, limit=1)[0]
...     written = cl.app.write_message(session, latest.id, "user", "I sold the boat to Pelle.")
...     cl.search(session, "I sold the boat", k=1).hits[0].source_id == written.id
True
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carmenta_lab.app import (
        artifacts,
        assistants,
        concierge,
        conversations,
        filing,
        identity,
        knowledge,
        memory,
        operations,
    )
    from carmenta_lab.app.writing import (
        WrittenRow,
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
    "WrittenRow",
    "artifacts",
    "assistants",
    "concierge",
    "conversations",
    "delete_conversation",
    "delete_document",
    "delete_memory",
    "delete_message",
    "edit_document",
    "edit_memory",
    "edit_message",
    "filing",
    "identity",
    "knowledge",
    "memory",
    "operations",
    "undelete_conversation",
    "undelete_document",
    "undelete_memory",
    "undelete_message",
    "write_document",
    "write_memory",
    "write_message",
]

_DOMAINS = frozenset(module.name for module in iter_modules(__path__))


def __getattr__(name: str) -> Any:
    """Imported at first use: whoever only reads need not have the parts that cut and embed."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _DOMAINS:
        return import_module(f"{__name__}.{name}")
    return getattr(import_module(f"{__name__}.writing"), name)


def __dir__() -> list[str]:
    return __all__
