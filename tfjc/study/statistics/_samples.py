"""Statistics of one sample and of two samples."""

import dataclasses
import math

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats
from numpy.typing import ArrayLike

from tfjc.study.statistics import _values


@dataclasses.dataclass(frozen=True)
class Summary:
    """Mean and median of a sample, each with its interval; standard deviation (n − 1), least and greatest value."""

    counts: _values.Counts
    mean: float
    low: float
    high: float
    standard_deviation: float
    median: float
    median_low: float
    median_high: float
    minimum: float
    maximum: float
    reason: str


@dataclasses.dataclass(frozen=True)
class Difference:
    """mean(second) − mean(first) of two samples, with its interval."""

    first: _values.Counts
    second: _values.Counts
    difference: float
    low: float
    high: float
    reason: str


@dataclasses.dataclass(frozen=True)
class Superiority:
    """P(second > first) + ½·P(second = first) over all pairs from two samples, with its interval."""

    first: _values.Counts
    second: _values.Counts
    superiority: float
    low: float
    high: float
    reason: str


@dataclasses.dataclass(frozen=True)
class SpreadRatio:
    """The ratio second/first of two samples' mean absolute deviations from their medians, with its interval."""

    first: _values.Counts
    second: _values.Counts
    ratio: float
    low: float
    high: float
    reason: str


def summary(values: ArrayLike, *, confidence: float = 0.95) -> Summary:
    """Mean and median of a sample with their intervals; all are nan for an empty sample.

    The interval of the mean is Student's. The interval of the median reaches from the k-th least to the k-th greatest
    value, with the largest k for which P(Binomial(n, ½) < k) ≤ (1 − confidence)/2. It contains the median of any
    distribution with at least that confidence, and needs 6 values for 95 % (Conover 1999, section 3.2).
    """
    confidence = _values.share("confidence", confidence)
    counts, present = _values.sample("values", values)
    n, is_finite = len(present), not counts.infinite
    deviation = float(np.std(present, ddof=1)) if is_finite and n > 1 else math.nan
    width = float(_student(confidence, n - 1)) * deviation / math.sqrt(n) if n > 1 else math.nan
    with np.errstate(invalid="ignore"):  # the mean of −∞ and ∞ is nan
        mean, median = (float(of(present)) if n else math.nan for of in (np.mean, np.median))
    least, greatest = _order_statistics(present, confidence)
    few = _values.too_few("an interval", 2, "values", n)
    return Summary(
        counts,
        mean,
        mean - width,
        mean + width,
        deviation,
        median,
        least,
        greatest,
        float(np.min(present)) if n else math.nan,
        float(np.max(present)) if n else math.nan,
        few or _values.infinite("a mean's interval", counts),
    )


def difference(first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95) -> Difference:
    """The second sample's mean minus the first's, with Welch's interval (Welch 1947).

    The interval needs 2 values in each sample, and a sample whose values differ.
    """
    confidence = _values.share("confidence", confidence)
    (counts_1, first), (counts_2, second) = _values.sample("first", first), _values.sample("second", second)
    with np.errstate(invalid="ignore"):
        found = float(np.mean(second) - np.mean(first)) if len(first) and len(second) else math.nan
    reason = _values.too_few("an interval", 2, "values on each side", min(len(first), len(second)))
    reason = reason or _values.infinite("an interval", counts_1, counts_2)
    if not reason and _values.is_constant(first) and _values.is_constant(second):
        reason = "an interval needs values that differ, found none"
    if reason:
        return Difference(counts_1, counts_2, found, math.nan, math.nan, reason)
    squares = [np.var(sample, ddof=1) / len(sample) for sample in (first, second)]
    freedom = sum(squares) ** 2 / sum(s**2 / (len(x) - 1) for s, x in zip(squares, (first, second), strict=True))
    width = float(_student(confidence, freedom) * math.sqrt(sum(squares)))
    return Difference(counts_1, counts_2, found, found - width, found + width, "")


def superiority(first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95) -> Superiority:
    """θ, the probability that a value of the second sample is greater than one of the first; ties count ½.

    The interval is method 5 of Newcombe (2006): all θ with |θ̂ − θ| ≤ q·√V(θ), q the Gaussian quantile and
    V(θ) = θ(1 − θ)·(1 + (n₁ + n₂ − 2)/2·((1 − θ)/(2 − θ) + θ/(1 + θ)))/(n₁n₂). At θ = ½, V is Mann and Whitney's
    variance, (n₁ + n₂ + 1)/(12·n₁n₂). So the interval excludes ½ exactly if their test, by its Gaussian approximation,
    rejects. With ties the interval is conservative.
    """
    q = scipy.stats.norm.ppf((1.0 + _values.share("confidence", confidence)) / 2.0)
    (counts_1, first), (counts_2, second) = _values.sample("first", first), _values.sample("second", second)
    reason = _values.too_few("an interval", 2, "values on each side", min(len(first), len(second)))
    if not len(first) or not len(second):
        return Superiority(counts_1, counts_2, math.nan, math.nan, math.nan, reason)
    found = float(np.mean(second[:, None] > first) + np.mean(second[:, None] == first) / 2.0)
    low, high = (math.nan, math.nan) if reason else _newcombe(found, len(first), len(second), q)
    return Superiority(counts_1, counts_2, found, low, high, reason)


