"""Does a text say again what another says already?"""

import re
from collections.abc import Iterable

_WORD = re.compile(r"[^\W_]+")
_FILLERS = frozenset(
    {"a", "an", "the", "is", "are", "was", "were", "be", "has", "have"}
    | {"der", "die", "das", "ein", "eine", "ist", "sind", "war"}
)
"""Words that carry no fact by themselves; a negation is none of them."""

CONTAINED_WORDS = 8
"""A text of fewer words counts as repeated only by an equal one: inside a longer one it may stand negated."""
_ENDING = re.compile(r"(?<=\w{3})(?:ing|ed|es|en|s|e)(?= )")
"""An ending is taken off only where three characters of the word stay."""


def words(text: str) -> str:
    """The text as its words in small letters, each between spaces; "" when there are none."""
    found = _WORD.findall(text.casefold())
    return f" {' '.join(found)} " if found else ""


def gist(text: str, known: dict[str, str] | None = None) -> str:
    """The same without articles, forms of "be" and "have", and endings: near-duplicates have an equal one.

    `known` keeps what was made before, for as long as its owner lives: people's texts stay in no cache of the process.
    """
    if known is None:
        return _gist(text)
    if text not in known:
        known[text] = _gist(text)
    return known[text]


def _gist(text: str) -> str:
    found = [word for word in _WORD.findall(text.casefold()) if word not in _FILLERS]
    return _ENDING.sub("", f" {' '.join(found)} ") if found else words(text)


class Repeats:
    """What the blocks of a context say so far."""

    def __init__(self, texts: Iterable[str] = (), known: dict[str, str] | None = None) -> None:
        self._known = known
        self._gists: set[str] = set()
        self._all = ""
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Another block."""
        self._gists.add(gist(text, self._known))
        self._all += f"\n{words(text)}"

    def repeats(self, text: str) -> bool:
        """Whether a block says the same in the same order, or contains it word for word.

        Case, punctuation, white space, articles and endings do not count; another word or number does: to lose a
        fact is worse than to say one twice.
        """
        mine = words(text)
        return gist(text, self._known) in self._gists or (mine.count(" ") > CONTAINED_WORDS and mine in self._all)
