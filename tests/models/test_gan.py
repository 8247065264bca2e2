"""The training step against algorithm 1 written out, and `fit` on anybody's arrays, datasets and networks."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from models.games import game, parameters

from tfjc import architectures, losses, models
from tfjc.models._penalised import one_pass
from tfjc.penalties import R1, R2, GradientPenalty, JacobianClamping
from tfjc.support import noise
from tfjc.support.images import to_images

IMAGES = np.random.default_rng(0).integers(0, 256, size=(48, 8, 8, 1)).astype(np.uint8)
STEEP = JacobianClamping(lambda_min=5.0, lambda_max=20.0)  # holds every fresh generator


def gan(*, seed=0, batch_norm=True, **options):
    networks = architectures.dcgan((8, 8, 1), n_z=3, channels=4, batch_norm=batch_norm, seed=seed)
    return models.GAN(networks.generator, networks.critic, prior=networks.prior, seed=seed, **options)


def small(**options):
    """A GAN of few operations, for what does not depend on the networks."""
    model = models.GAN(*architectures.mlp((8, 8, 1), n_z=3, width=4, depth=1)[:2], **options)
    model.compile(keras.optimizers.SGD(1e-2), keras.optimizers.SGD(1e-2))
    return model


def dense(units, activation=None):
    return keras.layers.Dense(units, activation, kernel_initializer=keras.initializers.GlorotUniform(seed=units))


def weights(model):
    return [np.array(v) for v in model.generator.variables + model.critic.variables]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def largest_difference(first, second):
    return max(np.abs(a - b).max() for a, b in zip(first, second, strict=True))


def test_the_first_generator_update_is_algorithm_1():
    """With plain gradient descent the update is −η·∇(L_G + mean L), worked out here by finite differences."""
    generator = keras.Sequential([keras.Input([3]), dense(64, "tanh"), keras.layers.Reshape([8, 8, 1])])
    critic = keras.Sequential([keras.Input([8, 8, 1]), keras.layers.Flatten(), dense(8, "tanh"), dense(1)])
    model = models.GAN(generator, critic, generator_penalties=[STEEP])
    model.compile(keras.optimizers.SGD(1e-3), keras.optimizers.SGD(0.0), jit_compile=False)
    kernel = model.generator.trainable_variables[0]
    z = model._latents(16, update=1)
    z_perturbed = STEEP.perturb(z, model._seed(noise.Stream.GENERATOR_PENALTY, 0))

    def objective():
        x, x_perturbed = model.generator(z), model.generator(z_perturbed)
        adversarial = tf.reduce_mean(tf.nn.softplus(-model.critic(x)))
        q = np.linalg.norm(np.reshape(x - x_perturbed, [16, -1]), axis=1) / np.linalg.norm(z - z_perturbed, axis=1)
        penalty = np.maximum(q, 20.0) - 20.0, np.minimum(q, 5.0) - 5.0
        return float(adversarial) + np.mean(penalty[0] ** 2 + penalty[1] ** 2)

    before, direction = kernel.numpy(), np.random.default_rng(0).normal(size=kernel.shape).astype(np.float32)
    h, values = 5e-3, []
    for sign in (1, -1):
        kernel.assign(before + sign * h * direction)
        values.append(objective())
    kernel.assign(before)
    model.train_step(tf.constant(IMAGES[:16]))
    expected = -1e-3 * (values[0] - values[1]) / (2 * h)
    found = np.sum((kernel.numpy() - before) * direction)
    assert found == pytest.approx(expected, rel=5e-3)


def test_the_penalty_reaches_the_generator_and_not_the_critic():
    plain, clamped = gan(), gan(generator_penalties=[STEEP])
    for model in (plain, clamped):
        model.train_step(tf.constant(IMAGES[:16]))
    assert_same([v.numpy() for v in plain.critic.variables], [v.numpy() for v in clamped.critic.variables])
    assert largest_difference(weights(plain), weights(clamped)) > 1e-5


def test_an_idle_clamp_changes_nothing_without_batch_normalisation():
    """Where every Q lies in [λ_min, λ_max] the adversarial loss must be that on z alone."""
    plain = gan(batch_norm=False)
    idle = gan(batch_norm=False, generator_penalties=[JacobianClamping(0.0, 1e6)])
    for model in (plain, idle):
        logs = model.train_step(tf.constant(IMAGES[:16]))
    assert float(logs["generator_penalty"]) == 0.0
    assert largest_difference(weights(plain), weights(idle)) < 1e-6


def test_clamping_raises_a_low_quotient_into_the_interval():
    model = gan(generator_penalties=[JacobianClamping(2.0, 20.0)])
    model.compile(keras.optimizers.Adam(5e-3), keras.optimizers.Adam(1e-5))
    first, last = (model.fit(IMAGES, batch_size=16, epochs=n, verbose=0).history["quotient"][-1] for n in (1, 60))
    assert first < 1.0
    assert 1.7 < last < 20.0


def test_both_mini_batches_share_one_batch_normalisation():
    """One pass over [z, z']: the statistics are those of both, and the moving ones move once."""
    generator = gan().generator
    z, z_perturbed = tf.random.stateless_normal([2, 6, 3], [1, 1])
    moving = next(v for v in generator.non_trainable_variables if "moving_mean" in v.path)
    before = moving.numpy()
    expected = generator(tf.concat([z, z_perturbed], 0), training=True)
    once = moving.numpy()
    moving.assign(before)
    found = one_pass(generator, [z, z_perturbed])
    np.testing.assert_allclose(tf.concat(found, 0), expected, rtol=1e-6)
    np.testing.assert_allclose(moving.numpy(), once, rtol=1e-6)


@pytest.mark.parametrize("noise", [keras.layers.Dropout(0.5, seed=1), keras.layers.GaussianNoise(1.0, seed=1)])
def test_a_noisy_generator_sees_the_same_noise_in_both_mini_batches(noise):
    """x = noise(z): at z' = z the difference is 0, though the noise differs from step to step."""
    generator = keras.Sequential([keras.Input([50]), noise])
    z = tf.random.stateless_normal([4, 50], [1, 1])
    x, x_perturbed = one_pass(generator, [z, z])
    np.testing.assert_array_equal(x, x_perturbed)
    assert np.abs(one_pass(generator, [z, z])[0] - x).max() > 0.1


def test_a_step_is_a_function_of_weights_step_and_images():
    first, second = gan(seed=4), gan(seed=4)
    for model in (first, second):
        for start in (0, 16, 32):
            model.train_step(tf.constant(IMAGES[start : start + 16]))
    assert_same(weights(first), weights(second))
    assert int(first.step) == 3
    other = gan(seed=4)
    other.step.assign(7)  # other noise
    for start in (0, 16, 32):
        other.train_step(tf.constant(IMAGES[start : start + 16]))
    assert largest_difference(weights(first), weights(other)) > 1e-5


def test_d_steps_updates_the_critic_on_each_part_of_the_batch():
    model = small(d_steps=3)
    model.fit(IMAGES, batch_size=8, steps_per_epoch=2, verbose=0)
    assert (int(model.critic_optimizer.iterations), int(model.generator_optimizer.iterations)) == (6, 2)
    assert int(model.step) == 2


def test_wasserstein_with_gradient_penalty_pulls_the_slope_to_one():
    model = gan(batch_norm=False, loss="wasserstein", critic_penalties=[GradientPenalty(10.0)], d_steps=2)
    model.compile(keras.optimizers.Adam(1e-5), keras.optimizers.Adam(1e-3))
    real, fake = to_images(IMAGES[:16]), model.generator(model.prior.sample(16, seed=[1, 1]))
    before = tf.reduce_mean(GradientPenalty(1.0)(model.critic, real, fake, [1, 1]))
    model.fit(IMAGES, batch_size=8, epochs=80, verbose=0)
    after = tf.reduce_mean(GradientPenalty(1.0)(model.critic, real, fake, [1, 1]))
    assert after < 0.2 * before


def test_the_relativistic_generator_is_compared_with_the_last_critic_updates_images():
    """One step of the bilinear game with d_steps = 2: L_G = softplus(mean over pairs), worked out by hand."""
    images = tf.constant([[1.0], [2.0], [3.0], [4.0]])  # batches [1, 2] and [3, 4]
    gan = game(0.5, 0.7, loss="relativistic", d_steps=2, rate=0.0)
    found = {name: float(value) for name, value in gan.train_step(images).items()}
    d = 0.7 * (np.array([[1.0, 2.0], [3.0, 4.0]]) - 0.5)  # D(x) − D(G(z)) = y·(x − b)
    critic = np.log1p(np.exp(-d)).mean()
    assert found == pytest.approx({"critic_loss": critic, "generator_loss": np.log1p(np.exp(d[1])).mean()}, rel=1e-6)


def test_the_relativistic_game_is_updated_by_its_gradients():
    """∂L_D/∂y = −σ(−d)(x − b) and ∂L_G/∂b = −σ(d)·y of one pair: descent with rate 0.1, the critic first."""
    sigmoid = lambda t: 1.0 / (1.0 + np.exp(-t))  # noqa: E731
    gan = game(0.5, 0.7, loss="relativistic")
    gan.train_step(tf.constant([[2.0]]))
    y = 0.7 + 0.1 * sigmoid(-0.7 * 1.5) * 1.5
    b = 0.5 + 0.1 * sigmoid(y * 1.5) * y
    np.testing.assert_allclose(parameters(gan), [b, y], rtol=1e-6)


@pytest.mark.parametrize("penalty", [R1, R2, GradientPenalty])
def test_a_critic_penalty_for_every_third_step(penalty):
    """Three times the penalty at steps 0 and 3, none at the others. The game's slope y is held: (γ/2)y², (y − 1)²."""
    gan = game(0.5, 0.7, rate=0.0, critic_penalties=[penalty(4.0, every=3)])
    step = tf.function(gan.train_step)
    found = []
    for _ in range(4):
        gan.reset_metrics()
        found.append(float(step(tf.constant([[2.0], [1.0]]))["critic_penalty"]))
    once = 4.0 * 0.3**2 if penalty is GradientPenalty else 2.0 * 0.7**2
    np.testing.assert_allclose(found, [3 * once, 0.0, 0.0, 3 * once], rtol=1e-5)


@pytest.mark.parametrize("kind", ["uint8", "float", "dataset", "dataset of pairs", "float64 dataset"])
def test_fit_takes_anybodys_images(kind):
    floats = (IMAGES / 127.5 - 1).astype(np.float32)
    data = {
        "uint8": IMAGES,
        "float": floats,
        "dataset": tf.data.Dataset.from_tensor_slices(IMAGES).batch(16),
        "dataset of pairs": tf.data.Dataset.from_tensor_slices((floats, np.zeros(48))).batch(16),
        "float64 dataset": tf.data.Dataset.from_tensor_slices(floats.astype(np.float64)).batch(16),
    }[kind]
    model = small(generator_penalties=[JacobianClamping()])
    history = model.fit(data, batch_size=16 if kind in ("uint8", "float") else None, epochs=2, verbose=0).history
    assert int(model.step) == 6
    assert set(history) == {
        "critic_loss",
        "generator_loss",
        "generator_penalty",
        "quotient",
        "clamped_low",
        "clamped_high",
    }
    assert np.isfinite([v[-1] for v in history.values()]).all()


def test_fit_works_on_networks_that_are_not_ours():
    class Generator(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(64, activation="tanh")

        def call(self, z):
            return tf.reshape(self.dense(z), [-1, 8, 8, 1])

    critic = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1), keras.layers.Reshape([])])
    model = models.GAN(Generator(), critic, prior=architectures.standard_normal(5), loss=losses.WASSERSTEIN)
    model.fit(IMAGES, epochs=1, batch_size=16, verbose=0)
    assert int(model.step) == 3


