"""The VAE's bound against evidence in closed form, its gradient by finite differences, and its training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

from tfjc import architectures, models
from tfjc.support import noise

IMAGES = np.random.default_rng(0).integers(0, 2, size=(48, 8, 8, 1)).astype(np.uint8) * 255
SEED = [3, 4]
LENGTHS, SIGMA = np.array([2.0, 0.5]), 0.7  # of W's columns; of the noise
W = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 2)))[0] * LENGTHS
B = np.linspace(-1.0, 1.0, 5)
POSTERIOR_VARIANCE = 1 / (1 + LENGTHS**2 / SIGMA**2)
X = np.random.default_rng(2).normal(size=5)


def linear(mean_shift=0.0, variance=POSTERIOR_VARIANCE, **options):
    """x = Wz + b + σε with W's columns orthogonal, in float64.

    Then p(z|x) is N(diag(v)·Wᵀ(x − b)/σ², diag(v)), v = 1/(1 + ‖w_i‖²/σ²), of this encoder's family; the encoder's
    mean and variance can be made wrong.
    """
    decoder = keras.Sequential([keras.Input([2], dtype="float64"), keras.layers.Dense(5, dtype="float64")])
    decoder.set_weights([W.T, B])
    x = keras.Input([5], dtype="float64")
    heads = [keras.layers.Dense(2, dtype="float64") for _ in range(2)]
    encoder = keras.Model(x, [head(x) for head in heads])
    kernel = W * POSTERIOR_VARIANCE / SIGMA**2
    heads[0].set_weights([kernel, mean_shift - B @ kernel])
    heads[1].set_weights([np.zeros([5, 2]), np.log(variance)])
    prior = tfp.distributions.MultivariateNormalDiag(tf.zeros(2, tf.float64))
    return models.VAE(decoder, encoder, likelihood="gaussian", sigma=SIGMA, prior=prior, **options)


def evidence(x):
    return stats.multivariate_normal(B, W @ W.T + SIGMA**2 * np.eye(5)).logpdf(x)


def elbos(model, count=20_000):
    """(mean, its standard error) of the bound for X, over samples of q."""
    x = tf.constant(np.tile(X, (count, 1)))
    log_likelihood, kl = model.terms(x, SEED)
    values = (log_likelihood - model.beta * kl).numpy()
    return values.mean(), values.std() / np.sqrt(count)


def test_at_the_true_posterior_bayes_rule_holds_at_every_latent():
    """ln p(x|z) + ln p(z) − ln q(z|x) is the evidence, whatever z is."""
    model, z = linear(), tf.random.stateless_normal([7, 2], SEED, dtype=tf.float64)
    x = tf.constant(np.tile(X, (7, 1)))
    found = model.log_likelihood(x, z) + model.prior.log_prob(z) - model.posterior(x).log_prob(z)
    np.testing.assert_allclose(found, evidence(X), rtol=1e-10)


def test_at_the_true_posterior_the_bound_is_the_evidence():
    mean, error = elbos(linear())
    assert mean == pytest.approx(evidence(X), abs=5 * error)
    assert error < 0.02


@pytest.mark.parametrize("shift, factor", [(0.5, 1.0), (0.0, 3.0), (-0.3, 0.2)])
def test_the_bound_falls_short_by_the_divergence_from_the_true_posterior(shift, factor):
    """KL of N(μ + s, fv) from N(μ, v): ½·Σ(f + s²/v − 1 − ln f)."""
    mean, error = elbos(linear(shift, factor * POSTERIOR_VARIANCE))
    gap = 0.5 * np.sum(factor + shift**2 / POSTERIOR_VARIANCE - 1 - np.log(factor))
    assert gap > 0.2
    assert mean == pytest.approx(evidence(X) - gap, abs=5 * error)


def test_the_divergence_from_the_prior_is_in_closed_form():
    """½·Σ(v + μ² − 1 − ln v), the same for every sample of q; β weighs it."""
    model = linear(beta=4.0)
    x = tf.constant(X[None])
    kl = [float(model.terms(x, seed)[1][0]) for seed in ([1, 1], [1, 2])]
    mean = model.posterior(x).mean().numpy()
    expected = 0.5 * np.sum(POSTERIOR_VARIANCE + mean**2 - 1 - np.log(POSTERIOR_VARIANCE))
    np.testing.assert_allclose(kl, expected, rtol=1e-10)
    weighed = model.terms(tf.cast(x, tf.float32), SEED)
    assert float(model.elbo(x, SEED)[0]) == pytest.approx(float(weighed[0][0]) - 4.0 * expected, rel=1e-5)


def test_bernoulli_is_the_cross_entropy_of_grey_values():
    """x = −1, 0.2, 1 are the values 0, 0.6, 1; G = 0.5 is the probability 0.75. Finite where G is ±1."""
    decoder = keras.Sequential([keras.Input([1]), keras.layers.Dense(3, use_bias=True, kernel_initializer="zeros")])
    x = keras.Input([3])
    encoder = keras.Model(x, [keras.layers.Dense(1)(x), keras.layers.Dense(1)(x)])
    model = models.VAE(decoder, encoder)
    image, z = tf.constant([[-1.0, 0.2, 1.0]]), tf.zeros([1, 1])
    decoder.layers[-1].bias.assign([0.5, 0.5, 0.5])
    expected = np.log(0.25) + 0.6 * np.log(0.75) + 0.4 * np.log(0.25) + np.log(0.75)
    np.testing.assert_allclose(model.log_likelihood(image, z), [expected], rtol=1e-5)
    decoder.layers[-1].bias.assign([1.0, 1.0, -1.0])
    np.testing.assert_allclose(model.log_likelihood(image, z), [2.4 * np.log(1e-6)], rtol=0.01)


@pytest.mark.parametrize("options", [{}, {"likelihood": "gaussian", "sigma": 0.4}], ids=["bernoulli", "gaussian"])
def test_a_step_follows_the_gradient_of_the_bound(options):
    """Plain gradient descent with rate 1 moves the weights by −∇(β·KL − ln p(x|z)), here by finite differences."""
    random = np.random.default_rng(0)
    decoder = keras.Sequential([keras.Input([2], dtype="float64"), _dense(6, "tanh")])
    x = keras.Input([6], dtype="float64")
    hidden = _dense(4, "tanh")(x)
    encoder = keras.Model(x, [_dense(2)(hidden), _dense(2)(hidden)])
    prior = tfp.distributions.MultivariateNormalDiag(tf.zeros(2, tf.float64))
    model = models.VAE(decoder, encoder, prior=prior, beta=2.0, **options)
    model.compile(keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0), jit_compile=False)
    images = tf.constant(random.uniform(-0.9, 0.9, size=(5, 6)), tf.float32)
    seed = model._seed(noise.Stream.POSTERIOR_SEED)
    weights = [*decoder.trainable_variables, *encoder.trainable_variables]
    before = [w.numpy() for w in weights]
    directions = [random.normal(size=w.shape) for w in weights]
    values, h = [], 1e-5
    for sign in (1, -1):
        for w, value, direction in zip(weights, before, directions, strict=True):
            w.assign(value + sign * h * direction)
        values.append(-float(tf.reduce_mean(model.elbo(images, seed))))
    for w, value in zip(weights, before, strict=True):
        w.assign(value)
    model.train_step(images)
    found = sum(np.sum((b - w.numpy()) * d) for b, w, d in zip(before, weights, directions, strict=True))
    assert found == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-6)


def _dense(units, activation=None):
    return keras.layers.Dense(
        units, activation, dtype="float64", kernel_initializer=keras.initializers.GlorotUniform(seed=units)
    )


def vae(seed=0, **options):
    networks = architectures.dcgan_vae((8, 8, 1), n_z=3, channels=4, seed=seed)
    return models.VAE(networks.generator, networks.critic, prior=networks.prior, seed=seed, **options)


@pytest.mark.parametrize("options", [{}, {"likelihood": "gaussian", "sigma": 1.0}], ids=["bernoulli", "gaussian"])
def test_training_raises_the_bound(options):
    """On few images, which it can learn by heart; the logs add up."""
    model = vae(beta=0.5, **options)
    model.compile(keras.optimizers.Adam(1e-2), keras.optimizers.Adam(1e-2), steps_per_execution=10)
    history = model.fit(IMAGES[:16], batch_size=16, steps_per_epoch=10, epochs=6, verbose=0).history
    assert set(history) == {"generator_loss", "log_likelihood", "kl"}
    assert history["generator_loss"][-1] < history["generator_loss"][0] - 1.0
    expected = 0.5 * np.array(history["kl"]) - history["log_likelihood"]
    np.testing.assert_allclose(history["generator_loss"], expected, rtol=1e-4)


def test_a_step_is_a_function_of_weights_step_and_images():
    runs = []
    for first_step in (0, 0, 7):
        model = vae()
        model.step.assign(first_step)
        model.train_step(tf.constant(IMAGES[:16]))
        runs.append(np.concatenate([np.ravel(v) for v in model.encoder.get_weights()]))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert np.abs(runs[0] - runs[2]).max() > 1e-6


def test_the_decoder_is_dcgans_generator():
    decoder = architectures.dcgan_vae((28, 28, 1), n_z=5, channels=4, seed=3).generator
    generator = architectures.dcgan((28, 28, 1), n_z=5, channels=4, seed=3).generator
    for one, other in zip(decoder.get_weights(), generator.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: vae(likelihood="bernouli"), "unknown likelihood 'bernouli'; nearest: bernoulli"),
        (lambda: vae(likelihood="gaussian"), "sigma is for likelihood = 'gaussian', which needs it; found None"),
        (lambda: vae(sigma=0.5), "sigma is for likelihood = 'gaussian', which needs it; found 0.5, 'bernoulli'"),
        (lambda: vae(likelihood="gaussian", sigma=0.0), "sigma must be greater than 0.0, found 0.0"),
        (lambda: vae(beta=-1.0), "beta must be at least 0.0, found -1.0"),
        (
            lambda: models.VAE(*architectures.dcgan((8, 8, 1), n_z=3, channels=4)[:2]),
            r"the encoder must return \[mean, log-variance\], \[2, 3\] each for B = 2, found \(2, 1\)",
        ),
        (
            lambda: models.VAE(
                *architectures.dcgan_vae((8, 8, 1), n_z=3, channels=4)[:2],
                prior=tfp.distributions.Sample(tfp.distributions.Laplace(0.0, 1.0), 3),
            ),
            "a VAE needs a prior with a closed-form KL divergence",
        ),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def first_update(policy):
    """The weights' changes, generator's and encoder's, by one step of SGD along small gradients."""
    keras.config.set_dtype_policy(policy)
    try:
        networks = architectures.dcgan_vae((8, 8, 1), n_z=3, channels=4)
        optimizers = [keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0)]
        if policy == "mixed_float16":
            optimizers = [
                keras.optimizers.LossScaleOptimizer(o, initial_scale=s)
                for o, s in zip(optimizers, (2.0**14, 2.0**16), strict=True)
            ]
        vae = models.VAE(*networks[:2], prior=networks.prior, likelihood="gaussian", sigma=3000.0, beta=1e-6)
        vae.compile(*optimizers, jit_compile=False)
    finally:
        keras.config.set_dtype_policy("float32")
    variables = [network.trainable_variables for network in (vae.generator, vae.encoder)]
    before = [[v.numpy() for v in of] for of in variables]
    vae.fit(IMAGES[:16], batch_size=16, steps_per_epoch=1, verbose=0)
    return [
        np.concatenate([np.ravel(v.numpy() - b) for v, b in zip(of, old, strict=True)])
        for of, old in zip(variables, before, strict=True)
    ]


def test_float16_keeps_gradients_that_only_the_scaled_loss_has():
    """Unscaled they are under 6e-8, float16's least; the optimisers' scales differ, and so do what they divide by."""
    for exact, half in zip(first_update("float32"), first_update("mixed_float16"), strict=True):
        assert 0 < np.abs(exact).max() < 1e-3
        assert np.linalg.norm(half - exact) < 0.1 * np.linalg.norm(exact)
