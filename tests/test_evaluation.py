"""Are the measures right by hand, by an independent implementation, and at the edges?"""

import re
from collections.abc import Mapping, Sequence
from math import log2
from uuid import UUID

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carmenta_lab.errors import UnknownName, UsageError
from carmenta_lab.evaluation import (
    Measure,
    average_precision,
    holm,
    interval,
    ndcg,
    paired,
    parse,
    recall,
    reciprocal_rank,
    score,
    success,
    unjudged,
)
from carmenta_lab.records import Hit, Ranking, Run, Score

A, B, C, D, E = (UUID(int=number) for number in range(1, 6))


def ranking(query_id: str, sources: Sequence[UUID]) -> Ranking:
    hits = [Hit(s, s, "message", rank, 1 / rank) for rank, s in enumerate(sources, 1)]
    return Ranking(query_id, tuple(hits))


def test_ndcg_divides_the_discounted_gain_by_the_best_possible() -> None:
    # relevant at ranks 2 and 3 of two relevant sources
    expected = (1 / log2(3) + 1 / log2(4)) / (1 / log2(2) + 1 / log2(3))
    assert ndcg({B: 1, C: 1}, [A, B, C], 10) == pytest.approx(expected)


def test_ndcg_gains_are_linear_in_the_relevance() -> None:
    expected = (1 / log2(2) + 3 / log2(3)) / (3 / log2(2) + 1 / log2(3))
    assert ndcg({A: 1, B: 3}, [A, B], 2) == pytest.approx(expected)


def test_the_ideal_of_ndcg_is_cut_at_k() -> None:
    assert ndcg({A: 1, B: 1, C: 1}, [A, B], 2) == 1.0


def test_a_negative_relevance_gains_nothing() -> None:
    assert ndcg({A: -2, B: 1}, [A, B], 2) == pytest.approx(1 / log2(3))
    assert success({A: -2}, [A], 1) == 0.0


def test_recall_counts_the_relevant_sources_in_the_top() -> None:
    judged = {A: 1, B: 2, C: 1, D: 0}
    assert recall(judged, [D, A, E, B], 3) == pytest.approx(1 / 3)
    assert recall(judged, [D, A, E, B], 4) == pytest.approx(2 / 3)


def test_success_asks_whether_any_relevant_source_is_in_the_top() -> None:
    assert [success({B: 1}, [A, B], k) for k in (1, 2)] == [0.0, 1.0]


def test_reciprocal_rank_is_that_of_the_first_relevant_source() -> None:
    assert reciprocal_rank({C: 1, D: 1}, [A, B, C, D]) == pytest.approx(1 / 3)
    assert [reciprocal_rank({C: 1}, [A, B, C], k) for k in (2, 3)] == [0.0, pytest.approx(1 / 3)]


def test_average_precision_divides_by_all_relevant_sources() -> None:
    judged = {A: 1, C: 1, E: 1}
    assert average_precision(judged, [A, B, C]) == pytest.approx((1 / 1 + 2 / 3) / 3)
    assert average_precision(judged, [A, B, C], 2) == pytest.approx((1 / 1) / 3)


@pytest.mark.parametrize("name", ["ndcg@3", "recall@3", "success@3", "mrr", "mrr@3", "ap", "ap@3"])
def test_every_measure_is_zero_without_relevant_or_retrieved_sources(name: str) -> None:
    measure = parse(name)
    assert measure({}, [A, B]) == 0.0
    assert measure({A: 0}, [A, B]) == 0.0
    assert measure({A: 1}, []) == 0.0


@pytest.mark.parametrize("name", ["ndcg@99", "recall@99", "success@99", "mrr@99", "ap@99", "mrr", "ap"])
def test_a_perfect_ranking_scores_one_with_k_beyond_the_list(name: str) -> None:
    assert parse(name)({A: 1, B: 1}, [A, B, C]) == 1.0


@pytest.mark.parametrize("name", ["ndcg@3", "recall@3", "success@3", "mrr", "ap@3"])
def test_a_source_ranked_twice_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"each source once, but {A} is in it twice"):
        parse(name)({A: 1}, [A, B, A])


