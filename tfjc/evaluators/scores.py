"""Scores of generated samples from features or classes: the published definitions, in NumPy.

Evaluators report the Fréchet and kernel distance of TF-GAN. The functions here give the same numbers in less time, for
scores during training.
"""

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike

from tfjc.support import checks


def frechet_distance(real: ArrayLike, fake: ArrayLike) -> float:
    """‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½) of two sets of features, [N, d] and [M, d], in float64.

    Covariances are unbiased (divided by N − 1), as in TF-GAN. Source: Heusel et al. 2017, eq. 6.

    Raises:
      ValueError: a set has fewer than two features, features are not finite, or sizes d differ.
    """
    x, y = _same_size(features("real", real, 2), features("fake", fake, 2))
    return gaussian_frechet_distance(x.mean(axis=0), np.cov(x, rowvar=False), y.mean(axis=0), np.cov(y, rowvar=False))


def gaussian_frechet_distance(
    mean_1: ArrayLike, covariance_1: ArrayLike, mean_2: ArrayLike, covariance_2: ArrayLike
) -> float:
    """The Fréchet distance of two Gaussians: means [d], covariances [d, d], which may be singular.

    With Σ₁ = AAᵀ, Tr (Σ₁Σ₂)^½ is the sum of the square roots of the eigenvalues of the symmetric AᵀΣ₂A. A is the
    Cholesky factor, or, for a singular Σ₁, comes from its eigendecomposition. Source: Dowson and Landau 1982.
    """
    covariance_1, covariance_2 = np.atleast_2d(covariance_1), np.atleast_2d(covariance_2)
    factor = _factor(covariance_1)
    eigenvalues = scipy.linalg.eigvalsh(factor.T @ covariance_2 @ factor)
    root_trace = np.sqrt(_without_rounding(eigenvalues)).sum()
    difference = np.asarray(mean_1) - np.asarray(mean_2)
    return float(difference @ difference + np.trace(covariance_1) + np.trace(covariance_2) - 2.0 * root_trace)


def _factor(covariance):
    try:
        return scipy.linalg.cholesky(covariance, lower=True)
    except scipy.linalg.LinAlgError:
        eigenvalues, vectors = scipy.linalg.eigh(covariance)
        return vectors * np.sqrt(_without_rounding(eigenvalues))


def _without_rounding(eigenvalues):
    """Ascending eigenvalues of a positive semi-definite matrix, with 0 for those below its rounding error."""
    noise = len(eigenvalues) * np.finfo(np.float64).eps * max(eigenvalues[-1], 0.0)
    return np.where(eigenvalues > noise, eigenvalues, 0.0)


def kernel_distance(real: ArrayLike, fake: ArrayLike) -> float:
    """The squared maximum mean discrepancy of features [N, d] and [M, d] for k(x, y) = (xᵀy/d + 1)³: KID, unbiased.

    Source: Bińkowski et al. 2018, section 4; Gretton et al. 2012, eq. 3.

    Raises:
      ValueError: as `frechet_distance`.
    """
    x, y = _same_size(features("real", real, 2), features("fake", fake, 2))
    return float(_kernel_mean(x) + _kernel_mean(y) - 2.0 * _kernel_mean(x, y))


