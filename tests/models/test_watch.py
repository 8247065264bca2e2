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
        self.calls, self.at, self.mode = (
            self.add_weight(shape=(), initializer=keras.initializers.Constant(value), trainable=False, name=name)
            for name, value in (("calls", 0.0), ("at", at), ("mode", mode))
        )

    def call(self, x, training=False):
        if not training:
            return x
        self.calls.assign_add(1.0)
        return spoilt(x, tf.where(self.calls >= self.at, self.mode, 0.0))

    def restart(self, at, mode):
        """Spoils what passes from call `at` on, counted from now."""
        for variable, value in ((self.calls, 0.0), (self.at, at), (self.mode, mode)):
            variable.assign(value)


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


def fitted(model, at, mode, **options):
    """(step, tensor) at which `fit` raises; the generator is spoilt at its call `at`. Only the step moves on."""
    optimizers = [model.generator_optimizer, getattr(model, "critic_optimizer", None)]
    state = [v for owner in (model.trainable_variables, *(o.variables for o in optimizers if o)) for v in owner]
    before = [v.numpy() for v in state]
    model.step.assign(0)
    next(layer for layer in model.generator.layers if isinstance(layer, Spoiler)).restart(at, mode)
    with pytest.raises(models.Diverged, match=r"training diverged at step \d+: .* is not finite") as caught:
        model.fit(IMAGES, batch_size=8, epochs=2, verbose=0, **options)
    for variable, value in zip(state, before, strict=True):
        variable.assign(value)
    return caught.value.step, caught.value.tensor


@pytest.mark.parametrize(
    "options", [{}, {"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 4}], ids=str
)
def test_a_step_that_is_not_finite_is_the_last(options):
    """Each step calls the generator twice: call 9 is the critic's in step 5, call 10 the generator's own."""
    model = gan(**options)
    assert fitted(model, 9, FORWARD) == (5, "critic_loss")
    assert fitted(model, 10, FORWARD) == (5, "generator_loss")
    seen = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    assert fitted(model, 10, BACKWARD, callbacks=[watch]) == (5, "gradient of generator/first/kernel")
    assert seen == ([3] if "steps_per_execution" in options else [0, 1, 2, 3])  # no callback sees what is not finite
    assert int(model.step.numpy()) == (8 if "steps_per_execution" in options else 5)


def test_weights_that_overflow_by_finite_gradients_are_named():
    """Gradients of some thousands, times a rate of 1e38."""
    model = gan(optimizer=keras.optimizers.SGD(1e38))
    model.critic.trainable_variables[0].assign(tf.fill([4, 1], 1e4))
    assert fitted(model, 99, FORWARD) == (1, "weight generator/first/kernel")


GRADIENT = "gradient of generator/first/kernel"


@pytest.mark.parametrize(
    "make, expected",
    [
        (
            lambda: models.VAE(*networks(outputs=2), likelihood="gaussian", sigma=1.0),
            {(3, FORWARD): "generator_loss", (3, BACKWARD): GRADIENT},
        ),
        (
            lambda: models.Memoriser(networks()[0], pairs=40),
            {(3, FORWARD): "generator_loss", (3, BACKWARD): GRADIENT},
        ),
        (lambda: models.DampedGAN(*networks()), {(5, FORWARD): "critic_loss"}),
        (lambda: models.GAN(*networks(), d_steps=2), {(7, BACKWARD): GRADIENT}),
    ],
)
def test_every_model_is_watched(make, expected):
    """Critic updates do not differentiate the generator: calls 7 and 8 are theirs in step 3, call 9 its own."""
    model = make()
    for (at, mode), tensor in expected.items():
        assert fitted(model, at, mode) == (3, tensor)


def test_training_goes_on_after_what_was_not_finite_has_been_put_right():
    model = gan()
    fitted(model, 10, BACKWARD)
    model.generator.layers[2].restart(99, BACKWARD)
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
