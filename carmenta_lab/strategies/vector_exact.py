"""Does nearness in meaning find the evidence? All vectors of the user, no index: the baseline of every other."""

from carmenta_lab.retrieval.vector import VectorSearch

STRATEGY = VectorSearch()
