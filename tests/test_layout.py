"""The layout is a promise: imports point to lower floors and never in a circle, the public face is documented."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import carmenta_lab

PACKAGE = Path(carmenta_lab.__file__).parent
FLOORS = (
    {"display"},
    {"errors", "records", "resources", "text"},
    {"settings", "ids", "parameters", "failure"},
    {"schema"},
    {"embedded", "datasets", "embedding", "evaluation", "importers"},
    {"postgres"},
    {"names", "indexing"},
    {"ingest", "app"},
    {"erasure"},
    {"retrieval"},
    {"strategies"},
    {"context"},
    {"experiment"},
    {"scale"},
    {"bench"},
    {"figures"},
    {"face"},
    {"explorer", "runner", "extension"},
    {"cli"},
    {"__init__"},
)
"""From the ground up; a module imports from its own part and from lower floors only."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def _part(module: str) -> str:
    names = module.split(".")
    return names[1] if len(names) > 1 else "__init__"


def _floor(part: str) -> int:
    return next(number for number, parts in enumerate(FLOORS) if part in parts)


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("carmenta_lab"):
            if node.module == "carmenta_lab":
                found |= {f"carmenta_lab.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("carmenta_lab")}
    return found


def test_imports_point_to_lower_floors() -> None:
    offenders = []
    for path in MODULES:
        relative = path.relative_to(PACKAGE)
        own = relative.parts[0].removesuffix(".py")
        for module in sorted(_imports(path)):
            if _part(module) != own and _floor(_part(module)) >= _floor(own):
                offenders.append(f"{relative} imports {module}")
    assert not offenders


def _while_imported(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: nothing in functions, nothing that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield child
            yield from _while_imported(child)


def test_no_module_is_imported_by_what_it_imports() -> None:
    names = {".".join(("carmenta_lab", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in MODULES}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        found: set[str] = set()
        for node in _while_imported(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {module if module in names else node.module for module in inside}
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
        graph[name] = (found & set(names)) - {name}
    TopologicalSorter(graph).prepare()  # raises a CycleError that names the circle


def test_every_module_says_the_question_that_it_answers() -> None:
    assert not [path for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))]


def test_the_public_names_exist_and_are_documented() -> None:
    for name in carmenta_lab.__all__:
        assert getattr(carmenta_lab, name).__doc__, name


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ("pandas", "matplotlib", "fastembed", "sqlalchemy")
    code = f"import sys, carmenta_lab; print([m for m in {heavy} if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_the_readme_of_the_tests_names_every_file_and_no_other() -> None:
    folder = Path(__file__).parent
    named = set(re.findall(r"`([\w.]+\.\w+)`", (folder / "README.md").read_text().partition("## To run")[0]))
    assert named == {path.name for path in folder.iterdir() if path.is_file()} - {"README.md"}
