"""Spectra of a generator: singular values of J_z, log-condition numbers of M_z, the spectrum of E_z[J_z]."""

import dataclasses

import numpy as np
import tensorflow as tf

from tfjc import geometry

# Rounding error of a float32 Jacobian against the same DCGAN (28 pixels, 24 channels) in float64: ‖ΔJ‖₂/(eps·‖J‖_F) is
# 0.3 before and up to 8 after 8,000 steps on MNIST, but then along the large directions: ln κ was off by 5e-6.
# Where ΔJ is unstructured (0.4 at 28 and 32 pixels), 4 keeps σ_min within 10 % and ln κ within 0.2.
_FLOOR = 4.0


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Singular values of the Jacobian at each of B latents, and what is read off them (Odena et al. 2018, §2, §3).

    Attributes:
      singular_values: σ of J_z, [B, n_z] float64, descending; with fewer outputs than latents the rest are 0.
      average_jacobian: singular values of E_z[J_z], [n_z] float64, descending (figures 3 and 4).
      average_metric_tensor: E_z[M_z], [n_z, n_z] float64; its eigenvectors are directions that move the image much or
        little wherever z is (Wang and Ponce 2021).
      vectors: right singular vectors of J_z = eigenvectors of M_z, [B, n_z, n_z] float64, or None if not asked for;
        vectors[b, :, k] belongs to singular_values[b, k]: a step ε along it moves the image by ε·σ_k (eq. 5).
      epsilon: machine epsilon of the coarsest type that the generator computes in.
    """

    singular_values: np.ndarray
    average_jacobian: np.ndarray
    average_metric_tensor: np.ndarray | None = None
    vectors: np.ndarray | None = None
    epsilon: float = float(np.finfo(np.float32).eps)

    @property
    def sigma_max(self):
        """σ_max of J_z, [B]: the most that a unit step in z moves the image."""
        return self.singular_values[:, 0]

    @property
    def sigma_min(self):
        """σ_min of J_z, [B]: the least that a unit step in z moves the image."""
        return self.singular_values[:, -1]

    @property
    def log_condition(self):
        """ln(λ_max/λ_min) of M_z = 2·ln(σ_max/σ_min) of J_z, natural, [B]; inf where J_z is rank-deficient or 0.

        nan where J_z itself is not finite.
        """
        return _log_condition(self.singular_values)

    @property
    def mean_log_condition(self):
        """Mean of `log_condition` over the batch: the paper's summary (figure 1); inf if one of them is."""
        return float(np.mean(self.log_condition))

    @property
    def median_log_condition(self) -> float:
        """Median of `log_condition` over the batch; inf where half of them or more are."""
        return float(np.median(self.log_condition))

    @property
    def infinite_latents(self) -> float:
        """The share of latents whose `log_condition` is inf, 0 to 1."""
        return float(np.mean(np.isinf(self.log_condition)))

    @property
    def rank(self) -> np.ndarray:
        """The numerical rank r of J_z, [B]: how many singular values stand above `floor`; nan where J_z is not finite.

        The cut is the generator's rounding and not that of float64. A generator that normalises z, x = G(z/‖z‖), has
        one direction that does nothing; in float32 its σ is found as 1e-7·σ_max, below `floor`, so r = n_z − 1.
        """
        above = self.singular_values > self.floor[:, None]
        return np.where(np.isfinite(self.sigma_max), np.count_nonzero(above, axis=1), np.nan)

    @property
    def nonzero_log_condition(self) -> np.ndarray:
        """ln(λ_max/λ_r) = 2·ln(σ_max/σ_r) with r the `rank`, [B]: of the directions that do something.

        Equal to `log_condition` where that is resolved. inf where r = 0, nan where J_z is not finite.
        """
        last = np.maximum(np.nan_to_num(self.rank).astype(int), 1) - 1
        smallest = np.take_along_axis(self.singular_values, last[:, None], axis=1)
        found = _log_condition(np.concatenate([self.singular_values[:, :1], smallest], axis=1))
        return np.where(self.rank == 0, np.inf, found)

    @property
    def log_scale(self) -> np.ndarray:
        """ln(tr M_z/n_z) = ln(Σ_k σ_k²/n_z), [B]: how much G moves the image, over all directions; −inf for J_z = 0."""
        with np.errstate(divide="ignore"):
            return np.log(np.mean(np.square(self.singular_values), axis=1))

    @property
    def participation_ratio(self) -> np.ndarray:
        """(Σ_k λ_k)²/Σ_k λ_k² of M_z's eigenvalues λ_k = σ_k², [B], 1 to n_z; nan for J_z = 0.

        Over how many directions tr M_z is spread (Bell and Dean 1970, "Atomic vibrations in vitreous silica").
        """
        shares = np.square(_ratio(self.singular_values, self.singular_values[:, :1]))
        return np.square(np.sum(shares, axis=1)) / np.sum(np.square(shares), axis=1)

    @property
    def average_jacobian_log_condition(self):
        """2·ln(σ_max/σ_min) of E_z[J_z]; inf where it is rank-deficient."""
        return float(_log_condition(self.average_jacobian[None])[0])

    @property
    def log_determinant(self):
        """ln det M_z = 2·Σ_k ln σ_k, [B]; −inf where J_z is rank-deficient.

        √det M_z is the volume of the image of a unit cube in z (the magnification factor of Arvanitidis et al. 2018).
        """
        with np.errstate(divide="ignore"):
            return 2.0 * np.sum(np.log(self.singular_values), axis=1)

    @property
    def effective_rank(self):
        """exp(−Σ_k p_k ln p_k) with p_k = σ_k/Σσ, [B], 1 to n_z; nan for J_z = 0 (Roy and Vetterli 2007)."""
        p = _ratio(self.singular_values, np.sum(self.singular_values, axis=1, keepdims=True))
        return np.exp(-np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=1))

    @property
    def stable_rank(self):
        """‖J_z‖_F²/σ_max², [B], 1 to n_z; nan for J_z = 0 (Rudelson and Vershynin 2007)."""
        return _ratio(np.sum(np.square(self.singular_values), axis=1), np.square(self.sigma_max))

    @property
    def floor(self):
        """The rounding error that σ_min has to stand above, 4·ε·‖J_z‖_F with the machine epsilon ε, [B]."""
        return _FLOOR * self.epsilon * np.sqrt(np.sum(np.square(self.singular_values), axis=1))

    @property
    def resolved(self):
        """Whether σ_min stands above `floor`, [B] of bool: else ln κ is a lower bound at best."""
        return self.sigma_min > self.floor

    def plot(self, axes=None):
        """Draws each latent's spectrum and that of E[J] in log scale on `axes` (new ones by default); returns them."""
        from matplotlib import pyplot

        from tfjc.support import figures

        axes = axes or pyplot.subplots(layout="constrained")[1]
        return figures.spectra(axes, self.singular_values, self.average_jacobian)