def test_fit_goes_on_with_the_data_where_it_stopped():
    """Two epochs in one call and in two calls see the same images in the same order."""
    once, twice = small(), small()
    once.fit(IMAGES, batch_size=16, epochs=2, verbose=0)
    for _ in range(2):
        twice.fit(IMAGES, batch_size=16, epochs=1, verbose=0)
    assert_same(weights(once), weights(twice))


def test_xla_gives_the_same_update():
    """With fixed noise: TensorFlow's stateless random numbers are others under XLA than without."""

    class FixedPrior:
        event_shape = tf.TensorShape([3])

        def sample(self, count, seed):
            return tf.reshape(tf.sin(tf.range(3.0 * tf.cast(count, tf.float32)) ** 2), [-1, 3])

    class FixedSteps(JacobianClamping):
        def perturb(self, z, seed):
            return z + tf.constant([0.0, 0.6, -0.8])

    networks = [architectures.dcgan((8, 8, 1), n_z=3, channels=4)[:2] for _ in range(2)]
    eager, compiled = (
        models.GAN(*pair, prior=FixedPrior(), generator_penalties=[FixedSteps(5.0)]) for pair in networks
    )
    before = weights(eager)
    for model, xla in ((eager, False), (compiled, True)):
        model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1), jit_compile=xla, run_eagerly=not xla)
        model.fit(IMAGES, batch_size=16, steps_per_epoch=1, verbose=0)
    assert largest_difference(weights(eager), before) > 1e-2
    assert largest_difference(weights(eager), weights(compiled)) < 1e-5


