"""Batch normalisation on one device by TensorFlow's fused operation, with derivatives of every order."""

import tensorflow as tf


def batch_normalization(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """(γ·(x − μ)/√(σ² + ε) + β, μ, σ²) of x [B, H, W, C], with moments over all axes but the last.

    x is float32, bfloat16 or float16, as is the first result. γ, β, μ and σ² are float32, and so is all arithmetic: of
    x in 16 bits only the results and their gradients by x are rounded.

    TensorFlow's fused operations compute the value and the gradient in one or two passes over memory each. Separate
    operations take about ten passes. TensorFlow cannot differentiate the fused gradient, so the second derivative is
    that of the gradient's formula. μ and σ² have no gradient: they are for moving averages.
    """

    @tf.custom_gradient
    def normalised(x, gamma, beta):
        y, mean, variance, *saved = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, is_training=True
        )
        return (y, mean, variance), lambda dy, *_: _gradient(dy, x, gamma, epsilon, *saved)

    y, mean, variance = normalised(x, gamma, beta)
    count = tf.cast(tf.size(x) // tf.size(mean), mean.dtype)
    return y, tf.stop_gradient(mean), tf.stop_gradient(variance * (count - 1.0) / count)  # biased


def _gradient(dy, x, gamma, epsilon, *saved):
    """The gradients with respect to x, γ and β from the gradient dy with respect to y."""

    @tf.custom_gradient
    def fused(dy, x, gamma):
        names = dict(zip(("reserve_space_1", "reserve_space_2", "reserve_space_3"), saved, strict=True))
        found = tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=dy, x=x, scale=gamma, epsilon=epsilon, is_training=True, **names
        )
        return tuple(found[:3]), lambda *upstream: _second(upstream, dy, x, gamma, epsilon)

    return fused(dy, x, gamma)


def _second(upstream, dy, x, gamma, epsilon):
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([dy, x, gamma])
        found = _formula(dy, x, gamma, epsilon)
    return tape.gradient(found, [dy, x, gamma], upstream)


def _formula(dy, x, gamma, epsilon):
    """With x̂ = (x − μ)/√(σ² + ε): (γ/√(σ² + ε)·(dy − mean(dy) − x̂·mean(dy·x̂)), Σ dy·x̂, Σ dy)."""
    axes, dtype = [0, 1, 2], x.dtype
    dy, x = tf.cast(dy, gamma.dtype), tf.cast(x, gamma.dtype)
    centred = x - tf.reduce_mean(x, axes)
    inverse = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axes) + epsilon)
    whitened = centred * inverse
    slopes, along = tf.reduce_mean(dy, axes), tf.reduce_mean(dy * whitened, axes)
    count = tf.cast(tf.size(x) // tf.size(gamma), x.dtype)
    return tf.cast(gamma * inverse * (dy - slopes - whitened * along), dtype), along * count, slopes * count
