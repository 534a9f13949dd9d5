"""Searching: what every strategy promises, what words and fusion add, and what no question may do."""

from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from corpus import (
    DAY,
    DIM,
    EXACT,
    NAMES,
    SAID,
    WORDS_ONLY,
    Corpus,
    add,
    add_user,
    corpus,
    database,
    unit,
)
from sqlalchemy import Select, TextualSelect

from carmenta_lab import strategies
from carmenta_lab.errors import UnknownName, UsageError
from carmenta_lab.postgres import Database, as_user
from carmenta_lab.records import Query
from carmenta_lab.retrieval import search
from carmenta_lab.retrieval.bm25 import BM25
from carmenta_lab.retrieval.evidence import Evidence
from carmenta_lab.retrieval.fulltext import FullTextSearch
from carmenta_lab.retrieval.fusion import ReciprocalRankFusion
from carmenta_lab.retrieval.retriever import KINDS, Retriever
from carmenta_lab.retrieval.trigram import TrigramSearch
from carmenta_lab.retrieval.vector import VectorSearch
from carmenta_lab.retrieval.zscore import ZScoreFusion

__all__ = ["corpus", "database"]  # fixtures


# What every strategy promises


@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_keeps_the_contract(corpus: Corpus, name: str) -> None:
    strategy = strategies.load(name)
    query = corpus.ask("lighthouse keys")

    ranking = corpus.search(strategy, query, k=4)

    hits = ranking.hits
    assert 2 <= len(hits) <= 4
    assert [hit.rank for hit in hits] == [*range(1, len(hits) + 1)]
    assert len({hit.source_id for hit in hits}) == len(hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert {hit.source_kind for hit in hits} <= {KINDS[unit] for unit in strategy.units}
    assert set(corpus.texts(ranking)[:2]) == {SAID[0][1], SAID[1][1]}
    assert ranking.route
    assert corpus.search(strategy, query, k=4) == ranking
    assert corpus.search(strategy, query, k=2).hits == hits[:2]


@pytest.mark.parametrize("name", NAMES)
def test_a_search_returns_the_rows_of_its_user_alone(corpus: Corpus, name: str) -> None:
    for user in (0, 1):
        found = corpus.search(strategies.load(name), corpus.ask("wedding cake", user), k=100).sources()
        assert found
        assert set(found) <= corpus.sources[user]


@pytest.mark.parametrize("name", NAMES)
def test_the_owner_too_finds_the_rows_of_the_querys_user_alone(corpus: Corpus, name: str) -> None:
    with corpus.database.owner_session() as session:
        found = search(session, strategies.load(name), corpus.ask("wedding cake", 1), k=100)
    assert found.hits == corpus.search(strategies.load(name), corpus.ask("wedding cake", 1), k=100).hits


@pytest.mark.parametrize("name", NAMES)
def test_what_was_said_after_the_question_is_invisible_and_what_has_no_time_is_seen(corpus: Corpus, name: str) -> None:
    said = "the or of wedding or lighthouse or harbour"
    query = corpus.ask(said, asked_at=DAY + timedelta(days=3))
    everything = corpus.search(strategies.load(name), corpus.ask(said), k=100)

    found = corpus.texts(corpus.search(strategies.load(name), query, k=100))

    early = {said for _, said, day in SAID if day is None or day <= 3}
    assert set(found) == {said for said in corpus.texts(everything) if said in early}
    assert "My sister's wedding is in June." in found  # said at that very moment
    assert "Recipes: bread, soup and the wedding cake." in found
    assert "chunk" in corpus.texts(everything)


@pytest.mark.parametrize("name", NAMES)
def test_sixty_chunks_of_one_document_are_one_hit_and_leave_room_for_others(corpus: Corpus, name: str) -> None:
    ranking = corpus.search(strategies.load(name), replace(corpus.chunked, text="harbour or pilot or wedding"), k=5)
    if name in ("fulltext", "fulltext_or", "trigram") or name.startswith("vector"):
        assert corpus.texts(ranking)[0] == "chunk"  # to BM25 a word of sixty passages is a common one
    assert len(ranking.hits) == (4 if name in WORDS_ONLY else 5)
    assert len(set(ranking.sources())) == len(ranking.hits)


@pytest.mark.parametrize("name", NAMES)
def test_a_search_for_more_than_there_is_returns_all_that_was_found(corpus: Corpus, name: str) -> None:
    ranking = corpus.search(strategies.load(name), corpus.ask("wedding or harbour"), k=1000)
    assert len(ranking.hits) == (4 if name in WORDS_ONLY else 11)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", [0, -1, 1001])
def test_a_k_out_of_range_is_refused(corpus: Corpus, name: str, k: int) -> None:
    with pytest.raises(UsageError, match=f"k must be 1 to 1000, not {k}"):
        corpus.search(strategies.load(name), corpus.ask("wedding"), k=k)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("asked", ["", " \n\t ", "\0", "\0 \0"])
def test_an_empty_question_is_refused(corpus: Corpus, name: str, asked: str) -> None:
    with pytest.raises(UsageError, match="the query is empty"):
        corpus.search(strategies.load(name), corpus.ask(asked))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("asked", ["the of and", "-wedding", "-wedding -cake", "wedding or -cake", "?!", '""', "or"])
def test_a_question_without_a_searchable_word_finds_no_words_and_says_so(corpus: Corpus, name: str, asked: str) -> None:
    ranking = corpus.search(strategies.load(name), corpus.ask(asked), k=3)
    if name == "fulltext":
        assert (ranking.hits, ranking.note) == ((), "the query has no searchable word")
    elif name in ("fulltext_or", "trigram", "bm25"):  # reads no syntax: a word that is there is searched
        assert bool(ranking.hits) == ("wedding" in asked)
    else:
        assert len(ranking.hits) == 3


WEIRD = [
    *("o'clock \" wedding", "wedding \\ \\' \\\\", "wedding & | ! ( ) <-> :*", "'; DROP TABLE x; --"),
    *("%s %(a)s %% wedding", ":text :b $1 $$", "{} {0}", "wedding 💒 👨‍👩‍👧", "a \0wedding", "half \ud800 wedding"),
    *("wedding:AB*", "((((", "''", "'", "wedding <2> cake", "\u200b wedding", "x" * 5_000, "ж" * 3_000, "𠀀" * 2_500),
    *("a-b-c.d/e@f.g", "\U0010ffff \ue000 wedding", "wedding\u2028cake\r\n", "https://a.b/c?d=e&f='g'"),
]


@pytest.mark.parametrize("name", NAMES)
def test_no_character_of_a_question_breaks_a_search(corpus: Corpus, name: str) -> None:
    with corpus.database.user_session(corpus.users[0]) as session:
        for asked in WEIRD:
            ranking = search(session, strategies.load(name), corpus.ask(asked), k=3)
            if "wedding" in asked and name in ("fulltext_or", "trigram"):
                assert "wedding" in " ".join(corpus.texts(ranking)), asked
            elif "vector" in name or "hybrid" in name:
                assert len(ranking.hits) == 3, asked


@pytest.mark.parametrize("name", NAMES)
def test_of_a_question_of_a_hundred_thousand_words_the_beginning_is_searched(corpus: Corpus, name: str) -> None:
    asked = "wedding or " + " ".join(f"or w{n}" for n in range(100_000))
    ranking = corpus.search(strategies.load(name), corpus.ask(asked), k=3)

    assert "wedding" in " ".join(corpus.texts(ranking)) or "late" in name  # a word like no other outweighs it
    assert ranking.note == "the query is long: only its beginning was searched"


def test_a_long_question_is_cut_between_words_and_in_the_middle_of_an_endless_one() -> None:
    searchable, spelled = BM25().shortened, TrigramSearch().shortened
    assert searchable("w " * 100_000) == ("w " * 100_000, False)
    assert searchable("w " * 100_001) == ("w " * 100_000, True)
    assert spelled("w " * 64) == (" ".join(["w"] * 64), False)
    assert spelled("w " * 65) == (" ".join(["w"] * 64), True)
    assert spelled("x" * 2_001) == ("x" * 2_000, True)


@pytest.mark.parametrize("name", NAMES)
def test_a_search_outside_as_user_is_refused(corpus: Corpus, name: str) -> None:
    with corpus.database.app_session() as session, pytest.raises(UsageError, match=r"search within as_user"):
        search(session, strategies.load(name), corpus.ask("wedding"))


@pytest.mark.parametrize("name", NAMES)
def test_a_search_for_another_user_is_refused(corpus: Corpus, name: str) -> None:
    with (
        corpus.database.app_session() as session,
        as_user(session, corpus.users[1]),
        pytest.raises(UsageError, match=r"does not act for the query's user"),
    ):
        search(session, strategies.load(name), corpus.ask("wedding", user=0))


@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_compiles_without_a_database_and_is_printed_as_its_configuration(name: str) -> None:
    strategy = strategies.load(name)
    for limit in (None, 7):
        statement = strategy.statement("exact+fulltext" if "hybrid" in name else "exact", limit)
        assert isinstance(statement, Select | TextualSelect)
        assert "user_id = " in str(statement)
        assert [column.name for column in statement.selected_columns][:4] == [
            *("passage_id", "source_id", "unit", "score"),
        ]
    named = vars(import_module("carmenta_lab.retrieval.signals")) | {"BM25": BM25, "Evidence": Evidence}
    assert eval(repr(strategy), globals() | named | {"ZScoreFusion": ZScoreFusion}) == strategy


# Words


def test_a_question_is_read_in_its_language(corpus: Corpus) -> None:
    found = {
        code: corpus.texts(corpus.search(FullTextSearch(), corpus.ask("Häusern", language=code)))
        for code in ("de", "en", "xx")
    }
    assert found["de"] == ["Wir haben die Häuser gestrichen."]
    assert found["en"] == found["xx"] == []


def test_web_search_syntax_is_understood(corpus: Corpus) -> None:
    def texts(asked: str) -> set[str]:
        return set(corpus.texts(corpus.search(FullTextSearch(), corpus.ask(asked))))

    assert texts("wedding dinner") == {"Book a table for the wedding dinner."}
    assert texts("wedding -dinner -cake") == {"My sister's wedding is in June."}
    assert texts('"keys lighthouse"') == set()
    assert len(texts('"lighthouse keys"')) == 2
    assert texts("INV-2041/b") == {"The invoice number is INV-2041/b."}


def test_equal_scores_of_words_are_ordered_by_id(database: Database) -> None:
    user = add_user(database, "equal")
    add(database, user, "turn", ["same words"] * 20, unit(np.ones((20, DIM))), [1] * 20)
    with database.user_session(user) as session:
        ranking = search(session, FullTextSearch(), Query("q", user, "words"), 20)
    assert len({hit.score for hit in ranking.hits}) == 1
    assert [hit.passage_id for hit in ranking.hits] == sorted(hit.passage_id for hit in ranking.hits)


# Spelling


def test_a_word_spelled_otherwise_is_found_and_ranks_below_the_word_itself(database: Database) -> None:
    user = add_user(database, "spelling")
    said = ["The lighthouse is closed.", "The lighthoose is closed.", "Lighten the load.", "The radiator drips."]
    right, wrong, _, _ = add(database, user, "turn", said, unit(np.ones((4, DIM))), [1] * 4)
    for asked in ("lighthouse", "LIGHTHOUSES!", "lighthous"):
        with database.user_session(user) as session:
            ranking = search(session, TrigramSearch(), Query("q", user, asked), 10)
        assert ranking.sources() == [right, wrong], asked
        assert ranking.hits[0].score > ranking.hits[1].score


def test_a_score_of_spelling_is_as_computed_by_hand(database: Database) -> None:
    user = add_user(database, "trigrams")
    said = ["cat", "cat dog", "cab", "fog"]
    cat, both, cab, _ = add(database, user, "turn", said, unit(np.ones((4, DIM))), [1] * 4)
    with database.user_session(user) as session:
        ranking = search(session, TrigramSearch(threshold=0.25), Query("q", user, "cat dog"), 10)
    scores = {hit.source_id: hit.score for hit in ranking.hits}
    # "cat" has the trigrams "  c", " ca", "cat", "at ": cab shares 2 of 4; (0.5 - 0.25) / 0.75 over two words. "dog"
    # shares one of four, "og ", with fog: 0.25 is the threshold, and counts for nothing
    assert scores == pytest.approx({both: 1.0, cat: 0.5, cab: 0.25 / 0.75 / 2}, abs=1e-6)


def test_equal_spelling_is_ordered_by_id(database: Database) -> None:
    user = add_user(database, "spelled alike")
    add(database, user, "turn", ["same words"] * 20, unit(np.ones((20, DIM))), [1] * 20)
    with database.user_session(user) as session:
        ranking = search(session, TrigramSearch(), Query("q", user, "wordz"), 20)
        few = search(session, TrigramSearch(), Query("q", user, "wordz"), 3)
    assert [hit.passage_id for hit in ranking.hits] == sorted(hit.passage_id for hit in ranking.hits)
    assert len(ranking.hits) == 20
    assert few.hits == ranking.hits[:3]


@pytest.mark.parametrize("threshold", [-0.1, 1.0])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match=f"threshold must be at least 0 and below 1, not {threshold}"):
        TrigramSearch(threshold=threshold)


