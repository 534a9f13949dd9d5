"""An ablation switches off one thing at a time, and its differences are those of the scores."""

from dataclasses import replace

import numpy as np
import pytest

from carmenta_lab import strategies
from carmenta_lab.errors import UsageError
from carmenta_lab.experiment.ablation import Ablation, ablate, sizes
from carmenta_lab.experiment.questions import Questions, read_questions
from carmenta_lab.experiment.searching import encode, execute, execute_in_turn
from carmenta_lab.postgres import Database
from carmenta_lab.retrieval.evidence import LINK, VECTORS, WORDS, Evidence
from carmenta_lab.retrieval.signals import BestOfConversation, Context, Late, Signal, Speaker


def strategy(name: str) -> Evidence:
    found = strategies.load(name)
    assert isinstance(found, Evidence)
    return found


@pytest.fixture(scope="module")
def questions(sample: Database) -> Questions:
    with sample.owner_session() as session:
        return read_questions(session, "sample")


@pytest.fixture(scope="module")
def ablation(sample: Database) -> Ablation:
    return ablate(sample, "sample", at_most=30)


@pytest.mark.parametrize("name", ["evidence", "evidence_lean"])
def test_every_signal_is_switched_off_once_and_nothing_else_is(name: str) -> None:
    whole = strategy(name)
    found = whole.variants()
    for signal in whole.signals:
        left = found[signal.name].retriever
        assert [s.name for s in left.signals] == [s.name for s in whole.signals if s is not signal]
        assert [s.weight for s in left.signals] == [s.weight for s in whole.signals if s is not signal]
        assert replace(left, signals=whole.signals) == whole
    assert found[VECTORS].retriever == replace(whole, searches=("words",))
    assert found[WORDS].retriever == replace(whole, searches=("vectors",))
    assert found[LINK].retriever == replace(whole, link=0.0)
    others = {"all of tokens"} if name == "evidence" else set()
    assert set(found) == {s.name for s in whole.signals} | {VECTORS, WORDS, LINK} | others


def test_without_all_of_tokens_nothing_is_read_of_them() -> None:
    assert "tokens" not in strategy("evidence").variants()["all of tokens"].retriever.needs


def best_of(signals: tuple[Signal, ...]) -> list[str]:
    return [signal.of for signal in signals if isinstance(signal, BestOfConversation)]


def test_the_best_of_a_conversation_is_that_of_the_heaviest_signal_left_or_goes_with_the_last() -> None:
    found = strategy("evidence").variants()
    assert best_of(found["late"].retriever.signals) == ["context"]
    assert found["late"].note == "conversation is that of context"
    assert best_of(found["late_window"].retriever.signals) == ["late"]
    assert found["late_window"].note == ""
    few = Evidence(signals=(Late(1.0), BestOfConversation(0.5)))
    assert set(few.variants()) == {"conversation", VECTORS, WORDS, LINK}
    three = Evidence(signals=(Late(1.0), BestOfConversation(0.5), Speaker(0.1), Context(0.2))).variants()
    assert best_of(three["late"].retriever.signals) == ["context"]


def test_what_is_off_already_is_not_switched_off() -> None:
    bare = replace(strategy("evidence_lean"), link=0.0, searches=("vectors",))
    assert not {VECTORS, WORDS, LINK} & set(bare.variants())


def test_differences_are_those_of_the_scores_and_won_lost_tied_add_up(ablation: Ablation) -> None:
    scores = ablation.comparison.scores.pivot(index="query_id", columns="strategy", values="value")
    assert ablation.whole == pytest.approx(scores.evidence.mean())
    assert ablation.table.difference.is_monotonic_increasing
    for row in ablation.table.itertuples():
        change = scores[row.without] - scores.evidence
        assert row.difference == pytest.approx(change.mean())
        assert row.mean == pytest.approx(ablation.whole + row.difference)
        assert row.low <= row.difference <= row.high
        assert (row.won, row.lost) == ((change > 1e-9).sum(), (change < -1e-9).sum())
        assert row.won + row.lost + row.tied == ablation.comparison.queries
        mine = ablation.categories[ablation.categories.without == row.without]
        assert np.average(mine.difference, weights=mine.queries) == pytest.approx(row.difference)
    assert ablation.table.set_index("without").difference[VECTORS] < -0.05


def test_so_many_questions_are_asked_evenly_spread(ablation: Ablation, questions: Questions) -> None:
    asked = [query.query_id for query in ablation.comparison.questions.queries]
    assert len(asked) == len(set(asked)) == ablation.comparison.queries == 30
    every = [query.query_id for query in questions.queries]
    places = [every.index(query_id) for query_id in asked]
    assert places == sorted(places)
    assert max(np.diff(places)) <= 20


