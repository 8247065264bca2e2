"""Safe norms, unit directions, stateless seeds, the scale of images, and the one place that decides on XLA."""

import tensorflow as tf

from tfjc import checks


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


def unit_directions(shape, seed, dtype=tf.float32):
    """Directions uniform on the unit sphere, one a row: δ/‖δ‖ with δ ~ N(0, I); `shape` [B, n_z], `seed` int[2]."""
    delta = tf.random.stateless_normal(shape, seed, dtype=dtype)
    return delta / safe_norm(delta)[:, None]


def fold(seed, *indices):
    """A new stateless seed int32[2] from `seed` and each of `indices` (stream, step, ...); stays on the device."""
    seed = tf.convert_to_tensor(seed, tf.int32)
    for index in indices:
        seed = tf.random.experimental.stateless_fold_in(seed, tf.cast(index, tf.int32))
    return seed


def to_images(x):
    """Images as float32 in [−1, 1]: integers 0..255 become x/127.5 − 1, floats pass unchanged."""
    x = tf.convert_to_tensor(x)
    return tf.cast(x, tf.float32) / 127.5 - 1.0 if x.dtype.is_integer else tf.cast(x, tf.float32)


def dequantised(x, seed):
    """Images v of 0..255 as v/128 − 1 + u with u ~ U(0, 1/128), float32 in [−1, 1] (Gulrajani et al. 2017, their code).

    Raises ValueError for images that are not of whole numbers.
    """
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_integer:
        raise ValueError(f"dequantise needs images of whole numbers 0 to 255 (uint8), found {x.dtype.name}")
    noise = tf.random.stateless_uniform(tf.shape(x), seed, maxval=1.0 / 128.0)
    return tf.cast(x, tf.float32) / 128.0 - 1.0 + noise


def to_uint8(images):
    """Images in [−1, 1] as uint8: round((x + 1)·127.5), values outside the range clipped."""
    return tf.cast(tf.clip_by_value(tf.round((tf.cast(images, tf.float32) + 1.0) * 127.5), 0.0, 255.0), tf.uint8)


XLA_CHOICES = ("auto", "on", "off")
_xla = "auto"


def choose_xla(choice):
    """Sets what `use_xla` answers from now on: `on`, `off`, or `auto`; raises ValueError for any other choice."""
    global _xla
    _xla = checks.one_of("jit_compile", choice, XLA_CHOICES)


def use_xla():
    """Whether training and measurements are compiled with XLA: `auto` (the default) is on for GPU and TPU, not for CPU.

    On CPU transposed convolutions are up to 50 times slower under XLA.
    """
    if _xla == "auto":
        return any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))
    return _xla == "on"