# Fusion


PARTS: tuple[tuple[str, Retriever], ...] = (("vector", EXACT), ("fulltext", FullTextSearch(match="any")))


def test_a_fused_score_is_the_sum_of_reciprocal_ranks_and_shows_its_parts(corpus: Corpus) -> None:
    query = corpus.ask("lighthouse wedding invoice")
    alone = {name: {hit.source_id: hit for hit in corpus.search(part, query, 100).hits} for name, part in PARTS}

    ranking = corpus.search(ReciprocalRankFusion(PARTS, depth=1000), query, 100)

    assert ranking.route == "exact+fulltext"
    assert {hit.source_id for hit in ranking.hits} == alone["vector"].keys() | alone["fulltext"].keys()
    assert 0 < len(alone["fulltext"]) < len(alone["vector"])
    for hit in ranking.hits:
        found = {name: hits[hit.source_id] for name, hits in alone.items() if hit.source_id in hits}
        assert hit.score == pytest.approx(sum(1 / (60 + part.rank) for part in found.values()), abs=1e-12)
        assert hit.parts == pytest.approx({name: part.score for name, part in found.items()})


def test_a_fused_score_is_as_computed_by_hand(database: Database) -> None:
    user = add_user(database, "by hand")
    axes = np.eye(3, DIM, dtype=np.float32)
    question = unit(axes[0] * 3 + axes[1] * 2 + axes[2])
    said = ["boat", "boat harbour boat harbour", "harbour"]  # by vector 1, 2, 3; by words 2, 1, -
    a, b, c = add(database, user, "turn", said, axes, [1, 1, 1])
    parts: tuple[tuple[str, Retriever], ...] = (("near", EXACT), ("words", FullTextSearch(normalization=0)))
    with database.user_session(user) as session:
        ranking = search(session, ReciprocalRankFusion(parts, constant=10), Query("q", user, "boat"), 3, question)

    scores = {hit.source_id: hit.score for hit in ranking.hits}
    assert scores == pytest.approx({a: 1 / 11 + 1 / 12, b: 1 / 12 + 1 / 11, c: 1 / 13})
    assert ranking.sources() == [*sorted((a, b)), c]
    assert [set(hit.parts) for hit in ranking.hits] == [{"near", "words"}, {"near", "words"}, {"near"}]


