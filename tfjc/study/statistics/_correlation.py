"""Correlation of pairs, in one group and within several groups."""

import dataclasses
import math
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import scipy.special
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
      p_value: two-sided; the interval at confidence 1 − α excludes 0 exactly where p_value ≤ α.
      weight: Σ (n − 3) over the groups that enter the pooled correlation, Σ (n − 4) for partial correlations.
      design: the factor by which shared seeds raise the variance, 1 or more.
      groups: the `Correlation` of each group, in order.
      reason: why there is no pooled correlation, or "".
    """

    spearman: float
    low: float
    high: float
    p_value: float
    weight: int
    design: float
    groups: tuple[Correlation, ...]
    reason: str


@dataclasses.dataclass(frozen=True)
class MeanCorrelation:
    """The mean over groups of Spearman's correlation, with its interval.

    Attributes:
      spearman, low, high: the mean and the ends of its interval.
      p_value: two-sided; the interval at confidence 1 − α excludes 0 exactly where p_value ≤ α.
      deviation: the standard deviation s/(1 − m²) of atanh of a group's correlation, as the interval uses it.
      groups: the `Correlation` of each group, in order.
      reason: why there is no mean, or "".
    """

    spearman: float
    low: float
    high: float
    p_value: float
    deviation: float
    groups: tuple[Correlation, ...]
    reason: str


def correlation(x: ArrayLike, y: ArrayLike, *, given: ArrayLike | None = None, confidence: float = 0.95) -> Correlation:
    """Spearman's correlation r of pairs x[i], y[i]. It needs 3 pairs that differ; its interval needs 4.

    With `given`, r is the partial correlation (r_xy − r_xz·r_yz)/√((1 − r_xz²)(1 − r_yz²)), which is the correlation of
    the residuals of ranks of x and y after a linear regression on the ranks of z. It needs one pair more.

    The interval is tanh(w ± q·√((1 + r²/2)/(n − 3))), w = atanh r, q the Gaussian quantile (Bonett and Wright 2000);
    for partial correlations with n − 4. For r = ±1, w is infinite. It is replaced by that of the next possible value,
    r = ±(1 − 12/(n³ − n)), and the interval is extended to ±1.

    Args:
      x, y: [N].
      given: z, [N], for a partial correlation.
      confidence: of the interval.

    Returns:
      The correlation. `pearson` is nan for partial correlations.

    Raises:
      ValueError: also if x, y and z differ in length.
    """
    return _correlate(x, y, given, confidence)[0]


def _correlate(x, y, given, confidence):
    """(`Correlation`, residual ranks of x and y [2, N], 0 where a pair is missing)."""
    confidence = _values.share("confidence", confidence)
    samples = {"x": _values.array("x", x), "y": _values.array("y", y)}
    samples |= {} if given is None else {"given": _values.array("given", given)}
    lengths = [len(sample) for sample in samples.values()]
    if len(set(lengths)) > 1:
        raise ValueError(f"{' and '.join(samples)} must have equal lengths, found {' and '.join(map(str, lengths))}")
    counts, present = _values.counted(*samples.values())
    samples = {name: sample[present] for name, sample in samples.items()}
    n, lost = int(np.count_nonzero(present)), len(samples) + 1
    residuals = np.zeros([2, lengths[0]])
    reason = _values.too_few("a correlation", lost, "pairs", n) or _values.constant(**samples)
    if not reason:
        ranks = scipy.stats.rankdata(list(samples.values()), axis=1) - (n + 1) / 2.0
        residuals[:, present] = _residuals(*ranks)
        alike = [name for name, part in zip(samples, residuals, strict=False) if part @ part < 1e-9]
        reason = f"{' and '.join(alike)}: the order is that of what is given" if alike else ""
    if reason:
        return Correlation(counts, math.nan, math.nan, math.nan, math.nan, reason), np.zeros([2, lengths[0]])
    r = _product_moment(*residuals[:, present])
    few = _values.too_few("an interval", lost + 1, "pairs", n)
    low, high = (math.nan, math.nan) if few else _interval(_fisher(r, n), n - lost, confidence)
    perfect = abs(r) > 1.0 - 1e-9
    found = Correlation(
        counts,
        r,
        min(low, r) if perfect else low,
        max(high, r) if perfect else high,
        math.nan if counts.infinite or given is not None else _product_moment(samples["x"], samples["y"]),
        few,
    )
    return found, residuals


def _residuals(x, y, given=None):
    """Centred ranks [2, n] without their regression on `given`."""
    if given is None:
        return np.array([x, y])
    return np.array([part - given * (part @ given) / (given @ given) for part in (x, y)])


def pooled_correlation(
    groups: Iterable[Sequence[ArrayLike]],
    *,
    seeds: Iterable[Sequence[Hashable]] | None = None,
    confidence: float = 0.95,
) -> Pooled:
    """Spearman's correlation within groups (x, y), or the partial one within groups (x, y, z), pooled over groups.

    Differences between groups do not enter.

    Each group has its own ranks and its own correlation r. The pooled correlation is tanh w̄, where w̄ is the mean of
    atanh r with weights n − 3 (Fisher 1921), n − 4 for partial correlations. Its interval is
    tanh(w̄ ± q·√((1 + tanh²w̄/2)·D/Σ(n − 3))), as in `correlation`. Groups without weight, and groups with constant x
    or y, do not enter.

    D is 1 for independent groups. Arms that share seeds are not independent: two equal arms say no more than one. With
    `seeds`, D = Σ_ab √(w_a·w_b)·c_x(a, b)·c_y(a, b)/Σ w, at least 1. c_x(a, b) is the correlation over shared seeds of
    the residual ranks of x in the groups a and b. D is the ratio of variances of Σ √w·r where one permutation of the
    seeds permutes y in all groups at once, to independent permutations.

    Args:
      groups: of each group x [N], y [N], and for partial correlations z [N].
      seeds: of each group the seeds [N] of its pairs; None for independent groups.
      confidence: of the interval.
    """
    pairs = [_with_given(*group) for group in groups]
    found = [_correlate(x, y, given, confidence) for x, y, given in pairs]
    correlations = tuple(one for one, _ in found)
    entering = [index for index, one in enumerate(correlations) if not one.reason]
    if not entering:
        reasons = list(dict.fromkeys(one.reason for one in correlations))
        reason = "; ".join(reasons) or "no groups"
        return Pooled(math.nan, math.nan, math.nan, math.nan, 0, 1.0, correlations, reason)
    sizes = [correlations[k].counts.finite + correlations[k].counts.infinite for k in entering]
    weights = np.array([n - 3 - (pairs[k][2] is not None) for n, k in zip(sizes, entering, strict=True)])
    parts = [_fisher(correlations[k].spearman, n) for k, n in zip(entering, sizes, strict=True)]
    w = float(np.average(parts, weights=weights))
    named = None if seeds is None else [list(group) for group in seeds]
    design = _design([found[k][1] for k in entering], named and [named[k] for k in entering], np.sqrt(weights))
    r = correlations[entering[0]].spearman if len(correlations) == 1 else math.tanh(w)
    total = int(weights.sum())
    low, high = _interval(w, total / design, confidence)
    p = float(2.0 * scipy.special.ndtr(-abs(w) / _deviation(w, total / design)))
    return Pooled(r, min(low, r), max(high, r), p, total, design, correlations, "")


def _design(residuals, seeds, roots):
    """D of `pooled_correlation` for residual ranks [2, N], seeds [N] and √w of each group."""
    if seeds is None:
        return 1.0
    places = {seed: place for place, seed in enumerate(dict.fromkeys(seed for group in seeds for seed in group))}
    units = np.zeros([2, len(residuals), len(places)])
    for group, (parts, named) in enumerate(zip(residuals, seeds, strict=True)):
        units[:, group, [places[seed] for seed in named]] = parts / np.linalg.norm(parts, axis=1, keepdims=True)
    x, y = units @ units.transpose(0, 2, 1)
    return max(1.0, float(roots @ (x * y) @ roots / (roots @ roots)))


def mean_correlation(groups: Iterable[Sequence[ArrayLike]], *, confidence: float = 0.95) -> MeanCorrelation:
    """The mean m over independent groups (x, y) of Spearman's correlation, partial for groups (x, y, z).

    The groups are the arms of each seed: within a seed, the arms are ranked by x and by y.

    The interval is tanh(atanh m ± t·s/((1 − m²)·√G)), with Student's quantile t for G − 1 degrees of freedom. s is the
    deviation of the groups' correlations, and at least (1 − m²)·√((1 + m²/2)/(k − 1)), that of Spearman's correlation
    of k pairs (k − 2 for partial correlations). m = ±1 is replaced by the next possible value, as in `correlation`, and
    the interval is extended to ±1. It needs 2 groups.

    Args:
      groups: of each group x [N], y [N], and for partial correlations z [N].
      confidence: of the interval.
    """
    confidence, pairs = _values.share("confidence", confidence), [_with_given(*group) for group in groups]
    found = tuple(_correlate(x, y, given, confidence)[0] for x, y, given in pairs)
    without = next((one.reason for one in found if math.isnan(one.spearman)), "")
    reason = _values.too_few("a mean", 2, "seeds", len(found)) or without
    if reason:
        return MeanCorrelation(math.nan, math.nan, math.nan, math.nan, math.nan, found, reason)
    sizes = np.array([one.counts.finite + one.counts.infinite for one in found])
    is_partial = any(given is not None for _, _, given in pairs)
    mean, low, high, p, deviation = _mean(
        np.array([one.spearman for one in found]), float(np.mean(sizes)), is_partial, confidence
    )
    return MeanCorrelation(mean, low, high, p, deviation, found, "")


def _with_given(x, y, given=None):
    return x, y, given


def _mean(values, size, is_partial, confidence):
    """(mean, low, high, p-value, deviation of atanh of one group) of groups' correlations [G] of `size` pairs."""
    n, mean = len(values), float(np.mean(values))
    most = 1.0 - 12.0 / (size**3 - size) / n
    within = max(-most, min(most, mean))
    w, scale = math.atanh(within), 1.0 - within**2
    deviation = max(float(np.std(values, ddof=1)) / scale, math.sqrt((1.0 + within**2 / 2.0) / (size - 1 - is_partial)))
    error = deviation / math.sqrt(n)
    width = float(scipy.special.stdtrit(n - 1, (1.0 + confidence) / 2.0)) * error
    p = 2.0 * float(scipy.special.stdtr(n - 1, -abs(w) / error))
    return mean, min(math.tanh(w - width), mean), max(math.tanh(w + width), mean), p, deviation


def _product_moment(x, y):
    x, y = (part - np.mean(part) for part in (x, y))
    return float(np.clip(np.sum(x * y) / math.sqrt(np.sum(x**2) * np.sum(y**2)), -1.0, 1.0))


def _fisher(r, n):
    """atanh r; for r = ±1 that of the next possible value."""
    most = 1.0 - 12.0 / (n**3 - n)
    return math.atanh(max(-most, min(most, r)))


def _deviation(w, weight):
    return math.sqrt((1.0 + math.tanh(w) ** 2 / 2.0) / weight)


def _interval(w, weight, confidence):
    width = scipy.special.ndtri((1.0 + confidence) / 2.0) * _deviation(w, weight)
    return math.tanh(w - width), math.tanh(w + width)
