"""`carmenta-lab datasets`, `users`, `strategies`, `policies`: what is there, what it is, and what it needs."""

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from inspect import getdoc
from typing import Annotated

import typer

from carmenta_lab.cli.completing import dataset_names

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]


def datasets(as_json: Json = False) -> None:
    """List datasets, loaded or not. Those that are not loaded are found under data/.

    Example: `carmenta-lab datasets`
    """
    from carmenta_lab import datasets as folders
    from carmenta_lab.names import loaded_datasets
    from carmenta_lab.postgres.lab import open_lab

    with open_lab() as lab, lab.owner_session() as session:
        loaded = loaded_datasets(session)
    rows: list[dict[str, object]] = [
        {
            "name": one.name,
            "what": folders.title(one.origin),
            "users": one.users,
            "questions": one.questions,
            "loaded_from": one.origin,
            "needs": "" if one.complete else f"its load was cut off: carmenta-lab load {one.origin}",
        }
        for one in loaded
    ]
    for name in sorted({*folders.names()} - {one.name for one in loaded}):
        what, needs = folders.title(folders.find(name)), f"carmenta-lab load {name}"
        more: dict[str, object] = {"users": None, "questions": None, "loaded_from": None, "needs": needs}
        rows.append({"name": name, "what": what} | more)
    _listed(rows, ["name", "what", "users", "questions", "loaded_from", "needs"], as_json)


def users(
    dataset: Annotated[
        str | None, typer.Argument(help="Only the users of this loaded dataset.", autocompletion=dataset_names)
    ] = None,
    as_json: Json = False,
) -> None:
    """List the users of loaded datasets. Their names are what `--user` takes.

    Example: `carmenta-lab users sample`
    """
    from carmenta_lab.names import users_of
    from carmenta_lab.postgres.lab import open_lab

    with open_lab() as lab, lab.owner_session() as session:
        rows = [dict(one._asdict()) for one in users_of(session, dataset)]
    _listed(rows, ["name", "dataset", "messages", "memories", "documents", "questions"], as_json)


def strategies(as_json: Json = False) -> None:
    """List the retrieval strategies. For each: its question, and what a load must write for it.

    Example: `carmenta-lab strategies`
    """
    from carmenta_lab import strategies as registry

    rows = [
        {"name": name, "what": _question(f"carmenta_lab.strategies.{name}"), "needs": _needs(name)}
        for name in registry.names()
    ]
    _listed(rows, ["name", "what", "needs"], as_json)


def policies(as_json: Json = False) -> None:
    """List the context policies. For each: its question, and the strategy that it searches with.

    Example: `carmenta-lab policies`
    """
    from carmenta_lab.context import policies as registry

    rows = []
    for name in registry.names():
        strategy = registry.load(name).strategy
        needs = f"{strategy}: {_needs(strategy)}" if strategy else ""
        rows.append({"name": name, "what": _question(f"carmenta_lab.context.policies.{name}"), "needs": needs})
    _listed(rows, ["name", "what", "needs"], as_json)


def _needs(strategy: str) -> str:
    """What a load must have written for a strategy."""
    from carmenta_lab import strategies as registry

    model = registry.load(strategy).model
    codes = ["token codes (load --tokens)"] if registry.needs_tokens(strategy) else []
    return ", ".join(([f"vectors of {model}"] if model else []) + codes)


def _question(module: str) -> str:
    """The question of a strategy or policy: the first paragraph of its module's docstring."""
    said = getdoc(import_module(module)) or ""
    return " ".join(said.partition("\n\n")[0].split())


def _listed(rows: Sequence[Mapping[str, object]], heads: Sequence[str], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    from carmenta_lab.cli.tables import show
    from carmenta_lab.display import Table

    cells = [["" if row[head] is None else str(row[head]) for head in heads] for row in rows]
    show([Table([head.replace("_", " ") for head in heads], cells)])
