"""What may a context hold, and how is its budget divided? Parameters only."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from carmenta_lab.errors import UsageError
from carmenta_lab.retrieval.search import MAX_K

MAX_MESSAGES = 10_000

Section: TypeAlias = Literal["profile", "conversation", "retrieved"]


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
class Tier:
    """So many messages, and what is kept of each: a `keep` of 1 leaves them untouched, 0 < keep <= 1.

    A message above its tier's share of its own tokens stands as `content_for_llm` where it has one, else as the
    sentences nearest to the query; one that cannot be shortened so far stands in its shortest form.
    """

    messages: int
    keep: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be kept."""
        if self.messages < 0 or not 0 < self.keep <= 1:
            raise UsageError(
                f"a tier needs messages >= 0 and 0 < keep <= 1; found messages={self.messages}, keep={self.keep}."
            )


@dataclass(frozen=True)
class Policy:
    """The profile at the START, the conversation, what was retrieved at the END, the query.

    `tiers` go from the newest message back; what is older than the last tier is not read. Of what is retrieved the
    best ranks stand, but `memories` and `passages` keep a fraction of its room for either kind while there is any.
    UsageError for what cannot be kept: floors above 1 together, `k` outside 1 to 1000.

    >>> mine = cl.Policy(strategy="bm25", k=20, budget_tokens=1_000)
    >>> cl.assemble(lab, nora, "What did we decide about the roof?", policy=mine).budget_tokens
    1000
    """

    strategy: str | None = (
        None  # the retrieval strategy, by name or by the path of its file; None: nothing is retrieved
    )
    k: int = 60  # hits considered, 1..1000
    tiers: tuple[Tier, ...] = (Tier(10), Tier(15, 0.6), Tier(25, 0.3))
    span: Literal["conversation", "history"] = "conversation"  # whose messages: the one's, or all conversations'
    compression: Literal["sentences", "stored"] = "sentences"  # stored: only where there is a `content_for_llm`
    deduplicate: bool = True  # leave out what another block says already
    order: tuple[Section, ...] = ("profile", "conversation", "retrieved")  # the query comes last
    profile: Share = Share(floor=0.1, share=0.4)
    conversation: Share = Share(floor=0.25, share=0.5)
    retrieved: Share = Share(floor=0.15, share=0.3)
    memories: float = 0.5  # of the room of what is retrieved
    passages: float = 0.3  # messages and documents
    budget_tokens: int = 8_000  # unless the caller says otherwise

    def __post_init__(self) -> None:
        """Refuse what cannot be kept."""
        if not isinstance(self.k, int) or not 1 <= self.k <= MAX_K:
            raise UsageError(f"a policy's k must be 1 to {MAX_K}, not {self.k!r}.")
        for name in ("profile", "conversation", "retrieved"):
            if not isinstance(share := getattr(self, name), Share):
                raise UsageError(
                    f"a policy's {name} must be a share of the budget, Share(floor, share), not {share!r}."
                )
        if self.messages > MAX_MESSAGES:
            raise UsageError(f"a policy's tiers must hold {MAX_MESSAGES} messages at most, not {self.messages}.")
        floors = self.profile.floor + self.conversation.floor + self.retrieved.floor
        if floors > 1:
            raise UsageError(f"a policy's floors must add up to 1 at most, not {floors:g}.")
        if min(self.memories, self.passages) < 0 or self.memories + self.passages > 1:
            raise UsageError(
                "what is kept for memories and for passages must be 0 or more and 1 at most together; "
                f"found memories={self.memories}, passages={self.passages}."
            )
        if sorted(self.order) != ["conversation", "profile", "retrieved"] or self.order[0] != "profile":
            raise UsageError(
                "a policy's order must begin with the profile and name conversation and retrieved once each; "
                f"found {', '.join(self.order)}."
            )

    @property
    def messages(self) -> int:
        """Messages of the conversation that are considered, from the newest back."""
        return sum(tier.messages for tier in self.tiers)

    def keep(self, age: int) -> float:
        """What is kept of the message that is `age` messages older than the newest one."""
        for tier in self.tiers:
            if age < tier.messages:
                return tier.keep
            age -= tier.messages
        return self.tiers[-1].keep if self.tiers else 1.0


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
