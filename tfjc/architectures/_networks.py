"""What an architecture returns, and the latent prior."""

from typing import NamedTuple

import keras
import tensorflow as tf
import tensorflow_probability as tfp


class Networks(NamedTuple):
    """A generator z [B, n_z] → x [B, ...] in [−1, 1], a critic x → logits [B, 1], and the latent prior p(z)."""

    generator: keras.Model
    critic: keras.Model
    prior: tfp.distributions.Distribution


def output_dtype():
    """The dtype of images and logits: float32 also under 16-bit policies (Q is not rounded then), or float64."""
    return "float64" if keras.config.dtype_policy().compute_dtype == "float64" else "float32"


def prior_of(generator):
    """N(0, I) of a generator's input size; raises ValueError where that is not [B, n_z] with n_z known."""
    shape = getattr(generator, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] is None:
        raise ValueError(f"prior is needed: the generator's input is {shape}, not [B, n_z] with n_z known")
    return standard_normal(shape[1])


def standard_normal(n_z):
    """The prior N(0, I) over latents [n_z]."""
    return tfp.distributions.MultivariateNormalDiag(loc=tf.zeros(n_z))
