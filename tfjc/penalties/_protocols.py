"""The interfaces of penalties. A class with these methods is a penalty; it need not inherit from a protocol."""

from collections.abc import Callable, Sequence
from typing import Protocol

import keras
import tensorflow as tf


class CriticPenalty(Protocol):
    """A penalty on the critic."""

    def __call__(self, critic: keras.Model, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The penalty of each sample, [B]; real and generated images [B, ...], seed int32[2]."""
        ...


class ComparingPenalty(Protocol):
    """A penalty on the generator that compares the images of nearby latents."""

    def perturb(self, z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor | Sequence[tf.Tensor]:
        """Latents z' [B, n_z] near z, or several such mini-batches; seed int32[2]."""
        ...

    def __call__(
        self,
        z: tf.Tensor,
        z_perturbed: tf.Tensor | Sequence[tf.Tensor],
        x: tf.Tensor,
        x_perturbed: tf.Tensor | Sequence[tf.Tensor],
    ) -> tf.Tensor:
        """The penalty of each sample, [B], from the images x of z and x' of z'."""
        ...

    def measure(
        self,
        z: tf.Tensor,
        z_perturbed: tf.Tensor | Sequence[tf.Tensor],
        x: tf.Tensor,
        x_perturbed: tf.Tensor | Sequence[tf.Tensor],
    ) -> dict[str, tf.Tensor]:
        """Scalars to log, by name."""
        ...


class DifferentiatingPenalty(Protocol):
    """A penalty on the generator that differentiates the generator.

    A penalty with an attribute `samples` gets that many new latents, and calls the generator in inference mode. Others
    get the latents of the generator's update.
    """

    def __call__(self, generate: Callable[..., tf.Tensor], z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The penalty of each latent, [B]; `generate(z, training=...)` maps latents to images, seed int32[2]."""
        ...

    def measure(self, generate: Callable[..., tf.Tensor], z: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scalars to log, by name."""
        ...
