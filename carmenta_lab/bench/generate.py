"""Seeded rows for measuring speed at any scale. Never for quality: the words mean nothing."""

import json
import re
from collections.abc import Iterator
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


@cache
def _words() -> list[str]:
    """English words, the commonest first: those that the bundled model's vocabulary holds whole."""
    vocabulary = Tokenizer.from_file(str(resources.bundled_model() / "tokenizer.json")).get_vocab()
    return [word for word, _ in sorted(vocabulary.items(), key=itemgetter(1)) if WORD.fullmatch(word)][:WORDS]


def texts(rows: int, seed: int) -> Iterator[str]:
    """Texts of 5 to 45 words, their frequencies by Zipf's law; the same for the same seed."""
    generator = np.random.default_rng(seed)
    words = _words()
    for _ in range(rows):
        count = int(generator.integers(5, 46))
        yield " ".join(words[i] for i in (generator.zipf(1.3, count) - 1) % WORDS)


def write_folder(folder: Path, rows: int, users: int = 10, seed: int = 7) -> None:
    """A dataset folder of that many messages in conversations of 40, spread evenly over users."""
    start = datetime(2025, 1, 1, tzinfo=UTC)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "messages.jsonl").open("w", encoding="utf-8") as file:
        for i, text in enumerate(texts(rows, seed)):
            conversation = i // TURNS
            line = {
                "message_id": f"m{i}",
                "conversation_id": f"c{conversation}",
                "user_id": f"u{conversation % users}",
                "role": "assistant" if i % 2 else "user",
                "author": "Carmenta" if i % 2 else "Ann",
                "created_at": (start + timedelta(minutes=i)).isoformat(),
                "text": text,
            }
            file.write(json.dumps(line) + "\n")


def vectors(rows: int, dim: int, seed: int, centres: int = 100) -> NDArray[np.float32]:
    """Unit vectors around `centres` topics, shape (rows, dim): uniform ones would have no neighbours to find."""
    generator = np.random.default_rng(seed)
    middle = generator.normal(size=(centres, dim))
    found = middle[generator.integers(0, centres, rows)] + 0.7 * generator.normal(size=(rows, dim))
    unit: NDArray[np.float64] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit.astype(np.float32)