def test_parts_of_one_kind_can_be_fused(corpus: Corpus) -> None:
    parts: tuple[tuple[str, Retriever], ...] = (
        ("all", FullTextSearch()),
        ("any", FullTextSearch(match="any")),
        ("memories", FullTextSearch(match="any", units=("memory",))),
        ("turns", VectorSearch(units=("turn",))),
        ("near", EXACT),
    )
    ranking = corpus.search(ReciprocalRankFusion(parts), corpus.ask("lighthouse keys"), 20)

    best = ranking.hits[0]
    assert set(best.parts) == {"all", "any", "turns", "near"}
    assert 4 / 62 <= best.score <= 4 / 61
    assert {name for hit in ranking.hits for name in hit.parts} == {name for name, _ in parts}


# Strategies by name and by file


def test_an_unknown_strategy_names_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'hybrid_rrf'\? Known: bm25, evidence, "):
        strategies.load("hybrid_rff")


OUTSIDE = '''"""Is this found?"""
from __future__ import annotations
from dataclasses import dataclass
from carmenta_lab.retrieval.fulltext import FullTextSearch

@dataclass(frozen=True)
class Mine(FullTextSearch):
    bonus: float = 1.0

STRATEGY = Mine(match="any", bonus=2.0)
'''


def test_a_strategy_outside_the_package_is_loaded_by_its_path(corpus: Corpus, tmp_path: Path) -> None:
    file = tmp_path / "my_strategy.py"
    file.write_text(OUTSIDE)

    strategy = strategies.load(str(file))

    assert "bonus=2.0" in repr(strategy)
    assert strategies.title(str(file)) == "my_strategy"
    assert strategies.title("fulltext") == "fulltext"
    assert corpus.search(strategy, corpus.ask("lighthouse")).hits


