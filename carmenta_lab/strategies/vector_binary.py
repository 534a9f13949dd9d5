"""Are the signs of the dimensions enough to find candidates, a sixth of the size, when the vectors rank them?"""

from carmenta_lab.retrieval.vector import VectorSearch

STRATEGY = VectorSearch(index="binary")
