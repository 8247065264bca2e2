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
      ValueError: `operator` is no linear map (see `linear_map`), k or krylov is out of range, a product is not finite,
        or the solver does not converge.
    """
    n_z = linear_map(operator).shape[1]
    k = count(k, n_z)
    krylov = min(n_z, checks.integer("krylov", 4096 if krylov is None else krylov, minimum=2 * k + 1))
    found = largest(operator, k, seed=seed)
    sigma_max = found.values[0]
    start, squared = _start(n_z, seed), _metric(operator)
    flipped = LinearOperator((n_z, n_z), matvec=lambda v: sigma_max**2 * v - squared(v), dtype=np.float64)
    if not flipped.matvec(start).any():  # M = σ_max²·I: all singular values are equal
        return Extremes(*found, *found)
    least = _lanczos(flipped, k, v0=start, ncv=krylov, tol=np.finfo(operator.dtype).eps)
    return Extremes(*found, *_refine(operator, least, sigma_max))


def linear_map(operator: LinearOperator) -> LinearOperator:
    """`operator`, which must be a SciPy LinearOperator [n_x, n_z] of floating type with the products Jv and Jᵀu.

    Raises ValueError where it is none, where a product is not finite, or where ⟨u, Jv⟩ ≠ ⟨Jᵀu, v⟩ for a random u and v:
    then `rmatvec` is of another matrix than `matvec`.
    """
    if not isinstance(operator, LinearOperator):
        raise ValueError(
            "operator must be a SciPy LinearOperator [n_x, n_z], such as tfjc.geometry.operator(generator, z)[0] or "
            f"scipy.sparse.linalg.aslinearoperator(J), found {type(operator).__name__}"
        )
    if np.dtype(operator.dtype).kind != "f":
        raise ValueError(f"operators must be of floating type, found {np.dtype(operator.dtype).name}")
    rng = noise.rng(0, noise.Stream.ADJOINTS)
    u, v = (rng.standard_normal(size).astype(operator.dtype) for size in operator.shape)
    try:
        pushed, pulled = operator.matvec(v), operator.rmatvec(u)
    except NotImplementedError as error:
        raise ValueError(f"operators must have both products, matvec (Jv) and rmatvec (Jᵀu): {error}") from error
    if not (np.isfinite(pushed).all() and np.isfinite(pulled).all()):
        raise ValueError("the products of the operator hold nan or infinite values")
    pushed, pulled = np.float64(pushed), np.float64(pulled)
    one, other = np.dot(u, pushed), np.dot(pulled, v)
    if abs(one - other) > _ADJOINT * (np.linalg.norm(pushed) + np.linalg.norm(pulled)):
        raise ValueError(
            f"rmatvec must be the product with the transpose, ⟨u, Jv⟩ = ⟨Jᵀu, v⟩, found {one:.6g} and {other:.6g} for "
            "a random u and v"
        )
    return operator


_ADJOINT = 0.02  # of the norms of Jv and Jᵀu: above the rounding of 16 bits


class Largest(NamedTuple):
    """The k largest singular values [k] of J, descending, residuals ‖Jᵀu − σv‖ [k] and directions v [n_z, k]."""

    values: np.ndarray
    residuals: np.ndarray
    vectors: np.ndarray


def krylov(k: int) -> int:
    """The dimension of the Krylov space in which `largest` searches for k values."""
    return max(4 * k, 64)


def largest(operator: LinearOperator, k: int, *, seed: int = 0) -> Largest:
    """The `Largest` of a linear map J [n_x, n_z], by Lanczos (ARPACK) on M = JᵀJ and a Rayleigh–Ritz step on J.

    Arguments and errors are those of `extremes`.
    """
    n_z = operator.shape[1]
    k, start, squared = count(k, n_z), _start(n_z, seed), _metric(operator)
    image = squared(start)
    if not np.isfinite(image).all():
        raise ValueError("the products of the operator hold nan or infinite values")
    if not image.any():
        return Largest(np.zeros(k), np.zeros(k), np.eye(n_z, k))  # J = 0: the directions are arbitrary
    metric = LinearOperator((n_z, n_z), matvec=squared, dtype=np.float64)
    vectors = _lanczos(metric, k, v0=start, ncv=min(n_z, krylov(k)), tol=np.finfo(operator.dtype).eps)
    return _refine(operator, vectors)


def count(k: int, n_z: int) -> int:
    """`k`, which must be a number of singular values from 1 to n_z − 1."""
    k = checks.integer("k", k, minimum=1)
    if k >= n_z:
        raise ValueError(f"k must be less than n_z = {n_z}, found {k}; tfjc.geometry.spectrum gives all {n_z} values")
    return k


def _start(n_z, seed):
    return noise.rng(checks.seed("seed", seed), noise.Stream.LANCZOS).standard_normal(n_z)


def _metric(operator):
    """The map v ↦ JᵀJv of float64 vectors. Jv is scaled between the products, whose type may not hold σ²."""

    def product(v):
        image = operator.matvec(v.astype(operator.dtype)).astype(np.float64)
        scale = np.max(np.abs(image))
        if scale == 0.0:
            return np.zeros_like(v)
        return scale * operator.rmatvec((image / scale).astype(operator.dtype)).astype(np.float64)

    return product


def _lanczos(matrix, k, **options):
    """The eigenvectors [n, k] of the k largest eigenvalues of a symmetric matrix."""
    try:
        return eigsh(matrix, k, which="LA", **options)[1]
    except ArpackNoConvergence as error:
        size = options["ncv"]
        raise ValueError(f"Lanczos did not converge in a Krylov space of {size} dimensions: {error}") from error


def _refine(operator, vectors, sigma_max=None):
    """Rayleigh–Ritz: the singular values of J on the span of orthonormal `vectors`, residuals and directions.

    A value within rounding of 0 has no meaningful u, so that its residual is ‖Jv‖. Rounding is that of `sigma_max`, or
    of the largest value.
    """
    images = operator.matmat(vectors.astype(operator.dtype)).astype(np.float64)
    left, found, rotation = np.linalg.svd(images, full_matrices=len(images) < vectors.shape[1])
    values, right = np.zeros(vectors.shape[1]), vectors @ rotation.T
    values[: len(found)] = found
    pulled = np.zeros_like(right)
    pulled[:, : len(found)] = operator.rmatmat(left.astype(operator.dtype))
    residuals = np.linalg.norm(pulled - right * values, axis=0)
    null = operator.shape[1] * np.finfo(operator.dtype).eps * (found[0] if sigma_max is None else sigma_max)
    return Largest(values, np.where(values <= null, values, residuals), right)
