"""`carmenta-lab explain`: two strategies on one question, side by side, with each signal's part and the evidence."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from carmenta_lab.cli.completing import dataset_names, strategy_lists
from carmenta_lab.display import MARKED
from carmenta_lab.errors import UsageError

if TYPE_CHECKING:
    from carmenta_lab.experiment.explaining import Explanation
    from carmenta_lab.records import Hit
    from carmenta_lab.retrieval.texts import HitWithText

SHOWN_CHARACTERS = 200
EVIDENCE = "bold green"


def explain(
    query: Annotated[
        str,
        typer.Argument(help="A question in words, or the id of a loaded question, whose evidence is then shown too."),
    ],
    user: Annotated[
        str | None,
        typer.Option(help="The user: the id that the dataset gives, or a uuid. Not needed for a loaded question."),
    ] = None,
    strategies: Annotated[
        str,
        typer.Option(
            help="One or more names or paths, separated by commas; two fit the screen best. When not given: "
            "vector_exact and the best measured strategy that the user's data allow.",
            autocompletion=strategy_lists,
        ),
    ] = "",
    k: Annotated[int, typer.Option(help="The number of hits of each strategy, 1 to 1000.")] = 5,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="The dataset of the user or question, when several datasets have it.", autocompletion=dataset_names
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")] = False,
) -> None:
    """Explain the hits of one question. Shows strategies side by side, what each signal adds, the evidence's ranks.

    Example: `carmenta-lab explain nora-q15 --strategies vector_exact,hybrid_rrf --dataset sample`

    Example: `carmenta-lab explain "where did we park the bikes" --user nora --strategies fulltext_or,hybrid_rrf`
    """
    from carmenta_lab import face
    from carmenta_lab.postgres.lab import open_lab

    names = [name.strip() for name in strategies.split(",") if name.strip()]
    if strategies and not names:
        raise UsageError("no strategy to explain: name one or two with --strategies.")
    with open_lab() as lab:
        found = face.explain(lab, query, user, strategies=names or None, k=k, dataset=dataset)
    if as_json:
        typer.echo(json.dumps(found.to_json(), ensure_ascii=False))
        return
    console = Console()
    asked = found.query
    about = " · ".join(filter(None, (asked.query_id if found.judged else "", asked.category)))
    console.print(Text(asked.text, style="bold"), Text(f"({about})") if about else "")
    if asked.answers:
        console.print(Text("answer: " + "; ".join(asked.answers)))
    console.print(_hits(found))
    if found.judged:
        console.print(_evidence(found))
    else:
        console.print("this is no loaded question of the user, so its evidence is not known")


def _hits(found: "Explanation") -> Table:
    """A row a rank, a column a strategy."""
    relevant = {e.source_id for e in found.evidence}
    columns = [Column(f"{name} ({found.notes[name]})", ratio=1, overflow="fold") for name in found.tops]
    title = f"evidence in green, marked {MARKED}" if relevant else None
    table = Table("rank", *columns, show_lines=True, expand=True, title=title)
    for place in range(max((len(tops) for tops in found.tops.values()), default=0)):
        row = [
            _cell(tops[place], tops[place].hit.source_id in relevant) if place < len(tops) else Text("")
            for tops in found.tops.values()
        ]
        table.add_row(str(place + 1), *row)
    return table


def _cell(shown: "HitWithText", relevant: bool) -> Text:
    head = f"{MARKED + ' ' if relevant else ''}{shown.hit.score:.3f}  {shown.hit.source_kind} {shown.source}"
    text = Text(head + "\n", style=EVIDENCE if relevant else "bold")
    text.append(_cut(shown.text) + "\n", style="default not bold")
    text.append(_parts(shown.hit), style="dim not bold")
    return text


def _parts(hit: "Hit") -> str:
    """A line a signal: its raw score and what it adds."""
    from carmenta_lab.experiment.explaining import parts_of

    lines = []
    for part in parts_of(hit):
        if not part.weighed and not part.raw:
            continue
        raw = "" if part.raw is None else f"{part.raw:.3f}"
        weighed = "" if part.weighed is None else f"{part.weighed:+.3f}"
        lines.append(f"{part.name} {raw}{' -> ' if raw and weighed else ''}{weighed}")
    return "\n".join(lines)


def _evidence(found: "Explanation") -> Table:
    """A row a judged source: its rank and parts in each strategy."""
    names = list(found.tops)
    columns = [Column(f"rank in {name}", overflow="fold") for name in names]
    title = (
        f"ranks of the evidence (of the first {found.depth})" if found.evidence else "no source answers this question"
    )
    table = Table("source", "relevance", "text", *columns, show_lines=True, expand=True, title=title)
    for e in found.evidence:
        cells = []
        for name in names:
            hit = e.hits[name]
            cells.append(f"{hit.rank}\n{_parts(hit)}".strip() if hit else "not found")
        table.add_row(f"{e.kind} {e.source}", str(e.relevance), Text(_cut(e.text)), *map(Text, cells))
    return table


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"
