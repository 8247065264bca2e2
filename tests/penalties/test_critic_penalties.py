"""Penalties on the critic against closed forms, finite differences, and resizing written as a matrix."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from penalties.linear import RESIZING, AsMatrix, derivatives, network

from tfjc.penalties import R1, R2, GradientPenalty

SEED = [3, 4]
REAL, FAKE = tf.random.stateless_normal([2, 3, 4, 4, 1], [1, 1])


@pytest.mark.parametrize("slope", [0.0, 1.0, 3.0])
def test_gradient_penalty_of_a_linear_critic(slope):
    """D(x) = slope·⟨w, x⟩ with ‖w‖ = 1: 10·(slope − 1)² wherever x̂ lies."""
    w = tf.constant(np.full([2, 2, 1], 0.5), tf.float32)
    critic = lambda x, training: tf.reduce_sum(slope * w * x, axis=[1, 2, 3])  # noqa: E731
    real, fake = tf.random.stateless_normal([2, 3, 2, 2, 1], [1, 1])
    np.testing.assert_allclose(GradientPenalty(10.0)(critic, real, fake, SEED), 10 * (slope - 1) ** 2, atol=1e-4)


def test_gradient_penalty_lies_between_real_and_fake():
    """D(x) = ½x² has slope |x̂|: for x = 1 and 3 the penalties of (|x̂| − 1)² fill [0, 4] as α does [0, 1]."""
    critic = lambda x, training: 0.5 * x[:, 0] ** 2  # noqa: E731
    found = GradientPenalty(1.0)(critic, tf.ones([1000, 1]), 3.0 * tf.ones([1000, 1]), SEED)
    alpha = np.sqrt(found) / 2
    assert 0 <= alpha.min() < 0.01
    assert 0.99 < alpha.max() <= 1
    assert alpha.mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("gamma", [0.0, 10.0])
@pytest.mark.parametrize("slope", [0.0, 3.0])
def test_r1_of_a_linear_critic(gamma, slope):
    """D(x) = slope·⟨w, x⟩ with ‖w‖ = 1: (γ/2)·slope² at every image."""
    w = tf.constant(np.full([4, 4, 1], 0.25), tf.float32)
    critic = lambda x, training: tf.reduce_sum(slope * w * x, axis=[1, 2, 3])  # noqa: E731
    np.testing.assert_allclose(R1(gamma)(critic, REAL, FAKE, SEED), [0.5 * gamma * slope**2] * 3, rtol=1e-5)


def test_r1_is_taken_at_the_real_images():
    """D(x) = ½‖x‖² has the slope ‖x‖: the penalty is (γ/2)‖x‖², whatever the fakes are."""
    critic = lambda x, training: 0.5 * tf.reduce_sum(x**2, axis=[1, 2, 3])  # noqa: E731
    expected = np.sum(np.square(REAL), axis=(1, 2, 3))
    for fake in (FAKE, np.nan * FAKE):
        np.testing.assert_allclose(R1(2.0)(critic, REAL, fake, SEED), expected, rtol=1e-5)


def test_r2_is_r1_at_the_generated_images():
    critic = lambda x, training: 0.5 * tf.reduce_sum(x**2, axis=[1, 2, 3])  # noqa: E731
    np.testing.assert_array_equal(R2(2.0)(critic, np.nan * REAL, FAKE, SEED), R1(2.0)(critic, FAKE, REAL, SEED))


def test_r1_of_sixteen_bit_images_is_taken_in_float32():
    critic = lambda x, training: tf.reduce_sum(300.0 * x, axis=[1, 2, 3])  # noqa: E731
    found = R1(2.0)(critic, tf.cast(REAL, tf.float16), FAKE, SEED)  # 16·300² is beyond float16
    np.testing.assert_allclose(found, [16 * 300.0**2] * 3, rtol=1e-5)


@pytest.mark.parametrize("penalty", [GradientPenalty(10.0), R1(10.0), R2(10.0)], ids=["gradient penalty", "R1", "R2"])
def test_gradients_by_the_critics_weights(penalty):
    critic, weights = network(16, 5, 1)
    images = [tf.cast(x, tf.float64) for x in (REAL, FAKE)]
    found, expected = derivatives(lambda: tf.reduce_mean(penalty(critic, *images, SEED)), weights)
    assert abs(expected) > 0.1
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("penalty", [GradientPenalty(10.0), R1(10.0)], ids=["gradient penalty", "R1"])
@pytest.mark.parametrize("name", RESIZING)
@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
def test_critics_that_resize_feel_the_penalty(penalty, name, traced):
    """TensorFlow takes the gradient of bilinear resizing for constant: the penalty would be dropped without a word."""
    resizing = RESIZING[name]()
    gradients = []
    for layer in (resizing, AsMatrix(resizing, 4)):
        dense = [keras.layers.Dense(n, a, kernel_initializer=_glorot(n)) for n, a in ((6, "tanh"), (1, None))]
        critic = keras.Sequential([keras.Input([4, 4, 1]), layer, keras.layers.Flatten(), *dense])

        def gradient(critic=critic):
            with tf.GradientTape() as tape:
                value = tf.reduce_mean(penalty(critic, REAL, FAKE, SEED))
            return value, *tape.gradient(value, [dense.kernel for dense in critic.layers[-2:]])

        gradients.append((tf.function(gradient) if traced else gradient)())
    assert all(np.abs(g).max() > 1e-2 for g in gradients[0])
    for found, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def _glorot(seed):
    return keras.initializers.GlorotUniform(seed=seed)


def test_a_critic_without_a_slope_is_named():
    step = lambda x, training: tf.cast(x[:, 0, 0, 0] > 0, tf.float32)  # noqa: E731
    with pytest.raises(ValueError, match="logits have no gradient with respect to its images"):
        R1()(step, REAL, FAKE, SEED)


def columns(*factors):
    """A critic with the logits c·½‖x‖², one column for each factor c."""
    return lambda x, training: 0.5 * tf.reduce_sum(x**2, axis=[1, 2, 3])[:, None] * tf.constant(factors)


EACH = pytest.mark.parametrize("penalty", [GradientPenalty(), R1(), R2()], ids=["gradient penalty", "R1", "R2"])


@EACH
def test_a_critic_with_two_columns_is_refused(penalty):
    """The gradient of their sum is the slope of neither."""
    said = r"the critic's logits must have shape \[B\] or \[B, 1\], found \[3, 2\]"
    for call in (penalty, tf.function(penalty)):
        with pytest.raises(ValueError, match=said):
            call(columns(1.0, 2.0), REAL, FAKE, SEED)
    for critic, found in (
        (lambda x, training: tf.reduce_sum(x), r"found \[\]"),
        (lambda x, training: {"logits": tf.reduce_sum(x, axis=[1, 2, 3])}, "found dict"),
        (lambda x, training: x, r"found \[3, 4, 4, 1\]"),
        (lambda x, training: [columns(1.0, 2.0)(x, training), x], r"found \[3, 2\]"),
    ):
        with pytest.raises(ValueError, match=found):
            penalty(critic, REAL, FAKE, SEED)


@EACH
def test_class_logits_have_no_part_in_the_slope(penalty):
    """A critic of (logits, class logits) is penalised for ½‖x‖², its logits, whose slope is ‖x‖; so is one column."""
    expected = penalty(columns(1.0), REAL, FAKE, SEED)
    conditional = lambda x, training: (columns(1.0)(x, training), columns(3.0, 5.0)(x, training))  # noqa: E731
    np.testing.assert_array_equal(penalty(conditional, REAL, FAKE, SEED), expected)
    if not isinstance(penalty, GradientPenalty):
        at = REAL if isinstance(penalty, R1) else FAKE
        np.testing.assert_allclose(expected, 5.0 * np.sum(np.square(at), axis=(1, 2, 3)), rtol=1e-5)
