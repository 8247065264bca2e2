"""Correlation of pairs, in one group and within several groups."""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from tfjc.study.statistics import _values


@dataclasses.dataclass(frozen=True)
class Correlation:
    """Spearman's correlation of pairs with its interval [low, high], and Pearson's if all pairs are finite."""

    counts: _values.Counts
    spearman: float
    low: float
    high: float
    pearson: float
    reason: str


@dataclasses.dataclass(frozen=True)
class Pooled:
    """Spearman's correlation within groups, pooled, with its interval.

    Attributes:
      spearman, low, high: the pooled correlation and the ends of its interval.
      weight: Σ (n − 3) over the groups that enter the pooled correlation.
      groups: the `Correlation` of each group, in order.
      reason: why there is no pooled correlation, or "".
    """

    spearman: float
    low: float
    high: float
    weight: int
    groups: tuple[Correlation, ...]
    reason: str


def correlation(x: ArrayLike, y: ArrayLike, *, confidence: float = 0.95) -> Correlation:
    """Spearman's correlation r of pairs x[i], y[i]. It needs 3 pairs that differ; its interval needs 4.

    The interval is tanh(z ± q·√((1 + r²/2)/(n − 3))), z = atanh r, q the Gaussian quantile (Bonett and Wright 2000).
    For r = ±1, z is infinite. It is replaced by the z of the next possible value, r = ±(1 − 12/(n³ − n)), and the
    interval is extended to ±1.

    Raises:
      ValueError: also if x and y differ in length.
    """
    confidence = _values.share("confidence", confidence)
    first, second = _values.array("x", x), _values.array("y", y)
    if len(first) != len(second):
        raise ValueError(f"x and y must have equal lengths, found {len(first)} and {len(second)}")
    counts, present = _values.counted(first, second)
    first, second = first[present], second[present]
    n = len(first)
    reason = _values.too_few("a correlation", 3, "pairs", n) or _values.constant(x=first, y=second)
    if reason:
        return Correlation(counts, math.nan, math.nan, math.nan, math.nan, reason)
    r = _product_moment(scipy.stats.rankdata(first), scipy.stats.rankdata(second))
    few = _values.too_few("an interval", 4, "pairs", n)
    low, high = (math.nan, math.nan) if few else _interval(_fisher(r, n), n - 3, confidence)
    perfect = abs(r) > 1.0 - 1e-9
    return Correlation(
        counts,
        r,
        min(low, r) if perfect else low,
        max(high, r) if perfect else high,
        math.nan if counts.infinite else _product_moment(first, second),
        few,
    )


def pooled_correlation(groups: Iterable[tuple[ArrayLike, ArrayLike]], *, confidence: float = 0.95) -> Pooled:
    """Spearman's correlation within groups (x, y) of pairs. Differences between groups do not enter.

    Each group has its own ranks and its own correlation r. The pooled correlation is tanh z̄, where z̄ is the mean of
    atanh r with weights n − 3 (Fisher 1921). Its interval is tanh(z̄ ± q·√((1 + tanh²z̄/2)/Σ(n − 3))), as in
    `correlation`. Groups of fewer than 4 pairs, and groups with constant x or y, have no weight.
    """
    found = tuple(correlation(x, y, confidence=confidence) for x, y in groups)
    sizes = [group.counts.finite + group.counts.infinite for group in found]
    weighted = [(_fisher(g.spearman, n), n - 3) for g, n in zip(found, sizes, strict=True) if not g.reason]
    if not weighted:
        reason = "a pooled correlation needs a group of at least 4 pairs that differ, found none"
        return Pooled(math.nan, math.nan, math.nan, 0, found, reason)
    weight = sum(w for _, w in weighted)
    z = sum(z * w for z, w in weighted) / weight
    r = found[0].spearman if len(found) == 1 else math.tanh(z)
    low, high = _interval(z, weight, confidence)
    return Pooled(r, min(low, r), max(high, r), weight, found, "")


def _product_moment(x, y):
    x, y = (part - np.mean(part) for part in (x, y))
    return float(np.clip(np.sum(x * y) / math.sqrt(np.sum(x**2) * np.sum(y**2)), -1.0, 1.0))


def _fisher(r, n):
    """atanh r; for r = ±1 that of the next possible value."""
    most = 1.0 - 12.0 / (n**3 - n)
    return math.atanh(max(-most, min(most, r)))


def _interval(z, weight, confidence):
    width = scipy.stats.norm.ppf((1.0 + confidence) / 2.0) * math.sqrt((1.0 + math.tanh(z) ** 2 / 2.0) / weight)
    return math.tanh(z - width), math.tanh(z + width)
