"""What does a message say of the matter in fewer tokens, and does a text say again what another says already?

Pieces of a text that can stand alone; gists by which near-duplicates are equal; the sentences nearest to the query. No
language model, and no text outlives its context.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log, sqrt
from typing import Literal, TypeAlias
from unicodedata import category

from Stemmer import Stemmer

from carmenta_lab.context.counting import TokenCounts
from carmenta_lab.schema.base import LANGUAGES
from carmenta_lab.text import CLOSING, sentence_end

PieceKind: TypeAlias = Literal["sentence", "code", "quote", "table", "tool"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text that is kept or left as a whole."""

    text: str
    kind: PieceKind
    paragraph: int  # pieces of one paragraph are joined by a space, others by a line break


_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})")
_LINES: tuple[tuple[PieceKind, re.Pattern[str]], ...] = (
    ("tool", re.compile(r"\[tool\b")),
    ("quote", re.compile(r"[ \t]*>")),
    ("table", re.compile(r"[ \t]*\|")),
)
_END = re.compile(sentence_end(CLOSING + "»*_"))
"""Quotation marks of all kinds, and what ends an emphasis in Markdown, go with the sentence."""
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"“])(?:[A-Za-z]|\d{1,2}|[Dd]r|[Mm]rs?|[Mm]s|[Pp]rof|[Ss]t|[Nn]o|[Nn]r|vs|etc|[Ee]\.g|[Ii]\.e|[Zz]\.B|bzw|ca|approx|Jan|Feb|Mar|Apr|Aug|Sept?|Oct|Nov|Dec)\.\s+$"
)
_PAIRS = (("“", "”"), ("„", "“"), ("«", "»"), ("「", "」"), ("(", ")"), ("[", "]"))
_MARKS = re.compile("[" + re.escape("".join({'"', "`", *(mark for pair in _PAIRS for mark in pair)})) + "]")
_LONGEST = 16
"""More characters than an abbreviation has, and what stands before it."""
_JOINED = "\u200d"
_TOOL = re.compile(r"^(\[tool\b[^\]\n]*\])[^\n]*? ?(?:-> )?((?:output|error): [^\n]*)$")


def pieces(text: str) -> list[Piece]:
    """The parts of a text in their order, with nothing but white space between them.

    A fence of code with its ends, a run of quoted lines, a table and a tool call are a piece each; elsewhere a piece
    is a sentence, or several where a boundary would lie within a quotation, brackets or a grapheme.
    """
    found: list[Piece] = []
    for number, (kind, block) in enumerate(_blocks(text)):
        parts = _sentences(block) if kind == "sentence" else [block.strip("\r\n")]
        found += [Piece(part, kind, number) for part in parts if part.strip()]
    return found


def reduced(text: str) -> str:
    """A tool call as its name and result; any other text as it is."""
    match = _TOOL.match(text)
    return f"{match[1]} {match[2]}" if match else text


def _blocks(text: str) -> Iterator[tuple[PieceKind, str]]:
    """Runs of lines of one kind; every other line is a paragraph of its own."""
    run: list[str] = []
    kind: PieceKind = "sentence"
    fence = ""
    for line in text.splitlines(keepends=True):
        opening = _FENCE.match(line)
        if fence:
            run.append(line)
            if opening and opening[1].startswith(fence) and not line.strip().strip(fence[0]):
                yield "code", "".join(run)
                run, fence = [], ""
            continue
        here: PieceKind = next((name for name, pattern in _LINES if pattern.match(line)), "sentence")
        if run and (opening or here != kind or here in ("sentence", "tool")):
            yield kind, "".join(run)
            run = []
        kind = here
        run.append(line)
        if opening:
            kind, fence = "code", opening[1]
    if run:
        yield kind, "".join(run)


def _sentences(line: str) -> list[str]:
    found: list[str] = []
    start = read = 0
    opened: Counter[str] = Counter()
    for match in _END.finditer(line):
        end = match.end()
        if end == len(line) or not _may_end(line, end):
            continue
        opened.update(_MARKS.findall(line, read, end))
        read = end
        if _balanced(opened) and not _ABBREVIATION.search(line[max(start, match.start() - _LONGEST) : end]):
            found.append(_trimmed(line[start:end]))
            start = end
            opened.clear()
    found.append(_trimmed(line[start:]))
    return found


def _may_end(line: str, position: int) -> bool:
    """Not within a grapheme, and not before a small letter, which goes on with the sentence."""
    return not _extends(line[position]) and category(line[position]) != "Ll" and line[position - 1] != _JOINED


def _extends(letter: str) -> bool:
    """Whether it makes one grapheme with what stands before it."""
    return category(letter).startswith("M") or letter == _JOINED


def _trimmed(text: str) -> str:
    """Without white space around; a blank that carries an accent stays."""
    short = text.strip()
    blanks = len(text) - len(text.lstrip())
    return text[blanks - 1 : blanks] + short if short and blanks and _extends(short[0]) else short


def _balanced(marks: Counter[str]) -> bool:
    """Whether no quotation, bracket or code is open, given how often each mark stands."""
    if marks['"'] % 2 or marks["`"] % 2:
        return False
    return all(marks[opening] <= marks[closing] for opening, closing in _PAIRS)


_WORD = re.compile(r"[^\W_]+")

