"""Shortening without a language model: pieces are whole, graphemes too, and what matters to the query stays."""

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from carmenta_lab.context.compress import Gists, Relevance, Repeats, pieces, reduced, shorten
from carmenta_lab.context.counting import TokenCounts
from carmenta_lab.schema.base import LANGUAGES


class Words:
    """A token a word."""

    name = "words"
    overhead = 0
    additive = True

    def count(self, texts: list[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def short(text: str, limit: int, query: str = "tea", talk: tuple[str, ...] = (), language: str = "en") -> str:
    said = [(one, language) for one in talk or (text,)]
    return shorten(text, language, limit, TokenCounts(Words()), Relevance(query, language, said, Gists()))


def kinds(text: str) -> list[tuple[str, str]]:
    return [(piece.kind, piece.text) for piece in pieces(text)]


TEXTS = st.text(alphabet=st.sampled_from('ab. !?\n\r`>|"“”()。、猫é\u0301\u200d👩🇫🇮'), max_size=80)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_pieces_lose_nothing_but_white_space_and_cut_no_grapheme_or_word(text: str) -> None:
    ends = {0}
    for grapheme in regex.findall(r"\X", text):
        ends.add(max(ends) + len(grapheme))
    at = 0
    for piece in pieces(text):
        start = text.index(piece.text, at)
        assert not text[at:start].strip()
        assert start in ends
        at = start + len(piece.text)
        assert at in ends
        wide = piece.text[-1] in "。」』”’）"
        assert at == len(text) or text[at].isspace() or piece.text[-1].isspace() or wide
    assert not text[at:].strip()


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.integers(0, 20))
def test_what_is_shortened_is_shorter_and_the_same_every_time(text: str, limit: int) -> None:
    found = short(text, limit)
    assert found == short(text, limit)
    assert not found or len(found.split()) < len(text.split())


def test_a_fence_a_quotation_and_a_table_are_a_piece_each() -> None:
    text = "Try this. It works.\n```py\na = 1. \nb = 2.\n```\n> He said so.\n> Twice.\n| a | b |\n| 1. | 2. |\nDone."
    assert kinds(text) == [
        ("sentence", "Try this."),
        ("sentence", "It works."),
        ("code", "```py\na = 1. \nb = 2.\n```"),
        ("quote", "> He said so.\n> Twice."),
        ("table", "| a | b |\n| 1. | 2. |"),
        ("sentence", "Done."),
    ]


def test_a_quotation_ends_before_the_line_break_of_any_system() -> None:
    assert kinds("> He said so.\r\n> Twice.\r\nOh.\r\n") == [
        ("quote", "> He said so.\r\n> Twice."),
        ("sentence", "Oh."),
    ]


def test_an_open_fence_reaches_to_the_end() -> None:
    assert kinds("See:\n~~~\nx. Y.\n```\nz") == [("sentence", "See:"), ("code", "~~~\nx. Y.\n```\nz")]


def test_no_sentence_ends_within_quotation_brackets_code_or_an_abbreviation() -> None:
    assert [text for _, text in kinds('She said "Go. Now. Please." Then she left. (See p. 3. And 4.) Ok.')] == [
        'She said "Go. Now. Please."',
        "Then she left.",
        "(See p. 3. And 4.)",
        "Ok.",
    ]
    assert [text for _, text in kinds("Ask Dr. Lund on 3. May. Use `a. B` here. Fine.")] == [
        "Ask Dr. Lund on 3. May.",
        "Use `a. B` here.",
        "Fine.",
    ]
    assert [text for _, text in kinds("猫です。犬です。")] == ["猫です。", "犬です。"]


def test_a_tool_call_is_reduced_to_name_and_result() -> None:
    call = '[tool searchFlights] input: {"to":"LIS"} -> output: [{"id":"TP 1"}]'
    assert reduced(call) == '[tool searchFlights] output: [{"id":"TP 1"}]'
    assert reduced('[tool x] input: {"a":1} -> error: timed out') == "[tool x] error: timed out"
    assert reduced("[tool x]") == "[tool x]"
    assert reduced("no tool") == "no tool"
    assert short(f"{call}\n\nFound one.", 4) == '[tool searchFlights] output: [{"id":"TP 1"}] …'.removesuffix(" …")


def test_the_sentences_nearest_to_the_query_stay_in_their_order() -> None:
    text = "It rained all day in town. The green tea is in the tin. We met Bo. Nobody likes black tea here."
    assert short(text, 15) == "The green tea is in the tin. … Nobody likes black tea here."
    assert short(text, 15, query="rained Bo") == "It rained all day in town. … We met Bo. …"


def test_one_sentence_is_kept_whole_or_not_at_all() -> None:
    assert short("The green tea is in the tin by the door.", 3) == ""
    assert short("It rained. The green tea is in the tin by the door.", 3) == "The green tea is in the tin by the door."


def test_the_conversation_decides_where_the_query_does_not() -> None:
    talk = ("Bo moved to Porto.", "Porto is by the sea.", "How is Porto?")
    assert short("I slept badly today. Porto was lovely in May.", 7, query="when", talk=talk) == (
        "Porto was lovely in May."
    )


SAME = {
    "da": ("Ann køber de grønne huse", "Ann køber et grønne hus"),
    "de": ("Nora mag die grünen Bäume", "Nora mag den grünen Baum"),
    "en": ("Ann likes a green tea", "Ann liked green teas"),
    "es": ("A Ana le gustan las manzanas verdes", "A Ana le gusta la manzana verde"),
    "fi": ("Liisa on iloinen talossa", "Liisa oli iloinen talo"),
    "fr": ("Anne aimait les pommes vertes", "Anne aimait une pomme verte"),
    "it": ("Anna compra le mele verdi", "Anna compra la mela verde"),
    "nl": ("Anna koopt de groene appels", "Anna koopt een groene appel"),
    "no": ("Anna kjøper de grønne bilene", "Anna kjøper en grønne bil"),
    "pt": ("Ana compra as casas verdes", "Ana compra uma casa verde"),
    "sv": ("Anna köper de gröna bilarna", "Anna köper en grön bil"),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_articles_and_endings_of_a_language_do_not_count(language: str) -> None:
    one, other = SAME[language]
    assert Gists().of(one, language) == Gists().of(other, language)
    assert Repeats([(one, language)], Gists()).repeats(other, language)
    assert not Repeats([(one, "xx")], Gists()).repeats(other, "xx")  # of a language without a stemmer: the words


def test_a_question_finds_the_word_in_another_form() -> None:
    text = "Es regnete den ganzen Tag. Die alten Bäume stehen noch. Wir trafen Bo."
    assert short(text, 6, query="Welcher Baum?", language="de") == "Die alten Bäume stehen noch. …"
    assert "Bäume" not in short(text, 6, query="Welcher Baum?", language="xx")


def test_a_gist_is_made_once_and_knows_its_language() -> None:
    gists = Gists()
    assert gists.of("the teas", "en") == " tea "
    assert gists.of("the teas", "de") != gists.of("the teas", "en")
    assert gists.of("the", "en") == " the "
    assert gists.of("?!", "en") == ""
