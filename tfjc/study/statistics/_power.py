"""Families of p-values, and what a number of seeds can show."""

import math

import numpy as np
import scipy.special
import scipy.stats
from numpy.typing import ArrayLike

from tfjc.study.statistics import _values
from tfjc.support import checks


def holm(p_values: ArrayLike) -> list[float]:
    """The p-values of a family, adjusted by Holm's step-down method (Holm 1979).

    Of m ascending p-values, the k-th becomes max_{j ≤ k} min(1, (m − j + 1)·p_j). Rejecting those of at most α keeps
    the probability of any false rejection at α or less, for dependent tests too. A missing value (nan) is a test that
    was planned and could not be made: it counts in m, and stays nan.

    Args:
      p_values: [m].
    """
    found = _values.array("p_values", p_values)
    order = np.argsort(found)  # nan comes last
    factors = len(found) - np.arange(len(found))
    adjusted = np.empty_like(found)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * found[order]))
    return adjusted.tolist()


def smallest_difference(deviation: float, seeds: int, *, level: float = 0.05, power: float = 0.8) -> float:
    """The smallest mean difference that Student's paired test finds with the probability `power`.

    It is δ·deviation with P(T > t) = power: t is the two-sided quantile at `level`, and T has the noncentral t
    distribution with seeds − 1 degrees of freedom and noncentrality δ·√seeds.

    Args:
      deviation: standard deviation of the paired differences, from a pilot.
      seeds: number of pairs, at least 2.
      level: two-sided error of the test.
      power: probability, greater than `level`.

    Raises:
      ValueError: an argument is out of range.
    """
    deviation = checks.real("deviation", deviation, minimum=0.0)
    seeds = checks.integer("seeds", seeds, minimum=2)
    level, power = _errors(level, power)
    t = scipy.stats.t.isf(level / 2.0, seeds - 1)

    noncentrality = float(scipy.special.nctdtrinc(seeds - 1, 1.0 - power, t))  # P(T ≤ t) = 1 − power
    return noncentrality / math.sqrt(seeds) * deviation


def smallest_share(seeds: int, *, level: float = 0.05, power: float = 0.8) -> float:
    """The smallest probability of a positive difference that the sign test finds with the probability `power`.

    The test finds it where c or more differences are positive, c being the least with P(Binomial(seeds, ½) ≥ c) ≤
    level/2. The result is nan where no number of them suffices: at 5 %, under 6 seeds.

    Args:
      seeds: number of pairs, at least 1.
      level, power: as in `smallest_difference`.

    Raises:
      ValueError: an argument is out of range.
    """
    seeds = checks.integer("seeds", seeds, minimum=1)
    level, power = _errors(level, power)
    few = int(scipy.stats.binom.ppf(level / 2.0, seeds, 0.5))
    return float(scipy.stats.beta.ppf(power, seeds - few + 1, few)) if few else math.nan


def smallest_correlation(weight: float, *, level: float = 0.05, power: float = 0.8) -> float:
    """The smallest correlation that a pooled correlation finds with the probability `power`.

    It is tanh((q_{1 − level/2} + q_power)/√weight), q being Gaussian quantiles.

    Args:
      weight: `Pooled.weight` over `Pooled.design`.
      level, power: as in `smallest_difference`.

    Raises:
      ValueError: an argument is out of range.
    """
    weight = checks.real("weight", weight, above=0.0)
    level, power = _errors(level, power)
    return math.tanh((scipy.stats.norm.isf(level / 2.0) + scipy.stats.norm.ppf(power)) / math.sqrt(weight))


def _errors(level, power):
    level, power = _values.share("level", level), _values.share("power", power)
    if power <= level:
        raise ValueError(f"power must be greater than level, found {power} and {level}")
    return level, power
