"""The largest and smallest singular values from products with J and Jᵀ, by SciPy's Lanczos solver."""

from typing import NamedTuple

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from tfjc.support import checks, noise


class Extremes(NamedTuple):
    """The k largest and k smallest singular values of J, each descending, with residuals and directions.

    The residual of σ is ‖Jᵀu − σv‖; Jv = σu holds by construction. J has a singular value within the residual of σ.
    Values and residuals are [k]. Vectors are [n_z, k]; each column is a direction v of unit length.
    `JacobianOperator.extremes` adds a first axis B.
    """

    largest: np.ndarray
    largest_residuals: np.ndarray
    largest_vectors: np.ndarray
    smallest: np.ndarray
    smallest_residuals: np.ndarray
    smallest_vectors: np.ndarray


def extremes(operator: LinearOperator, k: int = 6, *, krylov: int | None = None, seed: int = 0) -> Extremes:
    """The `Extremes` of a linear map J [n_x, n_z], from products with J and Jᵀ.

    Lanczos (ARPACK) runs on M = JᵀJ for the largest values and on σ_max²·I − M for the smallest ones. The spectrum of
    σ_max²·I − M is crowded: a Krylov space of n_z dimensions converges at once, a smaller one hardly ever. So the
    smallest values take about n_z products with M and memory for n_z·krylov numbers. A Rayleigh–Ritz step on J itself
    then gives the values without squaring the condition number. In float32, directions with σ below about
    1e-3.5·σ_max are blurred. The residuals show this; `in_float64` resolves smaller σ.

    Args:
      operator: SciPy LinearOperator [n_x, n_z], such as `tfjc.geometry.operator(generator, z)` for one z.
      k: the number of values at each end, less than n_z.
      krylov: the largest dimension of the Krylov space; the smaller of n_z and 4,096 by default.
      seed: seed of the solver's starting vector.

    Raises:
      ValueError: k or krylov is out of range, a product is not finite, or the solver does not converge.
    """
    n_z = operator.shape[1]
    k = checks.integer("k", k, minimum=1)
    if k >= n_z:
        raise ValueError(f"k must be less than n_z = {n_z}, found {k}; tfjc.geometry.spectrum gives all {n_z} values")
    krylov = min(n_z, checks.integer("krylov", 4096 if krylov is None else krylov, minimum=2 * k + 1))

    def squared(v):
        return operator.rmatvec(operator.matvec(v.astype(operator.dtype))).astype(np.float64)

    start = noise.rng(seed, noise.Stream.LANCZOS).standard_normal(n_z)
    image = squared(start)
    if not np.isfinite(image).all():
        raise ValueError("the products of the operator hold nan or infinite values")
    if not image.any():
        return _zero(n_z, k)
    solve = {"k": k, "which": "LA", "v0": start}
    metric = LinearOperator((n_z, n_z), matvec=squared, dtype=np.float64)
    largest, most = _lanczos(metric, **solve)
    flipped = LinearOperator((n_z, n_z), matvec=lambda v: largest[-1] * v - squared(v), dtype=np.float64)
    _, least = _lanczos(flipped, **solve, ncv=krylov, tol=np.finfo(operator.dtype).eps)
    null = n_z * np.finfo(operator.dtype).eps * np.sqrt(largest[-1])
    return Extremes(*_refine(operator, most, null), *_refine(operator, least, null))


def _lanczos(matrix, **options):
    try:
        return eigsh(matrix, **options)
    except ArpackNoConvergence as error:
        size = options.get("ncv", "its default")
        raise ValueError(f"Lanczos did not converge in a Krylov space of {size} dimensions: {error}") from error


def _zero(n_z, k):
    """The extremes of J = 0, with arbitrary directions."""
    ends = np.zeros(k), np.zeros(k), np.eye(n_z, k)
    return Extremes(*ends, *ends)


def _refine(operator, vectors, null):
    """Rayleigh–Ritz: the singular values of J on the span of orthonormal `vectors`, residuals and directions.

    A value of at most `null` is rounding error. It has no meaningful u, so its residual is ‖Jv‖.
    """
    images = operator.matmat(vectors.astype(operator.dtype)).astype(np.float64)
    left, values, rotation = np.linalg.svd(images, full_matrices=False)
    right = vectors @ rotation.T
    pulled = operator.rmatmat(left.astype(operator.dtype)).astype(np.float64)
    residuals = np.linalg.norm(pulled - right * values, axis=0)
    return values, np.where(values <= null, values, residuals), right
