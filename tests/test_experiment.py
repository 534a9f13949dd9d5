"""A comparison says what it measured, the same each time, and can be held against an earlier one."""

import json
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import text

import carmenta_lab
from carmenta_lab import strategies
from carmenta_lab.errors import UsageError
from carmenta_lab.experiment import Comparison, compare
from carmenta_lab.experiment.kept import read_earlier, worse
from carmenta_lab.experiment.questions import read_questions
from carmenta_lab.experiment.searching import encode, execute
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.kinds import HNSW
from carmenta_lab.indexing.vectors import table_name
from carmenta_lab.postgres import Database
from carmenta_lab.retrieval.vector import VectorSearch

PACKAGE = Path(carmenta_lab.__file__).parent
NAMES = ["vector_exact", "fulltext_or", "hybrid_rrf"]
MEASURES = ["ndcg@10", "recall@10"]


@pytest.fixture(scope="module")
def comparison(sample: Database) -> Comparison:
    return compare(sample, "sample", NAMES, MEASURES, 10, keep=False)


@pytest.fixture
def kept(comparison: Comparison, tmp_path: Path) -> Path:
    """The JSON of a comparison."""
    path = tmp_path / "earlier.json"
    path.write_text(comparison.json_text())
    return path


def test_the_readme_names_every_file() -> None:
    readme = (PACKAGE / "experiment/README.md").read_text()
    files = {path.name for path in (PACKAGE / "experiment").glob("*.py")} - {"__init__.py"}
    assert files == {*re.findall(r"^\| `(\w+\.py)` \|", readme, re.MULTILINE)}


def test_the_figure_of_the_readme_shows_every_strategy(comparison: Comparison) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (PACKAGE / "experiment/README.md").read_text(), re.S)
    names: dict[str, Any] = {}
    exec(code, names)
    [axes] = names["returned"](comparison).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == NAMES


def test_exact_search_is_neither_at_the_floor_nor_at_the_ceiling(comparison: Comparison) -> None:
    assert 0.35 <= comparison.to_json()["strategies"]["vector_exact"]["ndcg@10"]["mean"] <= 0.75


def test_a_comparison_repeats_itself(sample: Database, comparison: Comparison) -> None:
    again = compare(sample, "sample", ["hybrid_rrf"], ["ndcg@10"], 10, keep=False)
    first = comparison.quality.query("strategy == 'hybrid_rrf' and measure == 'ndcg@10'")
    assert again.quality.to_dict("records") == first.to_dict("records")


def test_a_run_is_kept_with_its_hits_and_scores(own_sample: Database) -> None:
    result = compare(own_sample, "sample", ["fulltext_or"], ["ndcg@10"], 10)
    with own_sample.owner_session() as session:
        hits = session.execute(text("SELECT count(*), min(rank), max(rank) FROM lab.hits")).one()
        mean = session.scalar(text("SELECT avg(value) FROM lab.scores"))
        circumstances = session.scalar(text("SELECT circumstances FROM lab.runs"))
    assert tuple(hits) == (sum(len(r.hits) for r in result.runs["fulltext_or"].run.rankings.values()), 1, 10)
    assert mean == pytest.approx(result.quality["mean"].iloc[0])
    assert circumstances["seed"] == 7


def test_differences_are_paired_and_won_lost_tied_add_up(comparison: Comparison) -> None:
    assert comparison.differences.strategy.unique().tolist() == NAMES[1:]
    means = comparison.quality.set_index(["strategy", "measure"])["mean"]
    for row in comparison.differences.itertuples():
        assert row.won + row.lost + row.tied == comparison.queries
        expected = means[row.strategy, row.measure] - means[row.baseline, row.measure]
        assert row.mean == pytest.approx(expected)


def test_users_and_categories_make_up_the_mean(comparison: Comparison) -> None:
    for frame in (comparison.users, comparison.categories):
        assert (frame.low <= frame["mean"]).all()
        assert (frame["mean"] <= frame.high).all()
        weighted = frame.assign(total=frame["mean"] * frame.queries).groupby(["strategy", "measure"])
        sums = weighted[["total", "queries"]].sum()
        assert (sums.queries == comparison.queries).all()
        means = comparison.quality.set_index(["strategy", "measure"])["mean"].sort_index()
        assert (sums.total / sums.queries).tolist() == pytest.approx(means.tolist())


