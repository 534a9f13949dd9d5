"""Does the graph lose anything when it holds the vectors in half precision, at little more than half the size?"""

from carmenta_lab.retrieval.vector import VectorSearch

STRATEGY = VectorSearch(index="halfvec")
