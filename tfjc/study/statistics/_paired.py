"""Differences that are paired by seed: two arms, or the four cells of a 2 × 2 design."""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
import scipy.special
from numpy.typing import ArrayLike

from tfjc.study.statistics import _samples, _values


@dataclasses.dataclass(frozen=True)
class Paired:
    """The centre of paired differences, with its interval and its two-sided p-value.

    The interval at confidence 1 − α excludes 0 exactly where p_value ≤ α.

    Attributes:
      counts: of the differences.
      kind: "mean", or "median" where a difference is infinite.
      centre, low, high: the mean or the median, and the ends of its interval. A median between −∞ and ∞ is nan.
      p_value: of the test that belongs to the interval.
      deviation: the standard deviation (n − 1) of the differences; nan where one is infinite.
      sign_p: p-value of the sign test, which assumes nothing about the size of differences.
      reason: why there is no interval, or "".
    """

    counts: _values.Counts
    kind: str
    centre: float
    low: float
    high: float
    p_value: float
    deviation: float
    sign_p: float
    reason: str


class Factorial(NamedTuple):
    """The effects of two factors of two levels, and their interaction."""

    first: Paired
    second: Paired
    interaction: Paired


def paired(first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95) -> Paired:
    """The differences second[s] − first[s] of two arms, one value a seed.

    Finite differences: their mean, Student's interval and Student's test. A sample with an infinite difference: the
    median, its interval of order statistics (as in `summary`), and the sign test. Two equal infinities differ by 0.
    The sign test has p = 2·min(P(Binomial(n, ½) ≤ #{d ≤ 0}), P(Binomial(n, ½) ≤ #{d ≥ 0})), at most 1, so that
    differences of 0 count against both sides. For arms that are equal in every seed, the interval is [0, 0] and p = 1.

    Args:
      first: [N], one number a seed; nan where it is missing.
      second: [N], of the same seeds in the same order.
      confidence: of the interval.

    Raises:
      ValueError: also if the arms differ in length.
    """
    return _centre(_subtract(*_equally_long(first=first, second=second)), confidence)


def factorial(
    neither: ArrayLike, first: ArrayLike, second: ArrayLike, both: ArrayLike, *, confidence: float = 0.95
) -> Factorial:
    """The 2 × 2 contrast of four arms, paired by seed.

    For each seed: the first factor's effect is ((first − neither) + (both − second))/2, the second's is
    ((second − neither) + (both − first))/2, and the interaction is (both − second) − (first − neither). Each is treated
    as the differences in `paired`.

    Args:
      neither, first, second, both: [N], one number a seed, of the arms without the factors, with one, and with both.
      confidence: of the intervals.

    Raises:
      ValueError: also if the arms differ in length.
    """
    a, b, c, d = _equally_long(neither=neither, first=first, second=second, both=both)
    with np.errstate(invalid="ignore"):  # ∞ − ∞ between the halves of a main effect has no value
        effects = (_subtract(a, b) + _subtract(c, d)) / 2.0, (_subtract(a, c) + _subtract(b, d)) / 2.0
    opposed = sum(int(np.count_nonzero(np.isnan(e) & ~np.isnan([a, b, c, d]).any(axis=0))) for e in effects)
    one, other = (_centre(effect, confidence) for effect in effects)
    if opposed:
        reason = f"an effect is not defined where one level raises a number to ∞ and the other lowers it, in {opposed}"
        one, other = (dataclasses.replace(_nothing(effect.counts), reason=reason) for effect in (one, other))
    return Factorial(one, other, _centre(_subtract(_subtract(a, b), _subtract(c, d)), confidence))


def _equally_long(**arms):
    found = {name: _values.array(name, values) for name, values in arms.items()}
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"arms must hold one number for each seed, found {lengths}")
    return list(found.values())


def _subtract(first, second):
    """second − first, where equal infinities differ by 0."""
    with np.errstate(invalid="ignore"):
        return np.where(first == second, 0.0, second - first)


def _nothing(counts):
    return Paired(counts, "mean", math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, "")


def _centre(differences, confidence):
    """`Paired` of differences [N]."""
    confidence = _values.share("confidence", confidence)
    counts, present = _values.sample("differences", differences)
    n = len(present)
    few = _values.too_few("an interval", 2, "seeds", n)
    if few:
        return dataclasses.replace(_nothing(counts), reason=few)
    if counts.infinite:
        return _median(counts, present, confidence)
    mean, deviation, sign_p = float(np.mean(present)), float(np.std(present, ddof=1)), _sign_test(present)
    if _values.is_constant(present):
        if mean:
            return dataclasses.replace(_nothing(counts), centre=mean, reason="all differences are equal")
        return Paired(counts, "mean", 0.0, 0.0, 0.0, 1.0, 0.0, sign_p, "")
    error = deviation / math.sqrt(n)
    width = float(scipy.special.stdtrit(n - 1, (1.0 + confidence) / 2.0)) * error
    p = 2.0 * float(scipy.special.stdtr(n - 1, -abs(mean) / error))
    return Paired(counts, "mean", mean, mean - width, mean + width, p, deviation, sign_p, "")


def _median(counts, present, confidence):
    found, sign_p = _samples.summary(present, confidence=confidence), _sign_test(present)
    reason = f"a median of {len(present)} seeds has no interval" if math.isnan(found.median_low) else ""
    return Paired(
        counts,
        "median",
        found.median,
        found.median_low,
        found.median_high,
        math.nan if reason else sign_p,
        math.nan,
        sign_p,
        reason,
    )


def _sign_test(present):
    n, signs = len(present), (np.count_nonzero(present <= 0), np.count_nonzero(present >= 0))
    return min(1.0, 2.0 * min(float(scipy.special.bdtr(count, n, 0.5)) for count in signs))