@pytest.mark.parametrize("policy", ["float64", "mixed_float16", "mixed_bfloat16"])
def test_foreign_networks_of_other_precision_train_with_both_penalties(policy):
    """Their images and logits come in 16 or 64 bits; losses and penalties are taken in 32 or 64."""
    keras.config.set_dtype_policy(policy)
    try:
        generator = keras.Sequential([keras.Input([3]), dense(64, "tanh"), keras.layers.Reshape([8, 8, 1])])
        critic = keras.Sequential([keras.Input([8, 8, 1]), keras.layers.Flatten(), dense(1)])
        model = models.GAN(generator, critic, generator_penalties=[STEEP], critic_penalties=[GradientPenalty()])
    finally:
        keras.config.set_dtype_policy("float32")
    before = weights(model)
    history = model.fit(IMAGES, batch_size=16, verbose=0).history
    assert np.isfinite([v[-1] for v in history.values()]).all()
    assert largest_difference(before, weights(model)) > 1e-4


def test_a_scaled_loss_gives_the_same_update():
    """Loss scaling multiplies the loss by 2^k and divides the gradient: nothing changes in float32."""
    updated = []
    for wrap in (lambda optimizer: optimizer, keras.optimizers.LossScaleOptimizer):
        model = gan(batch_norm=False, generator_penalties=[STEEP])
        model.compile(wrap(keras.optimizers.SGD(0.1)), wrap(keras.optimizers.SGD(0.1)))
        model.train_step(tf.constant(IMAGES[:16]))
        updated.append(weights(model))
    assert largest_difference(*updated) < 1e-6


