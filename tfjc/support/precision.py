"""Norms and averages in float32 or better."""

import contextlib

import tensorflow as tf


def full(x):
    """`x` in float32, or in float64 if that is what it is: nothing is measured or averaged in 16 bits."""
    return tf.cast(x, tf.float64 if x.dtype == tf.float64 else tf.float32)


def safe_norm(x):
    """Euclidean norm of each sample, ‖x_b‖₂ over all axes but the first: [B, ...] → [B].

    Formed in float32 or better. The gradient at x_b = 0, where the norm has none, is 0 and not nan; the norm of an x_b
    that is not finite is not finite.
    """
    x = full(x)
    squared = tf.reduce_sum(tf.square(x), axis=list(range(1, x.shape.rank)))
    zero = tf.equal(squared, 0)
    return tf.where(zero, tf.zeros_like(squared), tf.sqrt(tf.where(zero, tf.ones_like(squared), squared)))


@contextlib.contextmanager
def without_tf32():
    """A context in which GPUs multiply float32 matrices as such, not in TF32, 10 bits, as TensorFlow lets them."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
