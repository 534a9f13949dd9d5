"""Does word overlap rescue the names and codes that embeddings blur?"""

from carmenta_lab.retrieval.fulltext import FullTextSearch
from carmenta_lab.retrieval.fusion import ReciprocalRankFusion
from carmenta_lab.retrieval.vector import VectorSearch

STRATEGY = ReciprocalRankFusion(parts=(("vector", VectorSearch()), ("fulltext", FullTextSearch(match="any"))))