def _kernel_mean(x, y=None):
    """The mean of k over all pairs (x, y); without y, over all pairs of different rows of x."""
    blocks = np.array_split(x, max(1, len(x) // 512))  # rows at a time, so that memory does not grow with N²
    total = sum(np.sum(_kernel(block @ (x if y is None else y).T, x.shape[1])) for block in blocks)
    if y is not None:
        return total / (len(x) * len(y))
    return (total - np.sum(_kernel(np.einsum("nd,nd->n", x, x), x.shape[1]))) / (len(x) * (len(x) - 1))


def _kernel(products, size):
    base = products / size + 1.0
    return base * base * base


def prdc(real: ArrayLike, fake: ArrayLike, *, k: int = 3, k_density: int = 5) -> dict[str, float]:
    """Precision, recall, density and coverage of features [N, d] and [M, d].

    Each feature has a closed ball. Its radius is the distance to the k-th nearest neighbour in the feature's own set.

    - Precision is the share of fake features that lie in a real ball. Recall is the share of real features that lie in
      a fake ball (Kynkäänniemi et al. 2019, eqs. 1 and 2, k = 3).
    - Density is the mean number of real balls that hold a fake feature, divided by k. Coverage is the share of real
      balls that hold a fake feature (Naeem et al. 2020, eqs. 3 and 4, k = 5).

    Args:
      real, fake: features.
      k: neighbours for precision and recall.
      k_density: neighbours for density and coverage.

    Raises:
      ValueError: a set has not more than max(k, k_density) features, features are not finite, or sizes d differ.
    """
    k, k_density = checks.integer("k", k, minimum=1), checks.integer("k_density", k_density, minimum=1)
    most = max(k, k_density) + 1
    x, y = _same_size(features("real", real, most), features("fake", fake, most))
    (real_ball, dense_ball), (fake_ball,) = _radii(x, k, k_density), _radii(y, k)
    precise, recalled, covered, inside, start = np.zeros(len(y), np.bool_), 0, 0, 0, 0
    for block in _distances(x, y):
        rows = slice(start, start := start + len(block))
        precise |= np.any(block <= real_ball[rows, None], axis=0)
        recalled += int(np.count_nonzero(np.any(block <= fake_ball, axis=1)))
        within = block <= dense_ball[rows, None]
        inside += int(np.count_nonzero(within))
        covered += int(np.count_nonzero(np.any(within, axis=1)))
    return {
        "precision": float(precise.mean()),
        "recall": float(recalled / len(x)),
        "density": float(inside / (k_density * len(y))),
        "coverage": float(covered / len(x)),
    }


def _radii(x, *ks):
    """The distance of each row of x to its k-th nearest neighbour, for each k. The 0-th is the row itself."""
    return np.concatenate([np.partition(block, ks, axis=1)[:, ks] for block in _distances(x, None)]).T


def _distances(x, y):
    """The Euclidean distances of x [N, d] to y [M, d], or to x if y is None, in blocks of rows of 256 MiB."""
    import sklearn.metrics  # slow to import

    return sklearn.metrics.pairwise_distances_chunked(x, y, metric="euclidean", working_memory=256)


def missing_modes(classes: ArrayLike, count: int) -> dict[str, Any]:
    """Missing modes in the histogram of predicted classes [N] in [0, `count`); −1, no class, is not counted.

    `least_sampled_class` is the number of samples in the rarest class, `missing_classes` the number of classes without
    a sample, `kl_to_uniform` the Kullback-Leibler divergence of the histogram from the uniform distribution in nats,
    `class_histogram` the counts. Source: Odena et al. 2018, section 3.

    Raises:
      ValueError: there are no classes, or a class is out of range.
    """
    classes, count = np.asarray(classes), checks.integer("count", count, minimum=1)
    if classes.ndim != 1 or len(classes) == 0 or not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(f"classes must be whole numbers [N], found {classes.dtype} {list(classes.shape)}")
    if classes.min() < -1 or classes.max() >= count:
        raise ValueError(f"classes must lie in [-1, {count}), found {classes.min()} to {classes.max()}")
    histogram = np.bincount(classes[classes >= 0], minlength=count)
    shares = histogram / max(histogram.sum(), 1)
    present = shares[shares > 0]
    return {
        "least_sampled_class": float(histogram.min()),
        "missing_classes": float(np.count_nonzero(histogram == 0)),
        "kl_to_uniform": float(np.sum(present * np.log(count * present))) if len(present) else float("inf"),
        "class_histogram": histogram.tolist(),
    }


def nearest_mode(points: ArrayLike, centres: ArrayLike, standard_deviation: float, within: float = 3.0) -> np.ndarray:
    """The index of the centre [K, d] nearest to each point [N, d], as int [N]; −1 for points of low quality.

    A point is of low quality if it is farther than `within` standard deviations from all centres.
    Source: Srivastava et al. 2017 (VEEGAN), section 4.1.

    Raises:
      ValueError: points are not finite [N, d], or centres not [K, d].
    """
    centres = np.asarray(centres, dtype=np.float64)
    points = features("points", points, 1)
    if centres.ndim != 2 or centres.shape[1] != points.shape[1]:
        raise ValueError(f"centres must be [K, {points.shape[1]}], as wide as points, found {list(centres.shape)}")
    import sklearn.metrics  # slow to import

    distance = sklearn.metrics.pairwise_distances(points, centres)
    nearest = distance.argmin(axis=1)
    return np.where(distance.min(axis=1) <= within * standard_deviation, nearest, -1)


def features(name: str, x: ArrayLike, least: int) -> np.ndarray:
    """`x` as float64 [N, d]; raises ValueError for another shape, N < `least`, or values that are not finite."""
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(f"{name} features must be [N, d], found {list(x.shape)}")
    if len(x) < least:
        raise ValueError(f"at least {least} {name} features are needed, found {len(x)}")
    x = x.astype(np.float64)
    bad = np.count_nonzero(~np.isfinite(x).all(axis=1))
    if bad:
        raise ValueError(f"{name} features must be finite, found {bad} of {len(x)} that are not")
    return x


def _same_size(real, fake):
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"real and fake features must be of one size, found {real.shape[1]} and {fake.shape[1]}")
    return real, fake
