"""What is done to a text before it is indexed or embedded, and to a question before it is asked?"""

import re
from functools import cache
from itertools import groupby
from unicodedata import category, combining, normalize

LONGEST_WORD = 100
"""Characters of a word that an encoder of word pieces reads; a longer one is a single unknown token to it."""
LONGEST_HANGUL = LONGEST_WORD // 3
"""The encoder takes each syllable apart, into three letters at most."""

_ENDLESS_ASCII = re.compile(rf"[A-Za-z0-9]{{{LONGEST_WORD}}}(?=[A-Za-z0-9])")
_MANY_MARKS = re.compile(r"[^\w\s!-~]{24,}")
_LONE = re.compile(r"[\ud800-\udfff]")
_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HANGUL = r"\uac00-\ud7a3"


def readable(text: str) -> str:
    """The text in the form NFC, without NUL, halves of characters replaced, endless words cut by blanks.

    Words of more than 100 characters become pieces of at most 100. The time grows with the length of the text; a second
    time changes nothing. Halves that make a character become it.
    """
    if "\0" in text:
        text = text.replace("\0", "")
    if text.isascii():
        return _ENDLESS_ASCII.sub(r"\g<0> ", text) if len(text) > LONGEST_WORD else text
    if _LONE.search(text):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = normalize("NFC", _MANY_MARKS.sub(_in_order, text))
    return _endless().sub(r"\g<0> ", text) if len(text) > LONGEST_HANGUL else text


def _in_order(marks: re.Match[str]) -> str:
    """A run of marks in the order of the normal form: bringing n into it one by one takes a time of n * n."""
    apart = "".join(normalize("NFD", mark) for mark in marks[0])
    runs = groupby(apart, lambda mark: combining(mark) > 0)
    return "".join("".join(sorted(run, key=combining)) if moved else "".join(run) for moved, run in runs)


@cache
def _endless() -> re.Pattern[str]:
    """The part of an overlong word that is read; marks do not count, and every Han character is a word."""
    marks = "".join(chr(code) for code in range(0x300, 0x10000) if category(chr(code)) == "Mn")
    hangul = f"(?:[{_HANGUL}][{marks}]*+){{{LONGEST_HANGUL}}}(?=[{_HANGUL}])"
    return re.compile(rf"{hangul}|(?:[^\W_{_HAN}][{marks}]*+){{{LONGEST_WORD}}}(?=[^\W_{_HAN}])")
