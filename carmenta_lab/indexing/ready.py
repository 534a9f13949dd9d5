"""What a source becomes, made without a database: passages, their vectors, the vectors of their tokens."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from carmenta_lab.embedding import DEFAULT_MODEL, load_embedder
from carmenta_lab.embedding.embedder import TokenEmbeddings
from carmenta_lab.ids import passage_key
from carmenta_lab.indexing.passages import pieces
from carmenta_lab.indexing.sources import UNITS, Source

NOTHING: frozenset[UUID] = frozenset()


class CutPassage(NamedTuple):
    """A passage of a source, cut and not yet written; anything that differs in it gives another id."""

    id: UUID
    ordinal: int
    content: str
    source: Source

    @property
    def unit(self) -> str:
        """The unit of the passage: turn, memory or section."""
        return UNITS[self.source.kind]


class PreparedSources(NamedTuple):
    """Sources with everything that is to be written of them: passages, vectors and vectors of tokens."""

    sources: tuple[Source, ...]
    passages: tuple[CutPassage, ...]  # of all of them, in their order
    embedded: tuple[CutPassage, ...]  # those that the vectors are of
    vectors: Mapping[str, NDArray[np.floating]]  # model -> a row for each of these
    tokens: Sequence[TokenEmbeddings] | None  # one for each of these; None when the bundled model was not asked

    def only(self, sources: Collection[Source]) -> "PreparedSources":
        """What belongs to some of the sources."""
        if len(sources) == len(self.sources):
            return self
        rows = [row for row, passage in enumerate(self.embedded) if passage.source in sources]
        return PreparedSources(
            tuple(each for each in self.sources if each in sources),
            tuple(passage for passage in self.passages if passage.source in sources),
            tuple(self.embedded[row] for row in rows),
            {model: vectors[rows] for model, vectors in self.vectors.items()},
            None if self.tokens is None else [self.tokens[row] for row in rows],
        )


def cut(sources: Iterable[Source]) -> list[CutPassage]:
    """The passages of these sources, in their order; best called with many, because the tokenizer is slow with one."""
    every = list(sources)
    found = []
    for one, texts in zip(every, pieces([(each.head, each.text) for each in every]), strict=True):
        beside = one.created_at, one.author, one.language
        for n, text in enumerate(texts):
            key = passage_key(one.id.bytes, UNITS[one.kind], n, text, *beside)
            found.append(CutPassage(UUID(bytes=key), n, text, one))
    return found


def make_ready(
    sources: Sequence[Source],
    models: Sequence[str] = (DEFAULT_MODEL,),
    known: Collection[UUID] = NOTHING,
    given: Mapping[str, NDArray[np.floating]] | None = None,
) -> PreparedSources:
    """Cut sources into passages and embed them; passages in `known` have their vectors and are not embedded again.

    `given` are vectors that are at hand by model, a row for each passage; their models are not asked. The bundled model
    gives the vectors of tokens in the same run, so that codes cost nothing more.
    """
    passages = cut(sources)
    new = [passage for passage in passages if passage.id not in known]
    vectors: dict[str, NDArray[np.floating]] = dict(given or {})
    tokens: Sequence[TokenEmbeddings] | None = None
    texts = [passage.content for passage in new]
    for model in models:
        if model in vectors or not texts:
            continue
        if model == DEFAULT_MODEL:
            vectors[model], tokens = load_embedder(model).embed_tokens(texts)
        else:
            vectors[model] = load_embedder(model).embed(texts)
    return PreparedSources(tuple(sources), tuple(passages), tuple(new), vectors, tokens)
