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


def test_minimax_is_zero_sum_on_generated_images():
    """L_G = ln(1 − D(G(z))), the critic's part of it with the other sign; at D = 0.5, 0.8, 0.1."""
    d = np.array([0.5, 0.8, 0.1])
    logits = tf.constant(np.log(d / (1 - d)), tf.float32)
    loss = losses.get("minimax")
    np.testing.assert_allclose(loss.real(logits), -np.log(d), rtol=1e-5)
    np.testing.assert_allclose(loss.generator(logits), np.log(1 - d), rtol=1e-5)
    np.testing.assert_array_equal(loss.generator(logits), -loss.fake(logits))


def test_hinge_is_flat_beyond_its_margins():
    """max(0, 1 − l) and max(0, 1 + l), by hand; the generator's is Wasserstein's."""
    logits = tf.constant([[-3.0], [-0.25], [0.5], [4.0]])
    loss = losses.get("hinge")
    np.testing.assert_array_equal(loss.real(logits), [[4.0], [1.25], [0.5], [0.0]])
    np.testing.assert_array_equal(loss.fake(logits), [[0.0], [0.75], [1.5], [5.0]])
    np.testing.assert_array_equal(loss.generator(logits), [[3.0], [0.25], [-0.5], [-4.0]])


def test_least_squares_draws_to_one_and_to_nought():
    """½(l − 1)², ½l², ½(l − 1)², by hand."""
    logits = tf.constant([-1.0, 0.0, 1.0, 3.0])
    loss = losses.get("least_squares")
    np.testing.assert_array_equal(loss.real(logits), [2.0, 0.5, 0.0, 2.0])
    np.testing.assert_array_equal(loss.fake(logits), [0.5, 0.0, 0.5, 4.5])
    np.testing.assert_array_equal(loss.generator(logits), [2.0, 0.5, 0.0, 2.0])


SLOPES = {  # of real, fake and generator, each at −1000 and 1000
    "non_saturating": [(-1, 0), (0, 1), (-1, 0)],
    "minimax": [(-1, 0), (0, 1), (0, -1)],
    "wasserstein": [(-1, -1), (1, 1), (-1, -1)],
    "hinge": [(-1, 0), (0, 1), (-1, -1)],
    "least_squares": [(-1001, 999), (-1000, 1000), (-1001, 999)],
}


@pytest.mark.parametrize("name", SLOPES)
@pytest.mark.parametrize("part", [0, 1, 2], ids=losses.Loss._fields)
def test_slopes_at_extreme_logits(name, part):
    """The closed forms' limits. The generator goes on learning where the critic is sure (−1000), but for minimax."""
    logits = tf.constant([-1000.0, 1000.0])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = losses.get(name)[part](logits)
    assert np.isfinite(value).all()
    np.testing.assert_allclose(tape.gradient(value, logits), SLOPES[name][part], atol=1e-6)


@pytest.mark.parametrize("name", SLOPES)
@pytest.mark.parametrize("part", [0, 1, 2], ids=losses.Loss._fields)
def test_slopes_are_the_finite_differences(name, part):
    logits, h = tf.constant([-30.0, -2.0, -0.3, 0.0, 0.7, 5.0, 30.0], tf.float64), 1e-6
    loss = losses.get(name)[part]
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(logits)
    assert value.shape == logits.shape
    expected = (loss(logits + h) - loss(logits - h)) / (2 * h)
    np.testing.assert_allclose(tape.gradient(value, logits), expected, atol=1e-7)


def test_the_relativistic_loss_is_that_of_the_pairs_differences():
    """−ln σ(d) with d = D(x) − D(G(z)) for the critic, and −d for the generator: σ(d) = 0.5, 0.8, 0.1 by hand."""
    sigma = np.array([0.5, 0.8, 0.1])
    fake = tf.constant([3.0, -20.0, 0.0])
    real = fake + tf.constant(np.log(sigma / (1 - sigma)), tf.float32)
    loss = losses.get("relativistic")
    assert float(loss.of_critic(real, fake)) == pytest.approx(np.mean(-np.log(sigma)), rel=1e-5)
    assert float(loss.of_generator(real, fake)) == pytest.approx(np.mean(-np.log(1 - sigma)), rel=1e-5)


