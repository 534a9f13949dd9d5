"""The conversation as a whole: does it hold anything that answers the question well?"""

from dataclasses import dataclass, replace
from typing import ClassVar

from carmenta_lab.retrieval.signals.signal import Parameter, Signal, Stage


@dataclass(frozen=True)
class BestOfConversation(Signal):
    """The best value of another signal in the candidate's conversation; one without a conversation is its own best."""

    name: ClassVar[str] = "conversation"
    stage: ClassVar[Stage] = "all"
    parameters: ClassVar[tuple[Parameter, ...]] = ("speaker",)

    of: str = "late"  # a signal that the strategy lists as well, of an earlier stage

    @property
    def reads(self) -> str:
        """The signal whose best value in the conversation this is."""
        return self.of

    def reading(self, name: str) -> "BestOfConversation":
        """The best of another."""
        return replace(self, of=name)

    def sql(self) -> str:
        """A maximum over the conversation, what the participant named says a little before the rest."""
        return (
            f"max(candidate.{self.of} + CASE WHEN candidate.author = :speaker THEN .06 ELSE 0 END) "
            "OVER (PARTITION BY coalesce(candidate.conversation_id, candidate.passage_id))"
        )
