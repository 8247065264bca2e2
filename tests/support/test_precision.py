"""Norms and averages in float32 or better."""

import numpy as np
import tensorflow as tf

from tfjc.support import precision


def test_safe_norm_and_its_gradient():
    """∂‖x‖/∂x = x/‖x‖, and 0 at x = 0."""
    x = tf.Variable([[3.0, 4.0], [0.0, 0.0]])
    with tf.GradientTape() as tape:
        norm = precision.safe_norm(x)
    np.testing.assert_allclose(norm, [5.0, 0.0])
    np.testing.assert_allclose(tape.gradient(norm, x), [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)


def test_norms_of_what_is_not_finite_are_not_finite():
    found = precision.safe_norm(tf.constant([[np.nan, 1.0], [np.inf, 1.0], [3.0, 4.0]]))
    np.testing.assert_array_equal(found, [np.nan, np.inf, 5.0])
