"""What the tests of penalties share: float64 networks, directional derivatives, resizing written as a matrix."""

import keras
import numpy as np
import tensorflow as tf


def network(inputs, hidden, outputs, seed=0):
    """x ↦ W₂·tanh(W₁x) in float64, flattening x, and its weights."""
    random = np.random.default_rng(seed)
    weights = [tf.Variable(random.normal(size=shape) / 2) for shape in ((inputs, hidden), (hidden, outputs))]

    def call(x, training=True):
        return tf.tanh(tf.reshape(x, [-1, inputs]) @ weights[0]) @ weights[1]

    return call, weights


def derivatives(value, weights, h=1e-5):
    """The derivative of `value()` along a random direction of the weights: (by the tape, by central differences)."""
    random = np.random.default_rng(1)
    directions = [random.normal(size=w.shape) for w in weights]
    with tf.GradientTape() as tape:
        found = value()
    gradients = tape.gradient(found, weights)
    by_tape = sum(float(tf.reduce_sum(g * d)) for g, d in zip(gradients, directions, strict=True))
    values = []
    for step in (h, -2 * h):
        for w, d in zip(weights, directions, strict=True):
            w.assign_add(step * d)
        values.append(float(value()))
    for w, d in zip(weights, directions, strict=True):
        w.assign_add(h * d)
    return by_tape, (values[0] - values[1]) / (2 * h)


class AsMatrix(keras.layers.Layer):
    """A linear layer on images [size, size, 1] as a product with its matrix, of which TensorFlow has all gradients."""

    def __init__(self, layer, size):
        super().__init__()
        units = tf.reshape(tf.eye(size * size), [-1, size, size, 1])
        self._shape = layer(units).shape[1:]
        self._matrix = tf.constant(tf.reshape(layer(units), [size * size, -1]).numpy())

    def call(self, x):
        return tf.reshape(tf.reshape(x, [-1, self._matrix.shape[0]]) @ self._matrix, [-1, *self._shape])


RESIZING = {
    "UpSampling2D bilinear": lambda: keras.layers.UpSampling2D(2, interpolation="bilinear"),
    "UpSampling2D bicubic": lambda: keras.layers.UpSampling2D(2, interpolation="bicubic"),
    "Resizing": lambda: keras.layers.Resizing(7, 5),
    "Resizing antialiased": lambda: keras.layers.Resizing(3, 3, antialias=True),
}
