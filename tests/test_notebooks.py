"""The notebooks keep their rules, and run with other parameters, on a loaded database and on an empty one."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import nbformat
import pytest
from conftest import url_of
from factory import message, query, write
from IPython.core.inputtransformer2 import TransformerManager
from nbstripout import strip_output

from carmenta_lab import resources, runner
from carmenta_lab.postgres.lab import Logins

NAMES = ["01_schema", "02_loading", "03_retrieval", "04_context", "05_signals", "06_scale"]
CHECKED = "nbval-check-output"
PARAMETER = re.compile(r"(\w+): (str|int|float|bool|list\[(?:str|int)\]) = (.+?)  +# \S.*")


def read(name: str) -> Any:
    return nbformat.read(resources.notebooks() / f"{name}.ipynb", as_version=4)


def code_cells(name: str) -> list[Any]:
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


def tags(cell: Any) -> list[str]:
    return list(cell.metadata.get("tags", []))


def tree(cell: Any) -> ast.Module:
    return ast.parse(TransformerManager().transform_cell(cell.source))


def test_the_notebooks_in_their_order() -> None:
    assert runner.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_opens_with_its_question_then_parameters_then_the_connection(name: str) -> None:
    title, parameters, connection, *_ = read(name).cells
    assert re.match(r"# [A-Z].*\?\n\n", title.source)
    assert title.source.count("\n# ") == 0
    assert len(re.findall(r"[.:;]\s", title.source + " ")) >= 2
    assert tags(parameters) == ["parameters"]
    assert re.search(r"^lab = (cl\.)?open_lab\(\)$", connection.source, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_ends_with_what_was_found_what_was_not_tested_and_what_comes_next(name: str) -> None:
    last = read(name).cells[-1]
    assert last.cell_type == "markdown"
    assert [last.source.find(f"**{word}") > 0 for word in ("Found.", "Not tested here.", "Next.")] == [True] * 3
    following = re.search(r"\*\*Next\.\*\* `(\w+)`", last.source)
    assert following is not None
    assert following[1] == NAMES[(NAMES.index(name) + 1) % len(NAMES)]


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_has_a_type_a_default_and_a_comment(name: str) -> None:
    [cell] = [cell for cell in code_cells(name) if "parameters" in tags(cell)]
    lines = cell.source.splitlines()
    found = [PARAMETER.fullmatch(line) for line in lines]
    assert all(found), lines
    typed = {match[1]: (match[2], ast.literal_eval(match[3])) for match in found if match}
    assert runner.parameters_of(resources.notebooks() / f"{name}.ipynb").keys() == typed.keys()
    assert all(type(default).__name__ == kind.partition("[")[0] for kind, default in typed.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_short_and_leaves_the_logic_to_the_library(name: str) -> None:
    counts = [len([line for line in cell.source.splitlines() if line.strip()]) for cell in code_cells(name)]
    assert sum(counts) <= 60
    assert max(counts) <= 12
    assert median(counts) <= 3
    banned = (
        ast.FunctionDef,
        ast.ClassDef,
        ast.Lambda,
        ast.For,
        ast.While,
        ast.ListComp,
        ast.DictComp,
        ast.SetComp,
        ast.GeneratorExp,
    )
    for cell in code_cells(name):
        assert [type(node).__name__ for node in ast.walk(tree(cell)) if isinstance(node, banned)] == []
        assert not re.search(r"%%sql|pip install|matplotlib|__file__|getcwd|CARMENTA_", cell.source)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stored_without_outputs_but_for_small_checked_ones(name: str) -> None:
    stored = read(name)
    stripped = strip_output(read(name), keep_output=False, keep_count=True, keep_id=True)
    assert json.dumps(stored, sort_keys=True) == json.dumps(stripped, sort_keys=True)
    for cell in code_cells(name):
        assert cell.execution_count == (1 if cell.outputs else None)  # nbval compares only cells that have one
        assert bool(cell.outputs) == (CHECKED in tags(cell)) == ("keep_output" in tags(cell))
        for output in cell.outputs:
            shown = output.get("text") or output["data"]["text/plain"]
            assert 0 < len(shown) < 1000
            assert not re.search(r" at 0x|/(home|root|tmp|work|Users)/|\bms\b", shown)
    assert any(CHECKED in tags(cell) for cell in code_cells(name))


@pytest.fixture(scope="module")
def loaded(shared_sample_logins: Logins) -> str:
    """The URL of a copy of the loaded sample."""
    return url_of(shared_sample_logins)


OTHER = {
    "01_schema": {"user": "priya"},
    "02_loading": {"user": "tomasz"},
    "03_retrieval": {
        "strategies": "vector_hnsw,hybrid_rrf",
        "measures": "recall@5,mrr",
        "k": "5",
        "question": "priya-q01",
    },
    "04_context": {"user": "tomasz", "question": "What did I decide?", "budget_tokens": "400", "questions": "9"},
    "05_signals": {"strategy": "evidence_lean", "measure": "recall@5", "k": "5", "questions": "20", "seed": "1"},
    "06_scale": {"largest": "1000", "clients": "1", "enough_ms": "1.5", "ahead": "2000"},
}


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_with_other_parameters(
    name: str, loaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARMENTA_DATABASE_URL", loaded)
    [executed] = runner.run([name], OTHER[name], tmp_path / "out")
    assert executed.title == read(name).cells[0].source.splitlines()[0][2:]
    kinds = [kind for cell in nbformat.read(executed.notebook, as_version=4).cells for kind in shown_as(cell)]
    shown = {"01_schema": 0, "02_loading": 1, "03_retrieval": 5, "04_context": 5, "05_signals": 2, "06_scale": 4}
    assert kinds.count("image/png") == shown[name]
    assert kinds.count("text/markdown") == {"01_schema": 11}.get(name, 0)


def shown_as(cell: Any) -> list[str]:
    """The kinds of what a cell shows."""
    return [kind for output in cell.get("outputs", []) for kind in output.get("data", {})]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset of one's own: one user, one short conversation, one judged question."""
    said = ["The key is under the blue pot.", "Noted: under the blue pot.", "And the cat eats at six."]
    ada, carmenta = {"role": "user", "author": "Ada"}, {"role": "assistant", "author": "Carmenta"}
    return write(
        tmp_path / "own",
        messages=[message(f"m{n}", body, user="ada", **(carmenta if n % 2 else ada)) for n, body in enumerate(said)],
        queries=[query("q1", "where is the key?", "ada", category="one", answers=["pot"])],
        qrels="q1\tm0\t2\n",
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_alone_on_an_empty_database_with_a_folder_of_ones_own(
    name: str, folder: Path, logins: Logins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARMENTA_DATABASE_URL", url_of(logins))
    known = runner.parameters_of(resources.notebooks() / f"{name}.ipynb")
    given = {"dataset": str(folder), "user": "ada"}
    [executed] = runner.run([name], {key: given[key] for key in given if key in known}, tmp_path / "out")
    assert executed.error == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_gives_its_stored_outputs_again(name: str, own_environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-p", "no:cacheprovider", "-c", os.devnull]
    notebook = str(resources.notebooks() / f"{name}.ipynb")
    done = subprocess.run([*command, notebook], env=own_environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
