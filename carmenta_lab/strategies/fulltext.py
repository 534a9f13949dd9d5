"""Do the passages that hold every word of the question hold its answer? What a search box does."""

from carmenta_lab.retrieval.fulltext import FullTextSearch

STRATEGY = FullTextSearch(match="all")
