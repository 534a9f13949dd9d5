"""When were the conversations held, whose are they, and how long?"""

from datetime import datetime

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from carmenta_lab.errors import UsageError
from carmenta_lab.figures.page import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    RULE,
    SKY,
    VERMILION,
    Page,
    counted,
    page,
    plain,
    safe,
)
from carmenta_lab.schema.lab.measurements import datasets, loaded_users
from carmenta_lab.schema.product.conversations import conversations, messages

COLUMNS = ("user", "conversation", "title", "started_at", "last_message_at", "messages")
DRAWN = ("user", "conversation", "started_at", "last_message_at", "messages")
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
TALLEST = 11.0
"""Inches."""


def read_conversations(session: Session, dataset: str) -> pd.DataFrame:
    """A row for every conversation of a loaded dataset, read by the owner: the columns that are drawn below."""
    of_user = (messages.c.user_id == conversations.c.user_id) & (messages.c.conversation_id == conversations.c.id)
    statement = (
        select(
            loaded_users.c.external_id.label("user"),
            conversations.c.external_id.label("conversation"),
            conversations.c.title,
            conversations.c.started_at,
            conversations.c.last_message_at,
            func.count().label("messages"),
        )
        .join(loaded_users, loaded_users.c.user_id == conversations.c.user_id)
        .join(datasets, datasets.c.id == loaded_users.c.dataset_id)
        .join(messages, of_user)
        .where(datasets.c.name == dataset, conversations.c.source == dataset, conversations.c.deleted_at.is_(None))
        .group_by(loaded_users.c.external_id, conversations.c.user_id, conversations.c.id)
        .order_by(loaded_users.c.external_id, conversations.c.started_at, conversations.c.external_id)
    )
    return pd.DataFrame(session.execute(statement).all(), columns=list(COLUMNS))


def conversations_over_time(frame: pd.DataFrame) -> Page:
    """A lane a user: a bar from the first to the last message of every conversation, a dot by its messages.

    Columns: user, conversation, started_at, last_message_at (times with a zone, null where unknown: left
    out and counted), messages. UsageError when a column is missing or no conversation has a time.
    """
    missing = [name for name in DRAWN if name not in frame.columns]
    if missing:
        raise UsageError(f"the frame lacks the columns {', '.join(missing)}; found: {', '.join(map(str, frame))}.")
    dated = frame.dropna(subset=["started_at", "last_message_at"])
    if dated.empty:
        raise UsageError(f"none of {counted(len(frame), 'conversation')} has a time: there is nothing to draw.")
    dated = dated.assign(**{name: pd.to_datetime(dated[name], utc=True) for name in ("started_at", "last_message_at")})
    dated = dated.sort_values(["user", "started_at", "conversation"], kind="stable").reset_index(drop=True)
    dated["row"] = _rows(dated)
    least, most = dated.messages.min(), dated.messages.max()
    caption = (
        f"a bar: from the first to the last message · a dot: the larger, the more messages ({least:,} to {most:,})"
    )
    left_out = len(frame) - len(dated)
    if left_out:
        caption += f" · {counted(left_out, 'conversation')} without a time left out"
    title = f"{counted(len(dated), 'conversation')} of {counted(dated.user.nunique(), 'user')} over time"
    figure = page(title, caption, 9, max(2.6, min(1.5 + 0.08 * (dated.row.max() + 1), TALLEST)))
    axes = figure.subplots()
    plain(axes, "date (UTC)", "user", grid="x")
    _draw(axes, dated)
    _name_lanes(axes, dated)
    return figure


def _rows(dated: pd.DataFrame) -> list[int]:
    """The row of every conversation: the first of its user's lane that is free; a lane has two rows at least."""
    rows: list[int] = []
    bottom = 0
    for _, mine in dated.groupby("user", sort=False):
        ends: list[datetime] = []
        for start, end in zip(mine.started_at, mine.last_message_at, strict=True):
            free = next((row for row, busy in enumerate(ends) if busy < start), len(ends))
            ends[free : free + 1] = [end]
            rows.append(bottom + free)
        bottom += max(2, len(ends))
    return rows


def _draw(axes: Axes, dated: pd.DataFrame) -> None:
    """Bars and dots, a colour a user."""
    scale = 60 / max(1, dated.messages.max())
    for place, (_, mine) in enumerate(dated.groupby("user", sort=False)):
        colour = COLOURS[place % len(COLOURS)]
        axes.hlines(mine.row, mine.started_at, mine.last_message_at, color=colour, linewidth=2.5, alpha=0.45)
        sizes = 12 + scale * mine.messages
        axes.scatter(mine.started_at, mine.row, s=sizes, color=colour, edgecolor="white", zorder=3)
        axes.axhline(mine.row.min() - 0.5, color=RULE, linewidth=0.7)
    first, last = dated.started_at.min(), dated.last_message_at.max()
    margin = max((last - first) * 0.03, pd.Timedelta(hours=12))
    axes.set_xlim(first - margin, last + margin)
    axes.set_ylim(dated.row.max() + 0.9, -0.9)
    dates = AutoDateLocator(minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(dates)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(dates))  # type: ignore[no-untyped-call]


def _name_lanes(axes: Axes, dated: pd.DataFrame) -> None:
    """Users at the middle of their lanes, as many as there is room for."""
    lanes = dated.groupby("user", sort=False).row.agg(["min", "max"])
    step = 1 + int(len(lanes) * 0.19 / (TALLEST - 1.5))
    axes.set_yticks(((lanes["min"] + lanes["max"]) / 2)[::step], [safe(str(user)) for user in lanes.index[::step]])
