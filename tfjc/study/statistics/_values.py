"""Checks and counts of values, and reasons why a statistic is undefined."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from tfjc.support import checks


@dataclasses.dataclass(frozen=True)
class Counts:
    """Numbers of finite, infinite and missing (nan) values.

    A pair with a missing value is missing. Any other pair with an infinite value is infinite.
    """

    finite: int
    infinite: int
    missing: int


def share(name: str, value: float) -> float:
    """`value` as a float; raises ValueError unless it is strictly between 0 and 1."""
    if (value := checks.real(name, value, above=0.0)) >= 1.0:
        raise ValueError(f"{name} must be less than 1, found {value}")
    return value


def array(name: str, values: ArrayLike) -> np.ndarray:
    """`values` as float64 [N]; None becomes nan."""
    return checks.rank(name, np.asarray(values, np.float64), 1, "[N]")


def counted(*values: np.ndarray) -> tuple[Counts, np.ndarray]:
    """(`Counts`, mask [N] of those not missing) of values [N], or of pairs from two arrays [N]."""
    finite, missing = np.isfinite(values).all(axis=0), np.isnan(values).any(axis=0)
    infinite = ~(finite | missing)
    return Counts(*(int(np.count_nonzero(mask)) for mask in (finite, infinite, missing))), np.asarray(~missing)


def sample(name: str, values: ArrayLike) -> tuple[Counts, np.ndarray]:
    """(`Counts` of values [N], the values that are not missing)."""
    checked = array(name, values)
    counts, present = counted(checked)
    return counts, checked[present]


def too_few(what: str, least: int, of: str, found: int) -> str:
    """The reason that `what` needs at least `least` values; "" if there are enough."""
    return "" if found >= least else f"{what} needs at least {least} {of}, found {found}"


def infinite(what: str, *counts: Counts) -> str:
    """The reason that `what` is undefined for infinite values; "" if there are none."""
    found = sum(count.infinite for count in counts)
    return f"{what} is not defined for infinite values, found {found}" if found else ""


def constant(**samples: np.ndarray) -> str:
    """The reason that samples hold only equal values, up to rounding; "" if none does."""
    flat = [name for name, sample in samples.items() if is_constant(sample)]
    return f"{' and '.join(flat)}: all values are equal" if flat else ""


def is_constant(sample: np.ndarray) -> bool:
    """Whether all values are equal up to rounding."""
    return bool(np.all(sample == sample[:1])) or bool(
        np.isfinite(sample).all() and np.ptp(sample) <= 1e-13 * np.max(np.abs(sample))
    )
