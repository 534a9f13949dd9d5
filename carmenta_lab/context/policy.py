"""What may a context hold, and how is its budget divided? Parameters only."""

from dataclasses import dataclass

from carmenta_lab.errors import UsageError
from carmenta_lab.retrieval.retriever import Retriever
from carmenta_lab.retrieval.search import MAX_K


@dataclass(frozen=True)
class Share:
    """Fractions of what the query leaves of the budget, 0 <= floor <= share <= 1.

    The floor is kept for a section before any other gets more than its own floor; up to the share it is served
    next; what nobody has used by then goes to the sections in their order.
    """

    floor: float
    share: float

    def __post_init__(self) -> None:
        """Refuse fractions out of order."""
        if not 0 <= self.floor <= self.share <= 1:
            raise UsageError(f"a share needs 0 <= floor <= share <= 1; found floor={self.floor}, share={self.share}.")


@dataclass(frozen=True)
class Policy:
    """The profile at the START, the conversation, what was retrieved at the END, the query.

    `passages` is searched where `memories` finds nothing; without either there is no END section.
    """

    memories: Retriever | None
    passages: Retriever | None
    k: int = 20  # hits considered, 1..1000
    messages: int = 50  # last messages of the conversation that are considered, 0..10,000
    in_full: int = 10  # the last of them that stand in full; older ones as `content_for_llm` where there is one
    profile: Share = Share(floor=0.1, share=0.4)
    conversation: Share = Share(floor=0.25, share=0.5)
    retrieved: Share = Share(floor=0.15, share=0.3)
    budget_tokens: int = 8_000  # unless the caller says otherwise

    def __post_init__(self) -> None:
        """Refuse what cannot be kept."""
        if not 1 <= self.k <= MAX_K:
            raise UsageError(f"a policy's k must be 1 to {MAX_K}, not {self.k}.")
        if not 0 <= self.in_full <= self.messages <= 10_000:
            raise UsageError(
                "a policy needs 0 <= in_full <= messages <= 10000; "
                f"found in_full={self.in_full}, messages={self.messages}."
            )
        floors = self.profile.floor + self.conversation.floor + self.retrieved.floor
        if floors > 1:
            raise UsageError(f"a policy's floors must add up to 1 at most, not {floors:g}.")


def rooms(available: int, demands: tuple[int, ...], shares: tuple[Share, ...]) -> list[int]:
    """Tokens granted to each section: its floor, then its share, then what is left, in the sections' order.

    None gets more than it demands, and all together never more than `available`.
    """
    granted = [0] * len(demands)
    limits = [[share.floor for share in shares], [share.share for share in shares], [1.0] * len(shares)]
    for fractions in limits:
        for section, fraction in enumerate(fractions):
            wanted = min(demands[section], int(available * fraction)) - granted[section]
            granted[section] += max(0, min(wanted, available - sum(granted)))
    return granted
