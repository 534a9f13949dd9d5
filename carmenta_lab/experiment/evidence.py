"""Did what proves the answer reach the model? The share of judged sources that a context holds."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from carmenta_lab.context import Context
from carmenta_lab.context.repeats import words
from carmenta_lab.schema.base import LANGUAGES

ENOUGH = 0.8
"""The share of a source's content lexemes that a shorter text must hold."""

Lexemes: TypeAlias = Callable[[str], frozenset[str]]
"""The content lexemes of a text: stemmed, without stop words."""

_DATE = re.compile(r"^\[\d{4,}-\d\d-\d\d\] ")


@dataclass(frozen=True)
class Source:
    """A judged message, memory or document."""

    text: str
    config: str  # of text search, by its language


def holds(source: str, shown: str, answers: Sequence[str], lexemes: Lexemes) -> bool:
    """Whether `shown` says what the source says, as far as a question is concerned.

    It does when it contains the source's whole text, or an answer string (its words in their order, whatever case
    and punctuation), or at least 80 % of the source's content lexemes. Nothing shown holds nothing.
    """
    if not shown.strip():
        return False
    if " ".join(source.split()) in " ".join(shown.split()):
        return True
    said = words(shown)
    if any(words(answer) in said for answer in answers if words(answer)):
        return True
    wanted = lexemes(source)
    return bool(wanted) and len(wanted & lexemes(shown)) >= ENOUGH * len(wanted)


def shown_of(context: Context, source: UUID) -> str:
    """What a context shows of one source: the blocks made from it, without the dates of their days."""
    return "\n".join(_DATE.sub("", block.text) for block in context.blocks if source in block.ids)


def share(
    context: Context, judged: Iterable[UUID], sources: Mapping[UUID, Source], answers: Sequence[str], of: "LexemesOf"
) -> float:
    """The share of the judged sources that the context holds, 0..1; a source that is gone is not held."""
    found = []
    for key in judged:
        source = sources.get(key)
        held = source is not None and holds(source.text, shown_of(context, key), answers, of.language(source.config))
        found.append(held)
    return sum(found) / len(found)


class LexemesOf:
    """Lexemes as PostgreSQL makes them, each text asked for once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[tuple[str, str], frozenset[str]] = {}

    def language(self, config: str) -> Lexemes:
        """The lexemes under one text-search configuration."""

        def lexemes(said: str) -> frozenset[str]:
            if (config, said) not in self._known:
                found = self._session.scalar(_LEXEMES, {"config": config, "said": said})
                self._known[config, said] = frozenset(found or ())
            return self._known[config, said]

        return lexemes


_LEXEMES = text("SELECT tsvector_to_array(to_tsvector(CAST(:config AS regconfig), :said))")

_SOURCES = text("""
    SELECT id, content, language FROM carmenta.messages WHERE id = ANY(:ids)
    UNION ALL SELECT id, content, language FROM carmenta.memories WHERE id = ANY(:ids)
    UNION ALL SELECT id, content, language FROM carmenta.documents WHERE id = ANY(:ids)
""")


def read_sources(session: Session, ids: Iterable[UUID]) -> dict[UUID, Source]:
    """The texts of judged sources, read by the owner."""
    rows = session.execute(_SOURCES, {"ids": list(ids)})
    return {row.id: Source(row.content, "pg_catalog." + LANGUAGES.get(row.language, "simple")) for row in rows}
