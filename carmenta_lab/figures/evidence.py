"""At which ranks does each strategy find what proves the answer to one question, and what are its hits in words?"""

from string import ascii_lowercase, ascii_uppercase
from textwrap import shorten
from typing import NamedTuple
from uuid import UUID

import pandas as pd
from matplotlib.patches import Rectangle
from sqlalchemy import select
from sqlalchemy.orm import Session

from carmenta_lab.errors import UnknownName
from carmenta_lab.experiment import Comparison
from carmenta_lab.figures.page import BLUE, INK, QUIET, RULE, SKY, SMALL, TEXT, Page, counted, page, plain, safe
from carmenta_lab.schema.search.passages import passages

SHOWN_CHARACTERS = 220


class Letter(NamedTuple):
    """What a relevant source is called in a figure."""

    letter: str
    relevance: int


def evidence_letters(comparison: Comparison, query_id: str) -> dict[UUID, Letter]:
    """A letter and the relevance of every relevant source of a question, the most relevant first.

    UnknownName when the comparison has no such question; empty when nothing is relevant to it.
    """
    judgements = comparison.questions.judgements
    if query_id not in judgements:
        raise UnknownName("question of this comparison", query_id, judgements)
    relevant = {source: relevance for source, (_, relevance) in judgements[query_id].items() if relevance > 0}
    ordered = sorted(relevant, key=lambda source: (-relevant[source], str(source)))
    marks = [*ascii_uppercase, *ascii_lowercase, *("·" * len(ordered))]
    return {source: Letter(marks[place], relevant[source]) for place, source in enumerate(ordered)}


def evidence(comparison: Comparison, query_id: str) -> Page:
    """A square for every hit of every strategy, by rank: evidence is filled and carries its letter."""
    found = evidence_letters(comparison, query_id)
    question = next(query for query in comparison.questions.queries if query.query_id == query_id)
    names, k = list(comparison.strategies), int(comparison.circumstances["k"])
    caption = (
        f"{safe(comparison.dataset)}, question {safe(query_id)}, {safe(question.category) or 'without category'} · "
        f"each letter is one of {counted(len(found), 'piece')} of evidence, the same for every strategy · "
        "dark: proves the answer (relevance 2 or more), light: helps (1), outlined: not judged relevant"
    )
    figure = page(f"“{safe(question.text, 80)}”", caption, 8, 1.9 + 0.36 * len(names))
    axes = figure.subplots()
    plain(axes, "rank of the hit (1 is best)", "strategy")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for row, name in enumerate(names):
        ranking = comparison.runs[name].run.rankings[query_id]
        for hit in ranking.hits:
            letter, relevance = found.get(hit.source_id, Letter("", 0))
            fill = (BLUE if relevance > 1 else SKY) if relevance else "white"
            place = (hit.rank - 0.44, row - 0.4)
            axes.add_patch(Rectangle(place, 0.88, 0.8, facecolor=fill, edgecolor=fill if relevance else RULE))
            colour = "white" if relevance > 1 else INK
            if k <= 40:
                axes.text(hit.rank, row, letter, ha="center", va="center", fontsize=TEXT, color=colour)
        got = len({hit.source_id for hit in ranking.hits} & found.keys())
        tally = f"{got} of {len(found)} found" if ranking.hits else "no hit at all"
        where = axes.get_yaxis_transform()
        axes.text(1.02, row, tally, transform=where, va="center", fontsize=SMALL, color=QUIET)
    axes.set_xlim(0.4, k + 0.6)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xticks(range(1, k + 1, 1 + (k - 1) // 15))
    axes.set_yticks(range(len(names)), [safe(name) for name in names])
    return figure


def top_hits(session: Session, comparison: Comparison, query_id: str, rows: int = 5) -> pd.DataFrame:
    """The first hits of every strategy side by side: a column a strategy, a row a rank, evidence by its letter.

    To be called within `as_user` of the question's user, whose passages are read.
    """
    found = evidence_letters(comparison, query_id)
    tops = {name: comparison.runs[name].run.rankings[query_id].hits[:rows] for name in comparison.strategies}
    wanted = {hit.passage_id for hits in tops.values() for hit in hits}
    user = next(query.user_id for query in comparison.questions.queries if query.query_id == query_id)
    statement = select(passages.c.id, passages.c.content).where(passages.c.user_id == user, passages.c.id.in_(wanted))
    texts = {row.id: row.content for row in session.execute(statement)}

    def shown(source: UUID, passage: UUID) -> str:
        text = shorten(texts.get(passage, "(gone since the run)"), SHOWN_CHARACTERS, placeholder=" …")
        return f"({found[source].letter}) {text}" if source in found else text

    columns = {name: [shown(hit.source_id, hit.passage_id) for hit in hits] for name, hits in tops.items()}
    ranks = pd.RangeIndex(1, rows + 1, name="rank")
    return pd.DataFrame({name: pd.Series(column, dtype=object) for name, column in columns.items()}).set_axis(
        ranks[: max((len(column) for column in columns.values()), default=0)]
    )
