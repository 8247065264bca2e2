"""Quotients Q between neighbours."""

import numpy as np
import pytest
import tensorflow as tf

from tfjc import geometry

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
