"""Spectra of weights in anybody's `fit`: closed forms, levels, and runs that go on."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_callbacks import events

from tfjc import callbacks, models
from tfjc.layers import Preconditioning, SpectralNormalization, polynomial

X = np.random.default_rng(0).normal(size=(12, 4, 4, 2)).astype(np.float32)
IMAGES = np.random.default_rng(0).integers(0, 256, size=(32, 4, 4, 1)).astype(np.uint8)


def conv(**options):
    return keras.layers.Conv2D(3, 1, use_bias=False, **options)


def kernel(singular_values):
    """A 1×1 convolution's kernel [1, 1, 3, 3] with these singular values."""
    left, _, right = np.linalg.svd(np.random.default_rng(1).normal(size=(3, 3)))
    return (left * singular_values @ right)[None, None]


def critic():
    """A critic with one adaptive layer, wide enough to have a level of its own."""
    keras.utils.set_random_seed(1)
    images = keras.Input([4, 4, 1])
    x = Preconditioning(keras.layers.Conv2D(8, 3, padding="same", activation="relu"), "adaptive", name="conv_1")(images)
    x = SpectralNormalization(keras.layers.Dense(1), name="out")(keras.layers.Flatten()(x))
    return keras.Model(images, x)


def gan():
    keras.utils.set_random_seed(2)
    generator = keras.Sequential([keras.Input([3]), keras.layers.Dense(16), keras.layers.Reshape([4, 4, 1])])
    return models.GAN(generator, critic())


def test_closed_forms_layer_by_layer(tmp_path):
    inner = keras.Sequential([keras.Input([4, 4, 3]), Preconditioning(conv(), 2, name="second")], name="inner")
    model = keras.Sequential([keras.Input([4, 4, 3]), conv(name="first"), keras.layers.ReLU(), inner])
    model.get_layer("first").kernel.assign(kernel([6.0, 2.0, 0.5]))
    inner.get_layer("second").layer.kernel.assign(kernel([4.0, 2.0, 0.4]))
    watch = callbacks.WeightSpectra({"net": model}, log_dir=tmp_path)
    model.compile("sgd", "mse")
    model.fit(X[..., :1].repeat(3, -1), X[..., :1].repeat(3, -1), verbose=0, callbacks=[watch])
    g = polynomial(np.array([1.0, 0.5, 0.1]), 2)
    expected = {
        "weights/net/first/sigma_max": 6.0,
        "weights/net/first/sigma_min": 0.5,
        "weights/net/first/condition_number": 12.0,
        "weights/net/first/modified_condition_number": 12.0,
        "weights/net/inner/second/sigma_max": 4.0,
        "weights/net/inner/second/sigma_min": 0.4,
        "weights/net/inner/second/condition_number": 10.0,
        "weights/net/inner/second/modified_condition_number": 10.0,
        "weights/net/inner/second/level": 2,
        "weights/net/inner/second/preconditioned_condition_number": g.max() / g.min(),
    }
    assert watch.latest.keys() == expected.keys()
    for name, value in expected.items():
        assert watch.latest[name] == pytest.approx(value, rel=1e-5), name
    assert (watch.at(0), watch.at(1)) == (watch.latest, {})
    written = events(tmp_path)
    assert written["weights/net/first/condition_number"] == [(0, "scalars")]
    assert written["weights/net/inner/second/singular_values"] == [(0, "histograms")]


