"""How much of the evidence does each policy hold, against the budget and against the length of the history?"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator

from carmenta_lab.errors import UsageError
from carmenta_lab.experiment.contexts import ContextComparison
from carmenta_lab.figures.page import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    SMALL,
    VERMILION,
    Page,
    counted,
    page,
    plain,
    safe,
)

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, INK)
MARKS = ("o", "s", "^", "D", "v", "P", "X")


def evidence_by_budget(comparison: ContextComparison) -> Page:
    """A line a policy: the mean share of the evidence at each budget, with its 95 % interval."""
    caption = (
        f"{safe(comparison.dataset)} · mean over {counted(comparison.queries, 'question')} of the share of judged "
        "messages that the context holds · bars: 95 % bootstrap interval · budgets on a logarithmic scale"
    )
    figure = page("How much of the evidence reaches the model?", caption, 8, 4.6)
    axes = figure.subplots()
    _lines(axes, comparison.evidence, "budget", "tokens of the context")
    return figure


def evidence_by_history(frame: pd.DataFrame, budget_tokens: int) -> Page:
    """A line a policy: the mean share of the evidence against the messages that the user had by the question.

    Columns: policy, messages, mean, low, high, questions; UsageError when there is no row.
    """
    if frame.empty:
        raise UsageError("there is no history to draw: no judged question can be asked that early.")
    asked = frame.groupby("messages").questions.first()
    caption = (
        f"{budget_tokens:,} tokens each · questions whose evidence was already said: "
        + ", ".join(f"{questions} at {messages:,}" for messages, questions in asked.items())
        + " · bars: 95 % bootstrap interval · messages on a logarithmic scale"
    )
    figure = page("From which history length on does retrieval pay?", caption, 8, 4.6)
    axes = figure.subplots()
    _lines(axes, frame, "messages", "messages of the user so far")
    return figure


def _lines(axes: Axes, frame: pd.DataFrame, column: str, label: str) -> None:
    plain(axes, label, "evidence in context", grid="y")
    names = list(dict.fromkeys(frame.policy))
    for number, name in enumerate(names):
        rows = frame[frame.policy == name]
        spread = 1.012 ** (number - (len(names) - 1) / 2)  # so that intervals do not hide each other
        low, high = rows["mean"] - rows.low, rows.high - rows["mean"]
        axes.errorbar(
            rows[column] * spread,
            rows["mean"],
            yerr=[low.clip(lower=0), high.clip(lower=0)],
            color=COLOURS[number % len(COLOURS)],
            marker=MARKS[number % len(MARKS)],
            markersize=5,
            linewidth=1.6,
            elinewidth=0.8,
            label=safe(str(name)),
        )
    ticks = sorted(set(frame[column]))
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(-0.03, 1.03)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=SMALL)
