"""Spectra of a generator: singular values of J_z, log-condition numbers of M_z, the spectrum of E_z[J_z]."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from scipy.sparse.linalg import LinearOperator

from tfjc import geometry
from tfjc.geometry import _generator
from tfjc.geometry._generator import Array
from tfjc.support import checks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Rounding error of float32 Jacobians, measured against the same DCGAN (28 pixels, 24 channels) in float64 on MNIST:
# ‖ΔJ‖₂/(eps·‖J‖_F) is 0.3 before training. After 8,000 steps it is up to 8, but ΔJ then lies along the large
# directions, and ln κ is off by 5e-6. Where ΔJ is unstructured (0.4 at 28 and 32 pixels), a floor of 4 keeps σ_min
# within 10 % and ln κ within 0.2.
FLOOR = 4.0
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)  # of the summaries
# The keys of `Spectrum.summary` that a line of `metrics.jsonl` has.
RECORDED = (
    *("mean_log_condition", "median_log_condition", "infinite_latents"),
    *("rank", "nonzero_log_condition", "log_scale", "participation_ratio"),
    *("log_condition", "log_condition_quantiles", "resolved", "sigma_max", "sigma_min"),
)


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Singular values of the Jacobian at each of B latents, and their summaries (Odena et al. 2018, sections 2 and 3).

    Attributes:
      singular_values: σ of J_z, [B, n_z] float64, descending; for n_x < n_z the last n_z − n_x are 0.
      average_jacobian: singular values of E_z[J_z], [n_z] float64, descending (figures 3 and 4).
      average_metric_tensor: E_z[M_z], [n_z, n_z] float64. Its eigenvectors are the directions that move the image much
        or little at all z (Wang and Ponce 2021).
      vectors: right singular vectors of J_z (the eigenvectors of M_z), [B, n_z, n_z] float64, or None if they were not
        requested. A step ε along vectors[b, :, k] moves the image by ε·singular_values[b, k] (eq. 5).
      epsilon: machine epsilon of the coarsest type that the generator computes in.
    """

    singular_values: np.ndarray
    average_jacobian: np.ndarray
    average_metric_tensor: np.ndarray | None = None
    vectors: np.ndarray | None = None
    epsilon: float = float(np.finfo(np.float32).eps)

    @property
    def sigma_max(self) -> np.ndarray:
        """σ_max of J_z, [B]: the largest distance that a unit step in z moves the image."""
        return self.singular_values[:, 0]

    @property
    def sigma_min(self) -> np.ndarray:
        """σ_min of J_z, [B]: the smallest distance that a unit step in z moves the image."""
        return self.singular_values[:, -1]

    @property
    def log_condition(self) -> np.ndarray:
        """The log-condition number ln(λ_max/λ_min) of M_z = 2·ln(σ_max/σ_min) of J_z, natural logarithm, [B].

        inf where J_z is rank-deficient or 0; nan where J_z is not finite.
        """
        return _log_condition(self.singular_values)

    @property
    def mean_log_condition(self) -> float:
        """Mean of `log_condition` over the batch, the paper's summary (figure 1); inf if one latent's is inf."""
        return float(np.mean(self.log_condition))

    @property
    def median_log_condition(self) -> float:
        """Median of `log_condition` over the batch; inf where `log_condition` is inf at half of the latents or more."""
        return float(np.median(self.log_condition))

    @property
    def infinite_latents(self) -> float:
        """The share of latents whose `log_condition` is inf, 0 to 1."""
        return float(np.mean(np.isinf(self.log_condition)))

    @property
    def rank(self) -> np.ndarray:
        """The numerical rank r of J_z, [B]: how many singular values exceed `floor`; nan where J_z is not finite.

        `floor` is the generator's rounding error, not that of float64. Example: a generator that normalises z,
        x = G(z/‖z‖), has σ = 0 along z. In float32 this σ is computed as 1e-7·σ_max, below `floor`, so r = n_z − 1.
        """
        above = self.singular_values > self.floor[:, None]
        return np.where(np.isfinite(self.sigma_max), np.count_nonzero(above, axis=1), np.nan)

    @property
    def nonzero_log_condition(self) -> np.ndarray:
        """ln(λ_max/λ_r) = 2·ln(σ_max/σ_r) with r the `rank`, [B]: over the directions that move the image.

        Equal to `log_condition` where `resolved` is True. inf where r = 0; nan where J_z is not finite.
        """
        last = np.maximum(np.nan_to_num(self.rank).astype(int), 1) - 1
        smallest = np.take_along_axis(self.singular_values, last[:, None], axis=1)
        found = _log_condition(np.concatenate([self.singular_values[:, :1], smallest], axis=1))
        return np.where(self.rank == 0, np.inf, found)

    @property
    def log_scale(self) -> np.ndarray:
        """ln(tr M_z/n_z) = ln(Σ_k σ_k²/n_z), [B]: log of the mean squared σ; −inf for J_z = 0."""
        with np.errstate(divide="ignore"):
            return 2.0 * np.log(self._frobenius / np.sqrt(self.singular_values.shape[1]))

    @property
    def participation_ratio(self) -> np.ndarray:
        """(Σ_k λ_k)²/Σ_k λ_k² of M_z's eigenvalues λ_k = σ_k², [B], 1 to n_z; nan for J_z = 0.

        The number of directions that tr M_z is spread over (Bell and Dean 1970, "Atomic vibrations in vitreous
        silica").
        """
        shares = np.square(_ratio(self.singular_values, self.singular_values[:, :1]))
        return np.square(np.sum(shares, axis=1)) / np.sum(np.square(shares), axis=1)

    @property
    def average_jacobian_log_condition(self) -> float:
        """2·ln(σ_max/σ_min) of E_z[J_z]; inf where E_z[J_z] is rank-deficient."""
        return float(_log_condition(self.average_jacobian[None])[0])

    @property
    def log_determinant(self) -> np.ndarray:
        """ln det M_z = 2·Σ_k ln σ_k, [B]; −inf where J_z is rank-deficient.

        √det M_z is the volume of the image of a unit cube in z (the magnification factor of Arvanitidis et al. 2018).
        """
        with np.errstate(divide="ignore"):
            return 2.0 * np.sum(np.log(self.singular_values), axis=1)

    @property
    def effective_rank(self) -> np.ndarray:
        """exp(−Σ_k p_k ln p_k) with p_k = σ_k/Σσ, [B], 1 to n_z; nan for J_z = 0 (Roy and Vetterli 2007)."""
        p = _ratio(self.singular_values, np.sum(self.singular_values, axis=1, keepdims=True))
        return np.exp(-np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=1))

    @property
    def stable_rank(self) -> np.ndarray:
        """‖J_z‖_F²/σ_max², [B], 1 to n_z; nan for J_z = 0 (Rudelson and Vershynin 2007)."""
        return np.square(_ratio(self._frobenius, self.sigma_max))

    @property
    def floor(self) -> np.ndarray:
        """The rounding error of σ, 4·ε·‖J_z‖_F with the machine epsilon ε, [B]."""
        return FLOOR * self.epsilon * self._frobenius

    @property
    def resolved(self) -> np.ndarray:
        """Whether σ_min exceeds `floor`, [B] bool. Where it does not, ln κ is at best a lower bound."""
        return self.sigma_min > self.floor

    @property
    def _frobenius(self):
        """‖J_z‖_F, [B], without squares that overflow or vanish."""
        return np.hypot.reduce(self.singular_values, axis=1)

    def summary(self) -> dict[str, Any]:
        """The spectrum under the names of `analysis.json` (docs/records.md): numbers, lists and dicts of numbers."""
        means = ("rank", "nonzero_log_condition", "log_scale", "participation_ratio")
        more = ("log_determinant", "effective_rank", "stable_rank", "floor")
        return {
            "mean_log_condition": self.mean_log_condition,
            "median_log_condition": self.median_log_condition,
            "infinite_latents": self.infinite_latents,
            **{name: float(np.mean(getattr(self, name))) for name in means},
            "log_condition": self.log_condition.tolist(),
            "log_condition_quantiles": quantiles(self.log_condition),
            "resolved": float(np.mean(self.resolved)),
            "sigma_max": float(np.mean(self.sigma_max)),
            "sigma_min": float(np.mean(self.sigma_min)),
            **{name: float(np.mean(getattr(self, name))) for name in more},
            "average_jacobian_log_condition": self.average_jacobian_log_condition,
            "epsilon": self.epsilon,
        }

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Draws the spectra of all latents and of E[J] in log scale on `axes` (default: new axes); returns the axes."""
        from matplotlib import pyplot

        from tfjc.support import figures

        axes = axes or pyplot.subplots(layout="constrained")[1]
        return figures.spectra(axes, self.singular_values, self.average_jacobian)


def quantiles(values: np.ndarray) -> dict[str, float]:
    """The `QUANTILES` of values, which may be infinite, keyed "0.0", "0.05", ..., "1.0"."""
    # Interpolating between a finite and an infinite value would give nan; "lower" takes actual values.
    return {str(q): float(np.quantile(values, q, method="lower")) for q in QUANTILES}


def _log_condition(singular_values):
    largest, smallest = singular_values[:, 0], singular_values[:, -1]
    full_rank = smallest != 0
    ratio = np.divide(largest, smallest, out=np.ones_like(largest), where=full_rank)
    return np.where(full_rank, 2.0 * np.log(ratio), np.inf)


def _ratio(numerator, denominator):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def spectrum(
    generator: geometry.Generator,
    z: Array,
    *,
    labels: Array | None = None,
    chunk: int | None = None,
    vectors: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Spectrum:
    """The `Spectrum` of a generator at latents z [B, n_z], from float64 Gram matrices and LAPACK's symmetric solver.

    For float64 latents (see `tfjc.geometry.in_float64`) J_z itself is decomposed. This resolves condition numbers that
    a float64 Gram matrix cannot (κ(J) above 1e7). Source: Odena et al. 2018, sections 2 and 3.

    Args:
      generator, z, labels, chunk: as in `tfjc.geometry.jacobian`.
      vectors: whether to keep the eigenvectors of each M_z.
      progress: function that is called after each block with the number of its latents.

    Raises:
      ValueError: as `tfjc.geometry.jacobian`, or inside a tf.function.
    """
    if not tf.executing_eagerly():
        raise ValueError(
            "spectrum returns NumPy arrays and cannot run inside a tf.function: call it outside, or call "
            "tfjc.geometry.metric_tensor inside; its eigenvalues are the squared singular values"
        )
    exact = tf.convert_to_tensor(z).dtype == tf.float64
    inspection = geometry.inspect(generator, z, labels)
    blocks = geometry.blocks(generator, z, labels=labels, chunk=chunk, inspection=inspection)
    return _of_blocks(blocks, inspection.epsilon, exact, vectors, progress)


def spectrum_of(jacobian: ArrayLike, *, epsilon: float | None = None, vectors: bool = False) -> Spectrum:
    """The `Spectrum` of Jacobians J [B, n_x, n_z] that any framework has computed.

    J[b, i, j] = ∂G(z_b)_i/∂(z_b)_j with flattened outputs. The result is that of `spectrum` for the same J: float64 J
    are decomposed themselves, J of other types by their float64 Gram matrices; a J that is not finite gives nan at its
    latent alone. Source: Odena et al. 2018, sections 2 and 3.

    Args:
      jacobian: [B, n_x, n_z] of float16, bfloat16, float32 or float64: a NumPy array, or what `np.asarray` takes, such
        as arrays of JAX, and tensors of PyTorch that are detached, on the CPU and not bfloat16 (pass J.float() with
        epsilon=2**-7 for these).
      epsilon: machine epsilon of the coarsest type that J was computed in; that of its own type by default. Example:
        2**-7 for a float32 J of a network that computes in bfloat16. `Spectrum.floor` follows from it.
      vectors: whether to keep the eigenvectors of each M_z.

    Raises:
      ValueError: J is no floating array [B, n_x, n_z] with B, n_x, n_z ≥ 1, or epsilon is finer than the type of J.
    """
    j = _jacobians(jacobian)
    own = _generator.machine_epsilon(tf.as_dtype(j.dtype))
    epsilon = own if epsilon is None else checks.real("epsilon", epsilon, minimum=own, below=1.0)
    step = max(1, _TOGETHER // (j.shape[1] * max(j.shape[1:])))
    blocks = (tf.constant(j[start : start + step]) for start in range(0, len(j), step))
    return _of_blocks(blocks, epsilon, j.dtype == np.float64, vectors)


_TOGETHER = 2**24  # numbers of J, or of M, that `spectrum_of` decomposes at once


def _jacobians(jacobian):
    """`jacobian` as a floating NumPy array [B, n_x, n_z]; raises ValueError where it is none."""
    if isinstance(jacobian, LinearOperator):
        raise ValueError(
            f"jacobian must be an array [B, n_x, n_z], found a LinearOperator {list(jacobian.shape)}: "
            "tfjc.geometry.partial_spectrum measures products"
        )
    try:
        j = np.asarray(jacobian)
    except Exception as error:  # arrays of other frameworks raise errors of their own
        kind = f"{type(jacobian).__module__.partition('.')[0]} {type(jacobian).__name__}"
        raise ValueError(f"NumPy cannot read the jacobian, a {kind}: {_generator.summary(error)}") from error
    if j.ndim != 3:
        raise ValueError(f"jacobian must have shape [B, n_x, n_z], found {list(j.shape)}{_hint(j.ndim)}")
    if 0 in j.shape:
        raise ValueError(f"jacobian must have shape [B, n_x, n_z] with no axis of 0, found {list(j.shape)}")
    if j.dtype.name not in ("float16", "bfloat16", "float32", "float64"):
        raise ValueError(f"jacobian must be float16, bfloat16, float32 or float64, found {j.dtype.name}")
    return j


def _hint(axes):
    if axes == 2:
        return "; for one latent pass jacobian[None]"
    if axes > 3:
        return (
            "; flatten the outputs and the latents of each sample: jacobian.reshape(B, n_x, n_z). The Jacobian of a "
            "whole batch also has an axis for the latents of other samples: vectorise over samples instead (vmap)"
        )
    return ""


def _of_blocks(blocks: Iterable[tf.Tensor], epsilon, exact, vectors, progress=None) -> Spectrum:
    """The `Spectrum` of J in consecutive blocks of samples; from J itself if `exact`, else from its Gram matrices."""
    decompose = _decompose if exact else _decompose_gram
    decomposed, metric, total = [], np.zeros(()), np.zeros(())
    for block in blocks:
        grams = geometry.gram(block).numpy()
        decomposed.append(decompose(block, grams, vectors))
        metric = metric + grams.sum(axis=0)
        total = _accumulate(total, block.numpy())
        if progress:
            progress(len(block))
    values, directions = zip(*decomposed, strict=True)
    found = np.concatenate(values)
    samples = len(found)
    average = np.divide(total, samples, out=total)[None]
    return Spectrum(
        singular_values=found,
        average_jacobian=decompose(average, geometry.gram(average).numpy(), vectors=False)[0][0],
        average_metric_tensor=metric / samples,
        vectors=np.concatenate(directions) if vectors else None,
        epsilon=epsilon,
    )


def _accumulate(total, block):
    """total + Σ_b block[b] in float64, without a float64 copy of the block."""
    total = np.zeros(block.shape[1:]) if np.ndim(total) == 0 else total
    for matrix in block:
        total += matrix
    return total


def singular_values(matrices: Array) -> np.ndarray:
    """Singular values of each matrix, [B, m, n] → [B, n] float64, descending: √ of the eigenvalues of the Gram matrix.

    Eigenvalues λ ≤ n·eps·λ_max, which float64 cannot distinguish from 0, become exactly 0. All are nan for a matrix
    that is not finite.
    """
    return _decompose_gram(matrices, geometry.gram(matrices).numpy(), vectors=False)[0]


def eigenvectors(metric_tensors: np.ndarray) -> np.ndarray:
    """Eigenvectors of metric tensors [..., n, n] in columns, by descending eigenvalue.

    A step along the first column moves the image most, along the last one least (Odena et al. 2018, eq. 5). The
    eigenvectors of a metric tensor that is not finite are nan.
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
    """As `_decompose`, from float64 Gram matrices: much faster, for matrices with coarser rounding than float64."""
    finite = np.isfinite(grams).all(axis=(1, 2), keepdims=True)
    grams = np.where(finite, grams, 0.0)
    eigenvalues, columns = np.linalg.eigh(grams) if vectors else (np.linalg.eigvalsh(grams), None)
    eigenvalues = eigenvalues[:, ::-1]
    zero = eigenvalues.shape[1] * np.finfo(np.float64).eps * eigenvalues[:, :1]
    values = np.sqrt(np.where(eigenvalues > zero, eigenvalues, 0.0))
    values = np.where(finite[:, 0], values, np.nan)
    return values, np.where(finite, columns[:, :, ::-1], np.nan) if vectors else None
