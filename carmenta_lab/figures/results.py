"""What do the figures of a comparison share? The rows of one measure, its name, and the line of circumstances."""

from typing import NamedTuple

from carmenta_lab.errors import UnknownName
from carmenta_lab.experiment import Comparison
from carmenta_lab.figures.page import counted, safe

_SPELT = {"ndcg": "nDCG", "recall": "Recall", "success": "Success", "mrr": "MRR", "ap": "average precision"}


class Mean(NamedTuple):
    """One strategy by one measure, with its 95 % interval."""

    strategy: str
    mean: float
    low: float
    high: float


def spelt(measure: str) -> str:
    """The measure as the field writes it: "nDCG@10"."""
    name, at, depth = measure.partition("@")
    return _SPELT.get(name, name) + at + depth


def of_measure(comparison: Comparison, measure: str) -> list[Mean]:
    """The strategies, best first; UnknownName lists the measures there are."""
    known = set(comparison.quality.measure)
    if measure not in known:
        raise UnknownName("measure of this comparison", measure, known)
    found = comparison.quality[comparison.quality.measure == measure]
    columns = (found[name].tolist() for name in Mean._fields)
    return sorted((Mean(*row) for row in zip(*columns, strict=True)), key=lambda row: -row.mean)


def circumstances(comparison: Comparison, *more: str) -> str:
    """What the result was measured under, on one line."""
    at = comparison.circumstances
    users = at["users"]
    parts = [
        f"{safe(comparison.dataset)}: {counted(comparison.queries, 'judged question')} of {counted(users, 'user')}",
        f"{at['passages']:,} passages, {at['passages_per_user']:,.0f} a user",
        f"k = {at['k']}",
        f"PostgreSQL {at['postgres']}, pgvector {at['pgvector']}",
        *more,
    ]
    return " · ".join(parts)


def bootstrap(comparison: Comparison) -> str:
    """How the intervals came about."""
    unit = {"query": "questions", "user": "users"}[comparison.circumstances["resample"]]
    return f"95 % bootstrap intervals over {unit}, seed {comparison.circumstances['seed']}"
