"""Seeded rows for measuring speed at any scale. Never for quality: the words mean nothing.

Any number of rows, streamed in blocks that depend on the seed and their own number alone: the same bytes for the same
seed, and a longer run begins with the shorter one.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from carmenta_lab import resources

WORDS = 15_000
WORD = re.compile("[a-z]{2,}")
TURNS = 40
"""Messages a conversation."""
CONVERSATIONS = 100
"""Conversations a block."""
TOPICS = 200
FAVOURITES = 5
"""Topics of one user; four conversations in five are about one of them."""
SKEW = 0.8
"""Users are busy by a power law of this exponent: of ten, the first says 27 % and the last 4 %."""
START = datetime(2025, 1, 1, tzinfo=UTC)
MINUTES = 365 * 24 * 60
DIM = 384
"""Of vectors unless told: as long as those of the bundled model."""
BLOCK_VECTORS = 10_000


@dataclass(frozen=True)
class Block:
    """Up to 4,000 consecutive rows: conversations of 40 messages, each of one user and about one topic."""

    first: int  # number of the first row
    users: NDArray[np.int64]  # of each row, from 0
    topics: NDArray[np.int64]
    texts: list[str]
    times: list[datetime]


@cache
def _words() -> list[str]:
    """English words, the commonest first: those that the bundled model's vocabulary holds whole."""
    vocabulary = Tokenizer.from_file(str(resources.bundled_model() / "tokenizer.json")).get_vocab()
    return [word for word, _ in sorted(vocabulary.items(), key=itemgetter(1)) if WORD.fullmatch(word)][:WORDS]


def sentence(generator: np.random.Generator, topic: int) -> str:
    """5 to 45 words by Zipf's law; every third is drawn from the order of words that the topic has."""
    words = _words()
    found = generator.zipf(1.3, int(generator.integers(5, 46))) - 1
    found[::3] += 1 + topic * (WORDS // TOPICS)
    return " ".join(words[i] for i in found % WORDS)


@cache
def _shares() -> NDArray[np.float64]:
    """What the words up to each make of all that is said, by Zipf's law: the first hundred are half of it."""
    shares = 1 / np.arange(1, WORDS + 1)
    found: NDArray[np.float64] = np.cumsum(shares / shares.sum())
    return found


def said(generator: np.random.Generator, topic: int, words: int | None = None) -> str:
    """What people say, for measuring searches by words: as many stop words, rare ones and repetitions as in English.

    That many words, or as many as turns of a chat have: half of the turns fewer than 28, at most 130, 32 on average.
    Every sixth word is drawn from the order of words that the topic has. A `sentence` has stop words for the most part.
    """
    length = words or int(min(130, max(3, generator.lognormal(np.log(28), 0.6))))
    found = np.searchsorted(_shares(), generator.random(length))
    found[::6] += topic * (WORDS // TOPICS)
    known = _words()
    return " ".join(known[i] for i in found % WORDS)


def texts(rows: int, seed: int) -> Iterator[str]:
    """Texts of 5 to 45 words, their frequencies by Zipf's law; the same for the same seed."""
    generator = np.random.default_rng(seed)
    for row in range(rows):
        yield sentence(generator, row // TURNS % TOPICS)


def favourites(user: int, seed: int) -> NDArray[np.int64]:
    """The topics of a user."""
    return np.random.default_rng([seed, 1, user]).integers(0, TOPICS, FAVOURITES)


def blocks(rows: int, users: int, seed: int = 7) -> Iterator[Block]:
    """That many rows over a year, by users of skewed activity with topics of their own."""
    busy = np.arange(1, users + 1) ** -SKEW
    busy /= busy.sum()
    size = TURNS * CONVERSATIONS
    for number, first in enumerate(range(0, rows, size)):
        generator = np.random.default_rng([seed, 2, number])
        who = generator.choice(users, CONVERSATIONS, p=busy)
        own = generator.integers(0, FAVOURITES, CONVERSATIONS)
        other = generator.integers(0, TOPICS, CONVERSATIONS)
        liked = np.array([favourites(int(user), seed)[place] for user, place in zip(who, own, strict=True)])
        what = np.where(generator.random(CONVERSATIONS) < 0.8, liked, other)
        begun = generator.integers(0, MINUTES, CONVERSATIONS)
        count = min(size, rows - first)
        every = np.repeat(np.arange(CONVERSATIONS), TURNS)[:count]
        times = [START + timedelta(minutes=int(begun[c]) + row % TURNS) for row, c in enumerate(every)]
        said = [sentence(generator, int(topic)) for topic in what[every]]
        yield Block(first, who[every], what[every], said, times)


def write_folder(folder: Path, rows: int, users: int = 10, seed: int = 7) -> None:
    """A dataset folder of that many messages in conversations of 40, by users of skewed activity."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "messages.jsonl").open("w", encoding="utf-8") as file:
        for block in blocks(rows, users, seed):
            for i, (user, text, when) in enumerate(
                zip(block.users, block.texts, block.times, strict=True), start=block.first
            ):
                line = {
                    "message_id": f"m{i}",
                    "conversation_id": f"c{i // TURNS}",
                    "user_id": f"u{user}",
                    "role": "assistant" if i % 2 else "user",
                    "author": "Carmenta" if i % 2 else "Ann",
                    "created_at": when.isoformat(),
                    "text": text,
                }
                file.write(json.dumps(line) + "\n")


def write_vectors(folder: Path, rows: int, seed: int, model: str) -> None:
    """Vectors for the messages of a folder, as a dataset brings them along; written a block at a time."""
    path = folder / "embeddings" / f"{model}.npy"
    path.parent.mkdir()
    found = np.lib.format.open_memmap(path, "w+", np.float16, (rows, DIM))
    for start in range(0, rows, BLOCK_VECTORS):
        count = min(BLOCK_VECTORS, rows - start)
        found[start : start + count] = vectors(count, DIM, seed + start)
    found.flush()


@cache
def _centres(dim: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng([seed, 3]).standard_normal((TOPICS, dim), dtype=np.float32)


def near(topics: NDArray[np.int64], dim: int, seed: int, stream: int) -> NDArray[np.float32]:
    """Unit vectors around the centres of topics, shape (rows, dim); `stream` numbers independent draws."""
    noise = np.random.default_rng([seed, 4, stream]).standard_normal((len(topics), dim), dtype=np.float32)
    found = _centres(dim, seed)[topics] + np.float32(0.7) * noise
    unit: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


def vectors(rows: int, dim: int, seed: int, stream: int = 0) -> NDArray[np.float32]:
    """Unit vectors around topics drawn evenly, shape (rows, dim): uniform ones would have no neighbours to find."""
    return near(np.random.default_rng([seed, 5, stream]).integers(0, TOPICS, rows), dim, seed, stream)
