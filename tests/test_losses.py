"""Losses against golden values, and their gradients at extreme logits."""

import numpy as np
import pytest
import tensorflow as tf

from tfjc import losses


def test_non_saturating_is_eqs_1_and_2_of_the_paper():
    """D = σ(l): −ln D(x), −ln(1 − D(G(z))) and −ln D(G(z)), at D = 0.5, 0.8, 0.1."""
    d = np.array([0.5, 0.8, 0.1])
    logits = tf.constant(np.log(d / (1 - d)), tf.float32)
    loss = losses.get("non_saturating")
    np.testing.assert_allclose(loss.real(logits), -np.log(d), rtol=1e-5)
    np.testing.assert_allclose(loss.fake(logits), -np.log(1 - d), rtol=1e-5)
    np.testing.assert_allclose(loss.generator(logits), -np.log(d), rtol=1e-5)


def test_wasserstein_is_linear():
    logits = tf.constant([[-3.0], [2.0]])
    loss = losses.get("wasserstein")
    np.testing.assert_array_equal(loss.real(logits), [[3.0], [-2.0]])
    np.testing.assert_array_equal(loss.fake(logits), [[-3.0], [2.0]])
    np.testing.assert_array_equal(loss.generator(logits), [[3.0], [-2.0]])


@pytest.mark.parametrize("name, slopes", [("non_saturating", (-1.0, 0.0)), ("wasserstein", (-1.0, -1.0))])
def test_the_generator_learns_where_the_critic_is_sure(name, slopes):
    """dL_G/dl → −1 at l = −1000 (that is what "non-saturating" means), and its limit at +1000; always finite."""
    logits = tf.constant([-1000.0, 1000.0])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = losses.get(name).generator(logits)
    assert np.isfinite(value).all()
    np.testing.assert_allclose(tape.gradient(value, logits), slopes, atol=1e-6)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown loss 'wasserstien'; nearest: wasserstein"):
        losses.get("wasserstien")
