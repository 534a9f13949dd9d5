"""Late interaction once more, by full token vectors: what the codes estimated is computed for the best hits alone."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from carmenta_lab.embedding import load_embedder
from carmenta_lab.embedding.embedder import Vectors
from carmenta_lab.ingest.tokens import QUESTION
from carmenta_lab.records import Hit, Query
from carmenta_lab.retrieval.evidence import BESIDE
from carmenta_lab.retrieval.question import WORD, Question
from carmenta_lab.retrieval.retriever import END_OF_TIME
from carmenta_lab.schema.lexical import lexical_statistics

_FREQUENCIES = text(
    """
    SELECT t.word, (SELECT min(coalesce(cardinality(p.entries), 0)) FROM
        unnest(tsvector_to_array(carmenta.lexemes(:language, t.word))) w (lexeme)
        LEFT JOIN carmenta.postings p ON p.user_id = :user_id AND p.lexeme = w.lexeme) AS df
    FROM unnest(CAST(:words AS text[])) t (word)
    """
)

_TEXTS = text(
    f"""
    SELECT c.passage_id, p.content, (SELECT q.content FROM carmenta.passages q
        WHERE q.user_id = :user_id AND q.id = b.before) AS before
    FROM carmenta.passage_features c
    JOIN carmenta.passages p ON p.user_id = c.user_id AND p.id = c.passage_id {BESIDE}
    WHERE c.user_id = :user_id AND c.passage_id = ANY (CAST(:ids AS uuid[]))
    """
)
EVERYTHING = re.compile(r"(?s).+")


def reranked(
    session: Session, query: Query, question: Question, hits: Sequence[Hit], model: str, weight: float, top: int
) -> tuple[Hit, ...]:
    """The first `top` hits in the order that the vectors of their tokens give, the others after them as they were.

    In a hit's score the estimate `late` is replaced by the weighted mean of true cosines, and in its parts as well.
    The texts are encoded anew, about 10 ms each: nothing more is stored. To be called within `as_user`.
    """
    best = list(hits[:top])
    if not best or question.token_vectors is None:
        return tuple(hits)
    weights = _weights(session, query, question)
    values = {"user_id": query.user_id, "asked_at": query.asked_at or END_OF_TIME}
    rows = session.execute(_TEXTS, values | {"ids": [hit.passage_id for hit in best]})
    known = {row.passage_id: (row.content, row.before or "") for row in rows}
    said = [known[hit.passage_id][0] for hit in best]
    asked = {before: _vectors(before, model, QUESTION) for _, before in known.values() if QUESTION.search(before)}
    found = []
    for hit, text_of in zip(best, said, strict=True):
        matrices = [_vectors(text_of, model, EVERYTHING)]
        if (before := known[hit.passage_id][1]) in asked:
            matrices.append(asked[before])
        late = float(weights @ (question.token_vectors @ np.concatenate(matrices).T).max(axis=1))
        change = weight * (late - hit.parts.get("late", 0.0))
        found.append(replace(hit, score=hit.score + change, parts={**hit.parts, "late": late, "z:late": weight * late}))
    found.sort(key=lambda hit: (-hit.score, hit.passage_id))
    return tuple(replace(hit, rank=rank) for rank, hit in enumerate((*found, *hits[top:]), 1))


def _vectors(said: str, model: str, pattern: re.Pattern[str]) -> Vectors:
    """The vectors of the tokens of words in the parts of a text that match; shape (tokens, dim), a row at the least."""
    found = load_embedder(model).token_embeddings([said])[0]
    spans = [match.span() for match in pattern.finditer(said)]
    inside = [
        any(first <= start < last for first, last in spans) and WORD.search(token) is not None
        for token, (start, _) in zip(found.tokens, found.offsets, strict=True)
    ]
    return found.vectors[inside] if any(inside) else np.zeros((1, found.vectors.shape[1]), np.float32)


def _weights(session: Session, query: Query, question: Question) -> NDArray[np.float64]:
    """The share of each token of the question, by the rarity of its word; words that are not indexed have none."""
    values = {"language": query.language, "user_id": query.user_id, "words": sorted(set(question.words))}
    frequencies = {row.word: row.df for row in session.execute(_FREQUENCIES, values)}
    s = lexical_statistics
    n = session.scalar(select(func.coalesce(func.sum(s.c.passages), 0)).where(s.c.user_id == query.user_id)) or 0
    rarity = [
        0.0 if (df := frequencies[word]) is None else float(np.sqrt(np.log(1 + (n - df + 0.5) / (df + 0.5))))
        for word in question.words
    ]
    total = sum(rarity)
    return np.array([share / total for share in rarity]) if total else np.zeros(len(rarity))
