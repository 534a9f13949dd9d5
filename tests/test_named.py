"""A strategy or a policy may be given by name, by path or as a value, wherever one is asked for."""

from dataclasses import replace
from pathlib import Path

import pytest

from carmenta_lab import strategies
from carmenta_lab.context import Policy, policies
from carmenta_lab.errors import UnknownName, UsageError
from carmenta_lab.experiment import compare
from carmenta_lab.experiment.contexts import compare_contexts
from carmenta_lab.experiment.named import budgets_of, policies_of, sent, strategies_of
from carmenta_lab.postgres import Database
from carmenta_lab.retrieval.vector import VectorSearch


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text("from carmenta_lab.retrieval.fulltext import FullTextSearch\nSTRATEGY = FullTextSearch()\n")
    return path


def test_a_name_a_path_and_a_value_stand_side_by_side(file: Path) -> None:
    wider = replace(strategies.load("hybrid_rrf"), depth=80)  # type: ignore[type-var]
    found = strategies_of(["bm25", "vector_hnsw(ef_search=7)", file, wider, strategies.load("trigram")])
    assert list(found) == ["bm25", "vector_hnsw(ef_search=7)", "mine", "hybrid_rrf(depth=80)", "trigram"]
    assert found["hybrid_rrf(depth=80)"] is wider
    assert strategies.load("hybrid_rrf(depth=80)") == wider


def test_one_alone_needs_no_list(file: Path) -> None:
    assert list(strategies_of("bm25")) == ["bm25"]
    assert list(strategies_of(file)) == ["mine"]
    assert list(strategies_of(strategies.load("bm25"))) == ["bm25"]
    assert list(policies_of(policies.load("everything"))) == ["everything"]
    with pytest.raises(UnknownName, match="unknown strategy 'bm52'"):
        strategies_of("bm52")


def test_values_that_no_name_can_say_are_called_by_their_class_and_told_apart() -> None:
    one, other = (replace(strategies.load("evidence"), link=0.25, signals=(s,)) for s in _signals())  # type: ignore[type-var]
    assert list(strategies_of([one, other, one])) == ["Evidence", "Evidence 2"]
    assert list(policies_of([Policy(strategy=None, tiers=())])) == ["Policy"]


def _signals() -> tuple[object, object]:
    first, second, *_ = strategies.load("evidence").signals  # type: ignore[attr-defined]
    return first, second


def test_a_process_elsewhere_is_sent_the_name_where_there_is_one(file: Path) -> None:
    value = VectorSearch(ef_search=9)
    given = ["bm25", file, value]
    assert list(sent(given, strategies_of(given)).values()) == ["bm25", str(file), value]


def test_budgets_are_whole_numbers_each_once() -> None:
    assert budgets_of([500, 2_000, 500]) == [500, 2_000]
    assert budgets_of(500) == [500]
    for wrong in ([0], ["500"], [True], [2.5]):
        with pytest.raises(UsageError, match=r"whole numbers of at least 1 token, such as 2_000; found"):
            budgets_of(wrong)  # type: ignore[arg-type]


def test_values_are_compared_as_names_are(sample: Database, file: Path) -> None:
    narrow = replace(strategies.load("fulltext_or"), normalization=0)  # type: ignore[type-var]
    found = compare(sample, "sample", strategies=["fulltext_or", narrow, file], baseline=file, keep=False)
    assert found.strategies == ("fulltext_or", "fulltext_or(normalization=0)", "mine")
    assert found.circumstances["baseline"] == "mine"
    assert compare(sample, "sample", strategies="fulltext", measures="ndcg@10", keep=False).strategies == ("fulltext",)


def test_policies_are_given_the_same_way(sample: Database) -> None:
    short = replace(policies.load("recent_only"), budget_tokens=100)
    found = compare_contexts(
        sample, "sample", policies=["recent_only", short], budgets=200, baseline=short, questions_drawn=2
    )
    assert found.policies == ("recent_only", "recent_only(budget_tokens=100)")
    assert found.circumstances["baseline"] == "recent_only(budget_tokens=100)"
