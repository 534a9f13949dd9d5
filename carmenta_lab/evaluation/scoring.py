"""How good is every query of a run?"""

from collections.abc import Sequence

from carmenta_lab.evaluation.measures import Measure
from carmenta_lab.records import Qrels, Run, Score


def score(qrels: Qrels, run: Run, measures: Sequence[Measure]) -> list[Score]:
    """One score for every judged query and measure, in the order of the qrels.

    The qrels decide, not the run: a query the run did not answer scores 0. A query without a relevant source
    is left out (see `unjudged`), and so is what the run answered beyond the qrels.
    """
    scores = []
    for query_id, judged in qrels.items():
        if not any(relevance > 0 for relevance in judged.values()):
            continue
        ranking = run.rankings.get(query_id)
        sources = ranking.sources() if ranking is not None else []
        scores += [Score(query_id, str(measure), measure(judged, sources)) for measure in measures]
    return scores


def unjudged(qrels: Qrels) -> int:
    """Number of queries without any relevant source, which no ranking measure can tell apart."""
    return sum(not any(relevance > 0 for relevance in judged.values()) for judged in qrels.values())
