"""Scores of generated samples from features or classes alone: the published definitions, in NumPy.

Evaluators report TF-GAN's Fréchet and kernel distance; those here are the same numbers sooner, for scores taken during
training.
"""

import numpy as np
import scipy.linalg

from tfjc.support import checks


def frechet_distance(real, fake):
    """‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½) of two sets of features, [N, d] and [M, d], in float64.

    Covariances are unbiased (divided by N − 1), as TF-GAN has them. Raises ValueError for anything but two sets of at
    least two finite features of one size. Source: Heusel et al. 2017, eq. 6.
    """
    real, fake = _same_size(features("real", real, 2), features("fake", fake, 2))
    return gaussian_frechet_distance(
        real.mean(axis=0), np.cov(real, rowvar=False), fake.mean(axis=0), np.cov(fake, rowvar=False)
    )


def gaussian_frechet_distance(mean_1, covariance_1, mean_2, covariance_2):
    """The Fréchet distance of two Gaussians: means [d], covariances [d, d], which may be singular.

    With Σ₁ = AAᵀ, Tr (Σ₁Σ₂)^½ is the sum of the roots of the eigenvalues of the symmetric AᵀΣ₂A; A is Cholesky's
    factor, and for a singular Σ₁ that of its eigendecomposition. Source: Dowson and Landau 1982.
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
    """Eigenvalues of a positive semi-definite matrix, with 0 for those that rounding alone may have made."""
    noise = len(eigenvalues) * np.finfo(np.float64).eps * max(eigenvalues[-1], 0.0)
    return np.where(eigenvalues > noise, eigenvalues, 0.0)


def kernel_distance(real, fake):
    """The squared maximum mean discrepancy of features [N, d] and [M, d] for k(x, y) = (xᵀy/d + 1)³: KID, unbiased.

    Raises ValueError as `frechet_distance`. Source: Bińkowski et al. 2018, section 4; Gretton et al. 2012, eq. 3.
    """
    real, fake = _same_size(features("real", real, 2), features("fake", fake, 2))
    return float(_kernel_mean(real) + _kernel_mean(fake) - 2.0 * _kernel_mean(real, fake))


def _kernel_mean(x, y=None):
    """The mean of k over all pairs of x and y; of x alone over all pairs of two different ones."""
    blocks = np.array_split(x, max(1, len(x) // 512))  # rows at a time, so that memory does not grow with N²
    total = sum(np.sum(_kernel(block @ (x if y is None else y).T, x.shape[1])) for block in blocks)
    if y is not None:
        return total / (len(x) * len(y))
    return (total - np.sum(_kernel(np.einsum("nd,nd->n", x, x), x.shape[1]))) / (len(x) * (len(x) - 1))


def _kernel(products, size):
    base = products / size + 1.0
    return base * base * base


def prdc(real, fake, *, k=3, k_density=5):
    """Precision, recall, density and coverage of features [N, d] and [M, d], as a dict.

    Round each feature lies a closed ball, as wide as the distance to its k-th nearest neighbour in its own set.
    Precision is the share of fake features in some real one's ball, recall that of real features in some fake one's
    (Kynkäänniemi et al. 2019, eqs. 1 and 2, k = 3). Density is the mean number of real balls that a fake feature lies
    in, over k, and coverage the share of real features whose ball holds a fake one (Naeem et al. 2020, eqs. 3 and 4,
    k = 5).

    Raises ValueError where the features of either kind are not more than k, or are not finite or not of one size.
    """
    k, k_density = checks.integer("k", k, minimum=1), checks.integer("k_density", k_density, minimum=1)
    most = max(k, k_density) + 1
    real, fake = _same_size(features("real", real, most), features("fake", fake, most))
    (real_ball, dense_ball), (fake_ball,) = _radii(real, k, k_density), _radii(fake, k)
    precise, recalled, covered, inside, start = np.zeros(len(fake), bool), 0, 0, 0, 0
    for block in _distances(real, fake):
        rows = slice(start, start := start + len(block))
        precise |= np.any(block <= real_ball[rows, None], axis=0)
        recalled += np.count_nonzero(np.any(block <= fake_ball, axis=1))
        within = block <= dense_ball[rows, None]
        inside += np.count_nonzero(within)
        covered += np.count_nonzero(np.any(within, axis=1))
    return {
        "precision": float(precise.mean()),
        "recall": float(recalled / len(real)),
        "density": float(inside / (k_density * len(fake))),
        "coverage": float(covered / len(real)),
    }


def _radii(x, *ks):
    """For each k, the distance of each of x to its k-th nearest neighbour; index 0 of a row is the point itself."""
    return np.concatenate([np.partition(block, ks, axis=1)[:, ks] for block in _distances(x, None)]).T


def _distances(x, y):
    """The Euclidean distances of x [N, d] to y [M, d] (or to x) in blocks of rows of 256 MiB."""
    import sklearn.metrics  # slow to import

    return sklearn.metrics.pairwise_distances_chunked(x, y, metric="euclidean", working_memory=256)


def missing_modes(classes, count):
    """What a histogram of predicted classes tells about missing modes, for classes [N] out of `count`.

    `least_sampled_class` is the number of samples in the rarest class, `missing_classes` how many have none,
    `kl_to_uniform` the Kullback-Leibler divergence of the histogram from the uniform distribution in nats,
    `class_histogram` the counts. A class of −1 is none of them and is not counted.
    Raises ValueError for no classes or one out of range. Source: Odena et al. 2018, section 3.
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


def nearest_mode(points, centres, standard_deviation, within=3.0):
    """The nearest of `centres` [K, d] to each of `points` [N, d], as int [N]; −1 for low quality.

    That is farther than `within` standard deviations. Source: Srivastava et al. 2017 (VEEGAN), section 4.1.
    """
    centres = np.asarray(centres, dtype=np.float64)
    points = features("points", points, 1)
    if centres.ndim != 2 or centres.shape[1] != points.shape[1]:
        raise ValueError(f"centres must be [K, {points.shape[1]}] as the points are, found {list(centres.shape)}")
    import sklearn.metrics  # slow to import

    distance = sklearn.metrics.pairwise_distances(points, centres)
    nearest = distance.argmin(axis=1)
    return np.where(distance.min(axis=1) <= within * standard_deviation, nearest, -1)


def features(name, x, least):
    """`x` as float64 [N, d] with N ≥ `least`; raises ValueError for another shape, too few, or values not finite."""
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
