"""A test for two clusters in one sample."""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike

from tfjc.study.statistics import _values
from tfjc.support import checks

_SMALLEST = 2  # values of a cluster; a single one may be an outlier


@dataclasses.dataclass(frozen=True)
class Clusters:
    """One cluster or two. The cluster of lower values comes first.

    Attributes:
      counts: of the values.
      members: for each cluster, the ascending indices of its values; empty if there is a `reason`.
      means: mean of each cluster.
      threshold: the middle of two clusters' means, which separates them; nan for one cluster.
      explained: B/(B + W) of the best split, supported or not. B and W are the sums of squares between and within
        clusters.
      p_value: probability that a sample of one cluster has a best split with as great a B/(B + W).
      reason: why the values cannot be split, or "".
    """

    counts: _values.Counts
    members: tuple[tuple[int, ...], ...]
    means: tuple[float, ...]
    threshold: float
    explained: float
    p_value: float
    reason: str


def two_clusters(
    values: ArrayLike, *, level: float = 0.025, n_resamples: int = 9_999, rng: np.random.Generator
) -> Clusters:
    """The best split of a sample into two clusters of 2 values or more; one cluster if the split is not supported.

    The split is the global optimum of 2-means. The test statistic is B/(B + W). It is equivalent to the likelihood
    ratio of two Gaussians of one variance against one Gaussian (Engelman and Hartigan 1969). Among single clusters, the
    statistic is greatest for flat and for skewed ones. So the p-value is the greater of two, from simulated uniform and
    log-normal (σ = 1) samples of the same size.

    Share of samples of two Gaussians in which two clusters are found at 2.5 %:

    n       6     8     10    20 standard deviations apart
    3 + 3   0.21  0.46  0.68  1.00
    5 + 5   0.35  0.75  0.95  1.00
    7 + 3   0.26  0.63  0.90  1.00
    10 + 10 0.68  0.97  1.00  1.00

    A sample with infinite values is not split, and has a `reason`.

    Args:
      values: [N], one number a run.
      level: greatest p-value that supports two clusters.
      n_resamples: number of simulated samples of each distribution.
      rng: simulates them.

    Raises:
      ValueError: also if `rng` is no numpy.random.Generator.
    """
    level = _values.share("level", level)
    n_resamples = checks.integer("n_resamples", n_resamples, minimum=1)
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy.random.Generator, found {type(rng).__name__}")
    found = _values.array("values", values)
    counts, present = _values.counted(found)
    order = np.flatnonzero(present)
    order = order[np.argsort(found[order], kind="stable")]
    ordered = found[order]
    reason = _values.infinite("a split", counts) or _values.too_few("a split", 5, "values", len(order))
    if reason := reason or _values.constant(values=ordered):
        return Clusters(counts, (), (), math.nan, math.nan, math.nan, reason)
    explained, size, p_value = _tested_split(ordered, n_resamples, rng)
    clusters = [np.sort(part) for part in ((order[:size], order[size:]) if p_value <= level else (order,))]
    means = tuple(float(np.mean(found[indices])) for indices in clusters)
    threshold = sum(means) / 2.0 if len(means) == 2 else math.nan
    return Clusters(counts, tuple(tuple(c.tolist()) for c in clusters), means, threshold, explained, p_value, "")


def _tested_split(ordered, n_resamples, rng):
    """B/(B + W) of the best split, the size of its first cluster, and the p-value under one cluster."""
    explained, size = _best_split(ordered)
    shape = [n_resamples, len(ordered)]
    nulls = [_best_split(np.sort(null, axis=-1))[0] for null in (rng.random(shape), rng.lognormal(size=shape))]
    p_value = max((1 + np.count_nonzero(null >= explained)) / (1 + n_resamples) for null in nulls)
    return float(explained), int(size), float(p_value)


def _best_split(ordered):
    """The largest B/(B + W) over splits of ascending values [..., n], and the number of values before the split.

    B = S²/k + S²/(n − k), where S is the sum of the first k centred values.
    """
    n = ordered.shape[-1]
    centred = ordered - np.mean(ordered, axis=-1, keepdims=True)
    k = np.arange(_SMALLEST, n - _SMALLEST + 1)
    between = np.square(np.cumsum(centred, axis=-1)[..., k - 1]) * (n / (k * (n - k)))
    return np.max(between, axis=-1) / np.sum(np.square(centred), axis=-1), k[np.argmax(between, axis=-1)]
