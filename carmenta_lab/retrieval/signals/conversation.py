"""The conversation as a whole: does it hold anything that answers the question well?"""

from dataclasses import dataclass
from typing import ClassVar

from carmenta_lab.retrieval.signals.signal import Signal


@dataclass(frozen=True)
class BestOfConversation(Signal):
    """The best value of another signal in the candidate's conversation; one without a conversation is its own best."""

    name: ClassVar[str] = "conversation"

    of: str = "late"  # a signal that the strategy lists before this one: "late" or "words"

    def value(self) -> str:
        """A maximum over the conversation."""
        value = "coalesce(late.value, 0)" if self.of == "late" else "coalesce(c.words, 0)"
        named = "CASE WHEN c.author = :speaker THEN .06 ELSE 0 END"
        return f"max({value} + {named}) OVER (PARTITION BY coalesce(c.conversation_id, c.passage_id))"
