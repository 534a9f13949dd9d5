"""The references are complete and true: written anew they are the same, and every example in them does what it says."""

import doctest
import inspect
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Cluster
from IPython.core.interactiveshell import InteractiveShell
from reference import WRITTEN
from sqlalchemy import text

import carmenta_lab as cl
from carmenta_lab import face


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_what_is_written_is_written_anew_the_same(path: Path) -> None:
    assert path.read_text("utf-8") == WRITTEN[path](), "run: python tests/reference.py"


@pytest.fixture(scope="module")
def given(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the examples are given; one copy of the sample for all of them."""
    folder = tmp_path_factory.mktemp("examples")
    logins = cluster.clone(cluster.template("sample", "sample"))
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("CARMENTA_")]:
            patch.delenv(name)
        for name, value in cluster.environment(logins).items():
            patch.setenv(name, value)
        with cl.open_lab() as lab:
            cl.load(lab, "sample_de")
            yield {
                "cl": cl,
                "lab": lab,
                "nora": cl.user(lab, "nora"),
                "text": text,
                "folder": folder,
                "beir": _beir(folder / "beir"),
                "ipython": InteractiveShell.instance(),
            }
    InteractiveShell.clear_instance()
    cluster.drop(logins)


def _beir(folder: Path) -> Path:
    """The smallest set that is one."""
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{n}", "title": "", "text": each} for n, each in enumerate(("A boat.", "A roof."))]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(each) + "\n" for each in documents))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "boat"}) + "\n")
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td0\t1\n")
    return folder


DOCUMENTED = {"face": face, **{name: getattr(cl, name) for name in cl.__all__}}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_example_of_every_public_name_does_what_it_says(name: str, given: dict[str, Any]) -> None:
    doc = inspect.getdoc(DOCUMENTED[name]) or ""
    example = doctest.DocTestParser().get_doctest(doc, dict(given), name, name, 0)
    assert example.examples, f"the docstring of {name} has no example"
    said: list[str] = []
    assert doctest.DocTestRunner(verbose=False).run(example, out=said.append).failed == 0, "".join(said)


README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_what_the_readme_shows_of_python_can_be_executed(number: int, given: dict[str, Any]) -> None:
    names: dict[str, Any] = {}
    exec(compile(BLOCKS[number], f"README.md, block {number + 1}", "exec"), names)
    names["lab"].dispose()


@pytest.mark.parametrize("name", [name for name in cl.__all__ if inspect.isfunction(getattr(cl, name))])
def test_every_parameter_of_every_public_function_is_explained(name: str) -> None:
    function = getattr(cl, name)
    doc = inspect.getdoc(function) or ""
    obvious = {"lab", "database", "where", "person", "question", "ipython", "owner"}
    missing = [each for each in inspect.signature(function).parameters if each not in obvious and each not in doc]
    assert not missing
    if inspect.signature(function).parameters.keys() - obvious:
        assert any(word in doc for word in ("UsageError", "UnknownName", "DatabaseUnavailable")), "no error is named"
