"""Spectra of a generator: singular values of J_z, log-condition numbers of M_z, the spectrum of E_z[J_z]."""

import dataclasses

import numpy as np

from tfjc import jacobian

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
    """

    singular_values: np.ndarray
    average_jacobian: np.ndarray

    @property
    def log_condition(self):
        """ln(λ_max/λ_min) of M_z = 2·ln(σ_max/σ_min) of J_z, natural, [B]; inf where J_z is rank-deficient or 0.

        nan where J_z itself is not finite.
        """
        largest, smallest = self.singular_values[:, 0], self.singular_values[:, -1]
        full_rank = smallest != 0
        ratio = np.divide(largest, smallest, out=np.ones_like(largest), where=full_rank)
        return np.where(full_rank, 2.0 * np.log(ratio), np.inf)

    @property
    def mean_log_condition(self):
        """Mean of `log_condition` over the batch: the paper's summary (figure 1); inf if one of them is."""
        return float(np.mean(self.log_condition))

    @property
    def resolved(self):
        """Whether σ_min stands above the rounding error of a float32 Jacobian, 4·eps·‖J_z‖_F: [B] of bool."""
        frobenius = np.sqrt(np.sum(np.square(self.singular_values), axis=1))
        return self.singular_values[:, -1] > _FLOOR * np.finfo(np.float32).eps * frobenius

    def plot(self, axes=None):
        """Draws each latent's spectrum and that of E[J] in log scale on `axes` (new ones by default); returns them."""
        from matplotlib import pyplot

        axes = axes or pyplot.subplots(layout="constrained")[1]
        index = np.arange(1, self.singular_values.shape[1] + 1)
        axes.semilogy(index, self.singular_values.T, color="tab:blue", alpha=0.25, linewidth=0.8)
        axes.semilogy(index, self.average_jacobian, color="black", label="average Jacobian")
        axes.set(xlabel="index k", ylabel="singular value σ_k of J_z")
        axes.set_title(f"mean ln κ(M_z) = {self.mean_log_condition:.2f} over {len(self.singular_values)} latents")
        axes.legend()
        return axes


def spectrum(generator, z, *, chunk=None):
    """The `Spectrum` of a generator at latents z [B, n_z], from float64 Gram matrices and `eigvalsh`.

    Arguments and errors as `tfjc.jacobian.jacobian`. Source: Odena et al. 2018, sections 2 and 3.
    """
    values, total, samples = [], 0.0, 0
    for block in jacobian.blocks(generator, z, chunk=chunk):
        values.append(singular_values(block))
        total += np.sum(block, axis=0, dtype=np.float64)
        samples += block.shape[0]
    return Spectrum(np.concatenate(values), singular_values(total[None] / samples)[0])


def singular_values(matrices):
    """Singular values of each matrix, [B, m, n] → [B, n] float64, descending: √ of the eigenvalues of the Gram matrix.

    Eigenvalues that float64 cannot tell from zero, λ ≤ n·eps·λ_max, become exactly 0; all are nan for a matrix that is
    not finite.
    """
    grams = jacobian.gram(matrices).numpy()
    finite = np.isfinite(grams).all(axis=(1, 2), keepdims=True)
    eigenvalues = np.linalg.eigvalsh(np.where(finite, grams, 0.0))[:, ::-1]
    zero = eigenvalues.shape[1] * np.finfo(np.float64).eps * eigenvalues[:, :1]
    values = np.sqrt(np.where(eigenvalues > zero, eigenvalues, 0.0))
    return np.where(finite[:, 0], values, np.nan)
