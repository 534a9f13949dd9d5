"""Texts and questions are cut into the words that people write, in any script, and in a time linear in their length."""

import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, text

from carmenta_lab.postgres import Database
from carmenta_lab.schema.base import LANGUAGES
from carmenta_lab.schema.letters import NOT_STOP, STOP
from carmenta_lab.schema.words import ASKED, FUNCTIONS


@pytest.fixture(scope="module")
def server(shared: Database) -> Iterator[Connection]:
    """The owner, no superuser, in a transaction that has the functions and is rolled back."""
    with shared.owner.connect() as connection:
        for statement in (*FUNCTIONS, "CREATE SCHEMA IF NOT EXISTS search", ASKED):
            connection.execute(text(statement))
        yield connection
        connection.rollback()


Value = Callable[..., Any]


@pytest.fixture(scope="module")
def value(server: Connection) -> Value:
    """The value of an SQL expression over `language`, `a` and `b`."""

    def ask(expression: str, language: str = "en", a: str = "", b: str = "") -> Any:
        given = {"language": language, "a": a, "b": b}
        return server.execute(text(f"SELECT {expression} FROM (SELECT CAST(:language AS text) AS language, "
                                   "CAST(:a AS text) AS a, CAST(:b AS text) AS b) given"), given).scalar()  # fmt: skip

    return ask


LEXEMES = "tsvector_to_array(carmenta.lexemes(language, a))"
ALL = "carmenta.lexemes(language, a) @@ carmenta.websearch(language, b)"
ANY = "carmenta.lexemes(language, a) @@ carmenta.any_word(language, b)"

