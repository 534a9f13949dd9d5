"""What does a message say of the matter in fewer tokens? The sentences nearest to the query; no language model."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from math import log, sqrt

from carmenta_lab.context.repeats import gist
from carmenta_lab.context.sentences import Piece, pieces, reduced
from carmenta_lab.context.sizes import Sizes

OF_CONVERSATION = 0.25
"""What a word shared with the conversation weighs beside one shared with the query."""
OF_OPENING = 0.05
"""What the first sentence of a message has in advance: it says what the message is about."""
GAP = "…"


class Relevance:
    """How much a sentence has to do with the query, and less with the conversation: words by their rarity."""

    def __init__(self, query: str, conversation: Iterable[str], known: dict[str, str] | None = None) -> None:
        self._conversation = tuple(conversation)
        self._known = {} if known is None else known
        self._asked = set(gist(query, self._known).split())

    @cached_property
    def _within(self) -> Counter[str]:
        """In how many messages a word stands; counted when it is first asked for."""
        return Counter(word for text in self._conversation for word in set(gist(text, self._known).split()))

    def of(self, sentence: str) -> float:
        """0 or more; a long sentence needs more to say than a short one."""
        mine = set(gist(sentence, self._known).split())
        if not mine:
            return 0.0
        shared = sum(self._weight(word) for word in mine & self._asked)
        around = sum(self._weight(word) for word in mine if self._within[word] > 1)
        return (shared + OF_CONVERSATION * around) / sqrt(len(mine))

    def _weight(self, word: str) -> float:
        return log(1 + (len(self._conversation) + 1) / (self._within[word] + 1))


def shorten(text: str, limit: int, sizes: Sizes, relevance: Relevance) -> str:
    """The text in at most `limit` tokens, or in its best single piece where that is longer; "" when nothing is shorter.

    Pieces stand in their order, each whole; a tool call as its name and result. A sign stands where one is left out.
    """
    parts = [Piece(reduced(part.text), part.kind, part.paragraph) for part in pieces(text)]
    if not parts:
        return ""
    sizes.count([("", part.text) for part in parts] + [("", GAP)])
    ranked = sorted(range(len(parts)), key=lambda n: (-relevance.of(parts[n].text) - (OF_OPENING if n == 0 else 0), n))
    chosen: set[int] = set()
    room = limit
    for number in ranked:
        cost = sizes.of("", parts[number].text) + sizes.of("", GAP)
        if cost <= room or not chosen:
            chosen.add(number)
            room -= cost
    short = _joined(parts, chosen)
    while len(chosen) > 1 and sizes.of("", short) > limit:
        chosen.remove(next(number for number in reversed(ranked) if number in chosen))
        short = _joined(parts, chosen)
    return short if sizes.of("", short) < sizes.of("", text) else ""


def _joined(parts: Sequence[Piece], chosen: set[int]) -> str:
    """The chosen pieces; what is left out between them is marked."""
    result = ""
    before = -1
    for number in sorted(chosen):
        part = parts[number]
        if before >= 0:
            same = part.paragraph == parts[before].paragraph
            result += (" " if same else "\n") + (f"{GAP} " if number > before + 1 and part.kind == "sentence" else "")
        result += part.text
        before = number
    return result + (f" {GAP}" if before < len(parts) - 1 and parts[before].kind == "sentence" else "")
