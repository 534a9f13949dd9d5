"""Generated rows are the same for the same seed; what is measured with them is put together rightly."""

import hashlib
import math
import os
import re
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from carmenta_lab import bench, figures, scale
from carmenta_lab.bench import growth
from carmenta_lab.errors import UnknownName, UsageError
from carmenta_lab.postgres import Database
from carmenta_lab.scale import methods, trends
from carmenta_lab.scale.filling import fill_passages, questions, rows_of, user_id, vectors_of
from carmenta_lab.scale.generate import TOPICS, _words, blocks, favourites, said, vectors, write_folder

PACKAGE = Path(bench.__file__).parent.parent


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "messages.jsonl").read_bytes()).hexdigest()


def test_a_folder_has_the_same_bytes_for_the_same_seed_and_a_longer_one_begins_with_the_shorter(tmp_path: Path) -> None:
    for name, rows, seed in (("a", 4_100, 7), ("b", 4_100, 7), ("c", 4_100, 8), ("d", 8_200, 7)):
        write_folder(tmp_path / name, rows, users=5, seed=seed)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")
    short, long = ((tmp_path / name / "messages.jsonl").read_text() for name in ("a", "d"))
    assert long.startswith(short[: len(short) * 9 // 10])
    assert digest(tmp_path / "a") == "b1aba2537f09c29fe2081b164b448284b62b180f1e90fc5c4aceabef73195ad7"


def test_rows_are_streamed() -> None:
    first = list(islice(blocks(10**12, users=1_000), 2))
    assert [block.first for block in first] == [0, 4_000]


@pytest.mark.slow
def test_users_are_skewed_have_topics_of_their_own_and_talk_for_months() -> None:
    found = list(blocks(16_000, users=20))
    users = np.concatenate([block.users for block in found])
    topics = np.concatenate([block.topics for block in found])
    counts = np.bincount(users, minlength=20)
    assert counts[0] > 2 * counts[-1]
    own = np.mean([topic in favourites(int(user), 7) for user, topic in zip(users, topics, strict=True)])
    assert 0.7 < own < 0.95
    times = [time for block in found for time in block.times]
    assert (max(times) - min(times)).days > 300
    words = " ".join(text for block in found[:2] for text in block.texts).split()
    ranked = sorted((words.count(word) for word in set(words[:3_000])), reverse=True)
    assert ranked[0] > 20 * ranked[100]


def test_vectors_are_unit_and_near_those_of_their_topic() -> None:
    found = vectors(2_000, 384, 7)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(2_000), abs=1e-5)
    assert np.array_equal(found, vectors(2_000, 384, 7))
    assert not np.array_equal(found, vectors(2_000, 384, 8))
    nearest = np.sort(found @ found.T, axis=1)[:, -2]
    assert np.median(nearest) > 0.5  # uniform ones of 384 dimensions have .2
    assert TOPICS == 200


def test_rows_of_a_user_do_not_depend_on_where_one_begins() -> None:
    every = list(rows_of(3, 5_010, 7))
    later = list(rows_of(3, 5_010, 7, first=5_000))
    assert [(row.id, row.content, row.created_at) for row in every[5_000:]] == [
        (row.id, row.content, row.created_at) for row in later
    ]
    assert np.array_equal(np.concatenate(list(vectors_of(3, 5_010, 7))).shape, (5_010, 384))
    assert [row.id for row in rows_of(3, 10, 7)] == [row.id for row in every[:10]]
    assert all(1 <= len(asked.split()) <= 3 for asked in questions(3, 20, 7)[1])


def test_filling_writes_passages_vectors_and_words_and_twice_is_once(database: Database) -> None:
    for _ in range(2):
        table = fill_passages(database, [(1, 120), (2, 30)], 7, words=True)
    with database.owner_session() as session:
        count = {
            name: session.execute(
                text(f"SELECT count(*) FILTER (WHERE user_id = :a), count(*) FROM search.{name}"), {"a": user_id(1)}
            ).one()
            for name in ("passages", table, "passage_features")
        }
        assert session.scalar(text("SELECT count(*) FROM search.postings")) > 100
    assert set(count.values()) == {(120, 150)}


def test_what_people_say_has_the_length_and_the_common_words_of_a_chat() -> None:
    generator = np.random.default_rng(7)
    texts = [said(generator, topic % TOPICS).split() for topic in range(2_000)]
    assert texts[0] == said(np.random.default_rng(7), 0).split()
    lengths = [len(words) for words in texts]
    assert (min(lengths), max(lengths)) == (3, 130)
    assert 30 < np.mean(lengths) < 35
    common = set(_words()[:100])
    assert 0.4 < sum(word in common for words in texts for word in words) / sum(lengths) < 0.5
    assert len(said(generator, 3, 13).split()) == 13


# What is measured


def searched(rows: int, user_rows: int, method: str, p50_ms: float, recall: float | None = 1.0) -> methods.Latency:
    return methods.Latency(rows, user_rows, method, recall, p50_ms, 2 * p50_ms)


MEASURED = scale.Scale(
    (
        *(searched(rows, 100, "exact", 1.0) for rows in (1_000, 10_000)),
        *(searched(10_000, rows, "exact", rows / 50) for rows in (1_000, 5_000)),
        *(searched(rows, 100, "halfvec", rows / 100) for rows in (1_000, 10_000)),
        searched(10_000, 1_000, "halfvec", 5.0, recall=0.9),
        searched(10_000, 5_000, "halfvec", 4.0, recall=0.96),
        searched(10_000, 5_000, "binary", 3.0, recall=0.94),
        searched(10_000, 5_000, "bm25", 2.0, recall=None),
    ),
    (methods.Throughput(10_000, 5_000, "exact", 1, 90.0), methods.Throughput(10_000, 5_000, "exact", 2, 170.0)),
    (methods.Storage(1_000, "exact", 1.0, 1.0), methods.Storage(10_000, "exact", 9.0, 10.0)),
    {"postgres": "18", "pgvector": "0.8", "cores": 2, "seed": 7, "load_average": [1.0, 2.0]},
)


STEPS = ((1, 1.0, 0.8), (2, 2.0, 0.96))
"""Times the usual breadth, milliseconds, recall."""


def test_an_exponent_is_the_slope_on_logarithmic_scales() -> None:
    assert trends.exponent([10, 100, 1_000], [3 * 10**1.5, 3 * 100**1.5, 3 * 1_000**1.5]) == pytest.approx(1.5)
    assert math.isnan(trends.exponent([10, 10], [1, 2]))


def test_growth_is_that_of_a_user_of_fixed_size_and_of_other_operations() -> None:
    grown = [trends.OperationTime("load", 1_000, 50.0), trends.OperationTime("load", 10_000, 500.0)]
    found = scale.exponents(MEASURED, grown).set_index("operation")
    assert found.loc["search by exact", ["user_rows", "exponent"]].tolist() == [100, 0.0]
    assert found.loc["search by halfvec", "exponent"] == 1.0
    assert found.loc["load", ["from_rows", "to_rows", "exponent"]].tolist() == [1_000, 10_000, 1.0]


def test_extrapolation_goes_on_as_between_the_two_largest_users_and_leaves_indexes_out() -> None:
    found = scale.extrapolated(MEASURED, 50_000).set_index("method")
    assert "halfvec" not in found.index
    assert found.loc["exact", ["measured_rows", "exponent", "extrapolated_ms"]].tolist() == [5_000, 1.0, 1_000.0]


def test_an_index_is_chosen_only_where_exact_search_is_slow_and_the_index_finds_enough() -> None:
    choices = scale.decisions(MEASURED, enough_ms=10).set_index("user_rows").choice
    assert choices.to_dict() == {100: "exact", 1_000: "exact", 5_000: "index: halfvec"}
    slow = replace(MEASURED, searched=(searched(10_000, 5_000, "exact", 500.0),))
    assert scale.decisions(slow).choice.tolist() == ["a dedicated engine"]


def test_an_index_counts_at_the_breadth_at_which_it_finds_enough() -> None:
    narrow, wide = (replace(searched(10_000, 5_000, "hnsw", ms, recall), wider=n) for n, ms, recall in STEPS)
    found = replace(MEASURED, searched=(*MEASURED.searched, narrow, wide))
    assert narrow not in found.answers
    assert wide in found.answers
    assert [*scale.decisions(found).set_index("user_rows").loc[5_000, ["choice", "wider"]]] == ["index: hnsw", 2]


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    MEASURED.save(tmp_path / "new" / "scale.json")
    assert scale.read(tmp_path / "new" / "scale.json") == MEASURED


def test_the_kept_run_reaches_a_million_rows_and_says_how_busy_the_machine_was() -> None:
    found = scale.read(scale.kept())
    assert max(row.rows for row in found.searched) >= 1_000_000
    assert {row.method for row in found.searched} == {*methods.PLAIN, *methods.KINDS}
    assert {"postgres", "pgvector", "settings", "cores", "seed", "load_average"} <= found.circumstances.keys()
    stored = {row.method: row.megabytes for row in found.stored if row.rows == 100_000}
    assert stored["halfvec"] <= 0.6 * stored["hnsw"]


@pytest.mark.slow
def test_the_figures_draw_every_method_once() -> None:
    found = scale.read(scale.kept())
    for draw in (figures.scale_latency, figures.scale_recall, figures.scale_cost):
        for values in (found, MEASURED):
            drawn: Any = draw(values)
            assert drawn._repr_png_()[0].startswith(b"\x89PNG")
            names = [entry.get_text() for entry in drawn.legends[0].get_texts()]
            assert len(names) == len(set(names)) > 0


@pytest.fixture(scope="module")
def emptied(shared: Database) -> Database:
    """A database that is emptied by what is measured."""
    return shared


def test_every_method_is_measured_for_every_user(emptied: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "CLIENT_SECONDS", (0.05, 0.05))
    monkeypatch.setattr(methods, "ASKED", 6)
    found = methods.measure(emptied, totals=[300], users=[10, 100], clients=[1, 2])
    every = {*methods.PLAIN, *methods.KINDS}
    assert {(row.method, row.user_rows) for row in found.searched} == {(m, size) for m in every for size in (10, 100)}
    assert all(row.recall == 1 for row in found.searched if row.method == "exact")
    steps = [row.wider for row in found.searched if (row.method, row.user_rows) == ("binary", 100)]
    enough = [row.recall is None or row.recall >= methods.RECALL for row in found.answers]
    assert steps == [*methods.WIDER[: len(steps)]]
    assert all(good or row.wider == methods.WIDER[-1] for row, good in zip(found.answers, enough, strict=True))
    assert {(row.method, row.clients) for row in found.served} == {(m, clients) for m in every for clients in (1, 2)}
    assert all(row.megabytes > 0 and row.build_s > 0 for row in found.stored)


def test_loading_and_contexts_are_measured_at_each_size(emptied: Database) -> None:
    found = trends.grow(emptied, [80, 160])
    assert [(row.operation, row.rows) for row in found] == [
        (o, rows) for rows in (80, 160) for o in ("load", "context")
    ]
    assert all(row.milliseconds > 0 for row in found)


def test_sizes_go_up_in_powers_of_ten() -> None:
    assert methods.decades(25_000, 1_000) == [1_000, 10_000, 25_000]
    assert methods.decades(1_000, 1_000) == [1_000]
    with pytest.raises(UsageError, match="expected at least 1,000 rows and 1 client; found 999 and 1"):
        scale.measured("x", largest=999, clients=1)


@pytest.mark.parametrize("name", ["filtered", "bm25", "hybrid", "index_build"])
def test_a_bench_measures_both_sides_and_leaves_nothing_behind(emptied: Database, name: str) -> None:
    results = bench.benches()[name].measure(emptied, 200, 1, 7)
    assert results
    assert all(result.limit_ms > 0 and result.ours_ms > 0 for result in results)
    assert len({result.name for result in results}) == len(results)
    with emptied.owner_session() as session:
        assert session.scalar(text("SELECT count(*) FROM carmenta.users")) == 0
        assert session.scalar(text("SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'ann\\_%'")) == 0


@pytest.mark.skipif(
    "CARMENTA_TEST_DATABASE_URL" in os.environ, reason="databases of a bench's own are made on the embedded server"
)
def test_growth_asks_the_same_user_in_three_databases_and_drops_them(
    cluster: Any, emptied: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARMENTA_HOME", str(cluster.home))
    monkeypatch.setattr(growth, "OWN", 20)
    found = growth.growth(emptied, 4_000, 1, 7)
    assert [result.name for result in found] == [f"growth_{name}" for name in (*growth.STRATEGIES, "context")]
    assert all(result.limit_ms > 0 and result.ours_ms > 0 and result.rows == 4_000 for result in found)
    assert "among 40; exponent" in found[0].what
    assert all(-1 < result.exponent < 1 for result in found)
    assert [result.to_json()["exponent"] for result in found] == [result.exponent for result in found]
    with emptied.owner_session() as session:
        left = session.scalars(
            text("SELECT datname FROM pg_database WHERE datname LIKE :name"), {"name": f"{emptied.name}%"}
        )
        assert left.all() == [emptied.name]


def test_every_bench_says_what_it_measures_and_the_long_ones_run_only_when_named() -> None:
    known = bench.benches()
    assert list(known) == [found.name for found in known.values()]
    assert [name for name, found in known.items() if not found.summary.endswith((".", ":"))] == []
    assert {name for name, found in known.items() if found.long} == {
        *("append", "crossover", "growth", "helpers", "ingest_growth", "migration", "peers")
    }


def test_the_readmes_name_every_bench_and_every_file() -> None:
    readme = (PACKAGE / "bench/README.md").read_text()
    table = [line.split("|")[1:3] for line in readme.splitlines() if line.startswith("| ")][1:]
    assert {name for _, names in table for name in re.findall(r"`(\w+)`", names)} == bench.benches().keys()
    assert {name for file, _ in table for name in re.findall(r"`(\w+)\.py`", file)} == {
        path.stem for path in (PACKAGE / "bench").glob("*.py")
    } - {"__init__"}
    asked = re.findall(r"^.*carmenta-lab bench ([a-z_ ]*)", readme, re.M)
    assert {name for names in asked for name in names.split()} <= bench.benches().keys()
    readme = (PACKAGE / "scale/README.md").read_text()
    assert {*re.findall(r"^\| `(\w+)\.py` \|", readme, re.M)} == {
        path.stem for path in (PACKAGE / "scale").glob("*.py")
    } - {"__init__"}


def test_the_example_of_the_readme_is_a_bench(emptied: Database) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (PACKAGE / "bench/README.md").read_text(), re.S)
    module: dict[str, Any] = {}
    exec(code, module)
    [added] = module["BENCHES"]
    [result] = added.measure(emptied, 20, 3, 7)
    assert (result.name, added.summary[:9]) == (added.name, "A session")
    assert result.limit_ms > 0
    assert result.ours_ms > 0


def test_an_unknown_bench_names_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"unknown bench 'serch'\. Did you mean 'search'"):
        bench.run(["serch"])


def test_growth_refuses_no_more_rows_than_one_user_has(emptied: Database) -> None:
    with pytest.raises(UsageError, match="more than the 1,000 rows of one user; found 1,000"):
        growth.growth(emptied, 1_000, 1, 7)


@pytest.mark.skipif(
    "CARMENTA_TEST_DATABASE_URL" in os.environ, reason="databases of a bench's own are made on the embedded server"
)
def test_growth_of_a_load_tells_it_from_the_indexes_and_fits_an_exponent_to_each(
    cluster: Any, emptied: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARMENTA_HOME", str(cluster.home))
    found = growth.ingest_growth(emptied, 400, 1, 7)
    assert [result.name for result in found] == [f"ingest_growth{part}" for part in ("", "_load", "_words", "_graph")]
    assert found[0].ours_ms == pytest.approx(sum(result.ours_ms for result in found[1:]))
    for result in found:
        values = result.to_json()
        assert (result.rows, "over 100, 400" in result.what) == (400, True)
        assert values["exponent"] == pytest.approx(1 + math.log(result.ratio) / math.log(4))  # of two sizes
    assert "the client held" in found[0].what
