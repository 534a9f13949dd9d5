"""How does a text become a unit vector? With the bundled model, or any fastembed model by name.

embedder = load_embedder()                      # offline, from package data
embedder.embed(["I moved to Lisbon.", "ok"])    # float32, shape (2, 384), unit length
"""

from functools import cache
from threading import Lock

from carmenta_lab.embedding.embedder import Embedder, TokenEmbeddings

__all__ = ["DEFAULT_MODEL", "Embedder", "TokenEmbeddings", "at_hand", "load_embedder"]

DEFAULT_MODEL = "all-MiniLM-L6-v2"

_loading = Lock()


def load_embedder(name: str = DEFAULT_MODEL) -> Embedder:
    """The embedder of that name, loaded once per process; EmbeddingError when it cannot be had.

    The bundled model never touches the network. Another fastembed model is taken from the cache
    (`FASTEMBED_CACHE_PATH`, else `models` in the home folder) and downloaded when it is not there.
    """
    with _loading:
        return _load(name)


def at_hand(name: str) -> bool:
    """Whether `load_embedder` can load this model without a network."""
    if name == DEFAULT_MODEL:
        return True
    from carmenta_lab.embedding import catalogue

    return catalogue.cached(name)


@cache
def _load(name: str) -> Embedder:
    if name == DEFAULT_MODEL:
        from carmenta_lab.embedding import bundled

        return bundled.load(name)
    from carmenta_lab.embedding import catalogue

    return catalogue.load(name, bundled=DEFAULT_MODEL)
