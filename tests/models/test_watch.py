"""What is not finite is found at its step and named; what is finite is left alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc import models
from tfjc.models._watch import Watch
from tfjc.runs import saver

IMAGES = np.random.default_rng(0).integers(0, 256, size=(64, 4)).astype(np.uint8)
FORWARD, BACKWARD = 1.0, 2.0


@tf.custom_gradient
def spoilt(x, mode):
    """x with a nan in it in mode `FORWARD`, its gradient with an infinity in mode `BACKWARD`."""

    def gradient(upstream):
        return upstream * tf.where(mode == BACKWARD, np.inf, 1.0), None

    return tf.where(mode == FORWARD, x * np.nan, x), gradient


@keras.saving.register_keras_serializable()
class Spoiler(keras.layers.Layer):
    """Spoils what passes, from the step on that `at` says (steps are counted by its calls in training mode)."""

    def __init__(self, at, mode, **options):
        super().__init__(**options)
        self.at, self.mode = at, mode
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, x, training=False):
        if not training:
            return x
        self.calls.assign_add(1.0)
        return spoilt(x, tf.where(self.calls >= self.at, self.mode, 0.0))


def networks(at=99, mode=FORWARD, outputs=1):
    """A generator that is spoilt at its call `at`, and a critic (or encoder)."""
    z = keras.Input([2])
    hidden = keras.layers.Dense(5, "tanh", name="first")(z)
    x = keras.layers.Dense(4, name="last")(Spoiler(at, mode)(hidden))
    image = keras.Input([4])
    made = [keras.layers.Dense(n, name=f"out_{i}")(image) for i, n in enumerate([1] if outputs == 1 else [2, 2])]
    return keras.Model(z, x), keras.Model(image, made[0] if outputs == 1 else made)


def gan(at=99, mode=FORWARD, optimizer=None, **options):
    model = models.GAN(*networks(at, mode))
    model.compile(optimizer or keras.optimizers.SGD(1e-3), keras.optimizers.SGD(1e-3), **options)
    return model


def fitted(model, **options):
    """(step, tensor) at which `fit` raises."""
    with pytest.raises(models.Diverged, match=r"training diverged at step \d+: .* is not finite") as caught:
        model.fit(IMAGES, batch_size=8, epochs=2, verbose=0, **options)
    return caught.value.step, caught.value.tensor


@pytest.mark.parametrize(
    "options", [{}, {"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 4}], ids=str
)
def test_a_step_that_is_not_finite_is_the_last(options):
    """Each step calls the generator twice: call 9 is the critic's in step 5, call 10 the generator's own."""
    assert fitted(gan(9, FORWARD, **options)) == (5, "critic_loss")
    assert fitted(gan(10, FORWARD, **options)) == (5, "generator_loss")
    model = gan(10, BACKWARD, **options)
    seen = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    assert fitted(model, callbacks=[watch]) == (5, "gradient of generator/first/kernel")
    assert seen == ([3] if "steps_per_execution" in options else [0, 1, 2, 3])  # no callback sees what is not finite
    assert int(model.step.numpy()) == (8 if "steps_per_execution" in options else 5)


def test_weights_that_overflow_by_finite_gradients_are_named():
    """Gradients of some thousands, times a rate of 1e38."""
    model = gan(optimizer=keras.optimizers.SGD(1e38))
    model.critic.trainable_variables[0].assign(tf.fill([4, 1], 1e4))
    assert fitted(model) == (1, "weight generator/first/kernel")


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda: models.VAE(*networks(3, BACKWARD, outputs=2)), (3, "gradient of generator/first/kernel")),
        (lambda: models.VAE(*networks(3, FORWARD, outputs=2), likelihood="gaussian", sigma=1.0), (3, "generator_loss")),
        (lambda: models.Memoriser(networks(3, FORWARD)[0], pairs=40), (3, "generator_loss")),
        (lambda: models.Memoriser(networks(3, BACKWARD)[0], pairs=40), (3, "gradient of generator/first/kernel")),
        (lambda: models.DampedGAN(*networks(5, FORWARD)), (3, "critic_loss")),
        (lambda: models.GAN(*networks(7, BACKWARD), d_steps=2), None),
    ],
)
def test_every_model_is_watched(make, expected):
    """Critic updates do not differentiate the generator: calls 7 and 8 are theirs in step 3, call 9 its own."""
    assert fitted(make()) == (expected or (3, "gradient of generator/first/kernel"))


def test_training_goes_on_after_what_was_not_finite_has_been_put_right():
    model = gan(10, BACKWARD)
    before = model.get_weights()
    fitted(model)
    model.set_weights(before)
    model.generator.layers[2].at = 99
    model.compile(keras.optimizers.SGD(1e-3), keras.optimizers.SGD(1e-3))
    model.fit(IMAGES, batch_size=8, verbose=0)


def test_scaled_losses_may_overflow():
    """Infinite gradients are what tells an optimiser that scales losses to leave a step out, and scale less."""
    model = gan(10, BACKWARD, optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-3)))
    model.fit(IMAGES, batch_size=8, verbose=0)
    assert all(np.isfinite(v.numpy()).all() for v in model.variables)


def test_watching_changes_no_bit():
    trained = []
    for watched in (True, False):
        keras.utils.set_random_seed(0)
        model = gan()
        if not watched:
            model.watch.look = model.watch.close = lambda *_: None
        model.fit(IMAGES, batch_size=8, verbose=0)
        trained.append(model.get_weights())
    for a, b in zip(*trained, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_note_is_in_no_checkpoint(tmp_path):
    model = gan()
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "c"))
    assert not [name for name, _ in tf.train.list_variables(path) if "note" in name or "watch" in name]
    assert id(model.watch.note) not in map(id, model.variables)


@pytest.mark.parametrize("where", ["weight", "moving statistic", "optimiser"])
def test_no_checkpoint_holds_what_is_not_finite(tmp_path, where):
    """Whatever a step did not look at, or somebody else wrote."""
    z = keras.Input([2])
    normalised = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(4, name="last")(z))
    model = models.GAN(keras.Model(z, normalised), networks()[1])
    found = {
        "weight": model.generator.trainable_variables[0],
        "moving statistic": model.generator.non_trainable_variables[1],
        "optimiser": model.critic_optimizer.variables[-1],
    }[where]
    keeper = saver.Checkpoints(model, tmp_path)
    keeper.act(0, {})
    found.assign(tf.fill(found.shape, np.inf))
    with pytest.raises(models.Diverged, match=f"at step 0: {found.path} is not finite"):
        keeper.act(1, {})
    assert [path.name for path in tmp_path.glob("*.index")] == ["ckpt-0.index"]


@pytest.mark.parametrize(
    "second, expected",
    [([1.0, 2.0], None), ([1.0, np.nan], "b"), ([np.inf, -np.inf], "b"), ([-np.inf, 0.0], "b"), ([3e38, -3e38], None)],
)
def test_a_watch_tells_the_first(second, expected):
    watch = Watch()
    watch.look([("a", tf.constant([[1.0]])), ("b", tf.constant(second)), ("c", tf.constant(second))])
    watch.close(tf.constant(7, tf.int64))
    watch.look([("a", tf.constant(np.nan))])
    watch.close(tf.constant(8, tf.int64))
    with pytest.raises(models.Diverged) as caught:
        watch.tell()
    assert (caught.value.step, caught.value.tensor) == ((7, expected) if expected else (8, "a"))
    watch.tell()  # once told, it is over
