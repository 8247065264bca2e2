"""Means E[f(wz + m)·zᵏ] over samples or the standard normal distribution, and principal values of E[1/(wz + m)].

`moments` and `pole` are vectorised over w and m, which broadcast.
"""

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tfjc.support import noise

DATA_AND_LATENTS = noise.Stream.GAME_DATA, noise.Stream.GAME_LATENTS

_BLOCK = 1 << 17  # numbers in memory at once: 1 MiB of float64 fits into a core's cache; larger blocks took up to 2×
_ORDER = 1000  # order of the Gauss–Hermite rule: nodes 0.1 apart, for |w| up to about 10 (relative error 1e-6)
_FAR = 7.0  # from |m|/(√2|w|) = 7 on, the asymptotic series of Dawson's function is exact to rounding
_TERMS = np.arange(21)
_ODD = np.cumprod(np.concatenate([[1.0], 2.0 * _TERMS[1:] - 1.0]))  # (2k − 1)!!
_SERIES = np.stack([_ODD * special.poch(2.0 * _TERMS + 1.0, n) for n in range(4)], axis=-1)


@functools.lru_cache(maxsize=16)
def draws(count: int, seed: int, stream: noise.Stream) -> tuple[np.ndarray, np.ndarray]:
    """(nodes [count], weights [count]) of a sample of N(0, 1); `stream` is one of DATA_AND_LATENTS.

    A smaller sample with the same seed is the beginning of a larger one.
    """
    return _frozen(noise.rng(seed, stream).standard_normal(count)), _frozen(np.full(count, 1.0 / count))


@functools.lru_cache(maxsize=1)
def gauss_hermite() -> tuple[np.ndarray, np.ndarray]:
    """(nodes, weights) of the Gauss–Hermite rule for N(0, 1), without nodes of negligible weight."""
    nodes, weights = special.roots_hermitenorm(_ORDER)
    kept = weights > 1e-18 * weights.max()
    return _frozen(nodes[kept]), _frozen(weights[kept] / weights.sum())


def _frozen(array):
    array.flags.writeable = False
    return array


def moments(
    function: Callable[[np.ndarray], np.ndarray],
    w: ArrayLike,
    m: ArrayLike,
    nodes: np.ndarray,
    weights: np.ndarray,
    highest: int,
) -> np.ndarray:
    """E[f(wz + m)·zᵏ] for k = 0, ..., `highest`, with an elementwise `function` f: w, m [...] → [..., highest + 1]."""
    w, m = np.broadcast_arrays(w, m)
    shape, w, m = w.shape, w.reshape(-1), m.reshape(-1)
    powers = weights[:, None] * nodes[:, None] ** np.arange(highest + 1)
    found = np.empty([len(w), highest + 1])
    rows = max(1, _BLOCK // len(nodes))
    for start in range(0, len(w), rows):
        block = slice(start, start + rows)
        found[block] = function(w[block, None] * nodes + m[block, None]) @ powers
    return found.reshape(*shape, highest + 1)


def pole(w: ArrayLike, m: ArrayLike) -> np.ndarray:
    """p = E[1/(wz + m)], z ~ N(0, 1), as Cauchy's principal value, and its first three derivatives by m: [..., 4].

    p = (√2/|w|)·D(m/(√2|w|)) with Dawson's function D. From D' = 1 − 2yD follow w²p' = 1 − mp, w²p'' = −(p + mp') and
    w²p''' = −(2p' + mp''). These derivatives of p are Hadamard's finite parts of E[−1/u²] and so on. Where |m| is much
    larger than |w|, the differences cancel, and the asymptotic series in t = w²/m² is used; it also holds at w = 0. At
    w = m = 0, where p is not defined, all four are 0.
    Source: Abramowitz and Stegun 1964, section 7.1; the principal value is the Hilbert transform of a Gaussian.
    """
    w, m = np.broadcast_arrays(np.abs(w), m)
    far = np.abs(m) > _FAR * np.sqrt(2.0) * w
    near = ~far & (w > 0)
    found = np.zeros([*w.shape, 4])
    found[near], found[far] = _by_dawson(w[near], m[near]), _by_series(w[far], m[far])
    return found


def _by_dawson(w, m):
    p = np.sqrt(2.0) / w * special.dawsn(m / (np.sqrt(2.0) * w))
    first = (1.0 - m * p) / w**2
    second = -(p + m * first) / w**2
    return np.stack([p, first, second, -(2.0 * first + m * second) / w**2], axis=-1)


def _by_series(w, m):
    """p⁽ⁿ⁾ = (−1)ⁿ/mⁿ⁺¹ · Σ_k (2k − 1)!!·(2k + n)!/(2k)! · tᵏ."""
    sums = np.polynomial.polynomial.polyval(np.square(w / m), _SERIES)  # [4, points]
    n = np.arange(4)[:, None]
    return (sums * (-1.0) ** n / m ** (n + 1)).T
