"""Executing notebooks headlessly: checked parameters in, executed notebooks, HTML and an index out."""

import keyword
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, get_origin
from urllib.parse import quote

from carmenta_lab import resources
from carmenta_lab.display import render
from carmenta_lab.errors import NotebookFailed, UnknownName, UsageError
from carmenta_lab.parameters import NotOfType, evaluated, is_plain, typed

UNDRAWN = "<style>.jp-Mermaid:not(.jp-RenderedMermaid) { display: block; }</style>"
"""A page draws its diagrams with a script from the network; without one their text is shown instead of nothing."""


@dataclass(frozen=True)
class ExecutedNotebook:
    """A notebook that was executed, and the error that ended it, if any."""

    name: str
    title: str
    notebook: Path
    html: Path
    error: str  # "" when it ran to its end


def names() -> list[str]:
    """Names of the notebooks, in their order."""
    return sorted(path.stem for path in resources.notebooks().glob("*.ipynb"))


def find(name: str) -> Path:
    """The notebook of a name ("03_retrieval", "03" or "retrieval"), or of a path to a file."""
    if name.endswith(".ipynb"):
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"there is no notebook {name}; known by name: {', '.join(names())}.")
        return path
    for known in names():
        if name in (known, *known.split("_", 1)):
            return resources.notebooks() / f"{known}.ipynb"
    raise UnknownName("notebook", name, names())


@dataclass(frozen=True)
class Parameter:
    """A parameter of a notebook: its type and its default, as they are written."""

    annotation: str  # its type as it is written, else that of its default
    default: str  # as it is written


def parameters_of(notebook: Path) -> dict[str, Parameter]:
    """A notebook's parameters by name."""
    import papermill

    try:
        found = papermill.inspect_notebook(str(notebook))
    except Exception as error:
        raise UsageError(f"{notebook} is not a notebook that can be read: {error}.") from None
    return {name: Parameter(str(p["inferred_type_name"]), str(p["default"])) for name, p in found.items()}


def check(notebooks: Sequence[Path], given: Mapping[str, str]) -> dict[Path, dict[str, Any]]:
    """The typed parameters of each notebook; refuses a name that none of them knows and a value of another type.

    Papermill itself would only warn of an unknown name, and would run a name as code.
    """
    known = {path: parameters_of(path) for path in notebooks}
    every = {name for parameters in known.values() for name in parameters}
    for name in given:
        if not name.isidentifier() or keyword.iskeyword(name) or name not in every:
            raise UnknownName("parameter", name, every)
    return {
        path: {name: _typed(name, parameters[name], value) for name, value in given.items() if name in parameters}
        for path, parameters in known.items()
    }


def _typed(name: str, parameter: Parameter, value: str) -> Any:
    """The value of a parameter given as text; UsageError when it is not of the notebook's type."""
    annotation = parameter.annotation
    kind = str if annotation == "None" else evaluated({name: annotation}).get(name)  # no type, and None as default
    try:
        if kind is not None and (is_plain(kind) or (get_origin(kind) or kind) is list):
            return typed(value, kind)
    except NotOfType:
        raise UsageError(f"the parameter {name} must be of the type {annotation}, not {value!r}.") from None
    raise UsageError(f"the parameter {name} is of the type {annotation}, which cannot be given on the command line.")


