"""`carmenta-lab import`: published sets and exports of users become dataset folders."""

from pathlib import Path
from typing import Annotated

import typer

from carmenta_lab.cli.completing import format_names

FORMATS = ", ".join(format_names(""))


def import_set(
    form: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help=f"{FORMATS}, or the path of a .py file with a format of your own.",
            autocompletion=format_names,
        ),
    ],
    source: Annotated[Path, typer.Argument(help="The file to read; for beir, the folder.")],
    folder: Annotated[Path, typer.Argument(help="The dataset folder to make. It must not exist, or be empty.")],
    without_adversarial: Annotated[
        bool, typer.Option("--without-adversarial", help="locomo: leave out the questions that nothing answers.")
    ] = False,
    split: Annotated[str, typer.Option(help="beir: which file of qrels/ has the judgements.")] = "test",
) -> None:
    """Make a dataset folder from other files. Reads LoCoMo, LongMemEval, BEIR, or a format of your own.

    Example: `carmenta-lab import locomo locomo10.json data/locomo`
    """
    from carmenta_lab.importers import Options, import_dataset

    writer = import_dataset(form, source, folder, Options(adversarial=not without_adversarial, split=split))
    for name, count in sorted(writer.counts.items()):
        typer.echo(f"{name}: {count:,}")
    typer.echo(f"repaired or left out: {len(writer.repairs):,}; {folder / 'README.md'} says what")
    typer.echo(f"next: carmenta-lab load {folder}")
