"""One SELECT per retriever, and the place where it is executed."""

from carmenta_lab.retrieval.search import search

__all__ = ["search"]
