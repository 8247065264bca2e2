"""What the statistics share: checked arguments and counts of values."""

import dataclasses

import numpy as np

from tfjc.support import checks


@dataclasses.dataclass(frozen=True)
class Counts:
    """How many values are finite, infinite and missing (nan). A pair is what the worse of its two is."""

    finite: int
    infinite: int
    missing: int


def share(name, value):
    """`value` as a float between 0 and 1, both excluded; raises ValueError otherwise."""
    if (value := checks.real(name, value, above=0.0)) >= 1.0:
        raise ValueError(f"{name} must be less than 1, found {value}")
    return value


def array(name, values):
    """`values` as float64 [N]; None becomes nan."""
    return checks.rank(name, np.asarray(values, np.float64), 1, "[N]")


def counted(*values):
    """`Counts` of values [N], or of pairs, and a mask [N] of what is not missing."""
    finite, missing = np.isfinite(values).all(axis=0), np.isnan(values).any(axis=0)
    infinite = ~(finite | missing)
    return Counts(*(int(np.count_nonzero(mask)) for mask in (finite, infinite, missing))), ~missing


def sample(name, values):
    """`Counts`, and the values that are not missing."""
    values = array(name, values)
    counts, present = counted(values)
    return counts, values[present]


def too_few(what, least, of, found):
    """A reason: `what` needs at least `least`; "" where so many were found."""
    return "" if found >= least else f"{what} needs at least {least} {of}, found {found}"


def infinite(what, *counts):
    """A reason: `what` is not defined for the infinite values that `counts` have; "" where there are none."""
    found = sum(count.infinite for count in counts)
    return f"{what} is not defined for infinite values, found {found}" if found else ""


def constant(**samples):
    """A reason: which of the samples hold values that are all equal, but for rounding; "" where none does."""
    flat = [name for name, sample in samples.items() if is_constant(sample)]
    return f"{' and '.join(flat)}: all values are equal" if flat else ""


def is_constant(sample):
    """Whether values are all equal, but for rounding."""
    return bool(np.all(sample == sample[:1])) or bool(
        np.isfinite(sample).all() and np.ptp(sample) <= 1e-13 * np.max(np.abs(sample))
    )
