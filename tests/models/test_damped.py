"""The adjusted updates against closed forms and finite differences, and games whose verdict they change."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from models.games import game, play
from penalties.linear import RESIZING, AsMatrix

from tfjc import architectures, models
from tfjc.penalties import GradientPenalty, JacobianClamping

START = np.array([0.5, -0.8])
IMAGES = np.random.default_rng(0).uniform(-1, 1, size=(32, 2)).astype(np.float32)


@pytest.mark.parametrize("adjustment", ["consensus", "symplectic"])
@pytest.mark.parametrize("weight", [0.0, 1.0, 0.3])
def test_a_step_of_the_bilinear_game_is_the_closed_form(adjustment, weight):
    """H = [[0, −1], [1, 0]] is antisymmetric, so Aᵀg = Hᵀg = θ: θ ← θ + η((y, −x) − wθ) by either."""
    x, y = START
    found = play(game(x, y, model=models.DampedGAN, adjustment=adjustment, weight=weight), 1)
    np.testing.assert_allclose(found, [x + 0.1 * (y - weight * x), y + 0.1 * (-x - weight * y)], rtol=1e-6)


@pytest.mark.parametrize(
    "options, radius",
    [
        ({"model": models.DampedGAN, "weight": 0.0}, np.sqrt(1.01)),  # plain simultaneous descent
        ({"model": models.DampedGAN, "weight": 1.0}, np.sqrt(0.82)),
        ({"model": models.DampedGAN, "adjustment": "symplectic", "weight": 1.0}, np.sqrt(0.82)),
    ],
)
def test_many_steps_have_the_radius_of_the_linear_map(options, radius):
    """The map is a similarity: 60 steps change ‖θ‖ by radius⁶⁰ from any start."""
    found = play(game(*START, **options), 60)
    assert (np.linalg.norm(found) / np.linalg.norm(START)) ** (1 / 60) == pytest.approx(radius, rel=1e-6)


def test_the_plain_trainer_alternates():
    """Algorithm 1: the critic first, y ← y − ηx, then x ← x + ηy; which leaves x² + y² − ηxy as it is."""
    x, y = START
    found = play(game(x, y), 1)
    np.testing.assert_allclose(found, [x + 0.1 * (y - 0.1 * x), y - 0.1 * x], rtol=1e-6)
    later = play(game(x, y), 500)
    kept = [v[0] ** 2 + v[1] ** 2 - 0.1 * v[0] * v[1] for v in (START, later)]
    assert kept[1] == pytest.approx(kept[0], rel=1e-4)


def networks(model=models.DampedGAN, policy="float32", rates=(1.0, 1.0), **options):
    """A GAN in the plane with smooth activations, whose gradients differences can check."""
    keras.config.set_dtype_policy(policy)
    keras.config.set_floatx("float64" if policy == "float64" else "float32")  # the dtype of keras.Input
    try:
        dense = [
            keras.layers.Dense(units, activation, kernel_initializer=keras.initializers.GlorotNormal(seed=units))
            for units, activation in ((4, "tanh"), (2, None), (3, "softplus"), (1, None))
        ]
        generator = keras.Sequential([keras.Input([2]), *dense[:2]])
        critic = keras.Sequential([keras.Input([2]), *dense[2:]])
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    gan = model(generator, critic, **options)
    gan.compile(*(keras.optimizers.SGD(rate) for rate in rates), jit_compile=False)
    return gan


def flat(tensors):
    return np.concatenate([np.ravel(t) for t in tensors]).astype(np.float64)


def weights(gan):
    return flat([*gan.generator.trainable_variables, *gan.critic.trainable_variables])


def gradients_at(gan, gradients, theta):
    """g at flat weights θ, from `gradients`: images → g at the GAN's weights."""
    variables = [*gan.generator.trainable_variables, *gan.critic.trainable_variables]
    parts = np.split(theta, np.cumsum([np.size(v) for v in variables])[:-1])
    for variable, part in zip(variables, parts, strict=True):
        variable.assign(part.reshape(variable.shape))
    return flat(gradients(tf.constant(IMAGES)))


