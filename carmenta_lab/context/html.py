"""How does a context look in a notebook? Inline styles only, legible on a light and on a dark ground."""

from collections.abc import Sequence
from html import escape
from typing import TypeAlias

COLOURS = {
    "profile": "#8e6bbf",
    "message": "#3f83c4",
    "memory": "#2f9468",
    "passage": "#b9822a",
    "query": "#c4504a",
}
"""Middle tones: at least 3:1 against white and against #111."""

OPENING_CHARACTERS = 160
FAINT = "rgba(128,128,128,.22)"
STRIPES = "repeating-linear-gradient(135deg,transparent 0 3px,rgba(255,255,255,.45) 3px 5px)"
"""Over the colour of what stands compressed."""

Row: TypeAlias = tuple[str, str, int, int, str, str, str]


def page(
    title: str,
    budget_tokens: int,
    blocks: Sequence[Row],
    dropped: Sequence[tuple[str, int, str, str]],
    notes: Sequence[str] = (),
) -> str:
    """The title, a bar of the budget, a row a block, and what was left out. Every text is escaped.

    A block is kind, role, tokens, tokens before compression, sources, why, text; a dropped row is kind, tokens,
    source, reason.
    """
    rows = "".join(_row(*block) for block in blocks)
    said = "".join(f'<div style="font-size:12px">note: {escape(note)}</div>' for note in notes)
    return (
        '<div style="color:inherit;font-size:13px;line-height:1.45;max-width:1000px">'
        f"<strong>{escape(title)}</strong>{said}{_bar(budget_tokens, blocks)}{_legend(blocks)}"
        f"{rows}{_dropped(dropped)}</div>"
    )


def _bar(budget_tokens: int, blocks: Sequence[Row]) -> str:
    parts = "".join(
        f'<div title="{escape(f"{kind} {sources}: {tokens} tokens", quote=True)}" style="background:'
        f"{STRIPES + ',' if tokens < before else ''}{COLOURS[kind]};"
        f'width:{100 * tokens / max(budget_tokens, 1):.3f}%;box-shadow:inset -1px 0 {FAINT}"></div>'
        for kind, _, tokens, before, sources, _, _ in blocks
    )
    style = f"display:flex;height:14px;margin:6px 0;background:{FAINT};border-radius:3px;overflow:hidden"
    return f'<div style="{style}">{parts}</div>'


def _legend(blocks: Sequence[Row]) -> str:
    sums: dict[str, int] = {}
    for kind, _, tokens, *_ in blocks:
        sums[kind] = sums.get(kind, 0) + tokens
    entries = "".join(
        f'<span style="margin-right:14px"><span style="color:{COLOURS[kind]}">&#9632;</span> {kind} {tokens}</span>'
        for kind, tokens in sums.items()
    )
    striped = " striped: compressed" if any(row[2] < row[3] for row in blocks) else ""
    return f'<div style="margin-bottom:8px">{entries}<span style="opacity:.75">{striped}</span></div>'


def _row(kind: str, role: str, tokens: int, before: int, sources: str, why: str, text: str) -> str:
    cost = f"{tokens} of {before}" if tokens < before else f"{tokens}"
    head = (
        f'<div style="opacity:.75;font-size:12px">{kind} · {role} · {cost} tokens'
        f"{' · ' + escape(sources) if sources else ''} · {escape(why)}</div>"
    )
    wrap = "white-space:pre-wrap;overflow-wrap:anywhere"
    if len(text) > OPENING_CHARACTERS:
        opening = escape(" ".join(text[:OPENING_CHARACTERS].split()))
        body = (
            f'<details><summary style="{wrap}">{opening} …</summary><div style="{wrap}">{escape(text)}</div></details>'
        )
    else:
        body = f'<div style="{wrap}">{escape(text)}</div>'
    style = f"border-left:4px solid {COLOURS[kind]};padding:3px 10px;margin:5px 0;text-align:left"
    return f'<div style="{style}">{head}{body}</div>'


def _dropped(dropped: Sequence[tuple[str, int, str, str]]) -> str:
    if not dropped:
        return ""
    lines = "".join(
        f'<div style="padding:1px 14px;text-align:left">{kind} {escape(source)} · {tokens} tokens'
        f" · {escape(reason)}</div>"
        for kind, tokens, source, reason in dropped
    )
    return f"<details><summary>left out: {len(dropped)}</summary>{lines}</details>"
