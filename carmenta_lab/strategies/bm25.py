"""Do rare words find the evidence, in a message or in the question it answers, when the ranking knows which are rare?"""

from carmenta_lab.retrieval.bm25 import BM25

STRATEGY = BM25(view="answer")
