"""Work spread over processes and over a Dask cluster gives what it gives one after another."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factory import query, write
from sqlalchemy import text

from carmenta_lab import runner, strategies
from carmenta_lab.cli.workers import read_grid
from carmenta_lab.errors import UnknownName, UsageError
from carmenta_lab.experiment import Comparison, compare
from carmenta_lab.experiment.workers import executor
from carmenta_lab.ingest import load
from carmenta_lab.postgres import Database
from carmenta_lab.retrieval.fulltext import FullTextSearch
from carmenta_lab.retrieval.grid import cells, changed, split
from carmenta_lab.retrieval.vector import VectorSearch
from carmenta_lab.scale.generate import write_folder

CELLS = [
    *(f"fulltext_or(normalization={n})" for n in (0, 1, 2, 4)),
    *(f"bm25(k1={k1},b={b})" for k1 in (0.9, 1.5) for b in (0.4, 0.75)),
    *(f"hybrid_rrf(constant={c})" for c in (20, 60)),
    *("vector_exact", "fulltext"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 400 generated messages, every fortieth of them asked for with some of its words."""
    folder = tmp_path_factory.mktemp("small") / "small"
    write_folder(folder, 400, users=2)
    said = [json.loads(line) for line in (folder / "messages.jsonl").read_text().splitlines()]
    asked = [message for message in said[7::40] if message["created_at"]]
    queries = [
        query(f"q{n}", " ".join(m["text"].split()[:4]), m["user_id"], category="any") for n, m in enumerate(asked)
    ]
    qrels = "".join(f"q{n}\t{m['message_id']}\t1\n" for n, m in enumerate(asked))
    return write(folder, queries=queries, qrels=qrels)


@pytest.fixture(scope="module")
def small(shared: Database, folder: Path) -> Database:
    """A database with that dataset."""
    load(shared, folder)
    return shared


@pytest.fixture(scope="module")
def alone(small: Database) -> Comparison:
    """Twelve cells, one after another."""
    return compare(small, "small", CELLS, k=10)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a Dask scheduler on loopback with two worker processes."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address


def same(one: Comparison, other: Comparison) -> None:
    """All that is promised to be the same: rankings with ties and order, measures, intervals, what is stored."""
    assert one.strategies == other.strategies == tuple(CELLS)
    for name in CELLS:
        assert one.runs[name].run == other.runs[name].run
    for frame in ("quality", "differences", "categories", "scores"):
        assert getattr(one, frame).equals(getattr(other, frame)), frame


def stored(database: Database) -> list[Any]:
    """The hits of the last twelve runs, in their order."""
    with database.owner_session() as session:
        return session.execute(
            text(
                "SELECT r.strategy, h.query_id, h.rank, h.source_id, h.score FROM lab.hits h "
                "JOIN (SELECT *, row_number() OVER (ORDER BY id) AS n FROM lab.runs ORDER BY id DESC LIMIT 12) r "
                "ON r.id = h.run_id ORDER BY r.n, h.query_id, h.rank"
            )
        ).all()


