"""The memoriser: what it memorises, its step in closed form, and that fresh and known latents are scored apart."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc import architectures, datasets, models
from tfjc.callbacks import Scores
from tfjc.runs import experiment

IMAGES = np.random.default_rng(0).integers(0, 256, size=(48, 8, 8, 1)).astype(np.uint8)


def memoriser(seed=0, pairs=20):
    networks = architectures.dcgan((8, 8, 1), n_z=3, channels=8, seed=seed)
    return models.Memoriser(networks.generator, networks.critic, pairs=pairs, prior=networks.prior, seed=seed)


@pytest.mark.parametrize("pairs, random", [(20, 10), (21, 11)])
def test_half_is_random_images_and_half_copies_of_one(pairs, random):
    images, z = memoriser(pairs=pairs).memory(IMAGES)
    assert (images.shape, z.shape) == ((pairs, 8, 8, 1), (pairs, 3))
    kinds, counts = np.unique(images.reshape(pairs, -1), axis=0, return_counts=True)
    assert len(kinds) == random + 1  # the one that is copied is none of the others
    assert sorted(counts)[-2:] == [1, pairs - random]
    assert (images[1::2] == images[1]).all()
    assert {image.tobytes() for image in images} <= {image.tobytes() for image in IMAGES}


def test_the_seed_decides_the_pairs():
    first, again, other = (memoriser(seed).memory(IMAGES) for seed in (0, 0, 1))
    for one, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, different)


def test_a_step_is_that_of_least_squares():
    """G(z) = zW: with rate η, W ← W − η·(2/B)·zᵀ(zW − x)."""
    generator = keras.Sequential([keras.Input([3]), keras.layers.Dense(4, use_bias=False)])
    model = models.Memoriser(generator, pairs=6)
    model.compile(keras.optimizers.SGD(0.05), jit_compile=False)
    x, z = (np.random.default_rng(k).normal(size=(6, n)).astype(np.float32) for k, n in ((0, 4), (1, 3)))
    before = generator.get_weights()[0]
    logs = model.train_step((tf.constant(x), tf.constant(z)))
    missed = z @ before - x
    assert float(logs["generator_loss"]) == pytest.approx(np.mean(np.sum(missed**2, axis=1)), rel=1e-5)
    np.testing.assert_allclose(generator.get_weights()[0], before - 0.05 * 2 / 6 * z.T @ missed, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["array", "dataset"])
def test_it_learns_its_pairs_by_heart(kind):
    """All but 5 % of the squared distance, also in inference mode, where moving statistics normalise."""
    model = memoriser(pairs=8)
    model.compile(keras.optimizers.Adam(1e-2))
    images, z = model.memory(IMAGES)
    data = IMAGES if kind == "array" else datasets.batches((images, z), 8, seed=0)
    history = model.fit(data, batch_size=8 if kind == "array" else None, epochs=200, steps_per_epoch=1, verbose=0)
    loss = history.history["generator_loss"]
    assert loss[-1] < 0.05 * loss[0]
    assert int(model.step) == 200
    missed = model.generator(z, training=False) - (images / 127.5 - 1)
    assert np.sum(np.square(missed)) / 8 < 0.05 * loss[0]


class _Evaluator:
    """Scores by the number of latents and their mean."""

    def __init__(self, z, data):
        self.z = z

    def prepare(self):
        pass

    def __call__(self, generator, fast=False):
        return {"samples/of": float(len(self.z)), "mean/of": float(tf.reduce_mean(self.z))}


def test_fresh_and_known_latents_are_scored_apart():
    model, data = memoriser(), datasets.Dataset("none", IMAGES)
    recorded = {}
    for evaluator, every, prefix in experiment._evaluators([(_Evaluator, 10)], 4, data, model, 6):
        scores = Scores(model.generator, evaluator, every, prefix=prefix)
        scores.act(0, {})
        recorded |= scores.at(0)
        assert every == 12
    assert set(recorded) == {f"{p}{n}{k}" for p in ("", "memorised_") for n in ("samples", "mean") for k in ("", "/of")}
    assert recorded["samples"] == recorded["memorised_samples"] == 6.0
    known = model.memory(IMAGES)[1][:6]
    assert recorded["memorised_mean/of"] == pytest.approx(float(tf.reduce_mean(known)), rel=1e-5)
    assert recorded["mean"] != recorded["memorised_mean"]


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="pairs must be at least 2, found 1"):
        memoriser(pairs=1)
    with pytest.raises(ValueError, match="200 pairs need 101 images, one of them to copy; found 48"):
        memoriser(pairs=200).fit(IMAGES)
    with pytest.raises(ValueError, match="trained on pairs"):
        memoriser().train_step(tf.constant(IMAGES))
