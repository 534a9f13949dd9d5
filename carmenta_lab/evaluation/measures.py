"""How good is the ranking of one query?

Every measure takes the judged relevances and the ranked sources, best first, and gives 0 to 1; 0 when
nothing is relevant or nothing was retrieved. Relevance above 0 is relevant; a source without judgement is not.
A ranking that names a source twice, or k below 1, is a UsageError.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, log2
from uuid import UUID

from carmenta_lab.errors import UnknownName, UsageError


def ndcg(judged: Mapping[UUID, int], sources: Sequence[UUID], k: int) -> float:
    """Discounted gain of the top `k` over that of the best order: gain = relevance, discount = log2(rank + 1).

    Järvelin and Kekäläinen 2002 with the discount of trec_eval; the best order is over all judged sources.
    """
    gains = [judged.get(source, 0) for source in _top(sources, k)]
    ideal = _discounted(sorted(judged.values(), reverse=True)[:k])
    return _discounted(gains) / ideal if ideal else 0.0


def recall(judged: Mapping[UUID, int], sources: Sequence[UUID], k: int) -> float:
    """Share of the relevant sources found in the top `k`."""
    relevant = _relevant(judged)
    return len(relevant.intersection(_top(sources, k))) / len(relevant) if relevant else 0.0


def success(judged: Mapping[UUID, int], sources: Sequence[UUID], k: int) -> float:
    """1 when any relevant source is in the top `k`, else 0."""
    return float(not _relevant(judged).isdisjoint(_top(sources, k)))


def reciprocal_rank(judged: Mapping[UUID, int], sources: Sequence[UUID], k: int | None = None) -> float:
    """1 / rank of the first relevant source, 0 when none is in the top `k` (None: anywhere)."""
    relevant = _relevant(judged)
    ranks = (rank for rank, source in enumerate(_top(sources, k), 1) if source in relevant)
    return 1 / rank if (rank := next(ranks, 0)) else 0.0


def average_precision(judged: Mapping[UUID, int], sources: Sequence[UUID], k: int | None = None) -> float:
    """Precision at each relevant source in the top `k` (None: anywhere), over the number of all relevant."""
    relevant = _relevant(judged)
    ranks = [rank for rank, source in enumerate(_top(sources, k), 1) if source in relevant]
    return fsum(found / rank for found, rank in enumerate(ranks, 1)) / len(relevant) if relevant else 0.0


_WITH_CUTOFF: Mapping[str, Callable[[Mapping[UUID, int], Sequence[UUID], int], float]] = {
    "ndcg": ndcg,
    "recall": recall,
    "success": success,
}
_CUTOFF_OPTIONAL: Mapping[str, Callable[[Mapping[UUID, int], Sequence[UUID], int | None], float]] = {
    "mrr": reciprocal_rank,
    "ap": average_precision,
}


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure with its cut-off: `str()` gives its name, a call gives its value for one query."""

    kind: str  # "ndcg", "recall", "success", "mrr" or "ap"
    k: int | None = None  # rank after which nothing counts; None: the whole ranking

    def __post_init__(self) -> None:
        if self.kind not in _WITH_CUTOFF and self.kind not in _CUTOFF_OPTIONAL:
            raise UnknownName("measure", self.kind, [*_WITH_CUTOFF, *_CUTOFF_OPTIONAL])
        if self.k is None and self.kind in _WITH_CUTOFF:
            raise UsageError(f"the measure {self.kind!r} needs a cut-off: write {self.kind}@10, for example.")
        _check_k(self.k)

    def __str__(self) -> str:
        return self.kind if self.k is None else f"{self.kind}@{self.k}"

    def __call__(self, judged: Mapping[UUID, int], sources: Sequence[UUID]) -> float:
        """The value for one query."""
        if self.k is not None and self.kind in _WITH_CUTOFF:
            return _WITH_CUTOFF[self.kind](judged, sources, self.k)
        return _CUTOFF_OPTIONAL[self.kind](judged, sources, self.k)


def parse(name: str) -> Measure:
    """The measure of a name: ndcg@k, recall@k, success@k, mrr, mrr@k, ap or ap@k, with k from 1."""
    kind, at, cutoff = name.partition("@")
    if at and not re.fullmatch(r"[0-9]{1,9}", cutoff):
        raise UsageError(f"measure {name!r}: a whole number from 1 is expected after the @, not {cutoff!r}.")
    return Measure(kind, int(cutoff) if at else None)


def _relevant(judged: Mapping[UUID, int]) -> set[UUID]:
    return {source for source, relevance in judged.items() if relevance > 0}


def _discounted(gains: Sequence[int]) -> float:
    return fsum(max(gain, 0) / log2(rank + 1) for rank, gain in enumerate(gains, 1))


def _top(sources: Sequence[UUID], k: int | None) -> Sequence[UUID]:
    _check_k(k)
    if len(set(sources)) < len(sources):
        twice = next(source for place, source in enumerate(sources) if source in sources[:place])
        raise UsageError(f"a ranking names each source once, but {twice} is in it twice.")
    return sources[:k]


def _check_k(k: int | None) -> None:
    if k is not None and k < 1:
        raise UsageError(f"k must be at least 1, not {k}.")