def test_twelve_cells_on_two_dask_workers_equal_those_run_one_after_another(
    small: Database, alone: Comparison, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored(small)
    url = small.app.url.set(drivername="postgresql").render_as_string(hide_password=False)
    monkeypatch.setenv("CARMENTA_DATABASE_URL", url)  # the workers are told the engines' own addresses
    with executor(dask=scheduler) as cluster:
        assert cluster is not None
        assert len({cluster.submit(os.getpid, pure=False).result() for _ in range(20)} - {os.getpid()}) == 2
        spread = compare(small, "small", CELLS, k=10, executor=cluster)
    same(spread, alone)
    assert stored(small) == before


def test_processes_give_the_same(small: Database, alone: Comparison) -> None:
    with executor(workers=2) as pool:
        same(compare(small, "small", CELLS, k=10, keep=False, executor=pool), alone)


def test_without_workers_nothing_is_spread() -> None:
    with executor() as nothing:
        assert nothing is None


@pytest.mark.parametrize(
    ("workers", "dask", "error"),
    [
        (2, "tcp://127.0.0.1:1", "give --workers or --dask, not both"),
        (0, None, "--workers expects 1 or more, found 0"),
        (None, "tcp://127.0.0.1:1", "the embedded one listens on a socket of this machine alone"),
    ],
)
def test_workers_that_cannot_be_are_refused(
    workers: int | None, dask: str | None, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CARMENTA_DATABASE_URL", raising=False)
    with pytest.raises(UsageError, match=error), executor(workers, dask):
        pass


def test_an_error_in_a_worker_is_raised_as_it_is(small: Database, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom carmenta_lab.errors import UsageError\n"
        "from carmenta_lab.retrieval.fulltext import FullTextSearch\n@dataclass(frozen=True)\n"
        "class Broken(FullTextSearch):\n    def route(self, session, query):\n        raise UsageError('not so.')\n"
        "STRATEGY = Broken()\n"
    )
    with executor(workers=1) as pool, pytest.raises(UsageError, match=r"^not so\.$"):
        compare(small, "small", [str(file)], k=10, keep=False, executor=pool)


# Grids


def test_the_cells_of_a_grid_are_strategies_with_every_combination_they_have() -> None:
    given = {"a": FullTextSearch(), "v": VectorSearch()}
    found = cells(given, {"normalization": ["0", "1"], "ef_search": ["10", "20"], "exact_up_to": ["5"]})
    assert found == [
        *("a(normalization=0)", "a(normalization=1)"),
        *("v(ef_search=10,exact_up_to=5)", "v(ef_search=20,exact_up_to=5)"),
    ]
    assert cells(given, {"normalization": ["0"]}) == ["a(normalization=0)", "v"]
    with pytest.raises(UnknownName, match="unknown parameter of these strategies 'ef'"):
        cells(given, {"ef": ["1"]})


def test_a_cells_name_is_the_strategy_with_its_parameters() -> None:
    assert strategies.load("vector_hnsw(ef_search=40, exact_up_to=7)").ef_search == 40  # type: ignore[attr-defined]
    assert strategies.title("vector_hnsw(ef_search=40)") == "vector_hnsw(ef_search=40)"
    assert strategies.title("/x/mine.py(bonus=2.5)") == "mine(bonus=2.5)"
    assert split("fulltext") == ("fulltext", {})
    assert changed("f", FullTextSearch(), {"match": "any"}) == FullTextSearch(match="any")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("vector_hnsw(ef=40)", "unknown parameter of vector_hnsw 'ef'"),
        ("vector_hnsw(ef_search=many)", "ef_search of vector_hnsw must be of the type int, not 'many'"),
        ("vector_hnsw(ef_search)", r"expected parameters like vector_hnsw\(name=value"),
        ("vector_hnsw(ef_search=0)", "ef_search must be 1 to 1000, not 0"),
        ("vector_hnws(ef_search=40)", "Did you mean 'vector_hnsw'"),
    ],
)
def test_a_cell_that_cannot_be_is_refused(name: str, error: str) -> None:
    with pytest.raises(UsageError, match=error):
        strategies.load(name)


def test_a_grid_is_read_from_the_command_line() -> None:
    assert read_grid(["k=5, 10", "b=.4"]) == {"k": ["5", "10"], "b": [".4"]}
    assert read_grid(None) == {}
    for wrong, error in ((["k"], "expects name=a,b"), (["k=,"], "expects name=a,b"), (["k=1", "k=2"], "names k twice")):
        with pytest.raises(UsageError, match=error):
            read_grid(wrong)


def test_compare_over_a_grid_with_workers_prints_every_cell(small: Database, cluster: Any, folder: Path) -> None:
    words = [
        "compare",
        "--dataset",
        str(folder),
        "--strategies",
        "fulltext_or,vector_exact",
        "--grid",
        "normalization=0,1",
        "--workers",
        "2",
    ]
    code = [str(Path(sys.executable).parent / "carmenta-lab"), *words, "--json", "-"]
    environment = cluster.environment(cluster.logins(small.name))
    done = subprocess.run(code, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["strategies"]
    assert list(found) == ["fulltext_or(normalization=0)", "fulltext_or(normalization=1)", "vector_exact"]


NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": "# What is it?"},
        {
            "cell_type": "code",
            "execution_count": None,
            "metadata": {"tags": ["parameters"]},
            "outputs": [],
            "source": "k: int = 1\nname: str = 'a'",
        },
        {
            "cell_type": "code",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": "print(k, name)\nassert k < 9",
        },
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 4,
}


@pytest.mark.parametrize("workers", [None, 2])
@pytest.mark.slow
def test_notebooks_over_a_grid_are_kept_in_folders_of_their_own(workers: int | None, tmp_path: Path) -> None:
    notebook = tmp_path / "what.ipynb"
    notebook.write_text(json.dumps(NOTEBOOK))
    out = tmp_path / "runs"
    grid = {"k": ["2", "3"], "name": ["b", "c"]}

    with executor(workers) as pool:
        done = runner.run([str(notebook)], {}, out, grid=grid, executor=pool)

    folders = ["k=2,name=b", "k=2,name=c", "k=3,name=b", "k=3,name=c"]
    assert [executed.notebook for executed in done] == [out / folder / "what.ipynb" for folder in folders]
    printed = [json.loads(executed.notebook.read_text())["cells"][-1]["outputs"][0]["text"] for executed in done]
    assert [text[0].strip() for text in printed] == ["2 b", "2 c", "3 b", "3 c"]
    index = (out / "index.html").read_text()
    assert all(f'href="{folder.replace("=", "%3D").replace(",", "%2C")}/what.html"' in index for folder in folders)
