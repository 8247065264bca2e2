"""GANs under each kind of penalty: what a step hands to them, what they remember, and that `fit` feels them."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc import architectures, geometry, layers, losses, models, penalties
from tfjc.models._penalised import one_pass
from tfjc.runs.saver import Checkpoints
from tfjc.support import noise

IMAGES = np.random.default_rng(0).integers(0, 256, size=(48, 8, 8, 1)).astype(np.uint8)
KINDS = {
    "generator_penalties": [
        lambda: [penalties.JacobianClamping(5.0)],
        lambda: [penalties.PathLength(50.0)],
        lambda: [penalties.OroJaR(50.0)],
        lambda: [penalties.OroJaR(50.0), penalties.PathLength(), penalties.JacobianClamping(5.0)],
        lambda: [penalties.ConditionNumber(0.1, 5.0, gain=0.1), penalties.SpectralSpread(), penalties.Isometry()],
    ],
    "critic_penalties": [lambda: [penalties.GradientPenalty()], lambda: [penalties.R1(10.0)]],
}
EVERY = [(name, make) for name, makes in KINDS.items() for make in makes]


def gan(batch_norm=False, rates=(0.1, 0.1), run_eagerly=False, **options):
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(16), *([layers.BatchNormalization()] if batch_norm else []), keras.layers.ReLU()]
    last = [keras.layers.Dense(64, "tanh"), keras.layers.Reshape([8, 8, 1])]
    critic = [keras.layers.Flatten(), keras.layers.Dense(8), keras.layers.LeakyReLU(0.2), keras.layers.Dense(1)]
    generator = keras.Sequential([keras.Input([3]), *hidden, *last])
    model = models.GAN(generator, keras.Sequential([keras.Input([8, 8, 1]), *critic]), **options)
    model.compile(*map(keras.optimizers.SGD, rates), run_eagerly=run_eagerly)
    return model


def weights(model):
    return [np.array(v) for v in model.generator.variables + model.critic.variables]


def largest_difference(first, second):
    return max(np.abs(a - b).max() for a, b in zip(first, second, strict=True))


def fitted(**options):
    """Weights after two steps, and what was logged, which is finite."""
    model = gan(batch_norm=True, **options)
    history = model.fit(IMAGES, batch_size=16, steps_per_epoch=2, verbose=0).history
    assert np.isfinite([v[-1] for v in history.values()]).all()
    return weights(model), history


@pytest.fixture(scope="module")
def weights_without_penalties():
    return fitted()[0]


@pytest.mark.parametrize("name, make", EVERY)
def test_fit_feels_the_penalty(name, make, weights_without_penalties):
    """In the trained step, with batch normalisation: other weights than without, all numbers finite.

    One generator penalty alone is taken without a graph: the graphs of several hold it too.
    """
    chosen = make()
    found, history = fitted(run_eagerly=name == "generator_penalties" and len(chosen) == 1, **{name: chosen})
    assert largest_difference(found, weights_without_penalties) > 1e-5
    assert history[name.replace("penalties", "penalty")][-1] > 0


def test_each_penalty_gets_its_own_neighbours():
    """In one pass, whatever the order: what OroJaR and clamping add is what each adds alone on those images."""
    orojar, clamping = penalties.OroJaR(2.0), penalties.JacobianClamping(5.0)
    model = gan(generator_penalties=[orojar, penalties.PathLength(0.0), clamping])
    logs = model.train_step(tf.constant(IMAGES[:16]))
    fresh = gan()
    z, generator = fresh._latents(16, update=1), fresh.generator
    seeds = [fresh._seed(noise.Stream.GENERATOR_PENALTY, index) for index in (0, 2)]
    moved = orojar.perturb(z, seeds[0]), clamping.perturb(z, seeds[1])
    expected = orojar(z, moved[0], generator(z), [generator(z_k) for z_k in moved[0]])
    expected += clamping(z, moved[1], generator(z), generator(moved[1]))
    assert float(logs["generator_penalty"]) == pytest.approx(float(tf.reduce_mean(expected)), rel=1e-4)


def test_orojars_neighbours_see_the_same_noise():
    """x = noise(z), z' = z + εv: without the same noise twice, G(z') − G(z) would not be εv where noise kept it."""
    generator = keras.Sequential([keras.Input([50]), keras.layers.GaussianNoise(1.0, seed=1)])
    z = tf.random.stateless_normal([4, 50], [1, 1])
    moved = penalties.OroJaR(1.0, 0.1).perturb(z, [1, 2])
    x, *x_moved = one_pass(generator, [z, *moved])
    for z_k, x_k in zip(moved, x_moved, strict=True):
        np.testing.assert_allclose(x_k - x, z_k - z, atol=1e-6)


def conditional(**options):
    """A class-conditional GAN whose generator is z scaled by a number of the class: J = label scale·I."""
    z, label = keras.Input([4]), keras.Input([], dtype="int32")
    scale = keras.layers.Embedding(3, 1, embeddings_initializer="ones")
    generator = keras.Model([z, label], keras.layers.Multiply()([z, scale(label)]))
    x = keras.Input([4])
    critic = keras.Model(x, [keras.layers.Dense(1)(x), keras.layers.Dense(3)(x)])
    model = models.GAN(generator, critic, num_classes=3, prior=architectures.standard_normal(4), **options)
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))
    scale.set_weights([np.array([[1.0], [2.0], [4.0]])])
    return model


def test_a_class_conditional_generator_is_penalised_at_its_labels():
    """J = s·I with s of the label: OroJaR is 0 (JᵀJ is diagonal), ‖Jᵀy‖ is s·‖y‖."""
    penalty = penalties.PathLength(1.0, decay=1.0)
    model = conditional(generator_penalties=[penalties.OroJaR(1.0), penalty])
    images, labels = np.zeros([64, 4], np.float32), np.arange(64) % 3
    logs = model.train_step((tf.constant(images), tf.constant(labels)))
    model.step.assign(0)
    drawn = np.array([1.0, 2.0, 4.0])[model._labels(64, update=1).numpy()]
    seed = noise.seed(model._seed(noise.Stream.GENERATOR_PENALTY, 1), noise.Stream.PATH_LENGTH)
    y = tf.random.stateless_normal([64, 4], seed).numpy()
    lengths = drawn * np.linalg.norm(y, axis=1)
    assert len(set(drawn)) == 3
    assert float(penalty.mean) == pytest.approx(lengths.mean(), rel=1e-5)
    assert float(logs["generator_penalty"]) == pytest.approx(lengths.var(), rel=1e-4)


def test_a_penalty_with_latents_of_its_own_gets_labels_for_them():
    """M = s²I with s of the label, so n·E tr M²/(E tr M)² − 1 is E s⁴/(E s²)² − 1, the mean over the labels drawn."""
    model = conditional(generator_penalties=[penalties.Isometry(1.0, samples=64)])
    logs = model.train_step((tf.zeros([8, 4]), tf.constant(np.arange(8) % 3)))
    model.step.assign(0)
    labels = model._uniform_labels([64], model._seed(noise.Stream.PENALTY_LABELS, 0)).numpy()
    s = np.array([1.0, 2.0, 4.0])[labels]
    assert len(set(s)) == 3
    assert float(logs["generator_penalty"]) == pytest.approx(np.mean(s**4) / np.mean(s**2) ** 2 - 1, rel=1e-4)


class InferenceMode:
    """Asks `generate` for inference mode everywhere, as penalties on J must."""

    def __call__(self, generate, z, seed):
        return tf.reduce_mean(tf.square(generate(z, training=False)), axis=[1, 2, 3])

    def measure(self, generate, z, seed):
        return {"size": tf.reduce_mean(self(generate, z, seed))}


def test_measure_may_ask_for_a_mode():
    history = fitted(generator_penalties=[InferenceMode()])[1]
    np.testing.assert_allclose(history["size"], history["generator_penalty"], rtol=1e-6)


class Seldom:
    """A penalty of 2 for every third step."""

    every, samples = 3, 1

    def __call__(self, generate, z, seed):
        return tf.fill(tf.shape(z)[:1], 2.0)

    def measure(self, generate, z, seed):
        return {}


def test_a_penalty_for_every_third_step():
    """Three times its value at steps 0 and 3, nothing at steps 1 and 2."""
    model = gan(generator_penalties=[Seldom()])
    for expected in (6.0, 0.0, 0.0, 6.0):
        model.reset_metrics()
        assert float(model.train_step(tf.constant(IMAGES[:8]))["generator_penalty"]) == expected


def test_xla_compiles_the_spread_at_every_step_alone():
    model = gan(generator_penalties=[penalties.SpectralSpread(every=2)])
    with pytest.raises(ValueError, match="XLA compiles SpectralSpread at every step alone, found every = 2: set every"):
        model.compile(jit_compile=True)
    model.compile(jit_compile=False)


def measured(model, count):
    z = model.prior.sample(count, seed=model._seed(noise.Stream.PENALTY_LATENTS, 0))
    return geometry.spectrum(model.generator, z).mean_log_condition


def test_what_is_penalised_is_measured_in_inference_mode():
    """With the moving statistics that the step's own pass has left, its ln κ is that of `spectrum` after the step."""
    model = gan(True, rates=(0.0, 0.0), generator_penalties=[penalties.ConditionNumber(0.5, samples=8)])
    logs = model.train_step(tf.constant(IMAGES[:16]))
    model.step.assign(0)
    assert float(logs["penalised_log_condition"]) == pytest.approx(measured(model, 8), rel=1e-5)


