"""The command that compares context policies by the evidence they hold."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from carmenta_lab.cli.progress import loading, steps
from carmenta_lab.errors import UsageError

if TYPE_CHECKING:
    from carmenta_lab.experiment.contexts import ContextComparison


def compare_contexts(
    dataset: Annotated[str, typer.Option(help="A dataset under data/ by name, or the path of a folder.")] = "sample",
    policies: Annotated[str, typer.Option(help="Names or paths, separated by commas; all when not given.")] = "",
    budgets: Annotated[str, typer.Option(help="Tokens, separated by commas.")] = "500,1000,2000,4000,8000",
    baseline: Annotated[str | None, typer.Option(help="The policy others are paired with; the first named.")] = None,
    counter: Annotated[str | None, typer.Option(help="How tokens are counted: the bundled tokenizer's.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result to this file; - prints it.")
    ] = None,
) -> None:
    """Compare policies by the share of the judged evidence that their contexts hold, at every budget.

    Example: `carmenta-lab compare-contexts --dataset sample --policies default,retrieved_first --budgets 2000,4000`
    """
    from carmenta_lab.context import load_counter
    from carmenta_lab.context import policies as registry
    from carmenta_lab.experiment.contexts import compare_contexts as measure
    from carmenta_lab.experiment.contexts import models_needed, tokens_needed
    from carmenta_lab.postgres.lab import open_lab

    names = [name.strip() for name in policies.split(",") if name.strip()] or registry.names()
    sizes = _numbers(budgets)
    counting = load_counter(counter) if counter else None
    models = models_needed(names)
    tokens = tokens_needed(names)
    with open_lab() as lab:
        loaded = loading(lab, dataset, models=models, tokens=tokens)
        with steps("comparing") as progress:
            result = measure(lab, loaded.dataset, names, sizes, baseline=baseline, counter=counting, progress=progress)
    text = json.dumps(result.to_json(), indent=2)
    if json_file is not None and str(json_file) == "-":
        typer.echo(text)
        return
    if json_file is not None:
        try:
            json_file.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{json_file} cannot be written: {error.strerror}.") from None
    for table in contexts_tables(result):
        Console().print(table)


def contexts_tables(result: "ContextComparison") -> list[Table]:
    """Evidence held at every budget, with intervals, and what of all targets; then the paired differences."""
    title = f"{result.dataset}: share of the evidence of {result.queries} questions, mean [95 % interval]"
    heads = [f"{budget:,} tokens" for budget in result.budgets]
    held = Table("policy", *heads, title=title)
    every = Table("policy", *heads, title="memories and documents counted as well")
    for name in result.policies:
        rows = result.evidence[result.evidence.policy == name]
        held.add_row(name, *[f"{row.mean:.3f} [{row.low:.3f}, {row.high:.3f}]" for row in rows.itertuples()])
        every.add_row(name, *[f"{row.every_target:.3f}" for row in rows.itertuples()])
    tables = [held] if (result.scores.evidence == result.scores.every_target).all() else [held, every]
    if len(result.differences):
        title = f"against {result.differences.baseline.iloc[0]}: difference [95 % interval], won/lost"
        paired = Table("policy", *heads, title=title)
        for policy, rows in result.differences.groupby("policy", sort=False):
            paired.add_row(str(policy), *_differences(list(rows.itertuples())))
        tables.append(paired)
    return tables


def _differences(rows: Sequence[object]) -> list[str]:
    return [f"{r.mean:+.3f} [{r.low:+.3f}, {r.high:+.3f}], {r.won}/{r.lost}" for r in rows]  # type: ignore[attr-defined]


def _numbers(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UsageError(f"--budgets expects whole numbers such as 2000,4000, found {text!r}.") from None
    return list(dict.fromkeys(found))