def test_the_whole_finds_what_the_strategy_finds_alone(ablation: Ablation, sample: Database) -> None:
    asked = ablation.comparison.questions.queries
    whole = strategy("evidence")
    alone = execute(sample, "evidence", whole, asked, encode(sample, {"whole": whole}, asked)["whole"], 10)
    assert ablation.comparison.runs["evidence"].run == alone.run


def test_retrievers_that_take_turns_find_what_each_finds_alone(sample: Database, questions: Questions) -> None:
    asked = questions.queries[::40]
    retrievers = {name: strategies.load(name) for name in ("evidence", "evidence_lean")}
    encoded = encode(sample, {"evidence": retrievers["evidence"]}, asked)["evidence"]
    together = execute_in_turn(sample, retrievers, asked, encoded, 10)
    for name, retriever in retrievers.items():
        alone = execute(sample, name, retriever, asked, encoded, 10)
        assert together[name].run == alone.run
        assert together[name].routes == alone.routes
        assert set(together[name].latency_ms) == {query.query_id for query in asked}


def test_one_search_alone_finds_candidates_of_its_own(sample: Database, questions: Questions) -> None:
    asked = questions.queries[:1]
    whole = strategy("evidence_lean")
    ways = {"words": replace(whole, searches=("words",)), "vectors": replace(whole, searches=("vectors",))}
    encoded = encode(sample, {"whole": whole}, asked)["whole"]
    runs = execute_in_turn(sample, ways, asked, encoded, 60)
    hits = {name: run.run.rankings[asked[0].query_id].hits for name, run in runs.items()}
    assert any(hit.parts["words"] for hit in hits["words"])
    assert not any(hit.parts["words"] for hit in hits["vectors"])
    assert {hit.passage_id for hit in hits["words"]} != {hit.passage_id for hit in hits["vectors"]}


def test_the_parts_of_a_hit_are_those_of_its_signals(ablation: Ablation) -> None:
    whole = strategy("evidence")
    query = ablation.comparison.questions.queries[0].query_id
    parts = ablation.parts(query, rank=2)
    assert parts.signal.tolist() == [signal.name for signal in whole.signals]
    assert parts.weighed.tolist() == pytest.approx(
        [s.weight * p for s, p in zip(whole.signals, parts.raw, strict=True)]
    )
    with pytest.raises(UsageError, match="has no hit of rank 11: it has 10"):
        ablation.parts(query, rank=11)
    with pytest.raises(UsageError, match="the question 'nobody-q1' was not asked: give one of the "):
        ablation.parts("nobody-q1")


def test_sizes_name_what_each_table_serves(ablation: Ablation, sample: Database) -> None:
    frame = ablation.sizes.set_index("table")
    assert frame.serves["token_codes"] == "late, late_window"
    assert frame.serves["embeddings_all_minilm_l6_v2"] == "vector candidates, context"
    assert (frame.megabytes > 0).all()
    passages = sum(ablation.comparison.questions.passages.values())
    assert (frame.megabytes * 1e6).tolist() == pytest.approx((frame.bytes_a_passage * passages).tolist())
    assert "token_codes" not in sizes(sample, strategy("evidence_lean")).table.tolist()


def test_a_fusion_is_taken_apart_by_what_it_fuses(sample: Database) -> None:
    found = ablate(sample, "sample", "hybrid_zscore", at_most=3)
    assert set(found.table.without) == {"vector", "words"}
    assert found.sizes.set_index("table").serves.to_dict() == {
        "embeddings_all_minilm_l6_v2": "vector",
        "postings": "words",
        "passage_features": "words",
        "passages": "the texts themselves",
    }


def test_what_is_of_one_piece_is_refused(sample: Database) -> None:
    with pytest.raises(UsageError, match="fulltext has no part that can be switched off"):
        ablate(sample, "sample", "fulltext")
    with pytest.raises(UsageError, match=r"ndcg@20 looks at 20 hits and k is 10"):
        ablate(sample, "sample", measure="ndcg@20")


def test_an_ablation_prints_a_row_a_part_and_marks_what_is_no_chance(ablation: Ablation) -> None:
    text, html = str(ablation), ablation._repr_html_()
    assert (
        repr(ablation)
        == f"<Ablation of evidence: ndcg@10 {ablation.whole:.3f}, {len(ablation.table)} parts switched off>"
    )
    for row in ablation.table.itertuples():
        assert row.without in text
        assert f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]" in html
    assert text.count("] ▼") == (ablation.table[ablation.table.difference < 0].p_holm < 0.05).sum()