FOUND = [
    ("en", "The kitchen/bathroom tiles arrive on Monday.", "bathroom", "kitchen", "kitchen/bathroom", "tiles kitchen"),
    ("en", "See https://wiki.example.org/roofing/felt-guide?page=2#top", "roofing guide", "felt-guide", "example.org"),
    ("en", "Write to jane.doe@example.org.", "jane", "jane.doe@example.org", "doe example"),
    ("en", r"It is in C:\Users\Ana\Taxes_2024.xlsx or /srv/data/backup.tar.gz", "taxes 2024", "backup", "ana xlsx"),
    ("en", "We had COVID-19.", "covid 19", "COVID-19", "covid19", '"covid 19"'),
    ("en", "We had covid 19.", "covid19", "COVID-19"),
    ("en", "A Poseidon-1234 and a P-8A", "poseidon 1234", "P8A", "P-8A", "poseidon-1234"),
    ("en", "A P8A", "P-8A", "p8a"),
    ("en", "Use an e-mail", "email", "e-mail", "mail"),
    ("en", "Open roof_plan-v2.final.pdf", "roof plan", "roof_plan", "final pdf", "v2", "plan-v2"),
    ("en", "Upgrade to v2.10.3 now", "2.10.3", "v2.10.3"),
    ("en", "Upgrade to 2.10.3 now", "2.10.3", "v2.10.3"),
    ("en", "It costs $1,250.50", "1250.50", "1,250.50", "$1,250.50", "1.250,50"),
    ("de", "Es kostet 1.250,50 EUR", "1250,50", "1.250,50", "1250.50"),
    ("en", "Call +49-170-1234567", "170 1234567", "+49-170-1234567", "1234567"),
    ("en", "Numbers 101,102,103", "102"),
    ("en", "Call getUserName or parse the HTMLPage", "user name", "getUserName", "getusername", "html"),
    ("en", "I use whatsapp", "WhatsApp", "whatsapp"),
    ("en", "I use WhatsApp on my iPhone", "whatsapp", "whats app", "iphone", "iPhone"),
    ("en", "Set max_wal_size", "wal size", "max_wal_size"),
    ("en", "That is the end.Next one begins", "next", "end"),
    ("en", "We ran 20km at 3pm", "20 km", "20km", "3 pm", "3pm"),
    ("en", "We ran 20 km at 3 pm", "20km", "3pm"),
    ("en", "The code is QX7ZP4", "QX7ZP4", "qx7zp4", '"code is QX7ZP4"'),
    ("en", "<b>Important</b> text<br>cellar", "important", "cellar"),
    ("en", "#roofing with @jane, C++ and C#, 45 %", "roofing jane", "C++", "C#", "45 %", "45%"),
    ("en", "Cafe\u0301 Zoe\u0308", "Café Zoë", "cafe zoe", "CAFÉ"),
    ("en", "Ｃａｆｅ ﬁne Ⅷ", "cafe fine viii"),
    ("fr", "La société a fêté Noël, l'œuvre était là", "societe", "société", "noel", "oeuvre", "fete"),
    ("fr", "La societe a fete Noel", "société", "fêté noël"),
    ("de", "Die schöne Straße, größer", "schone strasse", "schöne Straße", "strasse"),
    ("da", "Rød grød på øen, æbler", "rod grod", "rød", "aebler"),
    ("no", "Blåbær på fjøset", "blabaer", "fjoset", "blåbær"),
    ("sv", "Två män med långt hår", "män hår", "langt", "tva"),
    ("fi", "Hyvää päivää", "hyvaa", "päivää"),
    ("es", "Mañana vendrá el pingüino", "manana", "pinguino", "mañana"),
    ("pt", "A ligação não é fácil", "ligacao", "facil", "ligação"),
    ("it", "La città è bella, perché sì", "citta", "città"),
    ("nl", "Een coördinatie in België", "coordinatie", "belgie"),
    ("pl", "Łódź i żółw", "lodz", "zolw", "żółw"),
    ("vi", "Phở Đà Nẵng", "pho da nang"),
    ("el", "Καλημέρα κόσμε", "καλημερα", "κόσμε"),
    ("ru", "Ёлка и чай", "елка", "ёлка"),
    ("he", "שָׁלוֹם", "שלום"),
    ("ar", "كِتَابٌ جديد", "كتاب", "كـتاب"),
    ("zh", "明天下午我们在星巴克见面", "星巴克", "星巴克 明天", '"星巴克"'),
    ("en", "明天下午我们在星巴克见面", "星巴克"),
    ("ja", "明日の午後に図書館で会いましょう", "図書館", "午後"),
    ("ja", "ｽﾀｰﾊﾞｯｸｽで会う", "スターバックス"),
    ("ko", "내일 도서관에서 만나요", "도서관", "내일"),
    ("th", "พรุ่งนี้เจอกันที่ห้องสมุด", "ห้องสมุด"),
    ("lo", "ຂ້ອຍໄປຕະຫຼາດ", "ຕະຫຼາດ"),
    ("km", "ខ្ញុំទៅផ្សារ", "ផ្សារ"),
    ("my", "ကျွန်တော်ဈေးသွားမယ်", "ဈေး"),
    ("zh", "我用iPhone手机,茶", "iphone", "手机", "iPhone手机", "茶"),
]


@pytest.mark.parametrize(
    ("language", "said", "asked"), [(language, said, each) for language, said, *asked in FOUND for each in asked]
)
def test_the_words_that_people_write_are_found(value: Value, language: str, said: str, asked: str) -> None:
    assert value(ALL, language, said, asked)
    assert value(ANY, language, said, asked)


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("the tiles", "bathroom"),
        ("7 zp then 4 qx", "QX7ZP4"),
        ("星星和巴克", "星巴克"),
        ("kitchen tiles", "kitchen -tiles"),
        ("kitchen tiles", '"tiles kitchen"'),
        ("kitchen tiles", "kitchen bathroom"),
        ("version 3.10.2", "2.10.3"),
    ],
)
def test_what_is_not_there_is_not_found(value: Value, said: str, asked: str) -> None:
    assert not value(ALL, "en", said, asked)


@pytest.mark.parametrize(
    "asked", ["kitchen or bathroom", "bathroom OR kitchen", "-bathroom kitchen", '"the kitchen"', '"kitchen']
)
def test_the_syntax_of_web_searches_is_read(value: Value, asked: str) -> None:
    assert value(ALL, "en", "In the kitchen", asked)


