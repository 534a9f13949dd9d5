"""How sure is a mean, and a difference of means? Percentile bootstrap over queries or whole users.

Efron 1979; 95 % of the resampled means lie within the bounds. The same values, seed and number of samples give
the same bounds. A single value, or a single cluster, leaves nothing to resample: both bounds equal the mean.
"""

from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from carmenta_lab.errors import UsageError
from carmenta_lab.records import Difference, Interval

SAMPLES = 10_000
TIE = 1e-9
_DRAWN_AT_ONCE = 1_000_000  # bounds the memory to some 30 MB
_KEPT = 20_000_000  # draws that are kept, in two bytes each: those for 2,000 questions


def interval(
    values: Sequence[float], seed: int, clusters: Sequence[Hashable] | None = None, samples: int = SAMPLES
) -> Interval:
    """Mean of one value per query, with its 95 % interval.

    `clusters` gives a label per value (its user): then whole clusters are drawn and the interval speaks about
    other users, not about other questions of these. No value, or one that is not finite, is a UsageError.
    """
    data = _checked(values, "values")
    return _interval(data, _means(data, seed, clusters, samples))


def paired(
    values: Sequence[float],
    baseline: Sequence[float],
    seed: int,
    clusters: Sequence[Hashable] | None = None,
    samples: int = SAMPLES,
) -> Difference:
    """Mean of `values` minus `baseline`, query by query, with its 95 % interval and who won how often.

    Both hold one value per query in the same order; a difference within 1e-9 is a tie. `p` comes from the resampled
    means of which the interval is made: at .05 it says what the interval says.
    """
    if len(values) != len(baseline):
        raise UsageError(f"pairs are expected, but there are {len(values)} values and {len(baseline)} baselines.")
    differences = _checked(values, "values") - _checked(baseline, "baseline")
    means = _means(differences, seed, clusters, samples)
    found = _interval(differences, means)
    won, lost = int((differences > TIE).sum()), int((differences < -TIE).sum())
    return Difference(found.mean, found.low, found.high, won, lost, len(differences) - won - lost, _chance(means))


def _means(
    data: NDArray[np.float64], seed: int, clusters: Sequence[Hashable] | None, samples: int
) -> NDArray[np.float64]:
    """The resampled means; none where there is nothing to resample."""
    sums, sizes = _clustered(data, clusters)
    if samples < 1:
        raise UsageError(f"samples must be at least 1, not {samples}.")
    return _resampled_means(sums, sizes, seed, samples) if len(sums) > 1 else np.empty(0)


def _interval(data: NDArray[np.float64], means: NDArray[np.float64]) -> Interval:
    mean = float(data.mean())
    if not means.size:
        return Interval(mean, mean, mean)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(mean, float(low), float(high))


def _chance(means: NDArray[np.float64]) -> float:
    """Twice the share of resampled means on the rarer side of 0, and never 0 (Davison and Hinkley 1997, 4.2.5)."""
    rarer = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (means.size + 1))


def holm(chances: Sequence[float]) -> list[float]:
    """The p-values of several comparisons, each made so large that all may be read at one level (Holm 1979)."""
    adjusted = [0.0] * len(chances)
    largest = 0.0
    for place, number in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        largest = max(largest, min(1.0, (len(chances) - place) * chances[number]))
        adjusted[number] = largest
    return adjusted


def _checked(values: Sequence[float], name: str) -> NDArray[np.float64]:
    data = np.asarray(values, np.float64)
    if not data.size:
        raise UsageError(f"{name} is empty: a mean needs at least one judged query.")
    if not np.isfinite(data).all():
        raise UsageError(f"{name}[{int(np.flatnonzero(~np.isfinite(data))[0])}] is not a finite number.")
    return data


def _clustered(
    data: NDArray[np.float64], clusters: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and size of each cluster, in order of first appearance; each value by itself without clusters."""
    if clusters is None:
        return data, np.ones_like(data)
    if len(clusters) != len(data):
        raise UsageError(f"one cluster per value is expected: {len(data)} values, {len(clusters)} clusters.")
    numbers: dict[Hashable, int] = {}
    codes = [numbers.setdefault(label, len(numbers)) for label in clusters]
    sums: NDArray[np.float64] = np.bincount(codes, weights=data).astype(np.float64)
    return sums, np.bincount(codes).astype(np.float64)


def _resampled_means(
    sums: NDArray[np.float64], sizes: NDArray[np.float64], seed: int, samples: int
) -> NDArray[np.float64]:
    """A mean a sample: of the clusters drawn, each as often as it was drawn."""
    blocks = _kept(len(sums), seed, samples) if len(sums) * samples <= _KEPT else _drawn(len(sums), seed, samples)
    alone = bool((sizes == 1).all())
    means = []
    for block in blocks:
        weights = block.astype(np.float64)
        means.append(weights @ sums / (len(sums) if alone else weights @ sizes))
    return np.concatenate(means)


@lru_cache(maxsize=4)
def _kept(clusters: int, seed: int, samples: int) -> tuple[NDArray[np.uint16], ...]:
    """How often each cluster is drawn, kept: one set of draws serves every strategy and measure, and drawing takes
    ten times as long as weighing."""
    return tuple(_drawn(clusters, seed, samples))


def _drawn(clusters: int, seed: int, samples: int) -> Iterator[NDArray[np.uint16]]:
    """How often each cluster is drawn: a row a sample, some rows at a time."""
    generator = np.random.default_rng(seed)
    rows = max(1, _DRAWN_AT_ONCE // clusters)
    for start in range(0, samples, rows):
        count = min(rows, samples - start)
        drawn = generator.integers(0, clusters, (count, clusters))
        drawn += clusters * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * clusters).reshape(count, clusters).astype(np.uint16)
