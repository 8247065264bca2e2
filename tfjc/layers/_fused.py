"""Batch normalisation of one device in one operation, with derivatives of every order."""

import tensorflow as tf


def batch_normalization(x, gamma, beta, epsilon):
    """(γ·(x − μ)/√(σ² + ε) + β, μ, σ²) of x float32 [B, H, W, C] over all axes but the last.

    TensorFlow's fused operations compute value and gradient in a pass or two each, where single operations take about
    ten. It cannot differentiate the second of them; here that is differentiated as the formula that it computes. μ and
    σ² are for moving averages: they have no gradient.
    """

    @tf.custom_gradient
    def normalised(x, gamma, beta):
        y, mean, variance, *saved = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, is_training=True
        )
        return (y, mean, variance), lambda dy, *_: _gradient(dy, x, gamma, epsilon, *saved)

    y, mean, variance = normalised(x, gamma, beta)
    count = tf.cast(tf.size(x) // tf.size(mean), x.dtype)
    return y, tf.stop_gradient(mean), tf.stop_gradient(variance * (count - 1.0) / count)  # of the sample, not unbiased


def _gradient(dy, x, gamma, epsilon, *saved):
    """The gradients of x, γ and β, where dy is that of y."""

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
    axes = [0, 1, 2]
    centred = x - tf.reduce_mean(x, axes)
    inverse = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axes) + epsilon)
    whitened = centred * inverse
    slopes, along = tf.reduce_mean(dy, axes), tf.reduce_mean(dy * whitened, axes)
    count = tf.cast(tf.size(x) // tf.size(gamma), x.dtype)
    return gamma * inverse * (dy - slopes - whitened * along), along * count, slopes * count
