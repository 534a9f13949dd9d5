"""How is any other fastembed model had by its name?"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches

import numpy as np
from fastembed import TextEmbedding
from loguru import logger
from tokenizers import Tokenizer

from carmenta_lab.embedding.embedder import Embedder, Vectors
from carmenta_lab.errors import EmbeddingError, UsageError
from carmenta_lab.settings import read_settings


class UnknownModel(EmbeddingError, UsageError):
    """Raised for a name that is no model; the message suggests the nearest name."""

    def __init__(self, got: str, known: list[str]) -> None:
        folded = {name.lower(): name for name in known} | {name.split("/")[-1].lower(): name for name in known}
        near = get_close_matches(got.lower(), folded, n=1, cutoff=0)
        nearest = f"the nearest is {folded[near[0]]!r}" if near else "none is known"
        super().__init__(
            f"unknown embedding model {got!r}: {nearest}, and fastembed.TextEmbedding.list_supported_models() "
            "names all."
        )


def load(name: str, bundled: str) -> Embedder:
    """The fastembed model of that name, from its cache or by download; EmbeddingError when neither works."""
    known = {model["model"].lower(): model for model in TextEmbedding.list_supported_models()}
    if name.lower() not in known:
        raise UnknownModel(name, [bundled, *(model["model"] for model in known.values())])
    described = known[name.lower()]
    model = _fetch(described["model"], _folder())
    tokenizer: Tokenizer = vars(model.model)["tokenizer"]  # every text model has one; its base class does not say so

    def encode(texts: list[str], _ids: list[list[int]]) -> Vectors:
        return np.array(list(model.passage_embed(texts)), np.float32)

    def encode_query(text: str) -> Vectors:
        return np.asarray(next(iter(model.query_embed(text))), np.float32)

    return Embedder(described["model"], described["dim"], tokenizer, encode, encode_query)


def cached(name: str) -> bool:
    """Whether this is a model of fastembed that lies in its cache."""
    known = {model["model"].lower(): model["model"] for model in TextEmbedding.list_supported_models()}
    if name.lower() not in known:
        return False
    with _quiet():
        try:
            TextEmbedding(known[name.lower()], cache_dir=_folder(), local_files_only=True, lazy_load=True)
        except Exception:  # in whatever way fastembed says so
            return False
    return True


def _folder() -> str:
    return os.environ.get("FASTEMBED_CACHE_PATH") or str(read_settings().home_folder / "models")


def _fetch(name: str, folder: str) -> TextEmbedding:
    with _quiet():
        try:
            return TextEmbedding(name, cache_dir=folder, local_files_only=True)
        except Exception:  # not in the cache, in whatever way fastembed says so
            try:
                return TextEmbedding(name, cache_dir=folder)
            except Exception as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise EmbeddingError(
                    f"the embedding model {name} is not in {folder} and could not be downloaded ({reason}); "
                    "connect to the network once, or set FASTEMBED_CACHE_PATH to a folder that holds it."
                ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """What fastembed logs is said by our error instead."""
    logger.disable("fastembed")
    try:
        yield
    finally:
        logger.enable("fastembed")