@pytest.mark.parametrize("penalties", [{}, {"critic_penalties": [GradientPenalty(0.5)]}])
def test_adjusted_gradients_of_networks_by_finite_differences(penalties):
    """H by central differences of g, column by column; then g + wHᵀg and g + w(H − Hᵀ)ᵀg/2."""
    gan = networks(policy="float64", weight=0.7, **penalties)
    at = functools.partial(gradients_at, gan, tf.function(lambda images: gan._gradients(images, None)[0]))
    theta, h = weights(gan), 1e-5
    columns = [(at(theta + shift) - at(theta - shift)) / (2 * h) for shift in h * np.eye(len(theta))]
    jacobian, g = np.stack(columns, axis=1), at(theta)
    expected = {
        "consensus": g + 0.7 * jacobian.T @ g,
        "symplectic": g + 0.35 * (jacobian - jacobian.T).T @ g,
    }
    for gan.adjustment, adjusted in expected.items():
        found = flat(gan._adjusted_gradients(tf.constant(IMAGES), None)[0])
        np.testing.assert_allclose(found, adjusted, atol=1e-8)
        assert np.abs(found - g).max() > 1e-2
    gan.train_step(tf.constant(IMAGES))
    np.testing.assert_allclose(weights(gan), theta - expected["symplectic"], atol=1e-8)


@pytest.mark.parametrize("rates", [(0.0, 0.1), (0.1, 0.0)])
def test_with_one_player_at_rest_and_no_weight_it_is_the_plain_trainer(rates):
    """Then simultaneous and alternating updates are the same, noise and penalties included."""
    penalties = {"generator_penalties": [JacobianClamping(5.0)], "critic_penalties": [GradientPenalty()]}
    moved, logged = [], []
    for model, options in ((models.GAN, {}), (models.DampedGAN, {"weight": 0.0})):
        gan = networks(model, rates=rates, seed=3, **penalties, **options)
        before = weights(gan)
        logged.append({name: float(value) for name, value in gan.train_step(tf.constant(IMAGES)).items()})
        moved.append(weights(gan) - before)
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-7)
    assert np.abs(moved[0]).max() > 1e-3
    if rates[1]:  # the plain trainer takes this loss after the critic has moved
        assert logged[0].pop("generator_loss") != logged[1].pop("generator_loss")
    assert logged[1] == pytest.approx(logged[0], rel=1e-5)


@pytest.mark.parametrize("adjustment", models.damped.ADJUSTMENTS)
def test_convolutions_and_batch_normalisation_have_second_derivatives(adjustment):
    made = architectures.dcgan((8, 8, 1), n_z=3, channels=4)
    gan = models.DampedGAN(*made[:2], adjustment=adjustment, weight=0.1)
    before = weights(gan)
    gan.fit(np.random.default_rng(0).uniform(-1, 1, [32, 8, 8, 1]), batch_size=16, verbose=0)
    assert int(gan.step) == 2
    assert 1e-5 < np.abs(weights(gan) - before).max() < 1.0


def test_xla_gives_the_same_update():
    """With the latents given, since TensorFlow's stateless random numbers are others under XLA than without."""

    class FixedPrior:
        event_shape = tf.TensorShape([2])

        def sample(self, count, seed):
            return tf.reshape(tf.sin(tf.range(2.0 * tf.cast(count, tf.float32)) ** 2), [-1, 2])

    moved = []
    for xla in (False, True):
        gan = networks(adjustment="symplectic", prior=FixedPrior())
        gan.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1), jit_compile=xla, run_eagerly=not xla)
        gan.fit(IMAGES, batch_size=32, verbose=0)
        moved.append(weights(gan))
    np.testing.assert_allclose(*moved, atol=1e-6)


def test_a_scaled_loss_gives_the_same_update():
    moved = []
    for wrap in (lambda optimizer: optimizer, keras.optimizers.LossScaleOptimizer):
        gan = networks()
        gan.compile(*(wrap(keras.optimizers.SGD(0.1)) for _ in range(2)), jit_compile=False)
        gan.train_step(tf.constant(IMAGES))
        moved.append(weights(gan))
    np.testing.assert_allclose(*moved, atol=1e-6)


