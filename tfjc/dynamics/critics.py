"""Derivatives of the losses of the one-parameter GAN's two critics d(u), as functions of u = W_d·x + b_d.

a(u) = −ln d is the loss on a real sample and c(u) = −ln(1 − d) the loss on a generated sample. The generator's loss is
−c. `real_slope` and `fake_slope` are the first derivatives of a and c by u, `real_curvature` and `fake_curvature` the
second derivatives. All are elementwise, in float64.
"""

import dataclasses

import numpy as np
from scipy import special

_HUGE = 345.0  # exp(2·345) is below float64's largest number
_SMALL = 0.5  # below, seven terms of the series of v/(eᵛ − 1), whose radius is 2π, are exact to rounding
_ORDERS = np.arange(2, 14, 2)
_COEFFICIENTS = np.zeros(12)
_COEFFICIENTS[0], _COEFFICIENTS[_ORDERS - 1] = 0.5, -special.bernoulli(12)[_ORDERS] / special.factorial(_ORDERS)
_SERIES = np.polynomial.Polynomial(_COEFFICIENTS)
_SERIES_SLOPE = _SERIES.deriv()


@dataclasses.dataclass(frozen=True)
class Sigmoid:
    """d = σ(u) = 1/(1 + e⁻ᵘ): a = ln(1 + e⁻ᵘ), c = ln(1 + eᵘ). Guttenberg 2016, "The Really Simple GAN"."""

    has_pole = False

    def real_slope(self, u: np.ndarray) -> np.ndarray:
        """a'(u) = −σ(−u)."""
        return -special.expit(-u)

    def real_curvature(self, u: np.ndarray) -> np.ndarray:
        """a''(u) = σ(u)·σ(−u)."""
        return special.expit(u) * special.expit(-u)

    def fake_slope(self, u: np.ndarray) -> np.ndarray:
        """c'(u) = σ(u)."""
        return special.expit(u)

    def fake_curvature(self, u: np.ndarray) -> np.ndarray:
        """c''(u) = a''(u)."""
        return self.real_curvature(u)


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """d = exp(−u²): a = u², c = −ln(1 + ε − exp(−u²)). Guttenberg 2016, "The Really Simple GAN", where ε = 0.

    For ε = 0 and a generated sample with u = 0, d = 1 and the loss c is infinite. There c' = −2/u + r(u) and
    c'' = 2/u² + r'(u) have a pole. At u = 0 the methods return the finite parts without the pole: c' = 0 and c'' = 1.
    Many programs add a small ε > 0 inside the logarithm. It bounds the slope near u = 0 by about 1/√ε.

    Attributes:
      epsilon: ε, ≥ 0.
    """

    epsilon: float = 0.0

    has_pole = True

    def real_slope(self, u: np.ndarray) -> np.ndarray:
        """a'(u) = 2u."""
        return 2.0 * u

    def real_curvature(self, u: np.ndarray) -> np.ndarray:
        """a''(u) = 2."""
        return np.full_like(u, 2.0)

    def fake_slope(self, u: np.ndarray) -> np.ndarray:
        """c'(u) = −2u/((1 + ε)·exp(u²) − 1); 0 at the pole."""
        below = self._denominator(np.square(u))
        below[below == 0.0] = 1.0
        return np.divide(-2.0 * u, below, out=below)

    def fake_curvature(self, u: np.ndarray) -> np.ndarray:
        """c''(u) = −2/N + 4u²(1 + ε)·exp(u²)/N², N = (1 + ε)·exp(u²) − 1; the finite part 1 at the pole."""
        v = np.minimum(np.square(u), _HUGE)
        below = self._denominator(v)
        pole = np.square(below) == 0.0
        below[pole] = 1.0
        return np.where(pole, 1.0, -2.0 / below + 4.0 * v * (1.0 + self.epsilon) * np.exp(v) / np.square(below))

    def _denominator(self, v):
        v = np.minimum(v, _HUGE)
        return np.expm1(v) + self.epsilon * np.exp(v) if self.epsilon else np.expm1(v)

    def regular_slope(self, u: np.ndarray) -> np.ndarray:
        """r(u) = c'(u) + 2/u at ε = 0, smooth: 2u·G(u²) with G(v) = (1 − v/(eᵛ − 1))/v."""
        return 2.0 * u * _regular(np.square(u))

    def regular_curvature(self, u: np.ndarray) -> np.ndarray:
        """r'(u) = 2G(v) + 4v·G'(v), v = u²."""
        v = np.square(u)
        return 2.0 * _regular(v) + 4.0 * v * _regular_slope(v)


def _regular(v):
    """G(v) = (1 − v/(eᵛ − 1))/v; for small v the series ½ − v/12 + v³/720 − …, since the difference cancels."""
    large = np.clip(v, _SMALL, _HUGE)
    direct = (1.0 - large / np.expm1(large)) / np.maximum(v, _SMALL)
    return np.where(v < _SMALL, _SERIES(np.minimum(v, _SMALL)), direct)


def _regular_slope(v):
    large = np.clip(v, _SMALL, _HUGE)
    bose = large / np.expm1(large)
    bose_slope = bose * (1.0 / large - 1.0 - 1.0 / np.expm1(large))
    direct = -(bose_slope + _regular(v)) / np.maximum(v, _SMALL)
    return np.where(v < _SMALL, _SERIES_SLOPE(np.minimum(v, _SMALL)), direct)
