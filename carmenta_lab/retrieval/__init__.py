"""One SELECT per retriever, the place where it is executed, and the texts of what was found."""

from carmenta_lab.retrieval.search import search
from carmenta_lab.retrieval.texts import with_texts

__all__ = ["search", "with_texts"]
