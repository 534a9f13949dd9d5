"""What does the model see, why, and what was left out? The result of an assembly, as a value."""

from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, TypeAlias

from carmenta_lab.context.html import page

Role: TypeAlias = Literal["system", "user", "assistant"]
Kind: TypeAlias = Literal["profile", "message", "memory", "passage", "query"]


@dataclass(frozen=True, slots=True)
class Block:
    """One text of a context, in its place."""

    role: Role  # of the chat message it becomes a part of
    kind: Kind
    text: str
    tokens: int  # as it stands, with the counter's overhead
    tokens_before: int  # before compression
    sources: tuple[str, ...]  # ids as given, else uuids
    why: str
    score: float | None = None  # of what was retrieved; larger is better
    rank: int | None = None  # from 1


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was considered and left out."""

    source: str
    kind: Kind
    tokens: int  # what it would have cost
    reason: str


@dataclass(frozen=True, slots=True)
class Context:
    """The blocks in the order in which the model reads them; `tokens` is their sum and within the budget."""

    blocks: tuple[Block, ...]
    dropped: tuple[Dropped, ...]
    tokens: int
    budget_tokens: int
    policy: str

    def as_messages(self) -> list[dict[str, str]]:
        """OpenAI-style chat messages: the profile as system message, then user and assistant in turn.

        Neighbouring blocks of one role become one message. What was retrieved stands at the beginning of the last
        user message, before the query, or after an unanswered message of the user.
        """
        return [
            {"role": role, "content": "\n\n".join(block.text for block in blocks)}
            for role, blocks in groupby(self.blocks, key=lambda block: block.role)
        ]

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
        lines = [f"{self.tokens} of {self.budget_tokens} tokens, policy {self.policy}"]
        for block in self.blocks:
            lines.append(f"{block.tokens:>7}  {block.kind:<8} {', '.join(block.sources) or '-'}: {block.why}")
        if self.dropped:
            lines.append("left out:")
        for dropped in self.dropped:
            lines.append(f"{dropped.tokens:>7}  {dropped.kind:<8} {dropped.source}: {dropped.reason}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [(b.kind, b.role, b.tokens, ", ".join(b.sources), b.why, b.text) for b in self.blocks]
        left = [(d.kind, d.tokens, d.source, d.reason) for d in self.dropped]
        return page(
            f"{self.tokens} of {self.budget_tokens} tokens, policy {self.policy}", self.budget_tokens, rows, left
        )
