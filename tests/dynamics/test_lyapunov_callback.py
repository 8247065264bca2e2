"""Exponents measured during the real trainer's `fit` against theory, and the run that must not notice."""

import functools

import keras
import numpy as np
import pytest
from models.games import NOTHING, game

from tfjc import architectures, datasets, models
from tfjc.dynamics import callback, damping, lyapunov

BATCHES = functools.partial(datasets.batches, NOTHING, 8, seed=0)


def measure(gan, steps, **options):
    """The callback after `steps` steps of a game."""
    watch = callback.Lyapunov(BATCHES, **options)
    gan.fit(NOTHING, batch_size=8, steps_per_epoch=steps, verbose=0, callbacks=[watch])
    return watch


@pytest.mark.parametrize(
    "options, expected, tolerance",
    [
        ({"model": models.DampedGAN, "weight": 1.0}, 0.5 * np.log(0.82), 1e-5),  # converges
        ({"model": models.DampedGAN, "weight": 0.0}, 0.5 * np.log(1.01), 1e-5),  # diverges, by 0.5 % a step
        ({}, 0.0, 4e-4),  # cycles: what is left is part of a turn
    ],
)
def test_a_converging_a_diverging_and_a_cycling_run_are_told_apart(options, expected, tolerance):
    """The bilinear game, η = 0.1: both exponents are ln |1 + iη − η|, ln |1 + iη| and 0."""
    watch = measure(game(0.5, -0.8, **options), 120, copies=2, every=40)
    assert [row["step"] for row in watch.history] == [40, 80, 120]
    assert watch.history[-1]["mean_lyapunov"] == pytest.approx([expected] * 2, abs=tolerance)
    assert np.mean([row["lyapunov"] for row in watch.history], axis=0) == pytest.approx(
        watch.history[-1]["mean_lyapunov"]
    )


def test_momentum_is_part_of_what_grows():
    """m ← βm + ηξ, θ ← θ + m: in (θ, m) a linear map, whose largest |eigenvalue| is that of μ² − (1 + β + iη)μ + β."""
    gan = game(
        0.5, -0.8, model=models.DampedGAN, weight=0.0, optimizer=lambda rate: keras.optimizers.SGD(rate, momentum=0.5)
    )
    watch = measure(gan, 150, copies=2, every=10)
    expected = np.log(np.abs(np.roots([1.0, -(1.5 + 0.1j), 0.5])).max())
    assert expected == pytest.approx(0.0447, abs=1e-4)  # without momentum 0.0050
    later = np.mean([row["lyapunov"] for row in watch.history[5:]], axis=0)
    assert later == pytest.approx(
        [expected] * 2, abs=2e-3
    )  # what is left is part of a turn, and none of it of the area
    assert later.mean() == pytest.approx(expected, abs=1e-5)


class ZeroSumDirac:
    """ξ of the game with the saturating loss: L_g = −softplus(xy) = −L_d, ξ = σ(xy)·(y, −x)."""

    def __call__(self, theta):
        x, y = np.moveaxis(theta, -1, 0)
        return np.stack([y, -x], axis=-1) / (1.0 + np.exp(-x * y))[..., None]

    def jacobian(self, theta):
        x, y = np.moveaxis(theta, -1, 0)
        sigma = 1.0 / (1.0 + np.exp(-x * y))
        slope = sigma * (1.0 - sigma)
        rows = [[slope * y * y, sigma + slope * x * y], [-sigma - slope * x * y, -slope * x * x]]
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def test_finite_time_exponents_are_those_of_the_analytic_jacobian():
    """The Dirac GAN far from its fixed point: interval by interval as Benettin's method has them in float64."""
    watch = measure(game(1.5, 0.5, loss="minimax", rate=0.3), 40, copies=2, every=1)
    rule = damping.Alternating(ZeroSumDirac(), 0.3, ((1,), (0,)))  # the critic moves first
    exact = lyapunov.of_map(rule.step, rule.jacobian, [1.5, 0.5], 40).growth
    assert np.ptp(exact[:, 0]) > 0.1  # or it would tell nothing
    np.testing.assert_allclose([row["lyapunov"] for row in watch.history], exact, atol=2e-3)


IMAGES = np.random.default_rng(0).uniform(-1, 1, size=(96, 4)).astype(np.float32)


