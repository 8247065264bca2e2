"""Every architecture and every layer does what all of them must: the table is in conformance.py."""

import functools
import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from conformance import ARCHITECTURES, LAYERS, functional, model_of

from tfjc import architectures, geometry, layers
from tfjc.saving import export

architecture = pytest.mark.parametrize("case", ARCHITECTURES, ids=lambda case: case.name)
# What depends on the kinds of layers alone: the networks without classes have those of sngan_resnet.
with_own_layers = pytest.mark.parametrize(
    "case", [case for case in ARCHITECTURES if case.name != "wgangp_resnet without classes"], ids=lambda case: case.name
)
layer = pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)
COUNT = 8


@functools.cache
def shared(case):
    """Networks of an architecture's first size, for tests that change none of their weights."""
    return case.make(case.shapes[0], 0)


def latents(networks):
    """(latents, labels in turn or None)."""
    labels = None if networks.num_classes is None else tf.range(COUNT) % networks.num_classes
    return networks.prior.sample(COUNT, seed=[3, 3]), labels


def images(case, shape):
    return np.random.default_rng(0).uniform(-0.9, 0.9, (COUNT, *shape)).astype(np.float32)


def test_the_table_misses_no_architecture():
    """What returns `Networks` is one: so its docstring or its name in the package says."""
    functions = {n for n in architectures.__all__ if inspect.isfunction(getattr(architectures, n))}
    assert {case.name.split(" ")[0] for case in ARCHITECTURES} == functions - {"prior_of", "standard_normal"}


def test_the_table_misses_no_layer():
    classes = {name for name in layers.__all__ if inspect.isclass(getattr(layers, name))}
    assert {case.name.split(" ")[0] for case in LAYERS} == classes


@pytest.mark.parametrize("case, shape", [(case, shape) for case in ARCHITECTURES for shape in case.shapes])
def test_builds_at_each_size_with_images_in_range(case, shape):
    networks = shared(case) if shape == case.shapes[0] else case.make(shape, 0)
    z, labels = latents(networks)
    x = geometry.run(networks.generator, z, labels).numpy()
    assert x.shape == (COUNT, *shape)
    assert np.abs(x).max() <= case.output_range
    assert np.std(x, axis=0).max() > 1e-6  # it depends on z: 4 channels of N(0, 0.02) weights do, a little


@architecture
def test_the_seed_decides_the_weights(case):
    first, again, other = shared(case), *(case.make(case.shapes[0], seed) for seed in (0, 1))
    for network in ("generator", "critic"):
        values = [
            np.concatenate([np.ravel(w) for w in getattr(n, network).get_weights()]) for n in (first, again, other)
        ]
        np.testing.assert_array_equal(values[0], values[1])
        assert not np.array_equal(values[0], values[2])


@architecture
def test_a_training_step_lowers_a_players_own_loss_on_its_batch(case):
    """Gradient descent of one player alone, and the same noise again: the step count is put back."""
    networks, model = model_of(case, case.shapes[0])
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0), jit_compile=False)
    real, (_, labels) = tf.constant(images(case, case.shapes[0])), latents(networks)
    data = real if labels is None else (real, labels)

    def loss(player):
        for metric in model.metrics:
            metric.reset_state()
        model.step.assign(0)
        logs = model.train_step(data)
        own = f"{player}_loss" if f"{player}_loss" in logs else "generator_loss"  # a VAE's networks share theirs
        names = (own, f"{player}_penalty")
        weights = dict(zip(("critic", "generator"), getattr(model, "class_weights", None) or (0, 0), strict=True))
        classes = weights[player] * float(logs.get(f"{player}_class_loss", 0.0))
        return sum(float(logs.get(name, 0.0)) for name in names) + classes

    for layer in networks.critic._flatten_layers():
        if isinstance(layer, layers.SpectralNormalization):  # σ(W) is exact, and the same in all steps
            layer.u.assign(np.linalg.svd(layers.kernel_matrix(layer))[0][:, 0])
    for player, optimizer in (("generator", model.generator_optimizer), ("critic", model.critic_optimizer)):
        optimizer.learning_rate = 1e-4
        before = loss(player)
        assert loss(player) < before, player
        optimizer.learning_rate = 0.0


