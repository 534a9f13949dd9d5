"""Do the vectors of single words, compared one by one, find what one vector of the whole blurs?"""

from carmenta_lab.retrieval.evidence import Evidence
from carmenta_lab.retrieval.signals import Late

STRATEGY = Evidence(signals=(Late(),))
