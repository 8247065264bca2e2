"""The conditioning evaluator on generators with known answers."""

import logging

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfjc import callbacks, models, penalties
from tfjc.evaluators import ConditioningEvaluator, analysis
from tfjc.penalties import JacobianClamping
from tfjc.support import noise

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


# Quotients of x = zA are √(δᵀAAᵀδ)/‖δ‖: directions δ must be independent of z, and of one another.
MANY = tf.random.stateless_normal([2000, 4], noise.seed(0, noise.Stream.LOADED_LATENTS))
A = np.random.default_rng(5).normal(size=(4, 9)).astype(np.float32) * np.array([[4.0], [2.0], [1.0], [0.1]], np.float32)


def stretched(directions):
    """‖δA‖/‖δ‖ of directions [B, 4]."""
    return np.linalg.norm(directions @ A, axis=1) / np.linalg.norm(directions, axis=1)


def by_evaluator(generate, tmp_path):
    return ConditioningEvaluator(MANY).quotients(generate)


def by_analysis(generate, tmp_path):
    found = []
    with pytest.MonkeyPatch.context() as patched:
        measured = ConditioningEvaluator.quotients
        patched.setattr(ConditioningEvaluator, "quotients", lambda *a: found.append(measured(*a)) or found[-1])
        analysis.analyze(generate, MANY, tmp_path)
    return found[0]


def by_callback(generate, tmp_path):
    callback, found = callbacks.Conditioning(generate, MANY), []
    measured = callback.evaluator.measure
    callback.evaluator.measure = lambda *g: found.append(measured(*g)) or found[-1]
    callback.act(0, {})
    return found[0][1]


@pytest.mark.parametrize("measure", [by_evaluator, by_analysis, by_callback])
def test_quotients_are_taken_along_directions_of_their_own(measure, tmp_path, unrendered):
    """Kolmogorov and Smirnov tell them from those along z, and not from those along independent directions."""
    q = measure(lambda z: z @ A, tmp_path)
    independent = np.random.default_rng(0).standard_normal([2000, 4]).astype(np.float32)
    assert scipy.stats.ks_2samp(q, stretched(independent)).pvalue > 0.01
    assert np.abs(np.corrcoef(q, stretched(MANY.numpy()))[0, 1]) < 5 / np.sqrt(2000)


def test_a_generator_that_normalises_z_does_not_look_collapsed():
    """x = A z/‖z‖ changes in tangential directions; along z itself Q would be 0. Against z' = z + δ drawn by NumPy."""
    q = ConditioningEvaluator(MANY).quotients(lambda z: tf.math.l2_normalize(z, axis=1) @ A)
    rng = np.random.default_rng(1)
    z, delta = rng.standard_normal([2, 20_000, 4])
    moved = z + delta / np.linalg.norm(delta, axis=1, keepdims=True)
    both = [v / np.linalg.norm(v, axis=1, keepdims=True) @ A for v in (z, moved)]
    assert np.median(q) == pytest.approx(np.median(np.linalg.norm(both[0] - both[1], axis=1)), rel=0.05)


class Noise(keras.layers.Layer):
    """z·(1 + n) in inference mode too, as StyleGAN's layers."""

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, z):
        """z·(1 + n), n drawn at each call."""
        return z * (1.0 + keras.random.normal(tf.shape(z), seed=self.seeds))


def noisy(kind):
    """x = z·m with noise m, drawn in one of the usual ways."""
    z = keras.Input([4])
    if kind == "a layer":
        return keras.Model(z, Noise()(z))
    if kind == "dropout in a function":
        inner = keras.Model(z, keras.layers.Dropout(0.5, seed=1)(z))
        return lambda z: inner(z, training=True)
    if kind == "tf.random.Generator":
        rng = tf.random.Generator.from_seed(1)
        return lambda z: z * (1.0 + rng.normal(tf.shape(z)))
    seeds = keras.random.SeedGenerator(1)
    if kind == "a SeedGenerator":
        return lambda z: z * (1.0 + keras.random.normal(tf.shape(z), seed=seeds))
    return lambda z: z * (1.0 + tf.random.stateless_normal(tf.shape(z), [1, 2]))