def _log_condition(singular_values):
    largest, smallest = singular_values[:, 0], singular_values[:, -1]
    full_rank = smallest != 0
    ratio = np.divide(largest, smallest, out=np.ones_like(largest), where=full_rank)
    return np.where(full_rank, 2.0 * np.log(ratio), np.inf)


def _ratio(numerator, denominator):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def spectrum(generator, z, *, labels=None, chunk=None, vectors=False, progress=None):
    """The `Spectrum` of a generator at latents z [B, n_z], from float64 Gram matrices and LAPACK's symmetric solver.

    Float64 latents (see `tfjc.geometry.in_float64`) are the referee: there J_z itself is decomposed, which resolves
    condition numbers that a float64 Gram matrix could not (κ(J) above 1e7). `vectors=True` keeps the eigenvectors of
    each M_z, too; `progress` is called with the number of latents of each block that is done. Other arguments and
    errors as `tfjc.geometry.jacobian`. Source: Odena et al. 2018, sections 2 and 3.
    """
    if not tf.executing_eagerly():
        raise ValueError(
            "spectrum returns NumPy arrays and cannot be part of a tf.function: call it outside, or take "
            "tfjc.geometry.metric_tensor inside, whose eigenvalues are the squared singular values"
        )
    decompose = _decompose if tf.convert_to_tensor(z).dtype == tf.float64 else _decompose_gram
    inspection = geometry.inspect(generator, z, labels)
    decomposed, metric, total = [], 0.0, 0.0
    for block in geometry.blocks(generator, z, labels=labels, chunk=chunk, inspection=inspection):
        grams = geometry.gram(block).numpy()
        decomposed.append(decompose(block, grams, vectors))
        metric += grams.sum(axis=0)
        total = _accumulate(total, block.numpy())
        if progress:
            progress(len(block))
    samples = len(z)
    values, directions = zip(*decomposed, strict=True)
    average = np.divide(total, samples, out=total)[None]
    return Spectrum(
        singular_values=np.concatenate(values),
        average_jacobian=decompose(average, geometry.gram(average).numpy(), vectors=False)[0][0],
        average_metric_tensor=metric / samples,
        vectors=np.concatenate(directions) if vectors else None,
        epsilon=inspection.epsilon,
    )


