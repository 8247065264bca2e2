"""Jacobian Clamping against closed forms, and the mistakes that others made."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc.penalties import JacobianClamping, quotient

Z = tf.random.stateless_normal([5, 4], [1, 2])
SEED = [3, 4]


def isometry(c):
    """x = c·Qz with orthonormal Q, as images [B, 4, 3, 1]."""
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 4)))[0]
    return lambda z: tf.reshape(c * tf.matmul(z, tf.constant(q, tf.float32), transpose_b=True), [-1, 4, 3, 1])


@pytest.mark.parametrize("c", [0.25, 1.0, 20.0, 33.0])
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 5.0])
def test_a_scaled_isometry_has_quotient_c(c, epsilon):
    z_perturbed = JacobianClamping(epsilon=epsilon).perturb(Z, SEED)
    q = quotient(Z, z_perturbed, isometry(c)(Z), isometry(c)(z_perturbed))
    assert q.shape == (5,)
    np.testing.assert_allclose(q, c, rtol=1e-5)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 5.0])
def test_every_step_has_length_epsilon(epsilon):
    delta = JacobianClamping(epsilon=epsilon).perturb(Z, SEED) - Z
    np.testing.assert_allclose(np.linalg.norm(delta, axis=1), epsilon, rtol=1e-5)


def test_directions_are_uniform_on_the_sphere():
    """E δ = 0 and E δδᵀ = I/n, each entry to five standard errors of 40,000 draws."""
    delta = JacobianClamping().perturb(tf.zeros([40_000, 4]), SEED).numpy()
    assert np.abs(delta.mean(0)).max() < 5 * np.sqrt(1 / 4 / 40_000)
    assert np.abs(delta.T @ delta / 40_000 - np.eye(4) / 4).max() < 5 * np.sqrt(1 / 8 / 40_000)


@pytest.mark.parametrize("q, expected", [(0.0, 1.0), (0.4, 0.36), (1.0, 0.0), (7.0, 0.0), (20.0, 0.0), (23.0, 9.0)])
def test_the_penalty_is_the_squared_distance_to_the_interval(q, expected):
    assert float(JacobianClamping().penalty(tf.constant(q))) == pytest.approx(expected, rel=1e-5)


def test_values_do_not_depend_on_the_rest_of_the_batch():
    clamping = JacobianClamping(1.0, 2.0)
    x, x_perturbed = tf.random.stateless_normal([2, 5, 3, 3, 1], [5, 6])
    z_perturbed = clamping.perturb(Z, SEED)
    together = clamping(Z, z_perturbed, x, x_perturbed)
    alone = [float(clamping(*(t[b : b + 1] for t in (Z, z_perturbed, x, x_perturbed)))[0]) for b in range(5)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    assert np.ptp(together) > 0.1


def test_the_gradient_is_finite_where_both_images_are_the_same():
    generator = keras.Sequential([keras.Input([4]), keras.layers.Dense(6, kernel_initializer="zeros")])
    clamping = JacobianClamping()
    z_perturbed = clamping.perturb(Z, SEED)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(clamping(Z, z_perturbed, generator(Z), generator(z_perturbed)))
    assert float(value) == pytest.approx(5.0)  # Q = 0 costs λ_min² = 1 each
    for gradient in tape.gradient(value, generator.trainable_variables):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("c, sign", [(0.5, -1.0), (30.0, 1.0), (5.0, 0.0)])
def test_the_gradient_pulls_the_quotient_into_the_interval(c, sign):
    """For G(z) = c·Qz, dL/dc = 2(c − λ_max), 0 or 2(c − λ_min)."""
    scale, clamping = tf.Variable(c), JacobianClamping()
    z_perturbed = clamping.perturb(Z, SEED)
    with tf.GradientTape() as tape:
        images = [scale * isometry(1.0)(z) for z in (Z, z_perturbed)]
        value = tf.reduce_mean(clamping(Z, z_perturbed, *images))
    expected = 2 * (c - 20.0) if sign > 0 else 2 * (c - 1.0) if sign < 0 else 0.0
    assert float(tape.gradient(value, scale)) == pytest.approx(expected, rel=1e-4)


def test_sixteen_bit_images_are_measured_in_float32():
    x, x_perturbed = tf.ones([2, 1000], tf.float16) * 3.0, tf.zeros([2, 1000], tf.float16)
    z, z_perturbed = tf.zeros([2, 1]), tf.ones([2, 1])
    np.testing.assert_allclose(quotient(z, z_perturbed, x, x_perturbed), 3 * np.sqrt(1000), rtol=1e-6)
    # In float16 the sum of squares would overflow at 65,504.
    np.testing.assert_allclose(quotient(z, z_perturbed, 100 * x, x_perturbed), 300 * np.sqrt(1000), rtol=1e-6)


def test_measure_counts_both_sides():
    q = tf.constant([0.5, 0.9, 1.0, 5.0, 21.0])
    x = q[:, None] * tf.ones([5, 1])
    measured = JacobianClamping().measure(tf.zeros([5, 1]), tf.ones([5, 1]), x, tf.zeros([5, 1]))
    assert {name: round(float(value), 4) for name, value in measured.items()} == {
        "quotient": 5.68,
        "clamped_low": 0.4,
        "clamped_high": 0.2,
    }
