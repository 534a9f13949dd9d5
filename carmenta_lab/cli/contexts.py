"""`carmenta-lab compare-contexts`: policies compared by the judged evidence that their contexts hold."""

import json
from pathlib import Path
from typing import Annotated

import typer

from carmenta_lab.cli.completing import dataset_names, policy_lists
from carmenta_lab.cli.progress import loading, progress_bars
from carmenta_lab.errors import UsageError


def compare_contexts(
    dataset: Annotated[
        str,
        typer.Option(help="A dataset under data/ by name, or the path of a folder.", autocompletion=dataset_names),
    ] = "sample",
    policies: Annotated[
        str,
        typer.Option(
            help="Names or paths, separated by commas. When not given: all of `carmenta-lab policies`.",
            autocompletion=policy_lists,
        ),
    ] = "",
    budgets: Annotated[str, typer.Option(help="Budgets in tokens, separated by commas.")] = "500,1000,2000,4000,8000",
    baseline: Annotated[
        str | None,
        typer.Option(help="The policy that the others are compared with. When not given: the first one."),
    ] = None,
    counter: Annotated[
        str | None,
        typer.Option(
            help="How tokens are counted: a tiktoken encoding such as o200k_base. When not given: by the bundled "
            "tokenizer."
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result to this file; - prints it.")
    ] = None,
) -> None:
    """Compare context policies. Measures the share of judged evidence that their contexts hold, at each budget.

    Example: `carmenta-lab compare-contexts --policies mission_order,retrieved_first --budgets 2000,4000`
    """
    from carmenta_lab.cli.tables import show
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
        with progress_bars("comparing") as progress:
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
    show(result.tables())


def _numbers(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UsageError(f"--budgets expects whole numbers such as 2000,4000, found {text!r}.") from None
    return list(dict.fromkeys(found))
