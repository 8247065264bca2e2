"""Quotients Q between neighbours."""

import numpy as np
import pytest
import tensorflow as tf

from tfjc import geometry
from tfjc.support import replicas

RNG = np.random.default_rng(0)
A = RNG.normal(size=[3, 5]).astype("float32")
Z, DELTA = (RNG.normal(size=[4, 3]).astype("float32") for _ in range(2))


def test_of_a_linear_generator_they_are_the_closed_form():
    """G(z) = zA: Q = ‖δA‖/‖δ‖, which lies between the least and the greatest singular value of A."""
    q = geometry.quotients(lambda z: z @ A, Z, Z + DELTA)
    np.testing.assert_allclose(q, np.linalg.norm(DELTA @ A, axis=1) / np.linalg.norm(DELTA, axis=1), rtol=1e-4)
    s = np.linalg.svd(A, compute_uv=False)
    assert (s[-1] <= q).all() and (q <= s[0]).all()


def test_labels_are_the_same_at_both():
    """G(z, y) = y·zA scales Q by y."""
    labels = np.array([1.0, 2.0, 3.0, 4.0], "float32")
    q = geometry.quotients(lambda z, y: y[:, None] * (z @ A), Z, Z + DELTA, labels=labels)
    np.testing.assert_allclose(q, labels * geometry.quotients(lambda z: z @ A, Z, Z + DELTA), rtol=1e-4)


def test_noise_that_cannot_be_repeated_is_refused():
    with pytest.raises(geometry.UnrepeatableNoise, match=r"would measure the noise; keras\.random"):
        geometry.quotients(lambda z: z @ A + tf.random.normal([4, 5]), Z, Z + DELTA)


def squares(a, count=20_000, step=1.0):
    """Q² of x = Az along directions uniform on the sphere, [count]."""
    z = tf.zeros([count, a.shape[1]], tf.float64)
    moved = z + step * replicas.unit_directions(z.shape, [1, 2], tf.float64)
    weight = tf.constant(a.T)
    return geometry.quotient(z, moved, z @ weight, moved @ weight).numpy() ** 2


def moments(values):
    """Mean and relative variance of Q² by the eigenvalues of M: tr M/n and 2/(n + 2)·(n·tr M²/(tr M)² − 1)."""
    n, total = len(values), np.sum(values)
    return total / n, 2 / (n + 2) * (n * np.sum(values**2) / total**2 - 1)


@pytest.mark.parametrize("values", [np.ones(6), np.arange(1.0, 9.0), np.array([9.0, 1.0, 1e-3, 1e-9])])
def test_mean_and_variance_of_squared_quotients(values):
    """Five standard errors of 20,000 directions. Isometries have Q² = 1 exactly."""
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(12, len(values))))[0]
    found = squares(q * np.sqrt(values))
    mean, variance = moments(values)
    assert found.mean() == pytest.approx(mean, rel=5 * np.sqrt(variance / len(found)) + 1e-12)
    fourth = np.mean((found - found.mean()) ** 4) / mean**4
    assert np.var(found) / mean**2 == pytest.approx(variance, abs=5 * np.sqrt(fourth / len(found)) + 1e-12)


def test_quotients_do_not_see_the_smallest_eigenvalue():
    """λ_min a thousand or a trillion times smaller: ln κ differs by 21, Q² by 5e-3 at most."""
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 6)))[0]
    first, second = (squares(q * np.sqrt([5.0, 4.0, 3.0, 2.0, 1.0, least])) for least in (5e-3, 5e-12))
    np.testing.assert_allclose(first, second, atol=5e-3)
    assert np.mean(first) - np.mean(second) == pytest.approx(5e-3 / 6, rel=0.05)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_images_whose_squares_float32_does_not_hold(scale):
    q = geometry.quotients(lambda z: z @ A * scale, Z, Z + DELTA)
    np.testing.assert_allclose(q / scale, geometry.quotients(lambda z: z @ A, Z, Z + DELTA), rtol=1e-5)
