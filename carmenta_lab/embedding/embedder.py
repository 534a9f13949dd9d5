"""What can be asked of a loaded model? Unit vectors, token counts, chunks that fit, and token vectors."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from carmenta_lab.embedding import splitting
from carmenta_lab.errors import DimensionMismatch, EmbeddingError, UsageError

Vectors: TypeAlias = NDArray[np.float32]

BLOCK_TEXTS = 4096  # tokenised and sorted at a time, so that memory stays bounded
BATCH_TOKENS = 1024  # rows x longest row: what fits the processor's cache is fastest
MIN_CHUNK_TOKENS = 8  # one character may be several tokens


@dataclass(frozen=True, slots=True)
class TokenEmbeddings:
    """The tokens of one text with their vectors, special tokens left out, truncated at `max_tokens`."""

    tokens: list[str]  # word pieces: "lisbon", "##s"
    offsets: list[tuple[int, int]]  # text[start:end] is what the token was made of
    vectors: Vectors  # (tokens, dim), unit rows


class Embedder:
    """A model with its tokenizer; made by `load_embedder`.

    `max_tokens` is how much of a text the model reads, in the unit of `count_tokens`: special tokens are
    taken off already. What is beyond is cut off, so `split` long texts first.
    """

    def __init__(
        self,
        name: str,
        dim: int,
        tokenizer: Tokenizer,
        encode: Callable[[list[str], list[list[int]]], Vectors],
        encode_query: Callable[[str], Vectors] | None = None,
        encode_both: Callable[[list[list[int]]], tuple[Vectors, Vectors]] | None = None,
    ) -> None:
        self.name = name
        self.dim = dim
        self._encode = encode
        self._encode_query = encode_query
        self._encode_both = encode_both
        self._limited = Tokenizer.from_str(tokenizer.to_str())
        self._limited.no_padding()
        self._whole = Tokenizer.from_str(self._limited.to_str())
        self._whole.no_truncation()
        limit = (tokenizer.truncation or {}).get("max_length", sys.maxsize)
        self.max_tokens: int = limit - tokenizer.num_special_tokens_to_add(is_pair=False)

    def __repr__(self) -> str:
        return f"Embedder({self.name!r}, dim={self.dim}, max_tokens={self.max_tokens})"

    def embed(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        """Unit vectors of the texts, float32 of shape (len(texts), dim), in their order.

        A text's vector depends on its batch only by rounding: about 1e-6 a component, cosine above 0.99999.
        `progress` is called with the number of texts finished since its last call. A blank text is a
        UsageError; a vector that is zero or not finite is an EmbeddingError.
        """
        _refuse_single(texts)
        vectors = np.empty((len(texts), self.dim), np.float32)
        for rows, ids in self._batches(texts):
            batch = self._encode([texts[row] for row in rows], ids)
            vectors[rows] = unit_rows(self._shaped(batch), rows, self.name)
            if progress is not None:
                progress(len(rows))
        return vectors

    def embed_query(self, text: str) -> Vectors:
        """Unit vector of a question, shape (dim,); some models embed questions otherwise than texts."""
        if self._encode_query is None:
            vectors = self.embed([text])
        else:
            self._tokenise([text], first=0)
            vectors = unit_rows(self._shaped(self._encode_query(text)[None, :]), [0], self.name)
        return vectors.reshape(self.dim)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text, special tokens and truncation left out; 0 for a blank text."""
        _refuse_single(texts)
        return [len(encoding.ids) for encoding in _encodings(self._whole, texts, special=False)]

    def split(self, text: str, max_tokens: int | None = None, overlap: int = 0) -> list[str]:
        """Chunks of at most `max_tokens` tokens that together hold the whole text; none for a blank one.

        A chunk ends where a sentence or line ends in its last quarter, else between words; a word is cut only
        when it does not fit by itself. A chunk repeats up to `overlap` tokens of the one before it.
        """
        limit = self.max_tokens if max_tokens is None else max_tokens
        if not MIN_CHUNK_TOKENS <= limit <= self.max_tokens:
            raise UsageError(f"max_tokens must be {MIN_CHUNK_TOKENS} to {self.max_tokens}, not {limit}.")
        if not 0 <= overlap <= limit // 2:
            raise UsageError(f"overlap must be 0 to {limit // 2}, half of max_tokens, not {overlap}.")
        encoding = next(_encodings(self._whole, [text], special=False))
        if len(encoding.ids) <= limit:
            return [text.strip()] if text.strip() else []

        def fits(chunk: str) -> bool:
            return self.count_tokens([chunk])[0] <= limit

        return splitting.split(text, encoding.offsets, limit, overlap, fits)

    def token_embeddings(self, texts: Sequence[str]) -> list[TokenEmbeddings]:
        """Tokens and their unit vectors, one value a text; EmbeddingError for a model that hides them."""
        return self.embed_tokens(texts)[1]

    def embed_tokens(
        self, texts: Sequence[str], progress: Callable[[int], object] | None = None
    ) -> tuple[Vectors, list[TokenEmbeddings]]:
        """What `embed` and `token_embeddings` give, for the price of one of them; raises what they raise."""
        _refuse_single(texts)
        if self._encode_both is None:
            raise EmbeddingError(f"{self.name} gives no vectors of single tokens; use the bundled model.")
        whole = np.empty((len(texts), self.dim), np.float32)
        found: dict[int, TokenEmbeddings] = {}
        for rows, ids in self._batches(texts):
            batch, matrices = self._encode_both(ids)
            whole[rows] = unit_rows(self._shaped(batch), rows, self.name)
            encodings = _encodings(self._limited, [texts[row] for row in rows], special=True)
            for row, encoding, matrix in zip(rows, encodings, matrices, strict=True):
                kept = [i for i, special in enumerate(encoding.special_tokens_mask) if not special]
                vectors = unit_rows(matrix[kept], [row] * len(kept), self.name)
                tokens, offsets = encoding.tokens, encoding.offsets
                found[row] = TokenEmbeddings([tokens[i] for i in kept], [offsets[i] for i in kept], vectors)
            if progress is not None:
                progress(len(rows))
        return whole, [found[row] for row in range(len(texts))]

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Row numbers and token ids of texts of like length, longest first within a block."""
        for start in range(0, len(texts), BLOCK_TEXTS):
            ids = self._tokenise(texts[start : start + BLOCK_TEXTS], start)
            order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
            while order:
                count = max(1, BATCH_TOKENS // len(ids[order[0]]))
                batch, order = order[:count], order[count:]
                yield [start + row for row in batch], [ids[row] for row in batch]

    def _tokenise(self, texts: Sequence[str], first: int) -> list[list[int]]:
        encodings = list(_encodings(self._limited, texts, special=True, first=first))
        for row, encoding in enumerate(encodings):
            if all(encoding.special_tokens_mask):
                raise UsageError(f"text {first + row} is blank: there is nothing to embed; leave it out.")
        return [encoding.ids for encoding in encodings]

    def _shaped(self, vectors: Vectors) -> Vectors:
        if vectors.shape[1] != self.dim:
            raise DimensionMismatch(self.dim, vectors.shape[1], self.name)
        return vectors


def unit_rows(vectors: Vectors, indices: Sequence[int], source: str) -> Vectors:
    """The rows at unit length; EmbeddingError names the first of `indices` whose row is zero or not finite."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 1e-6)))
    if bad.size:
        found = "a zero vector" if np.isfinite(lengths[bad[0], 0]) else "numbers that are not finite"
        raise EmbeddingError(f"{source} gave {found} for text {indices[bad[0]]}; change or leave out the text.")
    unit: Vectors = np.divide(vectors, lengths).astype(np.float32)
    return unit


def _encodings(tokenizer: Tokenizer, texts: Sequence[str], special: bool, first: int = 0) -> Iterator[Encoding]:
    for start in range(0, len(texts), BLOCK_TEXTS):
        block = list(texts[start : start + BLOCK_TEXTS])
        for row, text in enumerate(block, first + start):
            if not isinstance(text, str):
                raise UsageError(f"text {row} is a {type(text).__name__}; a string is expected.")
            if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
                raise UsageError(f"text {row} holds half a surrogate pair, which is no character; remove it.")
        yield from tokenizer.encode_batch(block, add_special_tokens=special)


def _refuse_single(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise UsageError("a list of texts is expected, not one text; put it in a list.")
