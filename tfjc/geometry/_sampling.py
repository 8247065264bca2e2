"""Which latents to keep, or to draw more often, by the Jacobian of the generator there."""

import numpy as np

from tfjc.geometry._spectrum import Spectrum
from tfjc.support import checks


def polarity_weights(spectrum: Spectrum, rho: float, *, k: int | None = None) -> np.ndarray:
    """Weights w_b ∝ (∏_{i≤k} σ_i(z_b))^ρ of the latents of a `Spectrum`, [B], with Σ_b w_b = 1.

    Latents that are drawn from the prior, and then drawn again with these weights, give images whose density on the
    generator's manifold is that of the prior's images times volume^ρ, since ∏σ is the factor by which G stretches
    volume. ρ < 0 moves them to the modes of the images' density, ρ > 0 away from them. At ρ = 1 a uniform prior gives
    uniform samples on the manifold. Computed from logarithms, so that large k and |ρ| neither overflow nor vanish.

    Source: Humayun, Balestriero and Baraniuk 2022, "Polarity Sampling" (CVPR), for ρ, with the k = 30 largest σ; ρ = 1
    is their "MaGNET" (ICLR 2022).

    Args:
      spectrum: at B latents.
      rho: the polarity ρ; 0 gives equal weights.
      k: how many of the largest σ; by default the smallest `Spectrum.rank` among the latents, so that no factor is
        rounding error, and every latent has as many.

    Raises:
      ValueError: rho is not finite, k is out of range, or one of the σ is 0 or not finite.
    """
    rho, values = checks.real("rho", rho), _values(spectrum)
    if not np.isfinite(values).all():
        raise ValueError(f"the spectrum must be finite, found nan at latent {np.argmin(np.isfinite(values[:, 0]))}")
    least = int(np.min(spectrum.rank))
    k = least if k is None else checks.integer("k", k, minimum=1, maximum=values.shape[1])
    if not 0 < k <= least:
        raise ValueError(f"the {max(k, 1)} largest σ must be above rounding at each latent, found rank {least} at one")
    exponents = rho * np.sum(np.log(values[:, :k]), axis=1)
    weights = np.exp(exponents - np.max(exponents))
    return weights / np.sum(weights)


def smallest_norms(spectrum: Spectrum, share: float) -> np.ndarray:
    """The latents with the smallest ‖J_z‖_F, as ascending indices [⌈share·B⌉] (rejection by the Jacobian's norm).

    A generator of images of several kinds joins them by short ways on which ‖J‖_F is large; the images there are of no
    kind. To leave these out raises precision and lowers recall (Tanielian et al. 2020, "Learning disconnected
    manifolds: a no GAN's land", which estimates ‖J‖_F by finite differences).

    Args:
      spectrum: at B latents.
      share: of the latents that are kept, in (0, 1].

    Raises:
      ValueError: share is out of range, or J is not finite somewhere.
    """
    share = checks.real("share", share, above=0.0)
    if share > 1.0:
        raise ValueError(f"share must be at most 1, found {share}")
    norms = np.hypot.reduce(_values(spectrum), axis=1)  # squares may overflow
    if not np.isfinite(norms).all():
        raise ValueError(f"the spectrum must be finite, found nan at latent {np.argmin(np.isfinite(norms))}")
    kept = max(1, int(np.ceil(share * len(norms) - 1e-9)))  # 0.07·100 is slightly above 7
    return np.sort(np.argsort(norms, kind="stable")[:kept])


def _values(spectrum):
    """The singular values [B, n_z] of a `Spectrum`; raises ValueError for anything else."""
    if not isinstance(spectrum, Spectrum):
        raise ValueError(
            "spectrum must be a tfjc.geometry.Spectrum, as tfjc.geometry.spectrum(generator, z) or "
            f"tfjc.geometry.spectrum_of(jacobian) returns it, found {type(spectrum).__name__}"
        )
    return spectrum.singular_values