def test_a_step_lowers_what_is_measured():
    """A small step along the penalty's gradient alone, at the same latents."""
    nothing = losses.Loss(*[lambda logits: 0.0 * logits] * 3)
    penalty = penalties.ConditionNumber(0.5, 1.0, samples=8)
    model = gan(rates=(1e-2, 0.0), loss=nothing, generator_penalties=[penalty])
    before = measured(model, 8)
    model.train_step(tf.constant(IMAGES[:16]))
    model.step.assign(0)
    assert measured(model, 8) < before - 1e-3


@pytest.mark.parametrize("model", [models.VAE, models.Memoriser])
def test_decoders_and_memorisers_are_penalised(model):
    """At latents of the prior: other weights than without, and what the penalties log."""
    found = {}
    for name, chosen in (("without", []), ("with", [penalties.JacobianClamping(5.0), penalties.ConditionNumber(0.1)])):
        networks = architectures.dcgan_vae((8, 8, 1), n_z=3, channels=4)
        options = {} if model is models.VAE else {"pairs": 16}
        made = model(*networks[:2], generator_penalties=chosen, **options)
        made.compile(keras.optimizers.SGD(0.01), keras.optimizers.SGD(0.01))
        history = made.fit(IMAGES, batch_size=16, steps_per_epoch=1, verbose=0).history
        assert np.isfinite([v[-1] for v in history.values()]).all()
        assert {"generator_penalty", "quotient", "penalised_log_condition"} <= history.keys() or name == "without"
        found[name] = [np.array(v) for v in made.generator.variables]
    assert largest_difference(*found.values()) > 1e-5