def test_the_json_holds_what_the_frames_hold_and_a_list_a_line(comparison: Comparison) -> None:
    lines = comparison.json_text().splitlines()
    found = json.loads("\n".join(lines))
    assert found == json.loads(json.dumps(comparison.to_json()))
    assert len(found["questions"]["ids"]) == len(comparison.questions.queries)
    for name in NAMES:
        values = found["strategies"][name]["scores"]["ndcg@10"]
        assert len(values) == len(found["questions"]["ids"])
        judged = [value for value in values if value is not None]
        assert sum(judged) / len(judged) == pytest.approx(found["strategies"][name]["ndcg@10"]["mean"])
        assert any(json.dumps(values) in line for line in lines)
        assert set(found["strategies"][name]["users"]) == {"nora", "tomasz", "priya"}


def test_every_route_says_the_indexes_of_its_plan(comparison: Comparison, sample: Database) -> None:
    assert comparison.routes.route.tolist() == ["exact", "fulltext", "exact+fulltext"]
    assert (comparison.routes.queries == len(comparison.questions.queries)).all()
    assert comparison.routes.recall_of_exact.isna().all()
    with sample.owner_session() as session:
        known = set(session.scalars(text("SELECT indexname FROM pg_indexes WHERE schemaname = 'carmenta'")))
    used = {index for joined in comparison.routes.indexes for index in joined.split(", ") if index}
    assert used <= known  # whether a plan needs one depends on how many users there are


def test_an_approximate_route_says_its_index_and_its_recall_of_exact(own_sample: Database, tmp_path: Path) -> None:
    table = table_name("all-MiniLM-L6-v2")
    approximate.build(own_sample.owner, table, HNSW())
    fused = "ReciprocalRankFusion(parts=(('v', {}), ('w', FullTextSearch(match='any'))))"
    for name, made in (("alone", "{}"), ("fused", fused)):
        vector = "VectorSearch(index='hnsw', ef_search=10, exact_up_to=600)"
        imports = "from carmenta_lab.retrieval.{} import {}\n"
        lines = [("vector", "VectorSearch"), ("fusion", "ReciprocalRankFusion"), ("fulltext", "FullTextSearch")]
        source = "".join(imports.format(*line) for line in lines) + "STRATEGY = " + made.format(vector)
        (tmp_path / f"{name}.py").write_text(source)
    paths = [str(tmp_path / "alone.py"), str(tmp_path / "fused.py")]
    result = compare(own_sample, "sample", paths, ["recall@10"], 10, keep=False)
    assert set(result.routes.route) == {"hnsw", "exact", "hnsw+fulltext", "exact+fulltext"}
    for row in result.routes.itertuples():
        through_index = row.route.startswith("hnsw")
        assert (f"ann_hnsw_{table}" in row.indexes.split(", ")) == through_index
        assert pd.isna(row.recall_of_exact) != through_index
        assert not through_index or 0.5 < row.recall_of_exact <= 1
    assert result.to_json()["strategies"]["alone"]["recall_of_exact"] > 0.5


def test_a_run_and_what_it_is_made_of_can_be_sent_to_another_process(sample: Database) -> None:
    with sample.owner_session() as session:
        questions = read_questions(session, "sample")
    retriever = VectorSearch()
    query = questions.queries[0]
    encoded = encode(sample, {"v": retriever}, [query])["v"]
    run = execute(sample, "v", retriever, [query], encoded, 5)
    assert pickle.loads(pickle.dumps(run)) == run
    assert list(run.latency_ms) == [query.query_id]
    assert pickle.loads(pickle.dumps((retriever, [query]))) == (retriever, [query])


def test_strategies_of_one_model_share_the_vectors_of_the_questions(sample: Database, comparison: Comparison) -> None:
    retrievers = {name: strategies.load(name) for name in NAMES}
    encoded = encode(sample, retrievers, comparison.questions.queries[:3])
    assert encoded["fulltext_or"] == {}
    for query in comparison.questions.queries[:3]:
        one, other = (encoded[name][query.query_id]["vector"] for name in ("vector_exact", "hybrid_rrf"))
        assert one is other


def test_a_run_held_against_itself_has_changed_nothing(sample: Database, kept: Path) -> None:
    result = compare(sample, "sample", ["hybrid_rrf"], MEASURES, 10, baseline=str(kept), keep=False)
    numbers = result.changes[["mean", "low", "high", "won", "lost"]].to_numpy(float)
    assert numbers.tolist() == [[0] * 5] * 2
    assert result.changes.tied.tolist() == [238, 238]
    assert worse(result, 0) == []


def lowered(path: Path, amount: float) -> None:
    """The file as if hybrid_rrf had been better by that much on every question."""
    found = json.loads(path.read_text())
    scores = found["strategies"]["hybrid_rrf"]["scores"]
    for measure, values in scores.items():
        scores[measure] = [None if value is None else value + amount for value in values]
    path.write_text(json.dumps(found))