def test_regularisers_of_the_networks_count():
    """A gradient step on λ‖w‖² alone shrinks w by 1 − 2ηλ; here beside the loss of a critic that starts at 0."""
    critic = keras.Sequential(
        [
            keras.Input([8, 8, 1]),
            keras.layers.Flatten(),
            keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(50.0)),
        ]
    )
    model = models.GAN(gan().generator, critic)
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(1e-3))
    before = np.array(critic.trainable_variables[0])
    model.train_step(tf.constant(IMAGES[:16]))
    shrunk = np.array(critic.trainable_variables[0]) - 0.9 * before  # 1 − 2·1e-3·50
    assert np.abs(shrunk).max() < 3e-3  # the loss's own step is at most η·E|x| = 1e-3 a pixel


@pytest.mark.parametrize("count, steps", [(41, 3), (33, 2)])
def test_a_left_over_part_of_a_batch_is_not_used(count, steps):
    """Batches of 16, 16 and 9, of which 8 are used; of 16, 16 and 1, which cannot be split for two critic steps."""
    model = small(d_steps=2)
    data = tf.data.Dataset.from_tensor_slices((IMAGES[:count], np.zeros(count)))
    history = model.fit(data.batch(16), verbose=0).history
    assert int(model.step) == steps
    assert np.isfinite([v[-1] for v in history.values()]).all()


def test_penalties_are_logged_as_what_is_added():
    one, other = JacobianClamping(50.0, 60.0), JacobianClamping(0.0, 1e6)
    logs = gan(generator_penalties=[one, other], critic_penalties=[GradientPenalty()]).train_step(tf.constant(IMAGES))
    assert float(logs["generator_penalty"]) == pytest.approx(50.0**2, rel=0.05)  # Q ≈ 0 against λ_min = 50, and nothing
    assert 0 < float(logs["critic_penalty"]) <= 10.0


L = keras.layers


@pytest.mark.parametrize(
    "last",
    [
        [L.Flatten(), L.Dense(1, "sigmoid")],
        [L.Flatten(), L.Dense(1, "sigmoid"), L.Flatten()],
        [L.Conv2D(1, 8), L.Activation("sigmoid"), L.Reshape([1])],
        [L.Conv2D(1, 3, activation="sigmoid"), L.GlobalAveragePooling2D()],
        [L.Flatten(), keras.Sequential([L.Dense(1), L.Activation("sigmoid")])],
    ],
    ids=["dense", "flatten", "reshape", "patches", "nested"],
)
def test_a_sigmoid_critic_is_pointed_out(last):
    with pytest.warns(UserWarning, match="ends in a sigmoid; its losses take logits"):
        models.GAN(gan().generator, keras.Sequential([keras.Input([8, 8, 1]), *last]))