def test_a_dirac_gan_that_circles_converges():
    """The zero-sum game turns with η/2 a step; played in turn it keeps its distance, adjusted it loses η/4 a step."""
    options = {"loss": "minimax", "rate": 0.2}
    assert np.linalg.norm(play(game(1.0, 0.0, **options), 200)) > 0.95
    for adjustment in models.damped.ADJUSTMENTS:
        adjusted = play(game(1.0, 0.0, model=models.DampedGAN, adjustment=adjustment, **options), 200)
        assert np.linalg.norm(adjusted) < 1e-3


class Quadratic(keras.layers.Layer):
    """(a, b) ↦ (a, b, a², ab, b²): a critic linear in these tells means and covariances apart, and no more."""

    def call(self, x):
        a, b = x[:, :1], x[:, 1:]
        return tf.concat([a, b, a * a, a * b, b * b], axis=1)

    def compute_output_shape(self, shape):
        return shape[0], 5


DATA = np.random.default_rng(0).multivariate_normal([0.4, -0.3], [[0.04, 0.02], [0.02, 0.02]], 4096)
DATA = np.clip(DATA, -1.0, 1.0).astype(np.float32)


def train_affine(model, **options):
    """G(z) = Wz + b after 600 steps against a quadratic critic: errors of its mean and of its covariance WᵀW."""
    identity = keras.initializers.Identity(0.5)
    generator = keras.Sequential([keras.Input([2]), keras.layers.Dense(2, kernel_initializer=identity)])
    last = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    gan = model(generator, keras.Sequential([keras.Input([2]), Quadratic(), last]), loss="wasserstein", **options)
    gan.compile(keras.optimizers.SGD(0.3), keras.optimizers.SGD(0.3), steps_per_execution=600)
    gan.fit(DATA, batch_size=256, steps_per_epoch=600, verbose=0)
    w, b = generator.get_weights()
    return np.linalg.norm(b - DATA.mean(axis=0)), np.linalg.norm(w.T @ w - np.cov(DATA, rowvar=False))


def test_an_affine_gan_learns_a_gaussian_only_with_adjusted_gradients():
    """Plain training circles and loses its covariance (error ‖Σ‖, as for W = 0); adjusted training has both right."""
    scale = np.linalg.norm(np.cov(DATA, rowvar=False))
    assert train_affine(models.GAN)[1] > 0.5 * scale
    for adjustment in models.damped.ADJUSTMENTS:
        mean, covariance = train_affine(models.DampedGAN, adjustment=adjustment)
        assert mean < 0.02
        assert covariance < 0.25 * scale


@pytest.mark.parametrize("name", ["UpSampling2D bilinear", "Resizing antialiased"])
def test_players_that_resize_are_adjusted_too(name):
    """As with the resizing as a matrix; TensorFlow takes the gradient of bilinear resizing for constant."""
    resizing, updated = RESIZING[name](), []
    images = np.random.default_rng(0).uniform(-1, 1, size=(8, *resizing(tf.zeros([1, 4, 4, 1])).shape[1:]))
    for layer in (resizing, AsMatrix(resizing, 4)):
        dense = [keras.layers.Dense(n, "tanh", kernel_initializer=_glorot(n)) for n in (16, 3, 1)]
        generator = keras.Sequential([keras.Input([2]), dense[0], keras.layers.Reshape([4, 4, 1]), layer])
        critic = keras.Sequential([keras.Input(images.shape[1:]), keras.layers.Flatten(), *dense[1:]])
        model = models.DampedGAN(generator, critic, weight=50.0)
        model.compile(keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0), jit_compile=False)
        before = [w.numpy() for w in model.trainable_variables]
        model.train_step(tf.constant(images, tf.float32))
        updated.append([w.numpy() - value for w, value in zip(model.trainable_variables, before, strict=True)])
    for found, expected in zip(*updated, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def _glorot(seed):
    return keras.initializers.GlorotUniform(seed=seed)
