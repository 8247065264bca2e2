"""Batch normalisation: Keras's own but for its second derivatives."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc import layers


def _slope_penalty(layer, x, scale):
    """mean ‖∂f/∂x‖² for f = Σ w·y², y the layer's outputs in training mode: its gradient takes second derivatives."""
    weights = tf.constant(np.random.default_rng(5).normal(size=x.shape))
    with tf.GradientTape() as tape:
        tape.watch(x)
        out = tf.reduce_sum(weights * tf.square(layer(tf.sin(scale * x), training=True)))
    return tf.reduce_mean(tf.square(tape.gradient(out, x)))


def _gradient_and_difference(layer):
    x = tf.constant(np.random.default_rng(4).normal(size=(6, 3)))
    scale = tf.constant(1.3, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(scale)
        penalty = _slope_penalty(layer, x, scale)
    high, low = (_slope_penalty(layer, x, scale + step) for step in (1e-5, -1e-5))
    return float(tape.gradient(penalty, scale)), float((high - low) / 2e-5)


def test_second_derivatives_through_batch_moments_are_right():
    gradient, difference = _gradient_and_difference(layers.BatchNormalization(dtype="float64"))
    assert gradient == pytest.approx(difference, rel=1e-7)


def test_second_derivatives_through_keras_s_layer_are_not():
    """tf.nn.moments holds μ constant in σ². Should this fail one day, Keras's layer has become good enough for us."""
    gradient, difference = _gradient_and_difference(keras.layers.BatchNormalization(dtype="float64"))
    assert gradient != pytest.approx(difference, rel=1e-3)


def test_batch_normalization_is_otherwise_keras_s():
    x = np.random.default_rng(6).normal(size=(8, 4, 4, 2)).astype(np.float32)
    ours, theirs = (kind(momentum=0.7) for kind in (layers.BatchNormalization, keras.layers.BatchNormalization))
    results = []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(layer(x, training=True)))
        results.append([*tape.gradient(loss, layer.trainable_variables), layer(x, training=False), *layer.weights])
    for mine, expected in zip(*results, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-6, atol=1e-6)
