"""Do words and meaning help each other, when their scores are brought to one scale instead of their ranks?"""

from carmenta_lab.retrieval.bm25 import BM25
from carmenta_lab.retrieval.vector import VectorSearch
from carmenta_lab.retrieval.zscore import ZScoreFusion

STRATEGY = ZScoreFusion(parts=(("vector", VectorSearch()), ("words", BM25(view="answer"))))
