"""Conversions between uint8 images, float images in [−1, 1] and dequantised images."""

import functools

import tensorflow as tf
from numpy.typing import ArrayLike

from tfjc.support.replicas import rows


def to_images(x: ArrayLike | tf.Tensor) -> tf.Tensor:
    """Images as float32 in [−1, 1]: integers 0 to 255 become x/127.5 − 1, floats keep their values."""
    x = tf.convert_to_tensor(x)
    return tf.cast(x, tf.float32) / 127.5 - 1.0 if x.dtype.is_integer else tf.cast(x, tf.float32)


def dequantised(x: ArrayLike | tf.Tensor, seed: ArrayLike | tf.Tensor, parts: int = 1) -> tf.Tensor:
    """Dequantised images x/128 − 1 + u with u ~ U(0, 1/128), float32 in [−1, 1] (Gulrajani et al. 2017, their code).

    Args:
      x: images of whole numbers 0 to 255, [B, ...].
      seed: int[2] for u.
      parts: as in `replicas.rows`.

    Raises:
      ValueError: the images are not whole numbers.
    """
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_integer:
        raise ValueError(f"dequantise needs images of whole numbers 0 to 255 (uint8), found {x.dtype.name}")
    noise = rows(functools.partial(tf.random.stateless_uniform, seed=seed, maxval=1.0 / 128.0), tf.shape(x), parts)
    return tf.cast(x, tf.float32) / 128.0 - 1.0 + noise


def to_uint8(images: ArrayLike | tf.Tensor) -> tf.Tensor:
    """Images in [−1, 1] as uint8: round((x + 1)·127.5). Values outside the range are clipped."""
    return tf.cast(tf.clip_by_value(tf.round((tf.cast(images, tf.float32) + 1.0) * 127.5), 0.0, 255.0), tf.uint8)
