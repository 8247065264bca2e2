"""The distribution p(z) of latents."""

import math
from collections.abc import Sequence
from typing import Protocol

import keras
import tensorflow as tf

from tfjc.geometry import inputs
from tfjc.support import checks


class Prior(Protocol):
    """A distribution over latents [n_z]. TensorFlow Probability's distributions have these two members."""

    @property
    def event_shape(self) -> tf.TensorShape:
        """[n_z]."""
        ...

    def sample(self, n: int, seed: Sequence[int]) -> tf.Tensor:
        """Draws `n` latents [n, n_z] as a function of `seed`, int32[2]."""
        ...


class StandardNormal:
    """N(0, I) over latents [n_z], in float32.

    Samples equal those of TensorFlow Probability's `MultivariateNormalDiag` with the same seed, bit for bit.
    """

    def __init__(self, n_z: int) -> None:
        self.event_shape = tf.TensorShape([n_z])

    def sample(self, n: int, seed: Sequence[int]) -> tf.Tensor:
        """Draws `n` latents [n, n_z] as a function of `seed`, int32[2]."""
        return tf.random.stateless_normal([n, self.event_shape[0]], seed)

    def __repr__(self) -> str:
        return f"tfjc.architectures.standard_normal({self.event_shape[0]})"


def standard_normal(n_z: int) -> StandardNormal:
    """The prior N(0, I) over latents [n_z].

    Raises:
      ValueError: `n_z` is not an integer of at least 1, or one latent does not fit into memory.
    """
    checks.fits(f"n_z = {n_z}", 4 * checks.integer("n_z", n_z, minimum=1))
    return StandardNormal(n_z)


def prior_of(generator: keras.Model, prior: Prior | None = None) -> Prior:
    """`prior`; for None, N(0, I) of the generator's input size.

    Raises:
      ValueError: `prior` is not a distribution; or the generator's latents have several axes; or `prior` is None and
        the generator's input is not [B, n_z] with n_z known.
    """
    example = "prior=tfjc.architectures.standard_normal(n_z)"
    shape = getattr(generator, "input_shape", None)
    if isinstance(shape, tuple) and len(shape) > 2 and None not in shape[1:] and getattr(generator, "inputs", None):
        sizes = list(shape[1:])
        raise ValueError(
            f"the generator must take latents [B, n_z], found {['B', *sizes]}".replace("'", "")
            + f"; put before it: keras.Sequential([keras.Input([{math.prod(sizes)}]), keras.layers.Reshape({sizes}), "
            "generator]); or, if this is the critic, give it as the second argument"
        )
    if prior is not None:
        if not (hasattr(prior, "sample") and hasattr(prior, "event_shape")):
            raise ValueError(f"prior must be a distribution over latents [n_z], such as {example}; found {prior!r}")
        return prior
    if isinstance(shape, list) and len(shape) == 2:
        latent, _ = inputs.tell_apart(
            inputs.of(generator), "the generator", remedy=f"name its latents, such as {example}"
        )
        shape = (None, *latent.shape)
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] is None:
        raise ValueError(
            f"the generator's input is {shape}, not [B, n_z] with n_z known; name its latents, such as {example}"
        )
    return standard_normal(shape[1])