@pytest.mark.parametrize("last", [L.Dense(1, bias_initializer=keras.initializers.Constant(0.5)), L.Dense(1, "relu")])
def test_a_critic_of_values_from_0_to_1_need_not_end_in_a_sigmoid(last):
    images, zero = keras.Input([8, 8, 1]), L.Rescaling(0.0)
    with warnings.catch_warnings(action="error"):
        models.GAN(gan().generator, keras.Model(images, last(L.Flatten()(zero(images)))))


def test_a_dataset_of_unknown_length_makes_no_step_without_data():
    """Keras finds its end by running into it: neither the generator nor the step may move then."""
    known = tf.data.Dataset.from_tensor_slices(IMAGES).batch(16, drop_remainder=True)
    results = []
    for data in (known, known.filter(lambda batch: True)):
        model = small()
        model.fit(data, epochs=2, verbose=0)
        results.append(weights(model))
        assert int(model.step) == 6
    assert_same(*results)


def test_noise_and_batch_normalisation_together_are_pointed_out():
    layers = [keras.Input([3]), dense(64), keras.layers.BatchNormalization(), keras.layers.Dropout(0.1)]
    generator = keras.Sequential([*layers, keras.layers.Reshape([8, 8, 1])])
    with pytest.warns(UserWarning, match="batch normalisation and noise of its own"):
        models.GAN(generator, gan().critic, generator_penalties=[STEEP])


def test_floats_on_another_scale_are_pointed_out():
    with pytest.warns(UserWarning, match=r"without a negative value; \[-1, 1\] is expected"):
        small().fit((IMAGES / 255.0).astype(np.float32), epochs=1, verbose=0)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: small().fit(IMAGES.astype(np.float32)), r"must lie in \[-1, 1\], found \[0, 255\]"),
        (lambda: small().fit(IMAGES.astype(np.int32)), "must be uint8, or floats"),
        (lambda: small().fit(np.full((4, 8, 8, 1), np.nan)), r"must lie in \[-1, 1\], found \[nan, nan\]"),
        (lambda: small().fit(IMAGES, batch_size=64), "a batch takes 64 images, found 48"),
        (lambda: small().fit(np.zeros((64, 9, 9, 1))), r"makes images \(8, 8, 1\), the data's are \(9, 9, 1\)"),
        (
            lambda: small(d_steps=5).fit(tf.data.Dataset.from_tensor_slices(IMAGES).batch(4)),
            "d_steps = 5 needs at least 5 images, found 4",
        ),
        (lambda: small().fit(iter(IMAGES)), "must be an array or a tf.data.Dataset, found "),
        (
            lambda: small().fit(tf.data.Dataset.from_tensor_slices(IMAGES).batch(4), batch_size=4),
            "comes in batches already, found batch_size = 4",
        ),
        (
            lambda: small().fit(tf.data.Dataset.from_tensor_slices({"image": IMAGES}).batch(4)),
            r"found dicts with the keys \['image'\]",
        ),
        (lambda: small().fit(tf.data.Dataset.from_tensor_slices(IMAGES)), r"was .batch\(n\) forgotten"),
        (lambda: small().compile(optimizer="adam"), "takes generator_optimizer and critic_optimizer"),
        (lambda: models.GAN(small().generator, small().critic, prior=8), "prior must be a distribution .* found 8"),
        (lambda: small(critic_penalties=[JacobianClamping()]), "critic_penalties must be penalty objects"),
        (lambda: small().compile(*[keras.optimizers.Adam()] * 2), "need an optimizer each, found one for both"),
        (lambda: small(loss="hinges"), "unknown loss 'hinges'"),
        (lambda: small(d_steps=0), "d_steps must be at least 1"),
        (lambda: small(generator_penalties=[JacobianClamping]), "generator_penalties must be penalty objects"),
        (lambda: small(critic_penalties="gp"), "critic_penalties must be penalty objects"),
        (
            lambda: models.GAN(small().generator, keras.Sequential([keras.layers.Flatten()])),
            r"must return logits \[B, 1\] or \[B\], found \[2, 64\] for B = 2",
        ),
        (
            lambda: models.GAN(keras.layers.Dense(3), small().critic),
            "name its latents, such as prior=",
        ),
    ],
)
def test_mistakes_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