def _newcombe(found, n, m, q):
    """The θ below and above `found` with |found − θ| = q·√V(θ), by Brent's method."""

    def excess(theta):
        factor = 1.0 + (n + m - 2) / 2.0 * ((1.0 - theta) / (2.0 - theta) + theta / (1.0 + theta))
        return (found - theta) ** 2 - q**2 * theta * (1.0 - theta) * factor / (n * m)

    inside = min(max(found, 1e-12), 1.0 - 1e-12)  # V is 0 at 0 and 1; both would be false roots
    low = 0.0 if found == 0.0 else scipy.optimize.brentq(excess, 0.0, inside)
    high = 1.0 if found == 1.0 else scipy.optimize.brentq(excess, inside, 1.0)
    return float(low), float(high)


def infinite_shares(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """Fisher's exact test of the numbers of infinite values: (p that the second has fewer, p that it has more).

    The first p is the probability of so few infinite values in the second sample, the second p that of so many. Both
    margins are fixed.
    """
    counts = [_values.sample(name, values)[0] for name, values in (("first", first), ("second", second))]
    (a, b), (n, m) = [c.infinite for c in counts], [c.infinite + c.finite for c in counts]
    law = scipy.stats.hypergeom(n + m, a + b, m)
    return float(law.cdf(b)), float(law.sf(b - 1))


def spread_ratio(first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95) -> SpreadRatio:
    """The ratio τ₂/τ₁ of two samples' spreads, τ = Σ|x − median|/n.

    The interval inverts the test of Brown and Forsythe (1974), which is Student's test of |x − median|. It consists of
    all θ for which the test accepts |x₁ − median₁|·θ against |x₂ − median₂|: a quadratic inequality in θ. So it
    excludes 1 exactly if the test of equal spreads rejects. It reaches ∞ if τ₁ = 0 is not rejected. It needs 3 values
    in each sample, since 2 values deviate equally from their median.
    """
    confidence = _values.share("confidence", confidence)
    (counts_1, first), (counts_2, second) = _values.sample("first", first), _values.sample("second", second)
    few = _values.too_few("a ratio of spreads", 3, "values on each side", min(len(first), len(second)))
    reason = few or _values.infinite("a spread", counts_1, counts_2) or _values.constant(first=first, second=second)
    if reason:
        return SpreadRatio(counts_1, counts_2, math.nan, math.nan, math.nan, reason)
    ratio, low, high = _brown_forsythe(first, second, confidence)
    return SpreadRatio(counts_1, counts_2, ratio, low, high, "")


def _brown_forsythe(first, second, confidence):
    """τ₂/τ₁, and the least and greatest θ with (τ₂ − θτ₁)² ≤ q²·(1/n + 1/m)·(S₂ + θ²S₁)/(n + m − 2).

    S₁ and S₂ are the sums of squares of |x − median| about their means τ₁ and τ₂.
    """
    deviations = [np.abs(sample - np.median(sample)) for sample in (first, second)]
    (mean_1, mean_2), (n, m) = [np.mean(d) for d in deviations], [len(d) for d in deviations]
    scale = _student(confidence, n + m - 2) ** 2 * (1.0 / n + 1.0 / m) / (n + m - 2)
    rest_1, rest_2 = (
        mean**2 - scale * np.sum((d - mean) ** 2) for d, mean in zip(deviations, (mean_1, mean_2), strict=True)
    )
    root = math.sqrt(max((mean_1 * mean_2) ** 2 - rest_1 * rest_2, 0.0))
    low = rest_2 / (mean_1 * mean_2 + root) if rest_2 > 0.0 else 0.0
    high = (mean_1 * mean_2 + root) / rest_1 if rest_1 > 0.0 else math.inf
    return float(mean_2 / mean_1), float(low), float(high)


def _student(confidence, freedom):
    return scipy.special.stdtrit(freedom, (1.0 + confidence) / 2.0)


def _order_statistics(present, confidence):
    """The ends of the interval of the median."""
    k = int(scipy.stats.binom.ppf((1.0 - confidence) / 2.0, len(present), 0.5)) if len(present) else 0
    ordered = np.sort(present)
    return (float(ordered[k - 1]), float(ordered[-k])) if k else (math.nan, math.nan)
