"""How is a context handed to a chat API? As messages whose roles alternate, in the shapes two APIs document.

Tool calls stand in the text: as calls of their own they would ask every request to declare the tools again.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

BREAK = "\n\n"
"""What stands between two blocks of one message."""


def openai(spoken: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Messages with `role` and `content`, for chat completions; neighbouring texts of one role become one message."""
    return [
        {"role": role, "content": BREAK.join(text for _, text in texts)}
        for role, texts in groupby(spoken, key=lambda one: one[0])
    ]


def anthropic(spoken: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """`system` (absent where nothing is said there) and `messages`, user and assistant in turn, the user first."""
    system = BREAK.join(text for role, text in spoken if role == "system")
    messages = openai([(role, text) for role, text in spoken if role != "system"])
    return ({"system": system} if system else {}) | {"messages": messages}