@with_own_layers
def test_a_checkpoint_brings_all_back(case, tmp_path):
    networks, model = model_of(case, case.shapes[0])
    real, (_, labels) = tf.constant(images(case, case.shapes[0])), latents(networks)
    data = real if labels is None else (real, labels)
    model.train_step(data)
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    _, other = model_of(case, case.shapes[0], seed=1)
    other.seed = 0
    tf.train.Checkpoint(model=other).read(path).assert_consumed()
    for one in (model, other):
        one.train_step(data)
    for mine, its in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(mine, its)


@with_own_layers
def test_an_export_makes_the_same_images_and_metric_tensors(case, tmp_path):
    """And the metric tensor is symmetric and positive semi-definite."""
    networks = shared(case)
    z, labels = latents(networks)
    expected = geometry.metric_tensor(networks.generator, z, labels=labels)
    path = export.export_generator(
        networks.generator, tmp_path / "saved_model", prior=networks.prior, num_classes=networks.num_classes
    )
    loaded = export.load_generator(path)
    conditions = [] if labels is None else [labels]
    np.testing.assert_allclose(loaded(z, *conditions), geometry.run(networks.generator, z, labels), atol=1e-6)
    assert loaded.sample(3, 1).shape == (3, *case.shapes[0])
    exported = loaded.metric_tensor(z, *conditions).numpy()
    np.testing.assert_allclose(exported, expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(exported, np.swapaxes(exported, 1, 2), atol=1e-12 * np.abs(exported).max())
    eigenvalues = np.linalg.eigvalsh(exported)
    assert (eigenvalues >= -1e-12 * eigenvalues[:, -1:]).all()


@architecture
@pytest.mark.parametrize("network", ["generator", "critic"])
def test_networks_can_be_made_again_of_their_configuration(case, network):
    """As run directories and .keras files do it: by JSON, with the weights set afterwards."""
    original = getattr(shared(case), network)
    again = keras.models.model_from_json(original.to_json())
    again.set_weights(original.get_weights())
    arrays = [np.ones((2, *t.shape[1:]), t.dtype) for t in original.inputs]
    arguments = arrays if len(arrays) > 1 else arrays[0]
    for one, other in zip(tf.nest.flatten(original(arguments)), tf.nest.flatten(again(arguments)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert json.loads(again.to_json())["config"]["layers"] == json.loads(original.to_json())["config"]["layers"]


@layer
def test_layers_come_back_from_a_file(case, tmp_path):
    model, arrays = functional(case)
    model(arrays, training=True)  # moves what moves in training
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model(arrays), again(arrays))
    first, second = (json.dumps(m.layers[-1].get_config()) for m in (model, again))  # JSON has no tuples
    assert first == second


@layer
def test_layers_are_still_in_inference(case):
    model, arrays = functional(case)
    before = [np.array(v) for v in model.variables]
    first, second = model(arrays, training=False), model(arrays, training=False)
    np.testing.assert_array_equal(first, second)
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(value, variable)


@layer
@pytest.mark.parametrize("training", [True, False])
def test_layers_do_the_same_in_a_graph_and_under_xla(case, training):
    model, arrays = functional(case)
    state = model.get_weights()
    expected = model(arrays, training=training)
    for xla in (False, True):
        model.set_weights(state)
        compiled = tf.function(lambda *a: model(*a, training=training), jit_compile=xla)
        np.testing.assert_allclose(compiled(arrays), expected, atol=1e-5)


@layer
def test_gradients_pass_through_layers(case):
    """Of the first order to each weight that is trained, and of the second to the input."""
    model, arrays = functional(case)
    tensors = [tf.constant(a) for a in (arrays if isinstance(arrays, list) else [arrays])]
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(tensors[0])
            y = tf.reduce_sum(model(tensors if len(tensors) > 1 else tensors[0], training=True) ** 3)
        slope = tf.reduce_sum(inner.gradient(y, tensors[0]) ** 2)
    for gradient in outer.gradient(slope, model.trainable_variables):
        assert gradient is not None
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()
