"""Do meaning and BM25, fused by their ranks, stay fast where a user's vectors are many and are searched by a graph?"""

from carmenta_lab.retrieval.bm25 import BM25
from carmenta_lab.retrieval.fusion import ReciprocalRankFusion
from carmenta_lab.retrieval.vector import FUSED_UP_TO, VectorSearch

STRATEGY = ReciprocalRankFusion(
    parts=(("vector", VectorSearch(index="halfvec", exact_up_to=FUSED_UP_TO)), ("words", BM25(view="answer"))),
)
