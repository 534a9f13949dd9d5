"""Codes of single tokens for late interaction: the signs of their vectors, stop words and headers left out."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import psycopg
from pgvector import Bit
from psycopg import sql

from carmenta_lab.embedding import DEFAULT_MODEL, Embedder, load_embedder
from carmenta_lab.embedding.embedder import TokenEmbeddings
from carmenta_lab.indexing.passages import DATE
from carmenta_lab.indexing.ready import CutPassage
from carmenta_lab.postgres.copying import copy
from carmenta_lab.postgres.statement import only
from carmenta_lab.schema.base import LANGUAGES

BLOCK_PASSAGES = 1_024

QUESTION = re.compile(r"(?<![^.!?？\n])[^.!?？\n]*+[?？]")
"""Sought only where a sentence begins: from every character, a long text without an end would take for ever."""
WORD = re.compile(r"\w+")

_COLUMNS = (("user_id", "uuid"), ("passage_id", "uuid"), ("codes", "bit[]"), ("question_codes", "bit[]"))

_LACKING = """
    SELECT {what} FROM search.passages p WHERE p.user_id = ANY(%(users)s) AND p.unit IN ('turn', 'memory', 'section')
    AND NOT EXISTS (SELECT FROM search.token_codes c WHERE c.user_id = p.user_id AND c.passage_id = p.id) {rest}
"""


_INSERT = """
    INSERT INTO search.token_codes (user_id, passage_id, codes, question_codes)
    VALUES (%s, %s, %s::text[]::bit(384)[], %s::text[]::bit(384)[]) ON CONFLICT DO NOTHING
"""


class EncodedPassage(NamedTuple):
    """A passage whose tokens have been embedded, as far as its codes depend on it."""

    user_id: UUID
    id: UUID
    content: str
    author: str | None
    language: str


def lacking_codes(connection: psycopg.Connection[Any], users: Sequence[UUID]) -> int:
    """How many passages of these users have no token codes."""
    return int(only(connection.execute(_LACKING.format(what="count(*)", rest=""), {"users": list(users)})))


def encode(
    connection: psycopg.Connection[Any],
    users: Sequence[UUID],
    commit: Callable[[], None],
    progress: Callable[[str, int, int | None], object],
) -> tuple[int, int]:
    """Write the codes of all passages that lack them; returns how many, and the bytes that all codes take on disk."""
    missing = lacking_codes(connection, users)
    done = 0
    if missing:
        bundled = load_embedder(DEFAULT_MODEL)
        done = encode_lacking(
            connection, bundled, users, commit, lambda count: progress("encoding tokens", count, missing)
        )
    return done, int(only(connection.execute("SELECT pg_total_relation_size('search.token_codes')")))


def encode_lacking(
    connection: psycopg.Connection[Any],
    embedder: Embedder,
    users: Sequence[UUID],
    commit: Callable[[], None],
    progress: Callable[[int], object],
) -> int:
    """Write the codes of passages that lack them, a block a transaction; returns how many passages that were."""
    statement = _LACKING.format(
        what=", ".join(f"p.{name}" for name in EncodedPassage._fields),
        rest="AND (p.user_id, p.id) > (%(user)s, %(id)s) ORDER BY p.user_id, p.id LIMIT %(block)s",
    )
    user = id = UUID(int=0)  # the last that is done
    done = 0
    while True:
        values = {"users": list(users), "user": user, "id": id, "block": BLOCK_PASSAGES}
        passages = list(map(EncodedPassage._make, connection.execute(statement, values)))
        if not passages:
            return done
        write_codes(connection, passages, embedder.token_embeddings([passage.content for passage in passages]))
        commit()
        progress(len(passages))
        user, id = passages[-1].user_id, passages[-1].id
        done += len(passages)


def write_codes(
    connection: psycopg.Connection[Any], passages: Sequence[EncodedPassage], tokens: Sequence[TokenEmbeddings]
) -> int:
    """Write the codes of those of these passages that have none; returns how many passages that were."""
    stop = _stop_words(connection, passages)
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS stage_codes ON COMMIT DROP AS SELECT * FROM search.token_codes WITH NO DATA"
    )
    connection.execute("TRUNCATE stage_codes")
    copied = (
        (passage.user_id, passage.id, *_codes(found, passage, stop[passage.language]))
        for passage, found in zip(passages, tokens, strict=True)
    )
    copy(connection, sql.Identifier("stage_codes"), _COLUMNS, copied)
    statement = "INSERT INTO search.token_codes SELECT * FROM stage_codes ON CONFLICT (user_id, passage_id) DO NOTHING"
    return connection.execute(statement).rowcount


def insert_codes(
    connection: psycopg.Connection[Any], user: UUID, passages: Sequence[CutPassage], tokens: Sequence[TokenEmbeddings]
) -> None:
    """Write the codes of one user's passages as the application does, a row each; codes that are there stay."""
    encoded = [EncodedPassage(user, p.id, p.content, p.source.author, p.source.language) for p in passages]
    stop = _stop_words(connection, encoded)
    values = []
    for passage, found in zip(encoded, tokens, strict=True):
        every, asked = _codes(found, passage, stop[passage.language])
        values.append((user, passage.id, [code.to_text() for code in every], [code.to_text() for code in asked]))
    with connection.cursor() as cursor:
        cursor.executemany(_INSERT, values)


def _stop_words(connection: psycopg.Connection[Any], passages: Sequence[EncodedPassage]) -> dict[str, set[str]]:
    """Language -> the words of these texts that full-text search does not index."""
    words: dict[str, set[str]] = {}
    for passage in passages:
        words.setdefault(passage.language, set()).update(WORD.findall(passage.content.lower()))
    found = {}
    for language, every in words.items():
        config = f"pg_catalog.{LANGUAGES.get(language, 'simple')}"
        statement = "SELECT w FROM unnest(%s::text[]) w WHERE length(to_tsvector(%s::regconfig, w)) = 0"
        found[language] = {word for (word,) in connection.execute(statement, (sorted(every), config))}
    return found


def _codes(found: TokenEmbeddings, passage: EncodedPassage, stop: set[str]) -> tuple[list[Bit], list[Bit]]:
    """All codes of a passage, and those of its questions; its date and its author's name have none."""
    text, author = passage.content, passage.author
    date = DATE.match(text)
    start = date.end() if date else 0
    if author and text.startswith(f"{author}: ", start):
        start += len(author) + 2
    questions = [(start + match.start(), start + match.end()) for match in QUESTION.finditer(text[start:])]
    packed = np.packbits(found.vectors > 0, axis=1)
    every, asked = [], []
    for row, begin in _kept(found, text, start, stop):
        code = Bit(packed[row].tobytes())
        every.append(code)
        if any(first <= begin < end for first, end in questions):
            asked.append(code)
    return every, asked


def _kept(found: TokenEmbeddings, text: str, start: int, stop: set[str]) -> Iterator[tuple[int, int]]:
    """Row and place of the tokens after the header that are part of a word which is no stop word."""
    words = WORD.finditer(text)
    word = next(words, None)
    for row, (begin, end) in enumerate(found.offsets):
        while word is not None and word.end() <= begin:
            word = next(words, None)
        if word is None:
            return
        if begin >= start and word.start() <= begin and end <= word.end() and word.group().lower() not in stop:
            yield row, begin
