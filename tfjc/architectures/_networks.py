"""What an architecture returns."""

from typing import NamedTuple

import keras

from tfjc import layers
from tfjc.architectures.prior import Prior
from tfjc.support import checks, noise

WEIGHTS = noise.Stream.GENERATOR_WEIGHTS, noise.Stream.CRITIC_WEIGHTS  # of which each layer takes the next seed


class Networks(NamedTuple):
    """A generator z [B, n_z] → x [B, ...] in [−1, 1], a critic x → logits [B, 1], and the latent prior p(z).

    With `num_classes` the generator takes [z, labels int32 [B]] and the critic returns [logits, class logits [B, C]].
    Networks of a `models.VAE` have its encoder x → [mean, log-variance] in the critic's place.
    """

    generator: keras.Model
    critic: keras.Model
    prior: Prior
    num_classes: int | None = None


def output_dtype():
    """The dtype of images and logits: float32 also under 16-bit policies (Q is not rounded then), or float64."""
    return "float64" if keras.config.dtype_policy().compute_dtype == "float64" else "float32"


def batch_normalization(x):
    """Batch normalisation with decay 0.9 and ε 1e-5."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def square(name, image_shape):
    """`image_shape` as a tuple, which must be (size, size, colours); raises ValueError for any other."""
    shape = tuple(image_shape) if isinstance(image_shape, (tuple, list)) else image_shape
    if not isinstance(shape, tuple) or len(shape) != 3 or shape[0] != shape[1]:
        raise ValueError(f"{name} needs square images (size, size, colours), found {shape}")
    return tuple(checks.integer(f"{name}'s image_shape", entry, minimum=1) for entry in shape)


def check_room(what, *kernels):
    """Raises ValueError where kernels of these sizes are too many for this machine's memory.

    Each weight is held with its gradient and Adam's two moments.
    """
    checks.fits(what, 16 * sum(kernels))
