"""One sample, and two of them."""

import dataclasses
import math

import numpy as np
import scipy.optimize
import scipy.stats

from tfjc.study.statistics import _values


@dataclasses.dataclass(frozen=True)
class Summary:
    """One sample: mean and median, each with its interval; standard deviation (n − 1), least and greatest value."""

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
    """Two samples: mean(second) − mean(first), with its interval."""

    first: _values.Counts
    second: _values.Counts
    difference: float
    low: float
    high: float
    reason: str


@dataclasses.dataclass(frozen=True)
class Superiority:
    """Two samples: P(second > first) + ½·P(second = first) over all pairs, infinite values too, with its interval."""

    first: _values.Counts
    second: _values.Counts
    superiority: float
    low: float
    high: float
    reason: str


@dataclasses.dataclass(frozen=True)
class SpreadRatio:
    """Two samples: the second's mean absolute deviation from its median over the first's, with its interval."""

    first: _values.Counts
    second: _values.Counts
    ratio: float
    low: float
    high: float
    reason: str


def summary(values, *, confidence: float = 0.95) -> Summary:
    """Mean and median of a sample with their intervals; no values give a summary of nothing, not an error.

    The mean's interval is Student's. The median's lies between the k-th least and the k-th greatest value, with the
    largest k for which P(Binomial(n, ½) < k) ≤ (1 − confidence)/2: it holds the median of any distribution with that
    confidence or more, and needs 6 values for 95 % (Conover 1999, section 3.2).
    """
    confidence = _values.share("confidence", confidence)
    counts, present = _values.sample("values", values)
    n, is_finite = len(present), not counts.infinite
    deviation = float(np.std(present, ddof=1)) if is_finite and n > 1 else math.nan
    width = float(_student(confidence, n - 1)) * deviation / math.sqrt(n) if n > 1 else math.nan
    with np.errstate(invalid="ignore"):  # −∞ and ∞ have neither a mean nor a middle
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


def difference(first, second, *, confidence: float = 0.95) -> Difference:
    """How far the second sample's mean lies above the first's, with Welch's interval (Welch 1947).

    Both samples need 2 values, and not both may be of equal ones.
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


def superiority(first, second, *, confidence: float = 0.95) -> Superiority:
    """θ, how often a value of the second sample is greater than one of the first; ½ where the samples are alike.

    The interval is method 5 of Newcombe (2006): all θ with |θ̂ − θ| ≤ q·√V(θ), q the Gaussian quantile and
    V(θ) = θ(1 − θ)·(1 + (n₁ + n₂ − 2)/2·((1 − θ)/(2 − θ) + θ/(1 + θ)))/(n₁n₂). At θ = ½ this is Mann and Whitney's
    variance, (n₁ + n₂ + 1)/(12·n₁n₂): the interval excludes ½ exactly where their test, by its Gaussian approximation,
    rejects. Equal values make it wider than it need be.
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
    """The θ on either side of `found` that lie q standard deviations away, those of θ itself; by bisection."""

    def excess(theta):
        factor = 1.0 + (n + m - 2) / 2.0 * ((1.0 - theta) / (2.0 - theta) + theta / (1.0 + theta))
        return (found - theta) ** 2 - q**2 * theta * (1.0 - theta) * factor / (n * m)

    inside = min(max(found, 1e-12), 1.0 - 1e-12)  # V is 0 at 0 and at 1, which are roots beside those that are meant
    low = 0.0 if found == 0.0 else scipy.optimize.brentq(excess, 0.0, inside)
    high = 1.0 if found == 1.0 else scipy.optimize.brentq(excess, inside, 1.0)
    return float(low), float(high)


def infinite_shares(first, second) -> tuple[float, float]:
    """Fisher's exact test of how many values are infinite: (p that the second has fewer, p that it has more).

    Each p is the probability, with both margins fixed, of so few (so many) infinite values in the second sample.
    """
    counts = [_values.sample(name, values)[0] for name, values in (("first", first), ("second", second))]
    (a, b), (n, m) = [c.infinite for c in counts], [c.infinite + c.finite for c in counts]
    law = scipy.stats.hypergeom(n + m, a + b, m)
    return float(law.cdf(b)), float(law.sf(b - 1))


def spread_ratio(first, second, *, confidence: float = 0.95) -> SpreadRatio:
    """How much more the second sample varies than the first: τ₂/τ₁, τ = Σ|x − median|/n.

    The interval inverts the test of Brown and Forsythe (1974), Student's test of |x − median|: all θ at which the test
    accepts |x₁ − median₁|·θ beside |x₂ − median₂|, a quadratic inequality in θ. So it excludes 1 exactly where the test
    of equal variances rejects. It may reach ∞, where the first sample's deviations may be 0. It needs 3 values on each
    side, since 2 deviate equally from their median.
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
    """τ₂/τ₁ and the ends of all θ with (τ₂ − θτ₁)² ≤ q²·(1/n + 1/m)·(S₂ + θ²S₁)/(n + m − 2).

    S are the sums of squares of |x − median| about their mean τ.
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
    return scipy.stats.t.ppf((1.0 + confidence) / 2.0, freedom)


def _order_statistics(present, confidence):
    """The ends of the median's interval."""
    k = int(scipy.stats.binom.ppf((1.0 - confidence) / 2.0, len(present), 0.5)) if len(present) else 0
    ordered = np.sort(present)
    return (float(ordered[k - 1]), float(ordered[-k])) if k else (math.nan, math.nan)
