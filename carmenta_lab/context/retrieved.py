"""Which of the hits does a room hold, and how do they read? By rank into the room, by time onto the page."""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

from carmenta_lab.context.compress import Gists, Repeats
from carmenta_lab.context.context import Block, Dropped
from carmenta_lab.context.counting import TokenCounts
from carmenta_lab.context.material import RetrievedText
from carmenta_lab.context.policy import Policy

LONG_AGO = datetime.min.replace(tzinfo=UTC)

STANDS = "stands"


class ChosenHits:
    """The hits that stand in a context, and their tokens; a date is shown once, before the first hit of its day."""

    def __init__(self, counts: TokenCounts) -> None:
        self.counts = counts
        self.cost = 0
        self.used: dict[str, int] = {"memory": 0, "passage": 0}
        self._days: dict[str, list[RetrievedText]] = {}

    def added(self, one: RetrievedText) -> int:
        """The tokens that the hit would add, a date included where its day has none yet."""
        day = self._days.get(one.date)
        if day is None:
            return self.bare(one) + self._date(one)
        if reading_order(one) < reading_order(day[0]):
            return self.bare(one) + self._date(one) - self._date(day[0])
        return self.bare(one)

    def add(self, one: RetrievedText) -> None:
        """Place the hit, and add its tokens to `cost`."""
        added = self.added(one)
        self.cost += added
        self.used[one.kind] += added
        day = self._days.setdefault(one.date, [])
        day.append(one)
        day.sort(key=reading_order)

    def bare(self, one: RetrievedText) -> int:
        """Tokens of the hit without its date."""
        return self.counts.of(one.head, one.says) + self.counts.counter.overhead

    def _date(self, one: RetrievedText) -> int:
        return self.counts.of(one.date + one.head, one.says) - self.counts.of(one.head, one.says)

    def blocks(self) -> list[Block]:
        """The hits in the order of time: where two facts disagree, the newer stands last."""
        ordered = sorted((one for day in self._days.values() for one in day), key=reading_order)
        dates = ["", *(one.date for one in ordered)]
        return [
            self._block(one, one.date if one.date != before else "")
            for one, (before, _) in zip(ordered, pairwise(dates), strict=True)
        ]

    def _block(self, one: RetrievedText, date: str) -> Block:
        tokens = self.bare(one) + (self._date(one) if date else 0)
        return Block(
            role="user",
            kind=one.kind,
            text=date + one.head + one.says,
            tokens=tokens,
            tokens_before=tokens,
            sources=(one.source,),
            why=f"retrieved: rank {one.rank}, score {one.score:.3g}",
            score=one.score,
            rank=one.rank,
            ids=(one.id,),
            created_at=one.created_at,
        )


def reading_order(one: RetrievedText) -> tuple[str, datetime, int]:
    """The sort key of hits: by date and time; of two at one time the better one comes last, nearer to the query."""
    return one.date, one.created_at or LONG_AGO, -one.rank


def choose(
    retrieved: Sequence[RetrievedText],
    policy: Policy,
    counts: TokenCounts,
    *,
    in_full: Collection[UUID],
    standing: Iterable[tuple[str, str]],
    room: int,
    gists: Gists,
) -> tuple[ChosenHits, list[Dropped]]:
    """The hits that fit into `room` tokens, taken best first, and the others with the reason.

    `in_full` are the ids of the messages that stand unshortened, `standing` the texts of the other blocks, each with
    its language. Memories and passages are served first within the fraction of the room that the policy keeps for
    their kind; what is left then goes to the next best hits of either kind.
    """
    chosen = ChosenHits(counts)
    said = Repeats(standing if policy.deduplicate else (), gists)
    bare = [chosen.bare(one) for one in retrieved]
    waiting = {"memory": 0, "passage": 0}  # tokens of the hits not yet decided
    for one, tokens in zip(retrieved, bare, strict=True):
        waiting[one.kind] += 0 if one.obsolete else tokens
    kept = {"memory": int(policy.memories * room), "passage": int(policy.passages * room)}
    reasons = [""] * len(retrieved)
    for keeping in (True, False):
        for number, one in enumerate(retrieved):
            if not keeping and (reasons[number] or chosen.cost + bare[number] > room):
                continue
            if keeping:
                waiting[one.kind] -= 0 if one.obsolete else bare[number]
            reasons[number] = refusal(one, in_full, said if policy.deduplicate else None)
            if reasons[number] or chosen.cost + bare[number] > room:
                continue
            other = "passage" if one.kind == "memory" else "memory"
            held = max(0, min(kept[other] - chosen.used[other], waiting[other])) if keeping else 0
            if chosen.cost + chosen.added(one) + held <= room:
                chosen.add(one)
                said.add(one.says, one.language)
                reasons[number] = STANDS
    refused = [
        Dropped(
            one.source,
            one.kind,
            bare[number],
            reasons[number] or f"longer than the {room - chosen.cost} tokens left",
            (one.id,),
            one.created_at,
        )
        for number, one in enumerate(retrieved)
        if reasons[number] != STANDS
    ]
    return chosen, refused


def refusal(one: RetrievedText, in_full: Collection[UUID], said: Repeats | None) -> str:
    """Why a hit cannot stand, whatever the room; "" when it can. Without `said` only what is obsolete is refused."""
    if one.obsolete:
        return one.obsolete
    if not one.says.strip():
        return "says nothing"
    if said is None:
        return ""
    if one.id in in_full:
        return "stands in full in the conversation"
    if one.made_from in in_full:
        return "its source message stands in full"
    return "says what another block says" if said.repeats(one.says, one.language) else ""
