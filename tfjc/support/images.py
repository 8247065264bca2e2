"""The scale of images: uint8, floats in [−1, 1], and dequantised ones."""

import functools

import tensorflow as tf

from tfjc.support.replicas import rows


def to_images(x):
    """Images as float32 in [−1, 1]: integers 0..255 become x/127.5 − 1, floats pass unchanged."""
    x = tf.convert_to_tensor(x)
    return tf.cast(x, tf.float32) / 127.5 - 1.0 if x.dtype.is_integer else tf.cast(x, tf.float32)


def dequantised(x, seed, parts=1):
    """Images v of 0..255 as v/128 − 1 + u with u ~ U(0, 1/128), float32 in [−1, 1] (Gulrajani et al. 2017, their code).

    `parts` as in `rows`. Raises ValueError for images that are not of whole numbers.
    """
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_integer:
        raise ValueError(f"dequantise needs images of whole numbers 0 to 255 (uint8), found {x.dtype.name}")
    noise = rows(functools.partial(tf.random.stateless_uniform, seed=seed, maxval=1.0 / 128.0), tf.shape(x), parts)
    return tf.cast(x, tf.float32) / 128.0 - 1.0 + noise


def to_uint8(images):
    """Images in [−1, 1] as uint8: round((x + 1)·127.5), values outside the range clipped."""
    return tf.cast(tf.clip_by_value(tf.round((tf.cast(images, tf.float32) + 1.0) * 127.5), 0.0, 255.0), tf.uint8)
