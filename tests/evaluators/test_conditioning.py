"""The conditioning evaluator on generators with known answers."""

import numpy as np
import pytest
import tensorflow as tf

from tfjc import noise
from tfjc.evaluators import ConditioningEvaluator
from tfjc.penalties import JacobianClamping

Z = tf.random.stateless_normal([20, 3], [1, 1])
STRETCH = tf.constant([[10.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.1]])


def test_a_linear_stretch():
    """G(z) = diag(10, 2, 0.1)z: ln κ = 2 ln 100, and Q² = Σ σ_k² u_k² for the unit step u, so 0.1 ≤ Q ≤ 10."""
    found = ConditioningEvaluator(Z)(lambda z: tf.matmul(z, STRETCH))
    assert found["mean_log_condition"] == pytest.approx(2 * np.log(100.0), rel=1e-5)
    np.testing.assert_allclose(found["log_condition"], 2 * np.log(100.0), rtol=1e-5)
    np.testing.assert_allclose(list(found["log_condition_quantiles"].values()), 2 * np.log(100.0), rtol=1e-5)
    assert (found["sigma_max"], found["sigma_min"]) == (pytest.approx(10, rel=1e-5), pytest.approx(0.1, rel=1e-5))
    quotients = list(found["quotient_quantiles"].values())
    assert quotients == sorted(quotients)
    assert 0.1 <= quotients[0] < quotients[-1] <= 10
    assert found["resolved"] == 1.0


def test_quotients_are_those_of_the_penalty():
    clamping = JacobianClamping(2.0, 5.0, epsilon=0.5)
    evaluator = ConditioningEvaluator(Z, clamping=clamping, seed=3)
    q = evaluator.measure(lambda z: tf.matmul(z, STRETCH))[1]
    step = clamping.perturb(Z, noise.seed(3, noise.Stream.DIRECTIONS)) - Z
    np.testing.assert_allclose(q, np.linalg.norm(step @ STRETCH, axis=1) / 0.5, rtol=1e-4)
    found = evaluator(lambda z: tf.matmul(z, STRETCH))
    assert found["clamped_low"] == pytest.approx(np.mean(q < 2))
    assert found["clamped_high"] == pytest.approx(np.mean(q > 5))
    assert 0 < found["clamped_low"] < 1


def test_the_same_every_time():
    evaluator = ConditioningEvaluator(Z)
    assert evaluator(tf.sin) == evaluator(tf.sin) == ConditioningEvaluator(Z)(tf.sin)


def test_a_collapsed_generator():
    """A constant image: Q = 0, all below λ_min, ln κ infinite and flagged, nothing nan."""
    found = ConditioningEvaluator(Z)(lambda z: tf.ones([tf.shape(z)[0], 4]))
    assert (found["mean_log_condition"], found["resolved"]) == (np.inf, 0.0)
    assert (found["clamped_low"], found["clamped_high"]) == (1.0, 0.0)
    assert set(found["quotient_quantiles"].values()) == {0.0}


def test_some_infinite_condition_numbers_make_no_nan():
    """|z| in the last coordinate only where z₀ > 0: there the rank is full, elsewhere not."""
    found = ConditioningEvaluator(Z)(lambda z: tf.concat([z[:, :2], z[:, 2:] * tf.nn.relu(tf.sign(z[:, :1]))], axis=1))
    values = list(found["log_condition_quantiles"].values())
    assert values[0] == 0.0
    assert values[-1] == np.inf
    assert not np.isnan(values).any()


def test_numpy_latents_are_taken():
    found = ConditioningEvaluator(Z.numpy().astype(np.float64))(lambda z: tf.matmul(z, STRETCH))
    assert found["mean_log_condition"] == pytest.approx(2 * np.log(100.0), rel=1e-5)


def test_z_must_be_a_matrix():
    with pytest.raises(ValueError, match=r"z must have shape \[B, n_z\], found \[3\]"):
        ConditioningEvaluator(tf.zeros([3]))