def combinations(values: Mapping[str, str], grid: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """The parameters with every combination of the grid's, the last of the grid fastest; once without a grid."""
    return [{**values, **dict(zip(grid, chosen, strict=True))} for chosen in product(*grid.values())]


def run(
    notebooks: Sequence[str] = (),
    parameters: Mapping[str, str] | None = None,
    out: Path = Path("runs"),
    progress: Callable[[str, int, int], object] = lambda name, done, total: None,
    grid: Mapping[str, Sequence[str]] | None = None,
    executor: Executor | None = None,
) -> list[ExecutedNotebook]:
    """Execute notebooks (all of them when none is named) into a folder; the index is written last.

    A grid executes each with every combination of its values, each combination into a folder named after it, as
    `k=5,strategies=...`. An executor takes notebooks at once; the results are in the same order. NotebookFailed after
    all have run, when one ended with an error; its output is kept up to the error.
    """
    paths = [find(name) for name in (notebooks or names())]
    tasks: list[tuple[Path, dict[str, Any], Path]] = []
    for combination in combinations(parameters or {}, grid or {}):
        typed = check(paths, combination)
        folder = out / _folder(combination, grid) if grid else out
        tasks += [(path, typed[path], folder) for path in paths]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"the folder {folder} cannot be made: {error.strerror}; name another with --out."
            ) from None
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    found = [executor.submit(_elsewhere, path, values, _environment()) for path, values, _ in tasks] if executor else []
    done = []
    for number, (path, values, folder) in enumerate(tasks):
        progress(path.stem, number, len(tasks))
        done.append(_keep(path, folder, *found[number].result()) if found else _execute(path, values, folder))
    progress("", len(tasks), len(tasks))
    (out / "index.html").write_text(_index(done, parameters or {}, out), encoding="utf-8")
    failed = [executed for executed in done if executed.error]
    if failed:
        raise NotebookFailed("; ".join(f"{executed.name} failed: {executed.error}" for executed in failed))
    return done


def _folder(combination: Mapping[str, str], grid: Mapping[str, Sequence[str]]) -> str:
    """A folder's name that says the values of a grid."""
    return re.sub(r"[^\w=,.+-]", "_", ",".join(f"{name}={combination[name]}" for name in grid))


def _environment() -> dict[str, str]:
    """What another machine must know to work on the same database."""
    return {name: value for name, value in os.environ.items() if name.startswith("CARMENTA_")}


def _elsewhere(path: Path, values: dict[str, Any], environment: dict[str, str]) -> tuple[str, str, str, str]:
    """Execute in a process that need not share a disk with the caller; the title, notebook, page and error."""
    os.environ.update(environment)
    with tempfile.TemporaryDirectory() as folder:
        done = _execute(path if path.is_file() else find(path.stem), values, Path(folder))
        return done.title, done.notebook.read_text("utf-8"), done.html.read_text("utf-8"), done.error


def _keep(path: Path, folder: Path, title: str, notebook: str, page: str, error: str) -> ExecutedNotebook:
    target = folder / path.name
    target.write_text(notebook, encoding="utf-8")
    target.with_suffix(".html").write_text(page, encoding="utf-8")
    return ExecutedNotebook(path.stem, title, target, target.with_suffix(".html"), error)


def _execute(path: Path, values: dict[str, Any], out: Path) -> ExecutedNotebook:
    import nbformat
    import papermill
    from nbconvert import HTMLExporter
    from papermill.exceptions import PapermillExecutionError

    target = out / path.name
    error = ""
    try:
        papermill.execute_notebook(
            str(path), str(target), parameters=values, progress_bar=False, cwd=str(out), kernel_name="python3"
        )
    except PapermillExecutionError as problem:
        error = f"cell {problem.exec_count}: {problem.ename}: {str(problem.evalue).splitlines()[0]}"
    notebook = nbformat.read(str(target), as_version=4)  # type: ignore[no-untyped-call]
    exporter = HTMLExporter(template_name="lab")  # type: ignore[no-untyped-call]
    body, _ = exporter.from_notebook_node(notebook)
    page = target.with_suffix(".html")
    page.write_text(body.replace("</head>", f"{UNDRAWN}</head>", 1), encoding="utf-8")
    return ExecutedNotebook(path.stem, _title(notebook), target, page, error)


def _title(notebook: Any) -> str:
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            return str(cell.source.splitlines()[0][2:])
    return ""


def _index(done: Sequence[ExecutedNotebook], parameters: Mapping[str, str], out: Path) -> str:
    """A page that leads to every notebook that ran, beside it."""
    rows = [
        NotebookRow(
            name=e.name,
            title=e.title,
            folder=e.html.parent.name if e.html.parent != out else "",
            page=_link(e.html, out),
            notebook=_link(e.notebook, out),
            error=e.error,
        )
        for e in done
    ]
    return render("runs.html", rows=rows, parameters=parameters)


class NotebookRow(NamedTuple):
    """The row of an executed notebook on the page index.html."""

    name: str
    title: str
    folder: str  # that says the values of a grid; "" without one
    page: str  # addresses, from the folder of the page
    notebook: str
    error: str


def _link(target: Path, out: Path) -> str:
    return quote(target.relative_to(out).as_posix())