@pytest.mark.parametrize("model", [models.VAE, models.Memoriser])
def test_penalties_with_latents_of_their_own_leave_moving_statistics_alone(model):
    """With weights that stay, one step ends with the batch statistics of a step without the penalty."""
    found = []
    for chosen in ([], [penalties.ConditionNumber(0.1)]):
        networks = architectures.dcgan_vae((8, 8, 1), n_z=3, channels=4)
        options = {} if model is models.VAE else {"pairs": 16}
        made = model(*networks[:2], generator_penalties=chosen, **options)
        made.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0), run_eagerly=True)
        made.fit(IMAGES, batch_size=16, steps_per_epoch=1, verbose=0)
        found.append([np.array(v) for v in made.generator.non_trainable_variables])
    assert len(found[0]) >= 2
    assert largest_difference(*found) == 0.0


def test_the_running_mean_of_path_lengths_moves_once_a_step():
    """With weights that stay, a after three steps of `fit` is that of the three steps' latents and seeds by hand."""
    penalty = penalties.PathLength(decay=0.1)
    model = gan(rates=(0.0, 0.0), generator_penalties=[penalty])
    model.fit(IMAGES, batch_size=16, steps_per_epoch=3, verbose=0)
    fresh, expected = gan(), 0.0
    for step in range(3):
        fresh.step.assign(step)
        z, seed = fresh._latents(16, update=1), fresh._seed(noise.Stream.GENERATOR_PENALTY, 0)
        lengths = penalties.PathLength().lengths(fresh.generator, z, seed)
        expected += 0.1 * (np.mean(lengths) - expected)
    assert float(penalty.mean) == pytest.approx(expected, rel=1e-5)