def test_two_files_of_one_name_are_two_strategies(tmp_path: Path) -> None:
    files = []
    for folder, bonus in (("a", "2.0"), ("b", "3.0")):
        (tmp_path / folder).mkdir()
        files.append(tmp_path / folder / "mine.py")
        files[-1].write_text(OUTSIDE.replace("2.0", bonus))
    first, second = (strategies.load(str(file)) for file in files)
    assert type(first).__module__ != type(second).__module__


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("x = 1", "defines no STRATEGY: assign a retriever"),
        ("STRATEGY = None", "is no retriever but of the type NoneType: expected"),
        ("STRATEGY = 'fulltext'", "is no retriever but of the type str: expected"),
        ("def broken(:", "cannot be executed: SyntaxError"),
        ("import nothing_of_that_name", "cannot be executed: ModuleNotFoundError"),
        ("1 / 0", "cannot be executed: ZeroDivisionError: division by zero"),
        ("\0", "cannot be executed: "),
        (
            "from carmenta_lab.retrieval.fusion import ReciprocalRankFusion as RRF\n"
            "from carmenta_lab.retrieval.fulltext import FullTextSearch as Words\nSTRATEGY = RRF([('a', Words())])",
            "cannot be hashed: write its parameters as tuples and keep it frozen",
        ),
    ],
)
def test_a_broken_strategy_file_says_what_is_wrong(tmp_path: Path, body: str, error: str) -> None:
    file = tmp_path / "broken.py"
    file.write_text(body)
    with pytest.raises(UsageError, match=error):
        strategies.load(str(file))


def test_a_strategy_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.py", tmp_path):
        with pytest.raises(UsageError, match=r"there is no strategy file .*none\.py; give a name|unknown strategy"):
            strategies.load(str(path))


def test_every_strategy_says_its_hypothesis() -> None:
    for name in NAMES:
        module = import_module(f"carmenta_lab.strategies.{name}")
        assert (module.__doc__ or "").count("?") >= 1
