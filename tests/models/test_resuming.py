"""A `fit` that goes on, by Keras's own means, makes the updates of one that was never interrupted, bit for bit."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc import datasets, models, penalties
from tfjc.callbacks._periodic import Periodic

IMAGES = np.random.default_rng(0).integers(0, 256, size=(40, 4, 4, 1)).astype(np.uint8)
LABELS = np.random.default_rng(1).integers(0, 3, size=40)
STEPS = 2  # an epoch


def generator(classes=None):
    z, labels = keras.Input([2]), keras.Input([], dtype="int32")
    x = z if classes is None else keras.layers.Concatenate()([z, keras.layers.Embedding(classes, 2)(labels)])
    x = keras.layers.Reshape([4, 4, 1])(keras.layers.Dense(16, "tanh")(x))
    return keras.Model(z if classes is None else [z, labels], x)


def network(*outputs):
    images = keras.Input([4, 4, 1])
    hidden = keras.layers.Dense(5, "tanh")(keras.layers.Flatten()(images))
    found = [keras.layers.Dense(size)(hidden) for size in outputs]
    return keras.Model(images, found if len(found) > 1 else found[0])


CASES = {
    "GAN": lambda: models.GAN(
        generator(), network(1), d_steps=2, ema_decay=0.5, generator_penalties=penalties.PathLength(), seed=3
    ),
    "conditional": lambda: models.GAN(generator(3), network(1, 3), num_classes=3, dequantise=True),
    "DampedGAN": lambda: models.DampedGAN(generator(), network(1)),
    "VAE": lambda: models.VAE(generator(), network(2, 2)),
    "Memoriser": lambda: models.Memoriser(generator(), pairs=30),
}


def make(name):
    keras.utils.set_random_seed(1)
    model = CASES[name]()
    model.compile(keras.optimizers.Adam(1e-2), keras.optimizers.Adam(1e-2), run_eagerly=True)
    return model


def fit(model, epochs, *listed, **options):
    labels = None if model.num_classes is None else LABELS
    options = {"epochs": epochs, "steps_per_epoch": STEPS, "callbacks": list(listed), "verbose": 0, **options}
    model.fit(IMAGES, labels, 4, **options)
    return model


def assert_same(one, other):
    optimizers = [[getattr(m, f"{n}_optimizer", None) for n in ("generator", "critic")] for m in (one, other)]
    states = [[v for o in group if o is not None for v in o.variables] for group in optimizers]
    for a, b in zip([*one.variables, *states[0]], [*other.variables, *states[1]], strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


class Interrupt(keras.callbacks.Callback):
    """Ends a fit at the beginning of epoch 2."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


class Steps(Periodic):
    """Notes the steps at which it acts."""

    def __init__(self, every):
        super().__init__(every)
        self.seen = []

    def act(self, step, logs):
        self.seen.append((step, int(self.model.step)))


def batches_of(model, *listed):
    """What training is given, step by step; no update is made."""
    given = []

    def note(data):
        given.extend(np.array(part) for part in tf.nest.flatten(data))
        model.step.assign_add(1)
        return {"step": tf.constant(0.0)}

    model.train_step = note
    fit(model, 1, *listed)
    return given


@pytest.mark.parametrize("name", CASES)
def test_a_step_that_a_callback_restores_is_where_the_data_begin(name):
    begun, restored, fresh = make(name), make(name), make(name)
    begun.step.assign(5)
    restore = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: restored.step.assign(5))
    expected, found = batches_of(begun), batches_of(restored, restore)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(np.any(one != other) for one, other in zip(batches_of(fresh), expected, strict=True))


@pytest.mark.parametrize("name", ["GAN", "VAE"])
def test_backup_and_restore_goes_on_with_the_data(name, tmp_path):
    whole = fit(make(name), 3)
    with pytest.raises(KeyboardInterrupt):
        fit(make(name), 3, keras.callbacks.BackupAndRestore(tmp_path), Interrupt())
    resumed, before, after = make(name), Steps(3), Steps(3)
    fit(resumed, 3, before, keras.callbacks.BackupAndRestore(tmp_path), after)
    assert int(resumed.step) == 3 * STEPS
    assert_same(resumed, whole)
    assert before.seen == [(0, 0), (6, 6)]  # at 0 it sees the model that is about to be restored
    assert after.seen == [(6, 6)]


def test_a_backup_within_an_epoch_goes_on_with_the_data(tmp_path):
    """Keras makes the whole of the epoch that was interrupted, from the weights of its first step on."""
    whole = make("VAE").fit(IMAGES, batch_size=4, epochs=1, steps_per_epoch=1 + STEPS, verbose=0).model
    interrupted = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: 1 / batch)
    with pytest.raises(ZeroDivisionError):
        fit(make("VAE"), 1, keras.callbacks.BackupAndRestore(tmp_path, save_freq=1), interrupted)
    resumed = fit(make("VAE"), 1, keras.callbacks.BackupAndRestore(tmp_path, save_freq=1))
    assert int(resumed.step) == 1 + STEPS
    assert_same(resumed, whole)


def test_weights_that_are_loaded_bring_their_place_in_the_data(tmp_path):
    """Before `fit`, and in a callback of it."""
    path, whole = tmp_path / "at.weights.h5", make("GAN")
    fit(whole, 1, keras.callbacks.ModelCheckpoint(path, save_weights_only=True))
    fit(whole, 1)
    resumed = make("GAN")
    resumed.load_weights(path)
    assert_same(fit(resumed, 1), whole)
    load = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: resumed.load_weights(path))
    assert_same(fit(resumed, 3, load, initial_epoch=2), whole)


def test_a_first_epoch_has_no_say_in_the_order():
    """`initial_epoch` numbers epochs; the order is a function of seed and step."""
    assert_same(fit(make("VAE"), 4, initial_epoch=3), fit(make("VAE"), 1))


def test_batches_ask_for_the_first_step_when_they_are_iterated():
    images, steps = np.arange(30, dtype=np.uint8)[:, None], [5]
    batches = datasets.batches(images, 7, seed=3, start=lambda: steps[-1])
    assert batches.element_spec.shape == (7, 1)
    for step in (5, 2, 0):
        steps.append(step)
        expected = datasets.batches(images, 7, seed=3, start=step)
        for found, wanted in zip(batches.take(6), expected.take(6), strict=True):
            np.testing.assert_array_equal(found, wanted)
