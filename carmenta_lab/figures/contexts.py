"""What stands where in the model's context, how much of the budget is used, and what was left out?"""

import re
from collections import Counter
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from carmenta_lab.context import Block, Context, Dropped
from carmenta_lab.figures.page import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    QUIET,
    SKY,
    SMALL,
    TEXT,
    VERMILION,
    Page,
    counted,
    page,
    plain,
    safe,
)

COLOURS = {"profile": PURPLE, "message": BLUE, "memory": GREEN, "passage": ORANGE, "query": VERMILION}
COMPRESSED = "///"
"""The hatch of a block that stands in fewer tokens than its source has."""
REASONS = 6
"""Reasons with a row of their own; the rest share one."""


def tokens_by_block(context: Context) -> Page:
    """The context as one bar in the order the model reads it, and what was left out, by reason."""
    reasons = _reasons(context)
    caption = (
        f"policy {safe(context.policy)} · {context.tokens:,} of {context.budget_tokens:,} tokens used · "
        "left: what the model reads first; right: the query · hatched: compressed"
    )
    height = 3.3 + 0.46 * max(1, len(reasons))
    figure = page("What the model gets to see", caption, 9, height)
    above, below = figure.subfigures(2, squeeze=False, height_ratios=[1.6, 0.7 + 0.46 * max(1, len(reasons))]).flat
    _bar(above.subplots(), context)
    _left_out(below.subplots(), reasons)
    return figure


def conversation_shown(context: Context) -> Page:
    """Every message of the conversation that was considered: in full, compressed (of how much), or left out."""
    shown = sorted((b.place, b.tokens, b.tokens_before) for b in context.blocks if b.place is not None)
    left = sorted((d.place, d.tokens) for d in context.dropped if d.place is not None)
    considered = counted(len(shown) + len(left), "message")
    everyone: list[Block | Dropped] = [*context.blocks, *context.dropped]
    dates = sorted(one.created_at for one in everyone if one.place is not None and one.created_at)
    when = f" · {dates[0].date()} to {dates[-1].date()}" if dates else ""
    caption = f"policy {safe(context.policy)}, {context.budget_tokens:,} tokens · {considered} considered{when}"
    figure = page("What the conversation became", caption, 9, 3.2)
    axes = figure.subplots()
    plain(axes, "messages, from the oldest to the newest", "tokens", grid="y")
    for place, tokens, before in shown:
        axes.bar(place, before, width=0.8, color="none", edgecolor=BLUE, linewidth=0.8 if tokens < before else 0)
        axes.bar(place, tokens, width=0.8, color=SKY if tokens < before else BLUE)
    for place, tokens in left:
        axes.bar(place, tokens, width=0.8, color="none", edgecolor=QUIET, linewidth=0.8, linestyle=(0, (2, 2)))
    full = sum(tokens >= before for _, tokens, before in shown)
    handles = [
        Patch(color=BLUE, label=f"in full: {full}"),
        Patch(facecolor=SKY, edgecolor=BLUE, label=f"compressed: {len(shown) - full}"),
        Patch(facecolor="none", edgecolor=QUIET, linestyle=(0, (2, 2)), label=f"left out: {len(left)}"),
    ]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=SMALL)
    axes.set_xticks([])
    tallest = max([before for _, _, before in shown] + [tokens for _, tokens in left], default=1)
    axes.set_ylim(0, 1.05 * max(1, tallest))
    axes.set_xlim(-1, max([place for place, *_ in (*shown, *left)], default=0) + 1)
    return figure


def _bar(axes: Axes, context: Context) -> None:
    plain(axes, "tokens from the start of the context", "")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    start = 0
    wide = context.budget_tokens / 250
    for block in context.blocks:
        axes.barh(
            0,
            block.tokens,
            left=start,
            height=0.8,
            color=COLOURS[block.kind],
            edgecolor="white",
            linewidth=0.8 if block.tokens > wide else 0,
            hatch=COMPRESSED if block.tokens < block.tokens_before else None,
        )
        start += block.tokens
    axes.axvline(context.budget_tokens, color=INK, linewidth=1.5, linestyle=(0, (4, 3)))
    axes.annotate(
        "budget",
        (context.budget_tokens, 0.5),
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=SMALL,
        color=INK,
    )
    axes.set_xlim(0, context.budget_tokens * 1.01)
    axes.set_ylim(-0.5, 0.85)
    counts = Counter(block.kind for block in context.blocks)
    tokens = Counter[str]()
    for block in context.blocks:
        tokens[block.kind] += block.tokens
    handles = [
        Patch(color=COLOURS[kind], label=f"{counted(counts[kind], kind)}: {tokens[kind]:,}")
        for kind in dict.fromkeys(block.kind for block in context.blocks)
    ]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=5, frameon=False, fontsize=SMALL)


def _reasons(context: Context) -> list[tuple[str, Counter[str], int]]:
    """Reason, how many of each kind, their tokens; the costliest first. A number or an id in a reason is left open."""
    kinds: dict[str, Counter[str]] = {}
    tokens = Counter[str]()
    for dropped in context.dropped:
        reason = re.sub(r"\S*\d\S*", "…", dropped.reason)
        kinds.setdefault(reason, Counter())[dropped.kind] += 1
        tokens[reason] += dropped.tokens
    ordered = [reason for reason, _ in tokens.most_common()]
    rows = [(reason, kinds[reason], tokens[reason]) for reason in ordered[:REASONS]]
    if len(ordered) > REASONS:
        rest = ordered[REASONS:]
        total = sum((kinds[reason] for reason in rest), Counter[str]())
        rows.append((f"{len(rest)} other reasons", total, sum(tokens[reason] for reason in rest)))
    return rows


def _left_out(axes: Axes, reasons: list[tuple[str, Counter[str], int]]) -> None:
    axes.set_title("Left out", loc="left", fontsize=TEXT, fontweight="bold", color=INK)
    if not reasons:
        axes.set_axis_off()
        axes.text(0, 0.5, "nothing", transform=axes.transAxes, va="center", fontsize=TEXT, color=QUIET)
        return
    plain(axes, "tokens it would have taken", "reason", grid="x")
    for row, (_, kinds, tokens) in enumerate(reasons):
        axes.barh(row, tokens, height=0.6, color=COLOURS[max(kinds, key=lambda kind: kinds[kind])])
        what = ", ".join(counted(number, kind) for kind, number in kinds.most_common())
        axes.annotate(
            f"{what}: {tokens:,}",
            (tokens, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=INK,
        )
    axes.set_yticks(range(len(reasons)), [fill(safe(reason, 70), 42) for reason, _, _ in reasons])
    axes.set_ylim(len(reasons) - 0.4, -0.6)
    axes.set_xlim(0, 1.6 * max(1, max(tokens for _, _, tokens in reasons)))