def test_what_became_worse_is_named_with_its_measure_and_how_much(sample: Database, kept: Path) -> None:
    lowered(kept, 0.03)
    result = compare(sample, "sample", ["vector_exact", "hybrid_rrf"], MEASURES, baseline=str(kept), keep=False)
    assert [sentence.partition(" is ")[0] for sentence in worse(result, 0.02)] == [
        "ndcg@10 of hybrid_rrf",
        "recall@10 of hybrid_rrf",
    ]
    assert worse(result, 0.02)[0].startswith(f"ndcg@10 of hybrid_rrf is 0.030 lower than in {kept}")
    assert worse(result, 0.04) == []


def test_without_a_file_the_gate_is_the_baseline_strategy(comparison: Comparison) -> None:
    found = worse(comparison, 0.1)
    assert [sentence.partition(" is ")[0] for sentence in found] == [
        "ndcg@10 of fulltext_or",
        "recall@10 of fulltext_or",
    ]
    assert "lower than that of vector_exact" in found[0]
    with pytest.raises(UsageError, match="must be 0 to 1, not 2"):
        worse(comparison, 2)


def changed(path: tuple[str, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        *way, last = path
        for step in way:
            found = found[step]
        found[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (changed(("dataset",), "other"), "is a run on the dataset other; this one is on sample"),
        (changed(("measures",), ["mrr"]), "has no ndcg@10, recall@10, only mrr"),
        (changed(("circumstances", "k"), 50), "with k = 50; this one has k = 10"),
        (changed(("questions", "fingerprint"), "0" * 64), "other questions or judgements than sample has now"),
        (changed(("strategies",), {}), "has none of vector_exact; it has"),
        (changed(("questions", "ids"), ["q1"]), "no result of `carmenta-lab compare --json`"),
        (lambda found: found.pop("questions"), "no result of `carmenta-lab compare --json`"),
    ],
)
def test_an_earlier_run_that_does_not_fit_is_refused(
    change: Callable[[dict[str, Any]], None], says: str, sample: Database, kept: Path
) -> None:
    found = json.loads(kept.read_text())
    change(found)
    kept.write_text(json.dumps(found))
    with pytest.raises(UsageError, match=says):
        compare(sample, "sample", ["vector_exact"], MEASURES, 10, baseline=str(kept), keep=False)


def test_what_intervals_are_drawn_over_is_one_of_two(sample: Database) -> None:
    with pytest.raises(UsageError, match="resample is 'query' or 'user', not 'word'"):
        compare(sample, "sample", "fulltext", "ndcg@10", resample="word", keep=False)  # type: ignore[arg-type]


def test_a_file_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    for name, says in (("bad.json", "is no JSON"), ("list.json", "is no result"), ("none.json", "No such file")):
        with pytest.raises(UsageError, match=says):
            read_earlier(tmp_path / name)
    with pytest.raises(UsageError, match="Is a directory"):
        read_earlier(tmp_path)


def test_other_judgements_are_other_questions(comparison: Comparison) -> None:
    questions = comparison.questions
    query = next(query for query in questions.queries if questions.judgements[query.query_id])
    source, (kind, relevance) = next(iter(questions.judgements[query.query_id].items()))
    other = questions.judgements | {
        query.query_id: questions.judgements[query.query_id] | {source: (kind, relevance + 1)}
    }
    assert replace(questions, judgements=other).fingerprint() != questions.fingerprint()
    assert replace(questions).fingerprint() == questions.fingerprint()


def test_a_comparison_prints_strategies_by_measures_with_the_best_and_what_is_no_chance(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    text, html = str(comparison), comparison._repr_html_()
    assert repr(comparison) == "<Comparison on 'sample': 238 questions, vector_exact, fulltext_or, hybrid_rrf>"
    for measure in MEASURES:
        best = comparison.quality[comparison.quality.measure == measure]["mean"].max()
        assert text.count(f"{best:.3f} [") == 1
        assert f"<strong>{best:.3f} [" in html
    assert text.count("]*") == len(MEASURES)
    marked = comparison.differences[comparison.differences.p_holm < 0.05]
    assert text.count("] ▼") + text.count("] ▲") == len(marked)
    assert len(marked) == 4
    assert "Holm-corrected for 2 comparisons" in text


def test_p_is_corrected_within_a_measure(comparison: Comparison) -> None:
    for _, rows in comparison.differences.groupby("measure"):
        low, high = sorted(rows.p)
        assert sorted(rows.p_holm) == pytest.approx(sorted([min(1, 2 * low), max(min(1, 2 * low), high)]))
