"""How good is a run, and how sure is that? Pure functions over qrels and rankings.

scores = score(qrels, run, [parse("ndcg@10"), parse("recall@10")])
interval([s.value for s in scores if s.measure == "ndcg@10"], seed=7)
"""

from carmenta_lab.evaluation.bootstrap import holm, interval, paired
from carmenta_lab.evaluation.measures import (
    Measure,
    average_precision,
    ndcg,
    parse,
    recall,
    reciprocal_rank,
    success,
)
from carmenta_lab.evaluation.scoring import score, unjudged

__all__ = [
    "Measure",
    "average_precision",
    "holm",
    "interval",
    "ndcg",
    "paired",
    "parse",
    "recall",
    "reciprocal_rank",
    "score",
    "success",
    "unjudged",
]
