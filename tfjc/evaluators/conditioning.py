"""Conditioning of a generator on a fixed batch of latents (Odena et al. 2018, sections 3 and 4)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfjc import geometry, penalties
from tfjc.geometry import spectrum
from tfjc.support import checks, noise


class ConditioningEvaluator:
    """Measures spectra and quotients. Latents and steps in z are the same at each measurement.

    Args:
      z: latents [B, n_z].
      labels: [B, ...] for a class-conditional generator, one for each latent.
      clamping: gives ε, and the interval [λ_min, λ_max] for the clamped fractions. The paper's values by default, so
        that unclamped runs compare with clamped ones.
      chunk: as in `tfjc.geometry.jacobian`.
      seed: of the steps in z.

    Raises:
      ValueError: z is not [B, n_z], labels do not fit it, or clamping is no `JacobianClamping`.
    """

    def __init__(
        self,
        z: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        clamping: penalties.JacobianClamping | None = None,
        chunk: int | None = None,
        seed: int = 0,
    ) -> None:
        self.z = geometry.latents(tf.cast(z, tf.float32))
        self.labels = None if labels is None else tf.convert_to_tensor(labels)
        if self.labels is not None and self.labels.shape[:1] != self.z.shape[:1]:
            raise ValueError(f"labels must be [{len(self.z)}, ...], one for each latent, found {self.labels.shape}")
        self.clamping = penalties.JacobianClamping() if clamping is None else clamping
        if not hasattr(self.clamping, "clamped"):
            raise ValueError(f"clamping must be a JacobianClamping, found {clamping!r}")
        self.chunk = chunk
        self._z_perturbed = self.clamping.perturb(
            self.z, noise.seed(checks.seed("seed", seed), noise.Stream.DIRECTIONS)
        )

    def __call__(self, generate: geometry.Generator) -> dict[str, Any]:
        """The measurements under the names of `metrics.jsonl`: numbers, and lists or dicts of numbers."""
        return self.summary(*self.measure(generate))

    def measure(
        self, generate: geometry.Generator, progress: Callable[[int], object] | None = None
    ) -> tuple[geometry.Spectrum, np.ndarray | None]:
        """(the `Spectrum` at z, the `quotients` Q [B] or None).

        Restores the state of the generator's random seeds. `progress` is called after each block of spectra with the
        number of its latents.
        """
        with geometry.same_noise(geometry.inspect(generate, self.z, self.labels).states) as restart:
            found = spectrum(generate, self.z, labels=self.labels, chunk=self.chunk, progress=progress)
            restart()
            return found, self.quotients(generate)

    def quotients(self, generate: geometry.Generator) -> np.ndarray | None:
        """Q [B] between each latent and its neighbour at distance ε, by `geometry.quotients`.

        None for a generator whose noise cannot be repeated.
        """
        try:
            return geometry.quotients(generate, self.z, self._z_perturbed, labels=self.labels)
        except geometry.UnrepeatableNoise:
            return None

    def summary(self, spectrum: geometry.Spectrum, q: np.ndarray | None) -> dict[str, Any]:
        """The flat dict for a `Spectrum` and quotients [B]. For quotients None it has `no_quotient`, the reason."""
        of_spectrum = spectrum.summary()
        return {**{name: of_spectrum[name] for name in geometry.RECORDED}, **self._of_quotients(q)}

    def _of_quotients(self, q):
        if q is None:
            return {"no_quotient": str(geometry.UnrepeatableNoise())}
        fractions = self.clamping.clamped(tf.constant(q))
        return {
            "quotient_quantiles": geometry.quantiles(q),
            **{name: float(value) for name, value in fractions.items()},
        }
