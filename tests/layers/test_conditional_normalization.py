"""Conditional batch normalisation against batch normalisation of each class's own scale and offset."""

import keras
import numpy as np
import tensorflow as tf

from tfjc.layers import ConditionalBatchNormalization

X = np.random.default_rng(0).normal(2.0, 3.0, size=(12, 4, 4, 2)).astype(np.float32)
LABELS = np.arange(12) % 3


def layer():
    made = ConditionalBatchNormalization(3, momentum=0.75, epsilon=1e-3)
    made.build([X.shape, LABELS.shape])
    made.gamma.assign([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    made.beta.assign([[0.0, 0.1], [0.2, 0.3], [0.4, 0.5]])
    return made


def test_training_normalises_by_the_batch_and_scales_by_the_class():
    made = layer()
    mean, variance = X.mean((0, 1, 2)), X.var((0, 1, 2))
    scale, offset = (w.numpy()[LABELS][:, None, None, :] for w in (made.gamma, made.beta))
    expected = scale * (X - mean) / np.sqrt(variance + 1e-3) + offset
    np.testing.assert_allclose(made([X, LABELS], training=True), expected, atol=1e-4)


def test_inference_uses_moving_averages():
    made = layer()
    made([X, LABELS], training=True)
    mean, variance = 0.25 * X.mean((0, 1, 2)), 0.75 + 0.25 * X.var((0, 1, 2))
    scale, offset = (w.numpy()[LABELS][:, None, None, :] for w in (made.gamma, made.beta))
    expected = scale * (X - mean) / np.sqrt(variance + 1e-3) + offset
    np.testing.assert_allclose(made([X, LABELS], training=False), expected, rtol=1e-4, atol=1e-4)


def test_equal_classes_are_plain_batch_normalisation():
    fresh, plain = ConditionalBatchNormalization(3), keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    np.testing.assert_allclose(fresh([X, LABELS], training=True), plain(X, training=True), atol=1e-5)


def test_each_class_gets_the_gradient_of_its_own_samples():
    made = layer()
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(made([X, LABELS], training=True))
    gradient = tape.gradient(y, made.beta)
    assert tf.is_tensor(gradient)  # dense: Adam would square the rows of a sparse one by themselves
    np.testing.assert_allclose(gradient, np.full((3, 2), 4 * 16))  # four samples of 16 places in each class
