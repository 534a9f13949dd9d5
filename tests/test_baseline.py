"""No strategy gets worse on the sample than the committed baseline by more than 0.02 nDCG@10.

After a change that is meant to move figures: `carmenta-lab compare --dataset sample --json tests/baseline.json`.
"""

import json
from pathlib import Path

import pytest

from carmenta_lab import strategies
from carmenta_lab.experiment import Comparison, compare
from carmenta_lab.postgres import Database

BASELINE = json.loads((Path(__file__).parent / "baseline.json").read_text())
ALLOWED = 0.02


@pytest.fixture(scope="module")
def comparison(sample: Database) -> Comparison:
    return compare(sample, "sample", strategies.names(), ["ndcg@10", "recall@10"], 10, keep=False)


def test_the_baseline_is_of_the_same_questions(comparison: Comparison) -> None:
    assert comparison.queries == BASELINE["queries"]


@pytest.mark.parametrize("name", strategies.names())
def test_a_strategy_keeps_its_quality(name: str, comparison: Comparison) -> None:
    before = BASELINE["strategies"][name]["ndcg@10"]["mean"]
    now = comparison.to_json()["strategies"][name]["ndcg@10"]["mean"]
    assert now >= before - ALLOWED, f"{name}: nDCG@10 fell from {before:.3f} to {now:.3f}"


def test_exact_search_is_neither_at_the_floor_nor_at_the_ceiling(comparison: Comparison) -> None:
    assert 0.35 <= comparison.to_json()["strategies"]["vector_exact"]["ndcg@10"]["mean"] <= 0.75


def test_a_comparison_repeats_itself(sample: Database, comparison: Comparison) -> None:
    again = compare(sample, "sample", ["hybrid_rrf"], ["ndcg@10"], 10, keep=False)
    first = comparison.quality.query("strategy == 'hybrid_rrf' and measure == 'ndcg@10'")
    assert again.quality.to_dict("records") == first.to_dict("records")


def test_a_run_is_kept_with_its_hits_and_scores(own_sample: Database) -> None:
    from sqlalchemy import text

    result = compare(own_sample, "sample", ["fulltext_or"], ["ndcg@10"], 10)
    with own_sample.owner_session() as session:
        hits = session.execute(text("SELECT count(*), min(rank), max(rank) FROM lab.hits")).one()
        mean = session.scalar(text("SELECT avg(value) FROM lab.scores"))
        circumstances = session.scalar(text("SELECT circumstances FROM lab.runs"))
    assert tuple(hits) == (sum(len(r.hits) for r in result.runs["fulltext_or"].run.rankings.values()), 1, 10)
    assert mean == pytest.approx(result.quality["mean"].iloc[0])
    assert circumstances["seed"] == 7


def test_differences_are_paired_and_won_lost_tied_add_up(comparison: Comparison) -> None:
    for row in comparison.differences.itertuples():
        assert row.won + row.lost + row.tied == comparison.queries
    means = comparison.quality.set_index(["strategy", "measure"])["mean"]
    for row in comparison.differences.itertuples():
        expected = means[row.strategy, row.measure] - means[row.baseline, row.measure]
        assert row.mean == pytest.approx(expected)