def test_a_paired_loss_sees_differences_alone():
    """A constant added to all logits changes nothing; an order of the pairs does. Slopes at ±1000 are −1 and 0."""
    real, fake = tf.random.stateless_normal([2, 7], [1, 1])
    loss = losses.get("relativistic")
    for part in (loss.of_critic, loss.of_generator):
        assert float(part(real + 5.0, fake + 5.0)) == pytest.approx(float(part(real, fake)), rel=1e-6)
        assert abs(part(real, fake[::-1]) - part(real, fake)) > 1e-3
    difference = tf.constant([-1000.0, 1000.0])
    with tf.GradientTape() as tape:
        tape.watch(difference)
        value = loss.pair(difference)
    np.testing.assert_array_equal(value, [1000.0, 0.0])
    np.testing.assert_array_equal(tape.gradient(value, difference), [-1.0, 0.0])


@pytest.mark.parametrize("name", SLOPES)
def test_a_loss_is_the_sum_of_its_parts_means(name):
    real, fake = tf.random.stateless_normal([2, 7], [1, 1])
    loss = losses.get(name)
    assert float(loss.of_critic(real, fake)) == pytest.approx(
        np.mean(loss.real(real)) + np.mean(loss.fake(fake)), rel=1e-6
    )
    assert float(loss.of_generator(None, fake)) == pytest.approx(np.mean(loss.generator(fake)), rel=1e-6)
    assert not loss.is_paired and set(losses._LOSSES) == {*SLOPES, "relativistic"}


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown loss 'wasserstien'; nearest: wasserstein"):
        losses.get("wasserstien")


LOGITS = tf.random.stateless_normal([2, 5], [2, 3])


@pytest.mark.parametrize("name", [*SLOPES, "relativistic"])
def test_logits_of_one_column_are_logits(name):
    """The relativistic loss would else pair each real image with all generated ones."""
    real, fake = LOGITS
    loss = losses.get(name)
    for part in (loss.of_critic, loss.of_generator):
        for r, f in ((real[:, None], fake), (real, fake[:, None]), (real[:, None], fake[:, None])):
            assert float(part(r, f)) == pytest.approx(float(part(real, fake)), rel=1e-6)


@pytest.mark.parametrize("name", [*SLOPES, "relativistic"])
@pytest.mark.parametrize("shape", [[5, 2], [5, 1, 1], []], ids=str)
def test_logits_of_another_shape_are_refused(name, shape):
    """A critic with two columns would get the mean of both."""
    real, wrong = LOGITS[0], tf.zeros(shape)
    loss, said = losses.get(name), rf"must have shape \[B\] or \[B, 1\], found \[{', '.join(map(str, shape))}\]"
    for call in (
        lambda: loss.of_critic(wrong, real),
        lambda: loss.of_critic(real, wrong),
        lambda: loss.of_generator(real, wrong),
        lambda: tf.function(loss.of_critic)(real, wrong),
    ):
        with pytest.raises(ValueError, match=said):
            call()


def test_a_paired_loss_needs_pairs():
    with pytest.raises(ValueError, match="as many real as generated images, found 5 and 1"):
        losses.get("relativistic").of_critic(LOGITS[0], LOGITS[1, :1])


@pytest.mark.parametrize("shape", [None, [None], [None, 1], [None, None]], ids=str)
def test_a_graph_may_leave_the_shape_of_logits_open(shape):
    real, fake = LOGITS if shape in (None, [None]) else LOGITS[..., None]
    for name in ("hinge", "relativistic"):
        of_critic = losses.get(name).of_critic
        traced = tf.function(of_critic, input_signature=[tf.TensorSpec(shape)] * 2)
        assert float(traced(real, fake)) == pytest.approx(float(of_critic(real, fake)), rel=1e-6)
