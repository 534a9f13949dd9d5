"""Does a graph index find the same neighbours sooner, where a user's vectors are many?"""

from carmenta_lab.retrieval.vector import VectorSearch

STRATEGY = VectorSearch(index="hnsw")
