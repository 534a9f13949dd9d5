"""The measure of a context: which judged sources it holds; hand-computed, then on rows through the whole engine."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from factory import memory, message, query, write

from carmenta_lab.context import Block, Context
from carmenta_lab.errors import UsageError
from carmenta_lab.experiment.contexts import JudgedText, compare_contexts, holds, share, shown_of
from carmenta_lab.ingest import load
from carmenta_lab.postgres import Database

MESSAGE = "We park the two red bikes behind the old bakery every winter night"


def lexemes(text: str) -> frozenset[str]:
    """Small letters, without a few stop words."""
    return frozenset(text.casefold().replace(".", "").split()) - {"we", "the", "every", "behind"}


@pytest.mark.parametrize(
    ("shown", "answers", "expected"),
    [
        (f"Ann: {MESSAGE}!", (), True),  # in full
        ("Ann:  We park the\ntwo red bikes behind the old bakery every winter night", (), True),  # white space aside
        ("bikes: behind the OLD, bakery", ("old bakery",), True),  # an answer's words, in their order
        ("the bakery is old", ("old bakery",), False),
        ("gold bakery", ("old bakery",), False),  # words are whole
        # content: park two red bikes old bakery winter night = 8; 7 of 8 = .875, 6 of 8 = .75
        ("park two red bikes old bakery winter", (), True),
        ("park two red bikes old bakery", (), False),
        ("park two red bikes old bakery", ("night",), False),
        ("", ("",), False),
        ("anything", ("!",), False),  # an answer without a word is no answer
    ],
)
def test_a_source_is_held_in_full_by_an_answer_or_by_four_fifths_of_its_lexemes(
    shown: str, answers: tuple[str, ...], expected: bool
) -> None:
    assert holds(MESSAGE, shown, answers, lexemes) is expected


def test_a_source_without_lexemes_is_held_in_full_only() -> None:
    assert holds("We the", "so We the", (), lexemes)
    assert not holds("We the", "the we", (), lexemes)


class Known:
    """Lexemes that need no database."""

    def language(self, config: str) -> Any:
        assert config == "english"
        return lexemes


def block(text: str, *ids: UUID) -> Block:
    return Block("user", "passage", text, 1, 1, (), "", ids=ids)


def test_the_share_counts_each_judged_source_once_and_by_its_own_blocks() -> None:
    one, two, three, gone = (UUID(int=n) for n in range(4))
    texts = {one: "red bikes", two: "green tea", three: "old bakery"}
    sources = {key: JudgedText(text, "english") for key, text in texts.items()}
    blocks = (block("[2025-03-01] Ann: red bikes", one), block("Memory: green tea", three), block("green tea"))
    context = Context(blocks, (), 3, 10, "test")
    assert shown_of(context, one) == "Ann: red bikes"
    assert share(context, [one, two], sources, (), Known()) == 1 / 2  # type: ignore[arg-type]
    assert share(context, [one, two, gone], sources, (), Known()) == 1 / 3  # type: ignore[arg-type]
    assert share(context, [three], sources, ("2025",), Known()) == 0  # type: ignore[arg-type]
    dated = Context((block("[2025-03-01] Bo: bread", three),), (), 3, 10, "test")
    assert share(dated, [three], sources, ("2025",), Known()) == 0  # type: ignore[arg-type]  # the date is no answer


@pytest.fixture
def bikes(database: Database, tmp_path: Path) -> tuple[Database, str]:
    """Forty messages about nothing and one about bikes, a memory of it, and two questions."""
    said = [MESSAGE, *(f"Message number {n} is about the weather of day {n}." for n in range(40))]
    write(
        tmp_path,
        messages=[message(f"m{n}", body, f"c{n // 10}", "ann", author="Ann") for n, body in enumerate(said)],
        memories=[memory("k0", "The bikes are red.", "ann")],
        queries=[
            query("q1", "where are the red bikes parked", "ann", answers=["bakery"]),
            query("q2", "which colour are the bikes", "ann"),
        ],
        qrels="q1\tm0\t1\nq1\tk0\t1\nq2\tk0\t1\n",
    )
    name = f"bikes-{uuid4()}"
    assert not load(database, tmp_path, name, tokens=True).rejects
    return database, name


def test_policies_are_compared_on_judged_messages_with_other_targets_beside_them(bikes: tuple[Database, str]) -> None:
    database, name = bikes
    names = ["recent_only", "retrieved_first", "everything"]
    found = compare_contexts(database, name, policies=names, budgets=[60, 2_000])
    assert found.queries == 1  # q2 is judged by a memory alone
    held = found.evidence.set_index(["policy", "budget"])
    assert held.loc[("recent_only", 2_000), "mean"] == 0
    assert held.loc[("retrieved_first", 60), "mean"] == 1
    assert held.loc[("everything", 60), "mean"] == 0  # the newest messages fill it
    assert held.loc[("everything", 2_000), "mean"] == 1
    assert held.loc[("everything", 2_000), "every_target"] == (1 / 2 + 0) / 2  # memories are no messages
    assert held.loc[("retrieved_first", 2_000), "every_target"] == 1
    assert (held.tokens <= held.index.get_level_values("budget")).all()
    difference = found.differences.set_index(["policy", "budget"]).loc[("everything", 2_000)]
    assert (difference.baseline, difference["mean"], difference.won) == ("recent_only", 1, 1)
    shown = json.loads(json.dumps(found.to_json()))
    assert shown["policies"]["everything"]["60"]["mean"] == 0
    assert {"mean", "low", "high"} <= shown["policies"]["everything"]["2000"].keys()
    assert shown["circumstances"]["counter"] == "all-MiniLM-L6-v2"
    text = str(found)
    assert "1 questions" in text
    assert text.count("1.000 [1.000, 1.000]*") == 3  # the best of either budget, once tied
    assert "2,000 tokens" in text
    assert found._repr_html_().count("<table") == 1
    assert repr(found).endswith("recent_only, retrieved_first, everything; budgets 60, 2,000>")
    again = compare_contexts(database, name, policies=names, budgets=[60, 2_000])
    assert again.scores.equals(found.scores)


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"budgets": [0]}, "at least 1 token"),
        ({"budgets": ["500"]}, "such as 2_000; found '500'"),
        ({"budgets": []}, "no budget is given"),
        ({"baseline": "mission_order"}, "not among the policies: everything"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_refused(
    bikes: tuple[Database, str], more: dict[str, Any], match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        compare_contexts(*bikes, ["everything"], **more)