def noisy():
    """A GAN with everything that a run keeps: Adam, dropout, batch normalisation, noise, several critic steps."""
    layers = [keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.Dense(4)]
    generator = keras.Sequential([keras.Input([2]), *layers])
    critic = keras.Sequential(
        [keras.Input([4]), keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.3, seed=1), keras.layers.Dense(1)]
    )
    gan = models.GAN(generator, critic, d_steps=2, seed=3)
    gan.compile(keras.optimizers.Adam(1e-2), keras.optimizers.Adam(1e-2))
    return gan


def everything(gan):
    optimizers = gan.generator_optimizer.variables + gan.critic_optimizer.variables
    return [np.array(v) for v in [*gan.variables, *gan.metrics_variables, *optimizers]]


def fit(gan, watch, epochs=1):
    listed = [watch] if watch else []
    return gan.fit(IMAGES, batch_size=8, epochs=epochs, verbose=0, callbacks=listed).history


def test_measuring_changes_nothing(tmp_path):
    """Weights, optimisers, seeds, statistics, metrics and the history of losses are bit for bit the same."""
    watch = callback.Lyapunov(
        functools.partial(datasets.batches, IMAGES, 16, seed=3), copies=2, every=2, log_dir=tmp_path
    )
    keras.utils.set_random_seed(5)
    alone = noisy()
    watched = noisy()
    for a, b in zip(watched.variables, alone.variables, strict=True):
        a.assign(b)
    histories = [fit(alone, None), fit(watched, watch)]
    found = histories[1].pop("lyapunov")
    assert histories[0] == histories[1]
    for a, b in zip(everything(alone), everything(watched), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [row["step"] for row in watch.history] == [2, 4, 6]
    assert found == [watch.history[-1]["lyapunov"][0]]
    assert np.isfinite([row["lyapunov"] for row in watch.history]).all()
    assert list(tmp_path.iterdir())


def test_a_second_fit_goes_on():
    once, twice = game(1.5, 0.5, loss="minimax"), game(1.5, 0.5, loss="minimax")
    whole = measure(once, 20, copies=2, every=5)
    parts = callback.Lyapunov(BATCHES, copies=2, every=5)
    for _ in range(2):
        twice.fit(NOTHING, batch_size=8, steps_per_epoch=10, verbose=0, callbacks=[parts])
    assert parts.history == whole.history


def test_second_moments_stay_positive():
    """Adam's v shrinks with the gradients, and a difference set back to `distance` could carry it below 0."""
    networks = architectures.mlp((4,), width=16)
    gan = models.GAN(networks.generator, networks.critic, prior=networks.prior)
    watch = callback.Lyapunov(functools.partial(datasets.batches, IMAGES, 8, seed=0), every=1, distance=0.1)
    fit(gan, watch)
    assert len(watch.history) == 12
    assert np.isfinite([row["lyapunov"] for row in watch.history]).all()


def test_copies_may_be_lost_but_not_the_run():
    """The loss xy of a copy at 1e37 is infinite, which is found in the copies' steps and is not the run's affair."""
    gan = game(1.0, 1.0)
    assert len(measure(gan, 4, every=2, distance=1e37).history) == 2
    assert int(gan.step) == 4
    with pytest.raises(models.Diverged, match="at step 1: critic_loss is not finite"):
        measure(game(1e30, 1e30, model=models.DampedGAN, weight=0.0, rate=1e30), 4, every=2)


def test_batches_that_are_not_the_runs_are_noticed():
    watch = callback.Lyapunov(functools.partial(datasets.batches, IMAGES, 16, seed=4), every=2)
    gan = noisy()
    with pytest.raises(ValueError, match="2 steps repeated on `batches` end "):
        fit(gan, watch)
    assert int(gan.step) == 2


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: callback.Lyapunov(IMAGES), "batches must be a function of the first step, found ndarray"),
        (lambda: callback.Lyapunov(BATCHES, copies=0), "copies must be at least 1"),
        (lambda: callback.Lyapunov(BATCHES, distance=0.0), "distance must be greater than 0"),
        (lambda: measure(game(1.0, 1.0), 1, copies=3), "copies must be at most the number of weights, 2, found 3"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