def test_what_a_penalty_remembers_is_resumed_exactly(tmp_path):
    def fresh():
        return gan(run_eagerly=True, generator_penalties=[penalties.PathLength(50.0)])

    def train(model, steps):
        model.fit(IMAGES, batch_size=16, steps_per_epoch=steps, verbose=0)

    straight, first, second = fresh(), fresh(), fresh()
    train(straight, 4)
    train(first, 2)
    Checkpoints(first, tmp_path).act(2, {})
    assert Checkpoints(second, tmp_path).restore()
    means = [float(model.generator_penalties[0].mean) for model in (first, second)]
    assert means[0] == means[1] > 0.0
    train(second, 2)
    assert largest_difference(weights(straight), weights(second)) == 0.0
    assert float(second.generator_penalties[0].mean) == float(straight.generator_penalties[0].mean)


def test_what_a_penalty_remembers_is_among_the_models_variables():
    """Where `callbacks.Lyapunov` finds it to put it back."""
    model = gan(generator_penalties=[penalties.PathLength(), penalties.JacobianClamping(), penalties.PathLength()])
    for index in (0, 2):
        assert any(v is model.generator_penalties[index].mean for v in model.variables)


def test_a_critic_that_resizes_bilinearly_trains_under_its_penalty():
    """Its penalty alone moves it: the loss is 0."""
    nothing = losses.Loss(*[lambda logits: 0.0 * logits] * 3)
    moved = []
    for interpolation in ("nearest", "bilinear"):
        up = keras.layers.UpSampling2D(2, interpolation=interpolation)
        critic = keras.Sequential([keras.Input([8, 8, 1]), up, keras.layers.Flatten(), keras.layers.Dense(1)])
        model = models.GAN(gan().generator, critic, loss=nothing, critic_penalties=[penalties.R1()])
        model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.1))
        before = np.array(critic.trainable_variables[0])
        model.fit(IMAGES, batch_size=16, steps_per_epoch=1, verbose=0)
        moved.append(np.abs(np.array(critic.trainable_variables[0]) - before).max())
    assert min(moved) > 1e-3


def test_penalties_compile_under_xla():
    every = [penalties.OroJaR(1.0), penalties.PathLength(), penalties.JacobianClamping()]
    networks = architectures.mlp((8, 8, 1), width=4, depth=1)  # convolutions take XLA half a minute
    of_critic = [penalties.R1(), penalties.GradientPenalty()]
    model = models.GAN(*networks[:2], generator_penalties=every, critic_penalties=of_critic)
    model.compile(keras.optimizers.SGD(0.01), keras.optimizers.SGD(0.01), jit_compile=True)
    history = model.fit(IMAGES, batch_size=8, steps_per_epoch=2, verbose=0).history
    assert np.isfinite([v[-1] for v in history.values()]).all()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"generator_penalties": [penalties.R1()]}, "generator_penalties must be penalty objects such as Jacobian"),
        ({"critic_penalties": [penalties.PathLength()]}, "critic_penalties must be penalty objects such as Gradient"),
        ({"generator_penalties": [penalties.OroJaR]}, "generator_penalties must be penalty objects such as Jacobian"),
    ],
)
def test_a_penalty_in_the_wrong_place_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        gan(**options)


@pytest.mark.parametrize(
    "kind, options, named",
    [
        (models.GAN, {"critic_penalties": [penalties.R1()]}, "of critic_norm is"),
        (models.GAN, {"generator_penalties": [penalties.PathLength()]}, "of generator_norm is"),
        (models.DampedGAN, {}, "of generator_norm, critic_norm is"),
        (models.GAN, {"generator_penalties": [penalties.JacobianClamping()]}, None),
    ],
)
def test_normalisation_with_wrong_second_derivatives_is_warned_of(kind, options, named):
    """Keras's layer where a gradient through it is differentiated, and nowhere else; never our own layer."""

    def make(normalization):
        generator = [keras.Input([3]), keras.layers.Dense(4), normalization(name="generator_norm")]
        critic = [keras.Input([4]), normalization(name="critic_norm"), keras.layers.Dense(1)]
        return kind(keras.Sequential(generator), keras.Sequential(critic), **options)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(layers.BatchNormalization)
        if named is None:
            make(keras.layers.BatchNormalization)
    if named is not None:
        with pytest.warns(UserWarning, match=f"second derivative {named} not right"):
            make(keras.layers.BatchNormalization)
