"""Does a text say again, word for word, what another says already?"""

import re
from collections.abc import Iterable

_WORD = re.compile(r"[^\W_]+")

CONTAINED_WORDS = 8
"""A text of fewer words counts as repeated only by an equal one: inside a longer one it may stand negated."""


def words(text: str) -> str:
    """The text as its words in small letters, each between spaces; "" when there are none."""
    found = _WORD.findall(text.casefold())
    return f" {' '.join(found)} " if found else ""


def repeated(text: str, others: Iterable[str]) -> bool:
    """Whether one of `others` (as `words` gives them) has the same words in the same order, or contains them.

    Case, punctuation and white space do not count; another word or number does: to lose a fact is worse than to
    say one twice.
    """
    mine = words(text)
    contained = mine.count(" ") > CONTAINED_WORDS
    return any(mine == other or (contained and mine in other) for other in others)
