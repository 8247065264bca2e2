"""The quotient Q of Jacobian Clamping (Odena et al. 2018, algorithm 1), which lies between σ_min and σ_max."""

import numpy as np
import tensorflow as tf

from tfjc.geometry import _generator
from tfjc.geometry._generator import Array, Generator
from tfjc.support import checks, precision

_NEGLIGIBLE = 1e-3  # the share of Q that may be noise


class UnrepeatableNoise(ValueError):
    """A generator draws noise that cannot be repeated, so Q would measure the noise."""

    def __init__(self) -> None:
        super().__init__(
            "the generator draws noise that cannot be repeated (tf.random.normal or the like), so Q would measure the "
            "noise; keras.random with a keras.random.SeedGenerator can be repeated"
        )


def quotient(z: tf.Tensor, z_perturbed: tf.Tensor, x: tf.Tensor, x_perturbed: tf.Tensor) -> tf.Tensor:
    """Q = ‖G(z) − G(z')‖ / ‖z − z'‖ of each sample, [B] (Odena et al. 2018, algorithm 1).

    Latents are [B, n_z], images [B, ...]. The gradient of Q is 0 where G(z) = G(z'). Raises ValueError where shapes
    differ.
    """
    z, z_perturbed, x, x_perturbed = map(tf.convert_to_tensor, (z, z_perturbed, x, x_perturbed))
    checks.alike(z=z, z_perturbed=z_perturbed)
    checks.alike(x=x, x_perturbed=x_perturbed)
    if not z.shape[:1].is_compatible_with(x.shape[:1]):
        raise ValueError(f"z and x must have one row for each sample, found {list(z.shape)} and {list(x.shape)}")
    moved = precision.safe_norm(precision.full(x) - precision.full(x_perturbed))
    return moved / tf.cast(precision.safe_norm(z - z_perturbed), moved.dtype)


def quotients(generator: Generator, z: Array, z_perturbed: Array, *, labels: Array | None = None) -> np.ndarray:
    """Q [B] between each latent z and its neighbour z', in inference mode and with the same noise at both.

    Args:
      generator: callable z [B, n_z] → x [B, ...].
      z, z_perturbed: latents [B, n_z].
      labels: labels [B, ...] of a class-conditional generator.

    Raises:
      ValueError: it is called in a graph.
      UnrepeatableNoise: with the same z and the same state of its seeds, the generator makes two different images.
    """
    if not tf.executing_eagerly():
        raise ValueError(
            "quotients returns a NumPy array and cannot run inside a tf.function: call it outside, or call "
            "tfjc.geometry.quotient(z, z_perturbed, x, x_perturbed) inside"
        )
    z, z_perturbed = tf.convert_to_tensor(z), tf.convert_to_tensor(z_perturbed)
    images = []
    with precision.without_tf32():
        inspection = _generator.inspect(generator, z, labels)
        _generator.check_independent(generator, z, labels, inspection)
        with _generator.same_noise(inspection.states) as restart:
            for latents in (z, z, z_perturbed):
                restart()
                x = _generator.call(generator, latents, labels)
                images.append(tf.cast(x, tf.float64))  # float32 does not hold the squares of 1e-23, nor of 1e20
    x, again, x_perturbed = images
    q, noise = (quotient(z, z_perturbed, x, other).numpy() for other in (x_perturbed, again))
    rounding = 16 * inspection.epsilon * precision.safe_norm(x).numpy() / precision.safe_norm(z - z_perturbed).numpy()
    if np.any(noise > _NEGLIGIBLE * q + rounding):
        raise UnrepeatableNoise
    return q
