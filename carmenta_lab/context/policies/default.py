"""Is it enough to show the profile, the last 50 messages (10 of them in full) and what is remembered, in that order?"""

from carmenta_lab.context.policy import Policy
from carmenta_lab.retrieval.fulltext import FullTextSearch
from carmenta_lab.retrieval.fusion import ReciprocalRankFusion
from carmenta_lab.retrieval.vector import VectorSearch
from carmenta_lab.strategies.hybrid_rrf import STRATEGY as EVERYTHING

POLICY = Policy(
    memories=ReciprocalRankFusion(
        parts=(
            ("vector", VectorSearch(units=("memory",))),
            ("fulltext", FullTextSearch(match="any", units=("memory",))),
        )
    ),
    passages=EVERYTHING,
)
