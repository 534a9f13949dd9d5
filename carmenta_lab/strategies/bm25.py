"""Do rare words find the evidence, when the ranking knows which words are rare?"""

from carmenta_lab.retrieval.bm25 import BM25

STRATEGY = BM25()
