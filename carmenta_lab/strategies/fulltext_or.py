"""Is one shared word enough, when the ranking counts the rest?"""

from carmenta_lab.retrieval.fulltext import FullTextSearch

STRATEGY = FullTextSearch(match="any")
