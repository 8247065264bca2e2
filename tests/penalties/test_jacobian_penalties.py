"""Path length and OroJaR against closed forms of linear generators, and finite differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from penalties.linear import RESIZING, AsMatrix, derivatives, network
from scipy import special

from tfjc.penalties import OroJaR, PathLength

SEED = [3, 4]
A = np.random.default_rng(0).normal(size=(12, 3))  # images [2, 3, 2]: six pixels of two colours


def linear(a):
    return lambda z, training=None: tf.reshape(z @ tf.constant(a.T, z.dtype), [-1, 2, 3, 2])


def test_path_lengths_of_a_linear_map():
    """J = A: ‖Aᵀy‖², y ~ N(0, I)/√6, has the mean ‖A‖²_F/6 and the variance 2‖AᵀA‖²_F/36; 5 standard errors."""
    lengths = PathLength().lengths(linear(A), tf.zeros([20_000, 3]), SEED).numpy()
    error = np.sqrt(2 * np.sum((A.T @ A) ** 2) / 36 / 20_000)
    assert np.mean(lengths**2) == pytest.approx(np.sum(A**2) / 6, abs=5 * error)


def test_path_lengths_of_a_scaled_isometry():
    """A = c·Q: ‖Aᵀy‖ = c·χ₃/√6, of mean c·√2·Γ(2)/Γ(3/2)/√6 and mean square 3c²/6."""
    lengths = PathLength().lengths(linear(5.0 * np.linalg.qr(A)[0]), tf.zeros([20_000, 3]), SEED).numpy()
    expected = 5 * np.sqrt(2 / 6) * special.gamma(2) / special.gamma(1.5)
    assert lengths.mean() == pytest.approx(expected, abs=5 * np.sqrt((25 / 2 - expected**2) / 20_000))


def test_path_length_is_the_squared_distance_to_the_running_mean():
    """Two steps by hand: a ← a + 0.1·(mean − a), from 0; the penalty is 2(‖Jᵀy‖ − a)² with the new a."""
    penalty, z, mean = PathLength(weight=2.0, decay=0.1), tf.zeros([4, 3]), 0.0
    for seed in ([1, 1], [1, 2]):
        lengths = penalty.lengths(linear(A), z, seed).numpy()
        mean += 0.1 * (lengths.mean() - mean)
        np.testing.assert_allclose(penalty(linear(A), z, seed), 2 * (lengths - mean) ** 2, rtol=1e-5)
        assert float(penalty.measure(linear(A), z, seed)["mean_path_length"]) == pytest.approx(mean, rel=1e-6)


def test_measuring_leaves_the_running_mean():
    penalty = PathLength()
    penalty.measure(linear(A), tf.zeros([4, 3]), SEED)
    penalty.lengths(linear(A), tf.zeros([4, 3]), SEED)
    assert float(penalty.mean) == 0.0


def test_a_running_mean_reaches_the_mean():
    """Where all lengths are 2 (one latent, one pixel, y = ±), a after n steps is 2·(1 − 0.99ⁿ)."""
    penalty = PathLength()
    penalty.lengths = lambda generate, z, seed: 2.0 * tf.ones([3])
    for _ in range(100):
        penalty(None, None, None)
    assert float(penalty.mean) == pytest.approx(2 * (1 - 0.99**100), rel=1e-5)


def values(penalty, generate, z, seed=SEED):
    moved = penalty.perturb(z, seed)
    return penalty(z, moved, generate(z), [generate(z_k) for z_k in moved])


@pytest.mark.parametrize("epsilon", [0.1, 1.0])
def test_orojar_of_a_linear_map_is_the_sum_of_squares_off_the_diagonal(epsilon):
    """E Var(vᵀMv) = 2·Σ_{i≠j} M_ij² for Rademacher v, M = AᵀA; five standard errors of 20,000 draws."""
    found = values(OroJaR(1.5, epsilon, "mean"), linear(A), tf.zeros([20_000, 3], tf.float64)).numpy()
    m = A.T @ A
    expected = 1.5 * 2 * (np.sum(m**2) - np.sum(np.diag(m) ** 2))
    assert found.mean() == pytest.approx(expected, abs=5 * found.std() / np.sqrt(20_000))
    assert found.std() / np.sqrt(20_000) < 0.02 * expected


def test_orojar_of_two_latents_has_two_values():
    """vᵀMv = M₁₁ + M₂₂ + 2M₁₂v₁v₂: two draws differ by 0 or 4M₁₂, so the penalty is 0 or 8·M₁₂²."""
    a = A[:, :2]
    found = values(OroJaR(1.0, reduction="mean"), linear(a), tf.zeros([200, 2], tf.float64)).numpy()
    expected = 8 * (a.T @ a)[0, 1] ** 2
    np.testing.assert_allclose(np.minimum(found, np.abs(found - expected)), 0, atol=1e-9 * expected)
    assert 60 < np.sum(found > expected / 2) < 140


def test_orojar_is_the_maximum_over_the_batch():
    """Each latent alone, and the mean of what all add: the largest of them, from one latent. nan stays nan."""
    z = tf.random.stateless_normal([7, 3], [1, 1], dtype=tf.float64)
    generate, _ = network(3, 5, 12)
    each = values(OroJaR(2.0, reduction="mean"), generate, z).numpy()
    found = values(OroJaR(2.0), generate, z).numpy()
    assert found.mean() == pytest.approx(each.max(), rel=1e-12)
    assert np.flatnonzero(found).tolist() == [each.argmax()]
    assert np.ptp(each) > 0.1 * each.max()
    lost = tf.tensor_scatter_nd_update(z, [[2, 0]], [np.float64("nan")])
    assert np.isnan(values(OroJaR(2.0), generate, lost).numpy().mean())


def test_orojar_does_not_mind_unequal_singular_values():
    """Orthogonal columns of lengths 1, 10, 100 cost nothing: that is no condition number."""
    a = np.linalg.qr(A)[0] * [1.0, 10.0, 100.0]
    np.testing.assert_allclose(values(OroJaR(1.0), linear(a), tf.zeros([50, 3], tf.float64)), 0, atol=1e-12)


@pytest.mark.parametrize("epsilon", [0.1, 2.0])
def test_every_coordinate_moves_by_epsilon(epsilon):
    z = tf.random.stateless_normal([500, 3], [1, 2])
    steps = [(moved - z).numpy() / epsilon for moved in OroJaR(1.0, epsilon).perturb(z, SEED)]
    np.testing.assert_allclose(np.abs(steps), 1.0, rtol=1e-4)
    assert np.abs(np.mean(steps, axis=1)).max() < 5 / np.sqrt(500)
    assert np.abs(np.mean(steps[0] * steps[1])) < 5 / np.sqrt(1500)


def test_the_gradient_of_path_length_by_the_generators_weights():
    generate, weights = network(3, 5, 12)
    penalty, z = PathLength(), tf.random.stateless_normal([4, 3], [1, 1], dtype=tf.float64)

    def value():
        penalty.mean.assign(0.7)
        return tf.reduce_mean(penalty(lambda z, training: tf.reshape(generate(z), [-1, 2, 3, 2]), z, SEED))

    found, expected = derivatives(value, weights)
    assert abs(expected) > 0.1
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("reduction", ["max", "mean"])
def test_the_gradient_of_orojar_by_the_generators_weights(reduction):
    generate, weights = network(3, 5, 12)
    z = tf.random.stateless_normal([4, 3], [1, 1], dtype=tf.float64)
    penalty = OroJaR(1.0, reduction=reduction)
    found, expected = derivatives(lambda: tf.reduce_mean(values(penalty, generate, z)), weights)
    assert abs(expected) > 0.1
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", RESIZING)
@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
def test_generators_that_resize_feel_the_path_length(name, traced):
    """Compared with the resizing as a matrix, of which TensorFlow has the second derivatives."""
    resizing = RESIZING[name]()
    found, expected = (_path_length_and_gradient(layer, traced) for layer in (resizing, AsMatrix(resizing, 4)))
    assert np.abs(found[1]).max() > 1e-3
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def _path_length_and_gradient(layer, traced):
    dense = keras.layers.Dense(16, "tanh", kernel_initializer=keras.initializers.GlorotUniform(seed=1))
    generator = keras.Sequential([keras.Input([3]), dense, keras.layers.Reshape([4, 4, 1]), layer])
    penalty, z = PathLength(), tf.random.stateless_normal([2, 3], [1, 1])

    def gradient():
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(penalty(generator, z, SEED))
        return value, tape.gradient(value, dense.kernel)

    return (tf.function(gradient) if traced else gradient)()


def test_a_generator_without_derivatives_is_named():
    with pytest.raises(ValueError, match="images have no gradient with respect to its latents"):
        PathLength()(lambda z, training: tf.cast(z > 0, tf.float32), tf.zeros([2, 3]), SEED)