@pytest.mark.parametrize(
    "kind", ["a layer", "dropout in a function", "tf.random.Generator", "a SeedGenerator", "a seed that stays"]
)
def test_noise_is_held_while_z_moves(kind):
    """x = z·m(n): with m the same at z and z', Q = ‖m·δ‖ for the step δ. The noise goes on as without measuring."""
    generate, evaluator = noisy(kind), ConditioningEvaluator(MANY[:50])
    generate(MANY[:1])
    q = evaluator.quotients(generate)
    m = generate(evaluator.z) / evaluator.z  # the noise that the measurement held comes next
    step = evaluator._z_perturbed - evaluator.z
    np.testing.assert_allclose(q, np.linalg.norm(m * step, axis=1), rtol=1e-3)
    assert np.ptp(m, axis=0).min() > 0.5


def test_measuring_leaves_the_noise_as_it_was():
    generate, z = noisy("a layer"), MANY[:8]
    state = generate.non_trainable_variables[0]
    before = state.numpy()
    found = ConditioningEvaluator(z).measure(generate)
    np.testing.assert_array_equal(state.numpy(), before)
    np.testing.assert_array_equal(found[1], ConditioningEvaluator(z).measure(generate)[1])


def test_constants_for_one_batch_are_taken():
    """Noise as a constant [B, n]: the generator takes B latents and no other number."""
    fixed = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    q = ConditioningEvaluator(Z).quotients(lambda z: z @ STRETCH + fixed)
    np.testing.assert_allclose(q, ConditioningEvaluator(Z).quotients(lambda z: z @ STRETCH), rtol=1e-4)


def test_noise_that_cannot_be_held_gives_no_quotient_and_a_reason(tmp_path, caplog):
    def generate(z):
        return z @ STRETCH + 0.1 * tf.random.normal(tf.shape(z))

    found = ConditioningEvaluator(Z)(generate)
    assert not {"quotient_quantiles", "clamped_low", "clamped_high"} & set(found)
    assert "tf.random.normal" in found["no_quotient"]
    assert found["mean_log_condition"] == pytest.approx(2 * np.log(100.0), rel=1e-4)
    with caplog.at_level(logging.WARNING, "tfjc"):
        callback = callbacks.Conditioning(generate, Z, log_dir=tmp_path / "logs", alarm_quotient=1e9)
        callback.act(0, {})
        callback.act(1, {})
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["no quotients are measured"]
    result = analysis.analyze(generate, Z, tmp_path)
    assert "quotient_quantiles" not in result
    assert "none, see below" in analysis.table(result)
    assert any(remark.startswith("no quotients: the generator draws noise") for remark in analysis.remarks(result))


def test_a_collapsed_generator_has_quotients_for_all_its_rounding():
    """Images that do not depend on z, up to 1e-7 of their size that differs from call to call, are no noise."""
    calls = []

    def generate(z):
        calls.append(z)
        return tf.ones([tf.shape(z)[0], 9]) * (1.0 + 1.2e-7 * (len(calls) % 2)) + 0.0 * z[:, :1]

    assert ConditioningEvaluator(Z).quotients(generate).max() < 1e-5


def test_clamping_with_neighbours_refuses_noise_that_cannot_be_held():
    generator = keras.Sequential([keras.Input([4]), keras.layers.Dense(9), keras.layers.Lambda(shaken)])
    critic = keras.Sequential([keras.Input([9]), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match=r"z and z' would get different noise.*SeedGenerator"):
        models.GAN(generator, critic, generator_penalties=[penalties.JacobianClamping()])
    models.GAN(generator, critic, generator_penalties=[penalties.PathLength()])


def shaken(x):
    return x + tf.random.normal(tf.shape(x))


def test_z_must_be_a_matrix():
    with pytest.raises(ValueError, match=r"z must have shape \[B, n_z\], found \[3\]"):
        ConditioningEvaluator(tf.zeros([3]))
