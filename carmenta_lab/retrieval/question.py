"""What a question says beside its words: who is named, which months, whether it asks for a time; and its vectors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pgvector import Bit
from sqlalchemy import select
from sqlalchemy.orm import Session

from carmenta_lab.embedding import load_embedder
from carmenta_lab.records import Query
from carmenta_lab.retrieval.languages import rules
from carmenta_lab.retrieval.languages.rules import Rules
from carmenta_lab.retrieval.retriever import Need
from carmenta_lab.schema.search.lexical import lexical_statistics
from carmenta_lab.schema.vector import Vector

WORD = re.compile(r"\w+")
YEAR = re.compile(r"\b(?:19|20)\d\d\b")


@dataclass(frozen=True)
class Participants:
    """Who writes in a user's conversations."""

    authors: tuple[str, ...]  # sorted
    with_assistant: bool  # whether one of them is an assistant

    @property
    def names(self) -> dict[str, str]:
        """Every word of an author's name, in small letters -> the author; a word that two share names nobody."""
        found: dict[str, str] = {}
        for author in self.authors:
            for word in WORD.findall(author.lower()):
                found[word] = "" if word in found else author
        return found


@dataclass(frozen=True)
class Question:
    """A question as a search reads it."""

    text: str  # without the participants' names, unless nothing else is left
    vector: Vector | None  # of that text, shape (dim,); None unless it is needed
    words: tuple[str, ...]  # of each token that counts, the word it is a part of
    codes: tuple[bytes, ...]  # of each token that counts, the signs of its vector: dim / 8 bytes
    speaker: str | None  # the participant who is named, when exactly one is
    months: tuple[int, ...]  # 1..12
    years: tuple[int, ...]
    days: tuple[int, ...]  # month * 100 + day
    asks_when: bool
    time_pattern: str  # what an expression of time looks like in this language, for PostgreSQL
    speaking: str | None  # the role whose words are asked for; None in chats without an assistant

    def parameters(self) -> Mapping[str, Any]:
        """The values of a statement's parameters, by name, but for text and vector."""
        return {
            "codes": [Bit(code) for code in self.codes],
            "code_words": list(self.words),
            "speaker": self.speaker,
            "months": list(self.months),
            "years": list(self.years),
            "days": list(self.days),
            "asks_when": self.asks_when,
            "time_pattern": self.time_pattern,
            "speaking": self.speaking,
        }


def participants(session: Session, query: Query) -> Participants:
    """Who writes in the conversations of the query's user; to be called within `as_user`."""
    s = lexical_statistics
    rows = session.execute(
        select(s.c.author, s.c.role).where(s.c.user_id == query.user_id, s.c.unit == "turn", s.c.author != "")
    ).all()
    return Participants(tuple(sorted({row.author for row in rows})), any(row.role == "assistant" for row in rows))


def read_question(
    query: Query, people: Participants, model: str | None, needs: frozenset[Need] = frozenset({"vector", "tokens"})
) -> Question:
    """Read a question put to somebody whose conversations have these participants.

    Of vector and tokens only what is needed is computed, by the model. EmbeddingError when tokens are needed and the
    model gives none.
    """
    language = rules(query.language)
    names = people.names
    text = _without(query.text, names, language)
    named = {names[word] for word in WORD.findall(query.text.lower()) if names.get(word)}
    words, codes = ((), ()) if model is None or "tokens" not in needs else _tokens(query.text, model, names, language)
    months = [n for n, m in enumerate(language.months, 1) if _mentions(query.text, m, language)]
    addressed = re.search(_python(language.addressed), query.text, re.IGNORECASE) is not None
    return Question(
        text=text,
        vector=None if model is None or "vector" not in needs else embedded(model, text),
        words=words,
        codes=codes,
        speaker=next(iter(named)) if len(named) == 1 else None,
        months=tuple(months),
        years=tuple(int(year) for year in dict.fromkeys(YEAR.findall(query.text))),
        days=tuple(day for n in months for day in _days(query.text, language.months[n - 1], n)),
        asks_when=re.search(_python(language.when), query.text, re.IGNORECASE) is not None,
        time_pattern=language.time,
        speaking=("assistant" if addressed else "user") if people.with_assistant else None,
    )


def embedded(model: str, text: str) -> Vector:
    """The vector of a question. Nothing is kept: a question is gone when its search has ended."""
    return load_embedder(model).embed_query(text)


def _tokens(
    text: str, model: str, names: Mapping[str, str], language: Rules
) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
    """Word and code of each token but those of names and question words; of all, where no other is left."""
    found = load_embedder(model).token_embeddings([text])[0]
    words = [_word(text, start, end) for start, end in found.offsets]
    kept = [i for i, word in enumerate(words) if word and word not in names and word not in language.question_words]
    codes = np.packbits(found.vectors > 0, axis=1)
    kept = kept or list(range(len(words)))
    return tuple(words[i] for i in kept), tuple(codes[i].tobytes() for i in kept)


def _word(text: str, start: int, end: int) -> str:
    """The whole word that a token is a part of, in small letters; "" for punctuation."""
    match = next((m for m in WORD.finditer(text) if m.start() <= start and end <= m.end()), None)
    return match[0].lower() if match else ""


def _without(text: str, names: Mapping[str, str], language: Rules) -> str:
    if not names:
        return text
    every = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    after = f"(?:{language.possessive})?" if language.possessive else ""
    left = " ".join(re.sub(rf"\b(?:{every}){after}\b", "", text, flags=re.IGNORECASE).split())
    return left if WORD.search(left) else text


def _mentions(text: str, month: tuple[str, ...], language: Rules) -> bool:
    """Whether a month is named; one whose name is a common word too only with a capital."""
    return any(
        re.search(rf"\b{name.capitalize()}\b", text)
        if name in language.common_months
        else re.search(rf"\b{name}\b", text, re.IGNORECASE)
        for name in month
    )


def _days(text: str, month: tuple[str, ...], number: int) -> list[int]:
    every = "|".join(month)
    before = rf"\b(\d{{1,2}})(?:st|nd|rd|th|\.)?\s+(?:of\s+)?(?:{every})\b"
    after = rf"\b(?:{every})\s+(\d{{1,2}})\b"
    days = [int(day) for pattern in (before, after) for day in re.findall(pattern, text, re.IGNORECASE)]
    return [number * 100 + day for day in days if 1 <= day <= 31]


def _python(pattern: str) -> str:
    r"""A pattern written for PostgreSQL, whose word boundary is \y."""
    return pattern.replace(r"\y", r"\b")
