"""What the statistics share: checked arguments, counts of values, and the bootstrap."""

import dataclasses
import math
import warnings

import numpy as np
import scipy.stats

from tfjc import checks

RESAMPLES = 9_999


@dataclasses.dataclass(frozen=True)
class Counts:
    """How many values are finite, infinite and missing (nan). A pair is what the worse of its two is."""

    finite: int
    infinite: int
    missing: int


def options(n_resamples, generator, **shares):
    """The checked keywords that the functions share; `shares` lie between 0 and 1."""
    for name, value in shares.items():
        if checks.real(name, value, above=0.0) >= 1.0:
            raise ValueError(f"{name} must be less than 1, found {value}")
    if not isinstance(generator, np.random.Generator):
        raise ValueError(f"generator must be a numpy.random.Generator, found {type(generator).__name__}")
    n_resamples = checks.integer("n_resamples", n_resamples, minimum=1)
    return {**shares, "n_resamples": n_resamples, "generator": generator}


def array(name, values):
    """`values` as float64 [N]; None becomes nan."""
    return checks.rank(name, np.asarray(values, np.float64), 1, "[N]")


def counted(*values):
    """`Counts` of values [N], or of pairs, and masks [N] of what is finite and of what is not missing."""
    finite, missing = np.isfinite(values).all(axis=0), np.isnan(values).any(axis=0)
    infinite = ~(finite | missing)
    return Counts(*(int(np.count_nonzero(mask)) for mask in (finite, infinite, missing))), finite, ~missing


def sample(name, values):
    """`Counts`, the finite values, and all that are not missing."""
    values = array(name, values)
    counts, finite, present = counted(values)
    return counts, values[finite], values[present]


def too_few(what, least, of, found):
    return "" if found >= least else f"{what} needs at least {least} {of}, found {found}"


def constant(**samples):
    """Which of the samples hold values that are all equal, but for rounding."""
    flat = [name for name, sample in samples.items() if np.ptp(sample) <= 1e-13 * np.max(np.abs(sample))]
    return f"{' and '.join(flat)}: all finite values are equal" if flat else ""


def bootstrap(samples, statistic, *, confidence, n_resamples, generator):
    """The ends of the statistic's BCa interval, or else of percentiles, with the tails that `tfjc.statistics` gives."""
    n = min(map(len, samples))
    if n < 2:
        return math.nan, math.nan
    quantile = scipy.stats.t.ppf((1.0 + confidence) / 2.0, n - 1)
    expanded = 1.0 - 2.0 * scipy.stats.norm.sf(math.sqrt(n / (n - 1)) * quantile)
    options = {"confidence_level": expanded, "vectorized": True, "rng": generator}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
        result = scipy.stats.bootstrap(samples, statistic, n_resamples=n_resamples, method="BCa", **options)
        if np.isnan(result.confidence_interval).any():
            options |= {"bootstrap_result": result, "n_resamples": 0}
            result = scipy.stats.bootstrap(samples, statistic, method="percentile", **options)
    return tuple(map(float, result.confidence_interval))
