"""The leaky rectifier: the numbers of Keras's, derivatives of every order included, and one operation in training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from models.test_order import optimised

from tfjc import geometry, layers

pytestmark = pytest.mark.usefixtures("grappler")

X = tf.constant([-np.inf, -2.0, -1e-45, -0.0, 0.0, 1e-45, 3.0, np.inf, np.nan])


def derivatives(layer, x, count=3):
    """f(x) = sin(layer(x))·x² and its first derivatives by x, one after the other."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        found = [tf.sin(layer(x)) * tf.square(x)]
        for _ in range(count):
            found.append(tape.gradient(found[-1], x))
    return found


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("slope", [0.0, 0.2, 1.5])
def test_values_and_derivatives_are_keras_s_bit_for_bit(slope, dtype):
    ours, theirs = (kind(slope, dtype=dtype) for kind in (layers.LeakyReLU, keras.layers.LeakyReLU))
    x = tf.cast(X, dtype)
    for found, expected in zip(derivatives(ours, x), derivatives(theirs, x), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("method", ["pullback", "batch_jacobian", "forward"])
def test_the_engine_takes_its_jacobian(method):
    """J of rectified Az: dᵢ·Aᵢⱼ with dᵢ = 1 where (Az)ᵢ > 0, else 0.25 (slopes are float32)."""
    a, z = np.random.default_rng(0).normal(size=(5, 3)), np.random.default_rng(1).normal(size=(4, 3))
    layer = layers.LeakyReLU(0.25, dtype="float64")
    found = geometry.jacobian(lambda z: layer(tf.matmul(z, a, transpose_b=True)), tf.constant(z), method=method)
    expected = np.where(z @ a.T > 0, 1.0, 0.25)[:, :, None] * a
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_convolution_bias_and_rectifier_train_as_one_operation():
    """TensorFlow's own attempt at that fails where the derivative needs what it would no longer have."""
    network = keras.Sequential([keras.Input([8, 8, 3]), keras.layers.Conv2D(4, 3), layers.LeakyReLU(0.2)])
    kernel = network.trainable_variables[0]

    def step(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(network(images, training=True)))
        kernel.assign_sub(tape.gradient(loss, kernel))

    fused = [
        node.attr["fused_ops"].list.s
        for node in optimised(tf.function(step, autograph=False), tf.ones([2, 8, 8, 3]))
        if "Fused" in node.op
    ]
    assert [b"BiasAdd", b"LeakyRelu"] in map(list, fused)


def test_it_is_saved_and_loaded(tmp_path):
    model = keras.Sequential([keras.Input([3]), layers.LeakyReLU(0.1)])
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").layers[0].negative_slope == 0.1


@pytest.mark.parametrize("slope", [-0.1, None, "0.2", np.nan])
def test_a_slope_is_a_number_of_at_least_0(slope):
    with pytest.raises(ValueError, match="negative_slope"):
        layers.LeakyReLU(slope)