@pytest.mark.parametrize("smallest, level", [(0.25, 0), (0.19, 1), (0.09, 2), (0.04, 3), (0.03, 4), (0.0, 4)])
def test_adaptive_levels_are_set_by_the_modified_condition_number(smallest, level):
    """1/0.25 = 4 ≤ 5, 1/0.19 = 5.3 ≤ 10, 1/0.09 = 11.1 ≤ 20, 25 ≤ 30, 33 above; a singular kernel too."""
    layer = Preconditioning(conv(), "adaptive", name="conv")
    model = keras.Sequential([keras.Input([4, 4, 3]), layer])
    layer.layer.kernel.assign(kernel([2.0, 1.0, 2 * smallest]))
    watch = callbacks.WeightSpectra({"critic": model})
    assert layer.current_level == 0
    watch.act(0, {})  # before training already, from the initial weights
    assert layer.current_level == watch.latest["weights/critic/conv/level"] == level
    watch.act(0, {})  # of a run that goes on from step 0: it has chosen
    assert np.count_nonzero(layer.recent) == 1
    watch.act(1000, {})
    assert layer.current_level == watch.latest["weights/critic/conv/level"] == level
    assert np.count_nonzero(layer.recent) == 2
    assert watch.latest["weights/critic/conv/condition_number"] > 1e6 or smallest


def test_a_singular_kernel_has_an_infinite_condition_number_and_a_diverged_one_none():
    layer = Preconditioning(conv(), "adaptive", name="conv")
    model = keras.Sequential([keras.Input([4, 4, 3]), layer])
    watch = callbacks.WeightSpectra({"critic": model})
    layer.layer.kernel.assign(np.diag([1.0, 1.0, 0.0])[None, None])
    watch.act(0, {})
    assert watch.latest["weights/critic/conv/condition_number"] == np.inf
    assert watch.latest["weights/critic/conv/modified_condition_number"] == np.inf
    layer.layer.kernel.assign(np.full([1, 1, 3, 3], np.nan))
    before = layer.recent.numpy()
    watch.act(1, {})
    assert np.isnan(watch.latest["weights/critic/conv/condition_number"])
    np.testing.assert_array_equal(layer.recent, before)


def test_a_run_that_goes_on_chooses_the_same_levels(tmp_path):
    """Eight steps with a check every two, and the same stopped after five, or before the first step."""

    def watch(model):
        return callbacks.WeightSpectra({"critic": model.critic}, every=2)

    def state(model):
        layer = model.critic.get_layer("conv_1")
        return [layer.current_level, *layer.recent.numpy(), *np.concatenate([np.ravel(w) for w in model.get_weights()])]

    data = tf.data.Dataset.from_tensor_slices(IMAGES).batch(4)
    whole = gan()
    whole.fit(data, verbose=0, callbacks=[watch(whole)])
    first = gan()
    first.fit(data.take(5), verbose=0, callbacks=[watch(first)])
    tf.train.Checkpoint(model=first).save(str(tmp_path / "ckpt"))
    second = gan()
    tf.train.Checkpoint(model=second).restore(tf.train.latest_checkpoint(str(tmp_path))).assert_consumed()
    seen = second.critic.get_layer("conv_1").recent.numpy()
    assert np.count_nonzero(seen) == 3  # at steps 0, 2 and 4, not at the end, 5
    second.fit(data.skip(5), verbose=0, callbacks=[watch(second)])
    np.testing.assert_array_equal(state(second), state(whole))
    third = gan()
    begun = watch(third)
    begun.set_model(third)
    begun.on_train_begin()
    third.fit(data, verbose=0, callbacks=[watch(third)])
    np.testing.assert_array_equal(state(third), state(whole))
    assert np.count_nonzero(whole.critic.get_layer("conv_1").recent) == 5


def test_layers_that_are_not_built_yet_wait():
    model = keras.Sequential([keras.layers.Dense(2, name="late")])
    model.compile("sgd", "mse")
    watch = callbacks.WeightSpectra({"net": model}, every=2)
    model.fit(np.ones([4, 3]), np.ones([4, 2]), batch_size=1, verbose=0, callbacks=[watch])
    assert "weights/net/late/sigma_max" in watch.latest


@pytest.mark.parametrize(
    "networks, message",
    [
        ([], r"networks must be models of Keras 3 by name, .* found \[\]"),
        ({"critic": 3}, "networks must be models of Keras 3 by name"),
        ({"net": keras.Sequential([keras.layers.ReLU()])}, "no kernel to measure in net"),
    ],
)
def test_mistakes_are_named(networks, message):
    with pytest.raises(ValueError, match=message):
        callbacks.WeightSpectra(networks)
