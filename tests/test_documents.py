"""What the READMEs say is there: their links, the parts and tables they name, the commands and imports they show."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from test_layout import FLOORS

from carmenta_lab import importers, runner
from carmenta_lab.cli import app
from carmenta_lab.datasets.kinds import KINDS
from carmenta_lab.schema import DOMAINS, metadata, schema_of
from carmenta_lab.schema.diagram import mermaid, tables_of

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "carmenta_lab"
PARTS = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
FOLDERS = [PACKAGE, *PARTS, *(ROOT / name for name in ("migrations", "notebooks", "data", "tests"))]
PLACES = (".github", "carmenta_lab", "data", "migrations", "notebooks", "tests")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for place in PLACES for path in (ROOT / place).rglob("*.md"))])
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[\w-]+)?\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(*languages: str) -> list[Any]:
    """The code blocks of all documents, each with the document that it stands in; not the signatures of `API.md`."""
    return [
        pytest.param(code, id=f"{shown(path)}-{number}")
        for path in DOCUMENTS
        if path.name != "API.md"
        for number, (language, code) in enumerate(FENCE.findall(path.read_text("utf-8")))
        if language in languages
    ]


@pytest.mark.parametrize("folder", FOLDERS, ids=shown)
def test_every_part_says_in_its_readme_what_it_answers(folder: Path) -> None:
    first, _, rest = (folder / "README.md").read_text("utf-8").partition("\n")
    assert re.fullmatch(r"# .+: .+", first)
    if "\n| file |" in rest:
        first_cells = "".join(re.findall(r"^\| (`[^|]+) \|", rest, re.MULTILINE))
        files = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
        assert files <= set(re.findall(r"`(\w+\.py)`", first_cells))


@pytest.mark.parametrize("document", DOCUMENTS, ids=shown)
def test_every_link_of_a_document_leads_to_something_that_is_there(document: Path) -> None:
    links = [link for link in LINK.findall(document.read_text("utf-8")) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_parts_are_listed_with_their_readmes_in_the_order_of_the_floors() -> None:
    text = (PACKAGE / "README.md").read_text("utf-8").partition("## The parts")[2].partition("\n## ")[0]
    linked = re.findall(r"^\| \[`(\w+)/`\]\(\1/README\.md\)", text, re.MULTILINE)
    assert {path.name for path in PARTS} <= set(linked)
    floors = [number for name in linked for number, parts in enumerate(FLOORS) if name in parts]
    assert floors == sorted(floors)


# The data model


def test_every_table_has_its_line_in_the_data_model() -> None:
    text = (PACKAGE / "schema" / "README.md").read_text("utf-8")
    for name, module in DOMAINS.items():
        assert f"\n| {name} | holds |\n" in text
        rows = text.partition(f"\n| {name} | holds |\n")[2].partition("\n\n")[0]
        listed = set(re.findall(r"^\| `([\w<>]+)` \|", rows, re.MULTILINE)) - {"embeddings_<model>"}
        assert listed == {table.name for table in tables_of(name)}, schema_of(module)
    assert sum(len(tables_of(name)) for name in DOMAINS) == len(metadata.tables)


def relations(diagram: str) -> set[str]:
    return {line.strip() for line in diagram.splitlines() if "--" in line}


def test_the_figures_of_the_data_model_have_every_reference() -> None:
    text = (PACKAGE / "schema" / "README.md").read_text("utf-8")
    drawn = [relations(code) for language, code in FENCE.findall(text) if language == "mermaid"]
    wanted: dict[str, set[str]] = {}
    for name, module in DOMAINS.items():
        wanted.setdefault(schema_of(module), set()).update(relations(mermaid(name)))
    assert drawn == list(wanted.values())


# The dataset format, the formats of importers, the notebooks


def test_every_field_of_a_dataset_is_named_and_those_that_must_be_there_are_bold() -> None:
    text = (PACKAGE / "datasets" / "README.md").read_text("utf-8")
    for kind in KINDS:
        [row] = re.findall(rf"^\| `{re.escape(kind.FILE)}` \|.*\|(.*)\|$", text, re.MULTILINE)
        bold = re.findall(r"\*\*`(\w+)`\*\*", row)
        fields = msgspec.structs.fields(kind)
        assert set(bold) == {field.name for field in fields if field.required}, kind.FILE
        assert {field.name for field in fields} == set(re.findall(r"`(\w+)`", row)), kind.FILE


def test_every_format_of_the_importers_is_listed() -> None:
    text = (PACKAGE / "importers" / "README.md").read_text("utf-8")
    rows = text.partition("| format |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE) == importers.names()


def test_every_notebook_is_listed_with_its_question_and_parameters() -> None:
    text = (ROOT / "notebooks" / "README.md").read_text("utf-8")
    for name in runner.names():
        path = ROOT / "notebooks" / f"{name}.ipynb"
        question = msgspec.json.decode(path.read_bytes())["cells"][0]["source"][0].strip().removeprefix("# ")
        parameters = ", ".join(f"`{parameter}`" for parameter in runner.parameters_of(path))
        assert f"\n| [{name}]({name}.ipynb) | {question} | {parameters} |\n" in text


# The code that is shown


@pytest.mark.parametrize("code", blocks("python"))
def test_python_that_is_shown_compiles_and_imports_what_is_there(code: str) -> None:
    tree = ast.parse(code)
    compile(code, "README.md", "exec")
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(compile(ast.Module([node], []), "README.md", "exec"), {})


@pytest.fixture(scope="module")
def loaded(cluster: Any) -> Iterator[str]:
    """The URL of a copy of the loaded sample."""
    logins = cluster.clone(cluster.template("sample", "sample"))
    yield logins.admin.url.set(drivername="postgresql").render_as_string(hide_password=False)
    cluster.drop(logins)


@pytest.mark.parametrize("part", ["app", "datasets", "display", "embedding", "evaluation", "postgres"])
def test_python_that_a_part_shows_runs_on_the_sample(
    part: str, loaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CARMENTA_DATABASE_URL", loaded)
    monkeypatch.chdir(tmp_path)
    found = FENCE.findall((PACKAGE / part / "README.md").read_text("utf-8"))
    for code in [code for language, code in found if language == "python"]:
        exec(compile(code, f"{part}/README.md", "exec"), {"__name__": "shown"})
        for value in re.findall(r"print\(.*# .* = ([\d.]+)\.\.\.$", code, re.MULTILINE):
            assert value in capsys.readouterr().out


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Every command of the program with the options that it knows."""
    yield words, {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))


KNOWN = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("code", blocks("bash", "sh"))
def test_commands_that_are_shown_exist_with_their_options(code: str) -> None:
    for line in re.findall(r"(?:^|\$\()carmenta-lab (.+?)(?: +#|\)|$)", code, re.MULTILINE):
        words = line.split()
        name = next(tuple(words[:length]) for length in (2, 1, 0) if tuple(words[:length]) in KNOWN)
        assert name, line
        options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert options - {"--help"} <= KNOWN[name], line
