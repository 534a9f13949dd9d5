"""The conversation as a whole: does it hold anything that answers the question well?"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from carmenta_lab.retrieval.signals.signal import Signal


@dataclass(frozen=True)
class BestOfConversation(Signal):
    """The best value of another signal in the candidate's conversation; one without a conversation is its own best."""

    name: ClassVar[str] = "conversation"
    stage: ClassVar[Literal["candidate", "tokens", "all"]] = "all"

    of: str = "late"  # a signal that the strategy lists as well, of an earlier stage

    @property
    def reads(self) -> str:
        """That of which it is the best."""
        return self.of

    def reading(self, name: str) -> "BestOfConversation":
        """The best of another."""
        return replace(self, of=name)

    def sql(self) -> str:
        """A maximum over the conversation, what the participant named says a little before the rest."""
        return (
            f"max(c.{self.of} + CASE WHEN c.author = :speaker THEN .06 ELSE 0 END) "
            "OVER (PARTITION BY coalesce(c.conversation_id, c.passage_id))"
        )
