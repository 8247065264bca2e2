"""Batch normalisation: Keras's own but for its second derivatives."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc import layers
from tfjc.layers._fused import batch_normalization

pytestmark = pytest.mark.usefixtures("grappler")


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
    ours = layers.BatchNormalization(momentum=0.7)  # in float32, to be what Keras's is in float64
    theirs = keras.layers.BatchNormalization(momentum=0.7, dtype="float64")
    results = []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(layer(x, training=True)))
        results.append([*tape.gradient(loss, layer.trainable_variables), layer(x, training=False), *layer.weights])
    for mine, expected in zip(*results, strict=True):
        # A float32 sum of the 128 numbers of a channel, one after the other, is right to 128·2⁻²⁴.
        np.testing.assert_allclose(mine, expected, rtol=128 * 2.0**-24, atol=1e-6)


def _derivative(f, s, order):
    if order == 0:
        return f(s)
    with tf.GradientTape() as tape:
        tape.watch(s)
        value = _derivative(f, s, order - 1)
    return tape.gradient(value, s)


def _along_a_curve(normalise, dtype, order):
    """A derivative by s of Σ w·sin(y), y the images sin(s·x) normalised with γ and β that vary with s, too."""
    random = np.random.default_rng(7)
    x, w = (tf.constant(random.normal(size=(6, 4, 4, 2)), dtype) for _ in range(2))
    gamma, beta = (tf.constant(random.normal(size=2), dtype) for _ in range(2))
    curve = lambda s: tf.reduce_sum(w * tf.sin(normalise(tf.sin(s * x), s * gamma, beta + s**2)))  # noqa: E731
    return float(tf.function(lambda s: _derivative(curve, s, order))(tf.constant(1.3, dtype)))


@pytest.mark.parametrize("order", range(4))
def test_one_operation_has_derivatives_of_every_order(order):
    expected = _along_a_curve(_definition, tf.float64, order)
    found = _along_a_curve(lambda *given: batch_normalization(*given, 1e-3)[0], tf.float32, order)
    assert found == pytest.approx(expected, rel=1e-5)


def _definition(x, gamma, beta):
    centred = x - tf.reduce_mean(x, [0, 1, 2])
    return gamma * centred / tf.sqrt(tf.reduce_mean(tf.square(centred), [0, 1, 2]) + 1e-3) + beta


@pytest.mark.parametrize("dtype, unit", [("bfloat16", 2.0**-8), ("float16", 2.0**-11)])
def test_in_16_bits_results_and_derivatives_are_rounded_once(dtype, unit):
    """y, Jᵀv, and the gradient of ‖Jᵀv‖²/2 are those of the definition in float64, to one rounding each.

    The mean of the images is 30 standard deviations from 0, where moments in 16 bits would be useless.
    """
    rng = np.random.default_rng(10)
    x = tf.cast(30.0 + rng.normal(size=(8, 6, 6, 3)), dtype)
    v = tf.cast(rng.normal(size=x.shape), dtype)
    gamma, beta = rng.normal(size=[2, 3]).astype(np.float32)

    def derivatives(normalise, of):
        x, v, gamma, beta = (tf.cast(array, of[i > 1]) for i, array in enumerate(given))
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = normalise(x, gamma, beta)
            slopes = inner.gradient(y, x, v)
            half = tf.reduce_sum(tf.square(tf.cast(slopes, tf.float64))) / 2.0
        return [tf.cast(found, tf.float64) for found in (y, slopes, outer.gradient(half, x))]

    given = x, v, gamma, beta
    found = derivatives(lambda *arrays: batch_normalization(*arrays, 1e-3)[0], (dtype, tf.float32))
    expected = derivatives(_definition, (tf.float64, tf.float64))
    for roundings, mine, right in zip((1, 1, 2), found, expected, strict=True):  # Jᵀv is rounded before it is squared
        bound = roundings * unit * np.abs(right) + (roundings - 1) * unit * np.abs(right).max() + 1e-5
        assert np.all(np.abs(mine - right) <= bound)


def test_images_are_normalised_in_one_operation_in_their_own_type():
    """In float32 and 16 bits, without a cast of the images; in float64 by several operations."""
    for dtype in ("float32", "bfloat16", "float16", "float64"):
        layer = layers.BatchNormalization(dtype=dtype if dtype in ("float32", "float64") else f"mixed_{dtype}")
        layer.build([2, 4, 4, 3])
        traced = tf.function(lambda x, of=layer: of(x, training=True)).get_concrete_function(
            tf.zeros([2, 4, 4, 3], dtype)
        )
        operations = traced.graph.get_operations()
        fused = [operation.inputs[0].dtype.name for operation in operations if operation.type == "FusedBatchNormV3"]
        assert fused == [dtype] * (dtype != "float64")
        assert not [op for op in operations if op.type == "Cast" and op.outputs[0].shape.rank == 4]


def test_images_of_whole_numbers_are_normalised_in_float32():
    x = np.random.default_rng(11).integers(0, 256, [4, 5, 5, 2])
    found = layers.BatchNormalization(epsilon=1e-3)(tf.constant(x, tf.int32), training=True)
    expected = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-3)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_variance_is_right_far_from_zero(jit_compile):
    """XLA's own operation takes it to be mean(x²) − μ²: in float32, at μ = 100, the images are then 0.08 off."""
    x = np.random.default_rng(8).normal(100.0, 1.0, size=(16, 8, 8, 2))
    expected = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-3)
    layer = layers.BatchNormalization()
    layer.build(x.shape)
    compiled = tf.function(lambda x: layer(x, training=True), jit_compile=jit_compile)
    np.testing.assert_allclose(compiled(tf.constant(x, tf.float32)), expected, atol=5e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("layer", ["plain", "conditional"])
def test_sixteen_bits_are_normalised_in_float32(dtype, layer):
    x = tf.constant(np.random.default_rng(9).normal(size=(6, 4, 4, 2)), "bfloat16" if "b" in dtype else "float16")
    if layer == "plain":
        ours, theirs = layers.BatchNormalization(dtype=dtype), keras.layers.BatchNormalization(dtype=dtype)
        given = x
    else:
        ours = layers.ConditionalBatchNormalization(3, momentum=0.99, epsilon=1e-3, dtype=dtype)
        theirs, given = keras.layers.BatchNormalization(dtype=dtype), [x, tf.constant([0, 1, 2, 0, 1, 2])]
    found, expected = ours(given, training=True), theirs(x, training=True)
    assert found.dtype == expected.dtype == x.dtype
    tolerance = 0.02 if "b" in dtype else 0.002
    np.testing.assert_allclose(tf.cast(found, "float32"), tf.cast(expected, "float32"), atol=tolerance)
    moving = getattr(ours, "normalization", ours).moving_mean
    np.testing.assert_allclose(np.asarray(moving, "float32"), np.asarray(theirs.moving_mean, "float32"), atol=1e-4)