def test_the_whole_code_is_a_word_and_a_hex_dump_does_not_explode(value: Value) -> None:
    assert "qx7zp4" in value(LEXEMES, a="The code QX7ZP4.")
    assert len(value(LEXEMES, a=" ".join(["0123456789abcdef" * 40] * 50))) == 1


@pytest.mark.parametrize("language", STOP)
def test_stop_words_with_accents_are_dropped(value: Value, language: str) -> None:
    for word in (*STOP[language][1].split("|"), STOP[language][0]):
        assert value(LEXEMES, language, f"{word} {word.capitalize()}") == [], word


@pytest.mark.parametrize("language", NOT_STOP)
def test_words_that_would_be_stop_words_without_their_accents_stay(value: Value, language: str) -> None:
    for word in NOT_STOP[language].replace("[ens]?", "n").replace("[ao]s?", "o").replace("s?", "").split("|"):
        assert value(LEXEMES, language, word) != [], word
        assert value(ALL, language, f"x {word} y", word), word


PAIRS = {
    "da": "hus huse,kat katte,bil biler,æble æbler,blomst blomster,køkken køkkener,dør døre,år år",
    "de": "Haus Häuser,Baum Bäume,Tür Türen,Straße Straßen,Schlüssel Schlüsseln,Übung Übungen,Gerät Geräte,Fuß Füße",
    "en": "house houses,city cities,café cafés,box boxes,meeting meetings,cliché clichés,résumé résumés",
    "es": "canción canciones,casa casas,niño niños,árbol árboles,reunión reuniones,médico médicos,lápiz lápices",
    "fi": "talo talot,päivä päivät,kylä kylät,öljy öljyt,kissa kissat,sähkö sähköt,pöytä pöydät",
    "fr": "année années,société sociétés,fenêtre fenêtres,école écoles,clé clés,élève élèves,forêt forêts",
    "it": "casa case,città città,libro libri,caffè caffè,università università,amico amici",
    "nl": "huis huizen,idee ideeën,auto auto's,boek boeken,café cafés,zeeën zee",
    "no": "hus husene,bil biler,bok boken,dør dører,blåbær blåbærene,skjørt skjørtene",
    "pt": "casa casas,ligação ligações,irmão irmãos,avião aviões,fácil fáceis,café cafés,mês meses",
    "sv": "hus husen,bil bilar,dörr dörrar,hår håret,äpple äpplen,ö öar,flicka flickor",
}


@pytest.mark.parametrize("language", PAIRS)
def test_forms_of_a_word_meet_as_they_do_in_the_stock_configuration(value: Value, language: str) -> None:
    config = f"to_tsvector('pg_catalog.{LANGUAGES[language]}', %s)"
    pairs = [tuple(pair.split()) for pair in PAIRS[language].split(",")]
    stock = [value(f"{config % 'a'} = {config % 'b'}", language, *pair) for pair in pairs]
    here = [value("carmenta.lexemes(language, a) = carmenta.lexemes(language, b)", language, *pair) for pair in pairs]
    lost = [pair for pair, before, now in zip(pairs, stock, here, strict=True) if before and not now]
    assert len(lost) <= 1, lost


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "Yesterday I bought a present for my mother; it wasn't cheap, so we'll see what she says (or thinks)!"),
        ("en", 'In 2024 there were 17 of them: nobody knew why. "Strange," she said.'),
        ("de", "Gestern kaufte ich meiner Mutter ein Geschenk, das nicht billig war."),
        ("de", "Für die schöne Tür könnte man während der Woche über einen größeren Schlüssel reden."),
        ("xx", "Words of no language in particular."),
    ],
)
def test_prose_is_cut_as_the_stock_configuration_cuts_it(value: Value, language: str, said: str) -> None:
    stock = f"to_tsvector('pg_catalog.{LANGUAGES.get(language, 'simple')}', a)"
    assert value("carmenta.lexemes(language, a)\\:\\:text", language, said) == value(
        f"{stock}\\:\\:text", language, said
    )


