"""The return type of architectures, and helpers that all architectures share."""

from collections.abc import Sequence
from typing import NamedTuple

import keras

from tfjc import layers
from tfjc.architectures.prior import Prior
from tfjc.support import checks, noise

WEIGHTS = noise.Stream.GENERATOR_WEIGHTS, noise.Stream.CRITIC_WEIGHTS  # each layer takes the next seed of a stream


class Networks(NamedTuple):
    """The networks of a model and the prior of its latents.

    Attributes:
      generator: z [B, n_z] → x [B, ...], images in [−1, 1]; with classes [z, labels int32 [B]] → x.
      critic: x → logits [B, 1]; with classes x → [logits, class logits [B, num_classes]]. For a `models.VAE` this is
        the encoder, x → [mean, log-variance], [B, n_z] each.
      prior: the distribution p(z) of latents.
      num_classes: number of classes of the labels, or None without labels.
    """

    generator: keras.Model
    critic: keras.Model
    prior: Prior
    num_classes: int | None = None


def output_dtype() -> str:
    """The dtype of images and logits: float64 under a float64 policy, otherwise float32.

    16-bit policies also give float32, so that Q is not rounded to 16 bits.
    """
    return "float64" if keras.config.dtype_policy().compute_dtype == "float64" else "float32"


def batch_normalization(x: keras.KerasTensor) -> keras.KerasTensor:
    """Batch normalisation with decay 0.9 and ε 1e-5."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def check_shape(name: str, image_shape: Sequence[int]) -> tuple[int, ...]:
    """`image_shape` as a tuple (height, width, channels). Raises ValueError for any other shape."""
    shape = tuple(image_shape) if isinstance(image_shape, (tuple, list)) else image_shape
    if not isinstance(shape, tuple) or len(shape) != 3:
        raise ValueError(f"{name} needs images (height, width, channels), found {shape}")
    return tuple(checks.integer(f"{name}'s image_shape", entry, minimum=1) for entry in shape)


def halvings(name: str, image_shape: Sequence[int], least: int = 1) -> tuple[tuple[int, int], int]:
    """((height, width) of an image halved as often as both sides stay at 4 pixels or more, the number of halvings).

    Args:
      name: of the architecture, for messages.
      image_shape: (height, width, channels).
      least: the least number of halvings.

    Raises:
      ValueError: another shape, or a side that cannot be halved `least` times.
    """
    height, width, _ = check_shape(name, image_shape)
    count = min(_halvings(height), _halvings(width))
    if count < least:
        how = "even image sizes of at least 8" if least == 1 else f"image sizes that can be halved {least} times"
        found = height if height == width else f"{height} by {width}"
        raise ValueError(f"{name} needs {how} (28, 32, 48, ...), found {found}")
    return (height >> count, width >> count), count


def _halvings(side):
    """How often a side can be halved with 4 pixels or more left."""
    count = 0
    while side % 2 == 0 and side >= 8:
        side, count = side // 2, count + 1
    return count


def check_room(what: str, *kernels: int) -> None:
    """Raises ValueError where kernels with these numbers of weights do not fit into this machine's memory.

    A weight takes 16 bytes: the weight, its gradient and Adam's two moments.
    """
    checks.fits(what, 16 * sum(kernels))
