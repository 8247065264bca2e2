"""Norms and averages in float32 or float64."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf


def full(x: tf.Tensor) -> tf.Tensor:
    """`x` in float32; float64 stays float64. Measurements and averages are never taken in 16 bits."""
    return tf.cast(x, tf.float64 if x.dtype == tf.float64 else tf.float32)


def safe_norm(x: tf.Tensor) -> tf.Tensor:
    """Euclidean norm of each sample, ‖x_b‖₂ over all axes but the first: [B, ...] → [B].

    Computed in float32 or float64. At x_b = 0, where the norm has no gradient, the gradient is 0 instead of nan. The
    norm of an x_b that is not finite is not finite.
    """
    x = full(x)
    squared = tf.reduce_sum(tf.square(x), axis=list(range(1, x.shape.rank)))
    zero = tf.equal(squared, 0)
    return tf.where(zero, tf.zeros_like(squared), tf.sqrt(tf.where(zero, tf.ones_like(squared), squared)))


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """A context in which GPUs multiply float32 matrices in full precision.

    TensorFlow's default on GPUs is TF32, which has 10 bits of mantissa.
    """
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
