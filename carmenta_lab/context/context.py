"""What does the model see, why, and what was left out? The result of an assembly, as a value.

It is shown as text and as HTML, and handed to a chat API as messages whose roles alternate, in the shapes that two APIs
document. Tool calls stand in the text: as calls of their own they would ask every request to declare the tools again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

from carmenta_lab.display import clean, render

Role: TypeAlias = Literal["system", "user", "assistant"]
BlockKind: TypeAlias = Literal["profile", "message", "memory", "passage", "query"]

COLOURS: dict[BlockKind, str] = {
    "profile": "#8e6bbf",
    "message": "#3f83c4",
    "memory": "#2f9468",
    "passage": "#b9822a",
    "query": "#c4504a",
}
"""Middle tones: at least 3:1 against white and against #111."""

FAINT = "rgba(128,128,128,.22)"
STRIPES = "repeating-linear-gradient(135deg,transparent 0 3px,rgba(255,255,255,.45) 3px 5px)"
"""Over the colour of what stands compressed."""


@dataclass(frozen=True, slots=True)
class Block:
    """One text of a context, in its place: the profile, a message, a memory, a passage or the query."""

    role: Role  # of the chat message it becomes a part of
    kind: BlockKind
    text: str
    tokens: int  # as it stands, with the counter's overhead
    tokens_before: int  # before compression
    sources: tuple[str, ...]  # ids as given, else uuids
    why: str
    score: float | None = None  # of what was retrieved; larger is better
    rank: int | None = None  # from 1
    ids: tuple[UUID, ...] = ()  # the rows of the sources
    created_at: datetime | None = None
    place: int | None = None  # of a message in the conversation as read, from 0

    @property
    def compressed(self) -> bool:
        """Whether the block takes fewer tokens than its source in full."""
        return self.tokens < self.tokens_before


@dataclass(frozen=True, slots=True)
class Dropped:
    """A source that was considered for the context and left out, with the reason."""

    source: str
    kind: BlockKind
    tokens: int  # what it would have cost
    reason: str
    ids: tuple[UUID, ...] = ()
    created_at: datetime | None = None
    place: int | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """The blocks in the order in which the model reads them; `tokens` is their sum and within the budget.

    >>> context = cl.assemble(lab, nora, "What did we decide about the roof?", budget_tokens=400)
    >>> sum(block.tokens for block in context.blocks) == context.tokens <= context.budget_tokens == 400
    True
    >>> context.blocks[-1].kind
    'query'
    """

    blocks: tuple[Block, ...]
    dropped: tuple[Dropped, ...]
    tokens: int
    budget_tokens: int
    policy: str
    notes: tuple[str, ...] = ()

    def as_messages(self) -> list[dict[str, str]]:
        """OpenAI-style chat messages: the profile as system message, then user and assistant in turn.

        Neighbouring blocks of one role become one message. What was retrieved stands at the beginning of the last
        user message, before the query, or after an unanswered message of the user.
        """
        return _openai(self._spoken())

    def as_anthropic(self) -> dict[str, Any]:
        """The arguments of Anthropic's messages API: `messages`, the user's first, and `system` where there is one."""
        return _anthropic(self._spoken())

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dictionaries: tokens, blocks, dropped."""
        return {
            "tokens": self.tokens,
            "blocks": [
                {"role": block.role, "text": block.text, "tokens": block.tokens, "sources": list(block.sources)}
                for block in self.blocks
            ],
            "dropped": [
                {"source": dropped.source, "tokens": dropped.tokens, "reason": dropped.reason}
                for dropped in self.dropped
            ],
        }

    def explain(self) -> str:
        """A line for every block and for everything left out."""
        lines = [self._title(), *(f"note: {note}" for note in self.notes)]
        for block in self.blocks:
            before = f" (of {block.tokens_before})" if block.compressed else ""
            lines.append(f"{block.tokens:>7}  {block.kind:<8} {', '.join(block.sources) or '-'}: {block.why}{before}")
        if self.dropped:
            lines.append("left out:")
        for dropped in self.dropped:
            lines.append(f"{dropped.tokens:>7}  {dropped.kind:<8} {dropped.source}: {dropped.reason}")
        return "\n".join(lines)

    def _title(self) -> str:
        return f"{self.tokens} of {self.budget_tokens} tokens, policy {self.policy}"

    def _spoken(self) -> list["_Spoken"]:
        return [_Spoken(block.role, block.text) for block in self.blocks]

    def __repr__(self) -> str:
        return f"<Context: {self._title()}, {len(self.blocks)} blocks, {len(self.dropped)} left out>"

    def __str__(self) -> str:
        """What the model reads, block by block, and how much was left out."""
        parts = [self._title(), *(f"note: {note}" for note in self.notes)]
        for block in self.blocks:
            before = f" of {block.tokens_before}" if block.compressed else ""
            sources = f" · {', '.join(block.sources)}" if block.sources else ""
            parts.append(f"\n{block.kind} · {block.role} · {block.tokens}{before} tokens{sources}\n{clean(block.text)}")
        if self.dropped:
            parts.append(f"\nleft out: {len(self.dropped)}")
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        """The title, a bar of the budget, a row a block, and what was left out."""
        sums: dict[str, int] = {}
        for block in self.blocks:
            sums[block.kind] = sums.get(block.kind, 0) + block.tokens
        return render(
            "context.html",
            title=self._title(),
            blocks=self.blocks,
            dropped=self.dropped,
            notes=self.notes,
            budget=max(self.budget_tokens, 1),
            sums=sums,
            colours=COLOURS,
            faint=FAINT,
            stripes=STRIPES,
        )


class _Spoken(NamedTuple):
    """Who speaks, and what."""

    role: str
    text: str


BREAK = "\n\n"
"""What stands between two blocks of one message."""


def _openai(spoken: Sequence[_Spoken]) -> list[dict[str, str]]:
    """Messages with `role` and `content`, for chat completions; neighbouring texts of one role become one message."""
    return [
        {"role": role, "content": BREAK.join(one.text for one in texts)}
        for role, texts in groupby(spoken, key=lambda one: one.role)
    ]


def _anthropic(spoken: Sequence[_Spoken]) -> dict[str, Any]:
    """`system` (absent where nothing is said there) and `messages`, user and assistant in turn, the user first."""
    system = BREAK.join(one.text for one in spoken if one.role == "system")
    messages = _openai([one for one in spoken if one.role != "system"])
    return ({"system": system} if system else {}) | {"messages": messages}
