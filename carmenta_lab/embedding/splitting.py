"""Where may a text be cut so that every chunk fits the encoder? Pure, over token offsets."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from unicodedata import east_asian_width

from carmenta_lab.text import sentence_end

_SENTENCE_END = re.compile(rf"{sentence_end()}|(?<!\s)\s*\n\s*")
"""The end of a line is one as well."""


def split(
    text: str, offsets: Sequence[tuple[int, int]], limit: int, overlap: int, fits: Callable[[str], bool]
) -> list[str]:
    """Chunks of at most `limit` tokens (`offsets` are those of the whole text), each passing `fits`.

    Every character but white space at the edges lies in a chunk. `fits` decides in the end, because a piece
    of a word may make other tokens than the word did; 0 <= overlap <= limit / 2.
    """
    cuts = _cuts(offsets)
    if not cuts:
        return [text.strip()]
    words = [token for token in cuts if _between_words(text, offsets[token][0])]
    sentence_starts = {match.end() for match in _SENTENCE_END.finditer(text)}
    sentences = [token for token in words if offsets[token][0] in sentence_starts]

    chunks: list[str] = []
    start, done = 0, 0  # tokens: where the chunk begins, and what earlier chunks hold
    while True:
        begin = 0 if start == 0 else offsets[start][0]
        if len(offsets) - start <= limit and fits(text[begin:].strip()):
            chunks.append(text[begin:].strip())
            return chunks
        end = _end(cuts, words, sentences, start, done, limit)
        while end is not None and not fits(text[begin : offsets[end][0]].strip()):
            end = _last(words, done, end - 1) or _last(cuts, done, end - 1)
        if end is None:
            if start < done:  # the repeated part leaves no room
                start = done
                continue
            if (end := _first(cuts, start + 1)) is None:
                chunks.append(text[begin:].strip())
                return chunks
        chunks.append(text[begin : offsets[end][0]].strip())
        repeated = _first(words, end - overlap)
        start = end if repeated is None or repeated <= start else min(repeated, end)
        done = end


def _cuts(offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Tokens that begin after all that precedes them: byte-level tokens may share a character."""
    cuts, reached = [], 0
    for token, (start, end) in enumerate(offsets):
        if token and start >= reached and start > offsets[token - 1][0]:
            cuts.append(token)
        reached = max(reached, end)
    return cuts


def _between_words(text: str, position: int) -> bool:
    """Whether white space, or a script without it, lies at the position."""
    before, after = text[position - 1], text[position]
    return before.isspace() or after.isspace() or any(east_asian_width(c) in "WF" for c in (before, after))


def _end(
    cuts: Sequence[int], words: Sequence[int], sentences: Sequence[int], start: int, done: int, limit: int
) -> int | None:
    """The token before which the chunk ends: after a sentence in its last quarter, a word, anything."""
    last = start + limit
    return (
        _last(sentences, max(done, last - limit // 4 - 1), last) or _last(words, done, last) or _last(cuts, done, last)
    )


def _last(tokens: Sequence[int], after: int, last: int) -> int | None:
    """The largest of the sorted tokens in (after, last]."""
    place = bisect_right(tokens, last) - 1
    return tokens[place] if place >= 0 and tokens[place] > after else None


def _first(tokens: Sequence[int], least: int) -> int | None:
    """The smallest of the sorted tokens from `least` on."""
    place = bisect_left(tokens, least)
    return tokens[place] if place < len(tokens) else None