UNITS = [
    "a",
    "1",
    "!?",
    "/",
    "a1",
    "星",
    "-",
    "a-",
    "<a ",
    "a@",
    "_",
    "a.",
    "1.",
    "1,000.",
    "\\",
    "&a;",
    "'",
    "\u0301",
    "é",
]
UNITS += [
    "\u0316\u0301",
    "\u0f71\u0f72",
    "\u0f73",
    "ก็",
    "한",
    "\u1100",
    "http://",
    "aaB",
    " ",
    "\n",
    "1e5",
    "+1",
    "😀",
    "\u200b",
    "Ａ",
]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    "function", ["carmenta.lexemes", "carmenta.websearch", "carmenta.any_word", "search.asked_lexemes"]
)
@pytest.mark.slow
def test_any_text_of_any_length_is_cut(value: Value, function: str, unit: str) -> None:
    text_of_length = (unit * 200_000)[:200_000]  # were it quadratic, this would take minutes
    assert value(f"coalesce({function}(language, a)\\:\\:text, '') IS NOT NULL", "de", text_of_length)


def _letters(first: int, last: int, count: int) -> str:
    draw = random.Random(7)
    return "".join(chr(draw.randrange(first, last)) for _ in range(count))


@pytest.mark.parametrize(
    "said",
    [
        " ".join(f"w{n}" for n in range(150_000)),
        " ".join(f"word{n}" for n in range(22_000)),
        _letters(0x4E00, 0x9FFF, 200_000),
        _letters(0x20000, 0x2A000, 200_000),
        _letters(1, 0xD7FF, 200_000),
        re.sub("(...)", r"\1 ", _letters(0x430, 0x44F, 150_000)),
        "a" + "\u0301" * 100_000 + "\u0316" * 99_999,
    ],
    ids=["short words", "words", "Han", "Han beyond", "anything", "Cyrillic", "marks"],
)
@pytest.mark.slow
def test_no_text_has_too_many_words(value: Value, said: str) -> None:
    assert value("length(carmenta.lexemes(language, a)) >= 0", "en", said)
    assert value("numnode(carmenta.any_word(language, a)) >= 0", "en", said)
    assert value("numnode(carmenta.websearch(language, a)) >= 0", "en", said)


@pytest.mark.slow
def test_a_question_of_any_length_gives_all_its_words(value: Value) -> None:
    asked = " ".join(f"w{n}" for n in range(24_000)) + " zebra"
    assert "zebra" in value(LEXEMES, "en", asked)
    assert value(ANY, "en", "a w1", asked)
    assert not value(ALL, "en", "a w1", asked)
    assert value(ALL, "en", "a w1", asked.replace(" zebra", " or zebra"))


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("Where is it? On the roof.", ["?"]),
        ("No question.", None),
        ("Roof felt? Nails！ 星巴克在哪？ أين الكتاب؟ done", ["felt", "roof"]),
        ("First line\nSecond line?", ["line", "second"]),
        ("x" * 20_000 + "?", None),
    ],
)
def test_the_words_of_questions_are_told(value: Value, said: str, asked: list[str] | None) -> None:
    found = value("tsvector_to_array(search.asked_lexemes(language, a))", "en", said)
    if asked is None:
        assert found is None
    else:
        assert set(asked) - {"?"} <= set(found)
        assert not {"nail", "done", "first", "roof"} & set(found) - set(asked)


def test_the_functions_can_be_replaced_and_stand_in_a_generated_column(server: Connection) -> None:
    with server.begin_nested() as kept:
        server.execute(text("CREATE TABLE carmenta.cut (language text, content text, words tsvector "
                            "GENERATED ALWAYS AS (carmenta.lexemes(language, content)) STORED)"))  # fmt: skip
        for statement in FUNCTIONS:
            server.execute(text(statement))
        server.execute(text("SET LOCAL search_path = ''"))
        server.execute(text("INSERT INTO carmenta.cut VALUES ('en', 'kitchen/Café'), ('de', 'ganz einfach')"))
        rows = server.execute(text("SELECT words::text FROM carmenta.cut ORDER BY language")).scalars().all()
        assert rows == ["'einfach':2 'ganz':1", "'cafe':2 'kitchen':1"]
        kept.rollback()
