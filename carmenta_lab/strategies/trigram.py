"""Does spelling find what stems miss: names half remembered, typing errors, parts of compounds?"""

from carmenta_lab.retrieval.trigram import TrigramSearch

STRATEGY = TrigramSearch()