def _accumulate(total, block):
    """total + Σ_b block[b] in float64, without a float64 copy of the block."""
    total = np.zeros(block.shape[1:]) if np.ndim(total) == 0 else total
    for matrix in block:
        total += matrix
    return total


def singular_values(matrices):
    """Singular values of each matrix, [B, m, n] → [B, n] float64, descending: √ of the eigenvalues of the Gram matrix.

    Eigenvalues that float64 cannot tell from zero, λ ≤ n·eps·λ_max, become exactly 0; all are nan for a matrix that is
    not finite.
    """
    return _decompose_gram(matrices, geometry.gram(matrices).numpy(), vectors=False)[0]


def eigenvectors(metric_tensors):
    """Eigenvectors of metric tensors [..., n, n] in columns, by descending eigenvalue.

    The first moves the image most, the last least (Odena et al. 2018, eq. 5). nan where the tensor is not finite.
    """
    finite = np.isfinite(metric_tensors).all(axis=(-2, -1), keepdims=True)
    return np.where(finite, np.linalg.eigh(np.where(finite, metric_tensors, 0.0))[1][..., ::-1], np.nan)


def _decompose(matrices, grams, vectors):
    """(singular values [B, n], right singular vectors [B, n, n] or None) of float64 matrices, descending."""
    matrices = np.asarray(matrices)
    (rows, n), eps = matrices.shape[1:], np.finfo(np.float64).eps
    finite = np.isfinite(matrices).all(axis=(1, 2), keepdims=True)
    _, found, rotations = np.linalg.svd(np.where(finite, matrices, 0.0), full_matrices=rows < n)
    values = np.zeros([len(matrices), n])
    values[:, : found.shape[1]] = np.where(found > max(rows, n) * eps * found[:, :1], found, 0.0)
    values = np.where(finite[:, 0], values, np.nan)
    return values, np.where(finite, rotations.swapaxes(1, 2), np.nan) if vectors else None


def _decompose_gram(matrices, grams, vectors):
    """As `_decompose`, of matrices whose own rounding is coarser, from their float64 Gram matrices: much faster."""
    finite = np.isfinite(grams).all(axis=(1, 2), keepdims=True)
    grams = np.where(finite, grams, 0.0)
    eigenvalues, columns = np.linalg.eigh(grams) if vectors else (np.linalg.eigvalsh(grams), None)
    eigenvalues = eigenvalues[:, ::-1]
    zero = eigenvalues.shape[1] * np.finfo(np.float64).eps * eigenvalues[:, :1]
    values = np.sqrt(np.where(eigenvalues > zero, eigenvalues, 0.0))
    values = np.where(finite[:, 0], values, np.nan)
    return values, np.where(finite, columns[:, :, ::-1], np.nan) if vectors else None