_FILLERS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "da": "en et den det de er har",
        "de": "der die das den dem des ein eine einen einem einer eines ist sind war waren hat haben",
        "en": "a an the is are was were be has have",
        "es": "el la los las un una unos unas es son era eran ha han",
        "fi": "on ovat oli olivat",
        "fr": "le la les l un une des est sont était étaient a ont",
        "it": "il lo la i gli le un uno una è sono era erano ha hanno",
        "nl": "de het een is was waren heeft hebben",
        "no": "en ei et den det de er var har",
        "pt": "o a os as um uma é são era eram tem têm",
        "sv": "en ett den det de är har",
    }.items()
}
"""Articles and forms of "be" and "have", by language: they carry no fact by themselves. A negation is none of them."""

CONTAINED_WORDS = 8
"""A text of fewer words counts as repeated only by an equal one: inside a longer one it may stand negated."""


def words(text: str) -> str:
    """The text as its words in small letters, each between spaces; "" when there are none."""
    found = _WORD.findall(text.casefold())
    return f" {' '.join(found)} " if found else ""


class Gists:
    """The stems of texts, by which near-duplicates are told; each text is stemmed once in the life of this object.

    There is no cache of the process, so that people's texts are gone with the object.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}
        self._stemmers: dict[str, Stemmer] = {}

    def of(self, text: str, language: str) -> str:
        """The stems of a text's words, each between spaces, without articles and forms of "be" and "have".

        In a language without a stemmer these are the words themselves; of a text of such words alone, all of them.
        """
        key = text, language
        if key not in self._known:
            self._known[key] = self._made(text, language)
        return self._known[key]

    def _made(self, text: str, language: str) -> str:
        if language not in LANGUAGES:
            return words(text)
        if language not in self._stemmers:
            self._stemmers[language] = Stemmer(LANGUAGES[language], 0)
        fillers = _FILLERS[language]
        found = [word for word in _WORD.findall(text.casefold()) if word not in fillers]
        return f" {' '.join(self._stemmers[language].stemWords(found))} " if found else words(text)


class Repeats:
    """The texts of a context's blocks so far, to tell whether another one repeats them."""

    def __init__(self, texts: Iterable[tuple[str, str]], gists: Gists) -> None:
        """`texts` come each with its language."""
        self._gists = gists
        self._said: set[str] = set()
        self._all = ""
        for text, language in texts:
            self.add(text, language)

    def add(self, text: str, language: str) -> None:
        """Add the text of another block."""
        self._said.add(self._gists.of(text, language))
        self._all += f"\n{words(text)}"

    def repeats(self, text: str, language: str) -> bool:
        """Whether a block says the same in the same order, or contains it word for word.

        Case, punctuation, white space, articles and endings do not count; another word or number does: to lose a
        fact is worse than to say one twice.
        """
        mine = words(text)
        return self._gists.of(text, language) in self._said or (mine.count(" ") > CONTAINED_WORDS and mine in self._all)


OF_CONVERSATION = 0.25
"""What a word shared with the conversation weighs beside one shared with the query."""
OF_OPENING = 0.05
"""What the first sentence of a message has in advance: it says what the message is about."""
GAP = "…"


class Relevance:
    """How much a sentence has to do with the query, and at a quarter of the weight with the conversation.

    Rare words of the conversation weigh more than frequent ones.
    """

    def __init__(self, query: str, language: str, conversation: Iterable[tuple[str, str]], gists: Gists) -> None:
        """The messages of the conversation come each with its language."""
        self._conversation = tuple(conversation)
        self._gists = gists
        self._asked = set(gists.of(query, language).split())

    @cached_property
    def _within(self) -> Counter[str]:
        """In how many messages a word stands; counted when it is first asked for."""
        each = (self._gists.of(text, language) for text, language in self._conversation)
        return Counter(word for gist in each for word in set(gist.split()))

    def of(self, sentence: str, language: str) -> float:
        """The score of a sentence, 0 or more; of two that share the same words the shorter one scores higher."""
        mine = set(self._gists.of(sentence, language).split())
        if not mine:
            return 0.0
        shared = sum(self._weight(word) for word in mine & self._asked)
        around = sum(self._weight(word) for word in mine if self._within[word] > 1)
        return (shared + OF_CONVERSATION * around) / sqrt(len(mine))

    def _weight(self, word: str) -> float:
        return log(1 + (len(self._conversation) + 1) / (self._within[word] + 1))


def shorten(text: str, language: str, limit: int, counts: TokenCounts, relevance: Relevance) -> str:
    """The text in at most `limit` tokens, or in its best single piece where that is longer; "" when nothing is shorter.

    Pieces stand in their order, each whole; a tool call as its name and result. A sign stands where one is left out.
    """
    parts = [Piece(reduced(part.text), part.kind, part.paragraph) for part in pieces(text)]
    if not parts:
        return ""
    counts.count([("", part.text) for part in parts] + [("", GAP)])
    worth = [relevance.of(part.text, language) + (OF_OPENING if n == 0 else 0) for n, part in enumerate(parts)]
    ranked = sorted(range(len(parts)), key=lambda n: (-worth[n], n))
    chosen: set[int] = set()
    room = limit
    for number in ranked:
        cost = counts.of("", parts[number].text) + counts.of("", GAP)
        if cost <= room or not chosen:
            chosen.add(number)
            room -= cost
    short = _joined(parts, chosen)
    while len(chosen) > 1 and counts.of("", short) > limit:
        chosen.remove(next(number for number in reversed(ranked) if number in chosen))
        short = _joined(parts, chosen)
    return short if counts.of("", short) < counts.of("", text) else ""


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