@pytest.mark.parametrize("name", ["ndcg@10", "recall@5", "success@1", "mrr", "mrr@10", "ap", "ap@100"])
def test_a_measure_prints_as_the_name_it_was_parsed_from(name: str) -> None:
    assert str(parse(name)) == name
    assert parse(name) == parse(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ndgc@10", "unknown measure 'ndgc'. Did you mean 'ndcg'"),
        ("", "unknown measure ''"),
        ("ndcg", "needs a cut-off: write ndcg@10"),
        ("recall@", "a whole number from 1 is expected after the @, not ''"),
        ("mrr@x", "not 'x'"),
        ("ap@-1", "not '-1'"),
        ("ndcg@1.5", "not '1.5'"),
        ("mrr@0", "k must be at least 1, not 0"),
    ],
)
def test_a_name_that_is_no_measure_is_refused_in_a_sentence(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse(name)


def test_an_unknown_measure_is_an_unknown_name() -> None:
    with pytest.raises(UnknownName):
        Measure("precision", 10)


def test_a_cutoff_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="k must be at least 1, not 0"):
        ndcg({A: 1}, [A], 0)


def test_a_judged_query_without_hits_scores_zero() -> None:
    run = Run.of("s", [ranking("q1", [A])])
    found = score({"q1": {A: 1}, "q2": {B: 1}}, run, [parse("mrr")])
    assert found == [Score("q1", "mrr", 1.0), Score("q2", "mrr", 0.0)]


def test_a_query_without_relevant_sources_is_left_out_and_counted() -> None:
    qrels: Mapping[str, Mapping[UUID, int]] = {"q1": {A: 1}, "q2": {}, "q3": {B: 0}}
    run = Run.of("s", [ranking("q1", [B, A]), ranking("q2", [A]), ranking("q3", [B]), ranking("q4", [A])])
    found = score(qrels, run, [parse("mrr"), parse("success@1")])
    assert found == [Score("q1", "mrr", 0.5), Score("q1", "success@1", 0.0)]
    assert unjudged(qrels) == 2


ORACLE = {
    "ndcg@3": "nDCG@3",
    "ndcg@10": "nDCG@10",
    "recall@3": "R@3",
    "success@1": "Success@1",
    "success@5": "Success@5",
    "mrr": "RR",
    "mrr@3": "RR@3",
    "ap": "AP",
    "ap@3": "AP@3",
}


@given(
    st.dictionaries(st.integers(1, 15), st.integers(0, 3), min_size=1).filter(lambda j: any(j.values())),
    st.permutations(range(1, 16)),
    st.integers(0, 15),
)
def test_the_measures_agree_with_ir_measures(judged: dict[int, int], order: list[int], retrieved: int) -> None:
    order = order[:retrieved]
    qrels = [ir_measures.Qrel("q", str(doc), relevance) for doc, relevance in judged.items()]
    # one more query keeps the oracle's run from being empty
    run = [ir_measures.ScoredDoc("q", str(doc), 100.0 - rank) for rank, doc in enumerate(order)]
    run.append(ir_measures.ScoredDoc("other", "1", 1.0))
    oracle = {
        str(value.measure): value.value
        for value in ir_measures.iter_calc(map(ir_measures.parse_measure, ORACLE.values()), qrels, run)
        if value.query_id == "q"
    }
    ours = {UUID(int=doc): relevance for doc, relevance in judged.items()}
    sources = [UUID(int=doc) for doc in order]
    assert {name: parse(name)(ours, sources) for name in ORACLE} == {
        name: pytest.approx(oracle[str(ir_measures.parse_measure(theirs))]) for name, theirs in ORACLE.items()
    }


VALUES = [0.0, 1.0, 0.5, 0.25, 1.0, 0.0, 0.75, 0.6, 0.1, 0.9]


def test_the_interval_encloses_the_mean_and_the_same_seed_repeats_it() -> None:
    found = interval(VALUES, seed=7)
    assert found.mean == pytest.approx(5.1 / 10)
    assert 0 < found.low < found.mean < found.high < 1
    assert interval(VALUES, seed=7) == found
    assert interval(VALUES, seed=8) != found


