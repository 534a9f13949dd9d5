"""Do rare words find the evidence, in a message or in the question that it answers?"""

from carmenta_lab.retrieval.bm25 import BM25

STRATEGY = BM25(view="answer")
