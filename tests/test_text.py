"""What is done to every text, and the patterns that read texts: none takes longer on endless runs than on prose."""

import re
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carmenta_lab.context import compress
from carmenta_lab.embedding import splitting
from carmenta_lab.indexing.token_codes import QUESTION
from carmenta_lab.text import LONGEST_WORD, readable

PIECES = [
    "a",
    "B",
    "Dr",
    "e.g",
    "7",
    ".",
    "!",
    "?",
    "…",
    "。",
    "？",
    "！",
    " ",
    "\n",
    "\t",
    '"',
    "'",
    "”",
    "」",
    ")",
    "(",
    "]",
]
PIECES += [
    "“",
    "„",
    "`",
    "*",
    "_",
    "é",
    "e\u0301",
    "\u0316\u0301",
    "ß",
    "星",
    "か\u3099",
    "한",
    "ก็",
    "ع",
    "ж",
    "\u200d",
    "😀",
]
RUNS = st.lists(st.tuples(st.sampled_from(PIECES), st.integers(1, 6)), max_size=25).map(
    lambda runs: "".join(piece * count for piece, count in runs)
)
TEXTS = st.one_of(RUNS, st.text(max_size=300))


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("plain text, as it is.", "plain text, as it is."),
        ("Cafe\u0301", "Caf\u00e9"),
        ("a\0b", "ab"),
        ("half \ud83d", "half \ufffd"),
        ("whole \ud83d\ude00", "whole 😀"),
        ("x" * 100, "x" * 100),
        ("x" * 250, f"{'x' * 100} {'x' * 100} {'x' * 50}"),
        ("é" * 101, f"{'é' * 100} é"),
        ("https://" + "ab/" * 200, "https://" + "ab/" * 200),
        ("星" * 300, "星" * 300),
        ("", ""),
    ],
)
def test_a_text_is_made_readable(said: str, read: str) -> None:
    assert readable(said) == read


@given(TEXTS.map(lambda text: text * 5))
def test_reading_again_changes_nothing_and_no_word_is_endless(text: str) -> None:
    read = readable(text)

    assert readable(read) == read == normalize("NFC", read)
    assert not re.search(rf"[a-zA-Z0-9é]{{{LONGEST_WORD + 1}}}", read)
    assert read.replace(" ", "") == normalize("NFC", text.replace("\0", "")).replace(" ", "")


@pytest.mark.parametrize("unit", ["a", "\u0301", "a\u0316", "\u0f73", "가", "\ud800", "😀", "\0", "ก็", " "])
def test_endless_runs_are_read(unit: str) -> None:
    assert readable(unit * 100_000) is not None


def test_marks_in_the_wrong_order_are_put_in_order() -> None:
    marks = "\u0301" * 60_000 + "\u0316" * 60_000  # one by one, that would take minutes
    assert readable("a" + marks) == "\u00e1" + "\u0316" * 60_000 + "\u0301" * 59_999


@given(RUNS)
@settings(max_examples=300)
def test_questions_are_those_that_a_search_from_every_character_finds(text: str) -> None:
    slow = re.compile(r"[^.!?？\n]*[?？]")
    assert [match.span() for match in QUESTION.finditer(text)] == [match.span() for match in slow.finditer(text)]


@given(RUNS)
@settings(max_examples=300)
def test_sentences_end_where_a_search_from_every_character_finds_it(text: str) -> None:
    chunks = re.compile(r"""[.!?…]+["'”’)\]]*\s+|[。！？]+[」』”’）]*\s*|\s*\n\s*""")
    found = {match.end() for match in splitting._SENTENCE_END.finditer(text)}
    assert found == {match.end() for match in chunks.finditer(text)}


@given(RUNS.filter(lambda text: "\n" not in text))
@settings(max_examples=300)
def test_pieces_are_those_that_reading_each_sentence_anew_finds(text: str) -> None:
    assert compress._sentences(text) == _sentences_slowly(text)


def _sentences_slowly(line: str) -> list[str]:
    ends = re.compile(r"""[.!?…]+["'”’»)\]*_]*\s+|[。！？]+[」』”’）]*\s*""")
    found, start = [], 0
    for match in ends.finditer(line):
        end = match.end()
        part = line[start:end]
        ends_here = end < len(line) and compress._may_end(line, end)
        open_ones = part.count('"') % 2 or part.count("`") % 2
        open_ones = open_ones or any(part.count(a) > part.count(b) for a, b in compress._PAIRS)
        if ends_here and not open_ones and not compress._ABBREVIATION.search(part):
            found.append(compress._trimmed(part))
            start = end
    return [*found, compress._trimmed(line[start:])]


@pytest.mark.parametrize("unit", [".", "!?", "…", ". ", "。", "\n", " ", "('", "A. (", "“A. ", "'.", "e.g. "])
def test_runs_of_any_length_are_cut(unit: str) -> None:
    text = (unit * 100_000)[:100_000] + "x"  # from every character, these would take minutes

    assert sum(1 for _ in splitting._SENTENCE_END.finditer(text)) <= len(text)
    assert sum(1 for _ in QUESTION.finditer(text)) <= len(text)
    assert "".join("".join(piece.text for piece in compress.pieces(text)).split()) == "".join(text.split())