def test_the_interval_of_many_values_is_that_of_the_normal_distribution() -> None:
    values = [0.0, 1.0] * 500  # standard error: 0.5 / sqrt(1000)
    found = interval(values, seed=1)
    half = 1.96 * 0.5 / 1000**0.5
    assert found.low == pytest.approx(0.5 - half, abs=0.002)
    assert found.high == pytest.approx(0.5 + half, abs=0.002)


def test_drawing_whole_users_widens_the_interval_when_their_values_agree() -> None:
    values = [0.2] * 50 + [0.5] * 50 + [0.8] * 50
    users = ["a"] * 50 + ["b"] * 50 + ["c"] * 50
    alone, clustered = interval(values, seed=3), interval(values, seed=3, clusters=users)
    assert clustered.mean == pytest.approx(alone.mean)
    assert clustered.high - clustered.low > 3 * (alone.high - alone.low)
    # three users drawn: all of the worst or all of the best has a probability of 1/27, more than 2.5 %
    assert [clustered.low, clustered.high] == pytest.approx([0.2, 0.8])


def test_clusters_of_one_change_nothing() -> None:
    assert interval(VALUES, seed=7, clusters=range(10)) == interval(VALUES, seed=7)


def test_a_large_cluster_weighs_by_its_values() -> None:
    found = interval([0.0, 1.0, 1.0, 1.0], seed=1, clusters=["a", "b", "b", "b"])
    assert (found.mean, found.low, found.high) == (0.75, 0.0, 1.0)


def test_one_value_or_one_cluster_has_its_mean_as_bounds() -> None:
    single = interval([0.3], seed=1)
    assert (single.mean, single.low, single.high) == (0.3, 0.3, 0.3)
    cluster = interval([0.25, 0.75], seed=1, clusters=["a", "a"])
    assert (cluster.mean, cluster.low, cluster.high) == (0.5, 0.5, 0.5)


def test_a_paired_difference_counts_won_lost_and_tied() -> None:
    found = paired([0.5, 0.2, 0.7, 0.1 + 0.2], [0.25, 0.4, 0.2, 0.3], seed=5)
    assert (found.won, found.lost, found.tied) == (2, 1, 1)
    assert found.mean == pytest.approx((0.25 - 0.2 + 0.5 + 0) / 4)
    assert found.low < found.mean < found.high


def test_a_constant_gain_has_no_spread_however_the_values_vary() -> None:
    found = paired([value + 0.1 for value in VALUES], VALUES, seed=5)
    assert [found.low, found.high] == pytest.approx([0.1, 0.1])
    assert found.won == 10


def test_paired_draws_whole_users_when_asked() -> None:
    values, users = [0.1] * 5 + [0.9] * 5, ["a"] * 5 + ["b"] * 5
    found = paired(values, [0.5] * 10, seed=5, clusters=users)
    assert [found.low, found.high] == pytest.approx([-0.4, 0.4])


def test_what_cannot_be_resampled_is_refused_in_a_sentence() -> None:
    with pytest.raises(UsageError, match="values is empty"):
        interval([], seed=1)
    with pytest.raises(UsageError, match=r"values\[1\] is not a finite number"):
        interval([0.5, float("nan")], seed=1)
    with pytest.raises(UsageError, match="2 values, 1 clusters"):
        interval([0.5, 0.5], seed=1, clusters=["a"])
    with pytest.raises(UsageError, match="samples must be at least 1, not 0"):
        interval([0.5], seed=1, samples=0)
    with pytest.raises(UsageError, match="2 values and 1 baselines"):
        paired([0.5, 0.5], [0.5], seed=1)


def test_holm_multiplies_by_the_comparisons_left_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 * .01, then 2 * .03, then max(.06, .04)
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_difference_is_beyond_chance_where_its_interval_leaves_out_0() -> None:
    random = np.random.default_rng(3)
    for shift in (-0.6, -0.2, 0.0, 0.1, 0.3, 0.8):
        values = random.normal(shift, 1, 60).tolist()
        found = paired(values, [0.0] * 60, seed=7)
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
        assert 0 < found.p <= 1
    assert paired([1.0], [0.0], seed=7).p == 1.0
    assert paired([0.5, 0.5], [0.5, 0.5], seed=7).p == 1.0
