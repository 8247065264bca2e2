"""Modules of TensorFlow 1, as TF-Hub has them, and SavedModels of several graphs and inputs."""

import types
import warnings

import numpy as np
import pytest
import tensorflow as tf
from hub_modules import E, W, biggan, v1, written

from tfjc import geometry
from tfjc.runs import commands
from tfjc.saving import loading

Z = tf.random.stateless_normal([3, 4], [1, 1])


def exact(z, labels, truncation):
    """(x, J) of `biggan` before it is upsampled."""
    waves = truncation * (np.asarray(z) + E[labels]) @ W
    return np.sin(waves), truncation * np.cos(waves)[:, :, None] * W.T


def upsampled(x):
    """[B, 12, ...] → [B, 48, ...]: each pixel four times."""
    grid = x.reshape(len(x), 2, 2, 3, *x.shape[2:])
    return grid.repeat(2, axis=1).repeat(2, axis=2).reshape(len(x), 48, *x.shape[2:])


@pytest.mark.parametrize("integer, truncation", [(False, 0.5), (True, 1)])
def test_a_module_with_the_interface_of_biggan(tmp_path, integer, truncation):
    path = written(tmp_path / "m", biggan(integer), [[], ["train"]])
    found = loading.load_any(path, constants={"truncation": truncation})
    assert (found.n_z, found.labels.name, loading.num_classes(found)) == (4, "y", None if integer else 3)
    labels = loading.draw_labels(found, 3, classes=3, label=2)
    x, j = exact(Z, 2, truncation)
    np.testing.assert_allclose(tf.reshape(found.generate(Z, labels), [3, -1]), upsampled(x), rtol=1e-5, atol=1e-6)
    with warnings.catch_warnings(action="error", category=RuntimeWarning):  # no slower method
        jacobian = geometry.jacobian(found.generate, Z, labels=labels)
    np.testing.assert_allclose(jacobian, upsampled(j), rtol=1e-4, atol=1e-5)


def test_the_graph_is_chosen_by_its_tags(tmp_path):
    path = written(tmp_path / "m", biggan(), [[], ["train"]])
    x, again = (loading.load_any(path, tags=tags, constants={"truncation": 1.0}) for tags in ([], ["train"]))
    labels = tf.eye(3)
    np.testing.assert_array_equal(x.generate(Z, labels), -again.generate(Z, labels))
    with pytest.raises(ValueError, match="has 2 graphs: name one by its tags, --tags= or --tags=train"):
        loading.load_any(path, tags=["serve"])
    path = written(tmp_path / "served", biggan(), [["serve"], ["train"]])
    np.testing.assert_array_equal(
        loading.load_any(path, constants={"truncation": 1.0}).generate(Z, labels), x.generate(Z, labels)
    )
    path = written(tmp_path / "training", biggan(), [["gpu", "train"], ["train"]])
    with pytest.raises(ValueError, match="has 2 graphs: name one by its tags, --tags=gpu,train or --tags=train"):
        loading.load_any(path)


def test_other_inputs_need_a_value_that_fits(tmp_path):
    path = written(tmp_path / "m", biggan(), [[]])
    with pytest.raises(ValueError, match=r"found truncation float32 \[\], y float32 .*--set=NAME=VALUE"):
        loading.load_any(path)
    with pytest.raises(ValueError, match="unknown input 'trunc'; nearest: truncation"):
        loading.load_any(path, constants={"trunc": 1.0})
    with pytest.raises(ValueError, match=r"constant \[1.0, 2.0\] does not fit the input truncation float32 \[\]"):
        loading.load_any(path, constants={"truncation": [1.0, 2.0]})
    with pytest.raises(ValueError, match="no input left for a latent"):
        loading.load_any(path, constants={"truncation": 1.0, "y": 0.0, "z": 0.0})
    unlabelled = loading.load_any(path, constants={"truncation": 1.0, "y": [0.0, 1.0, 0.0]})
    assert unlabelled.labels is None
    np.testing.assert_allclose(
        tf.reshape(unlabelled.generate(Z), [3, -1]), upsampled(exact(Z, 1, 1.0)[0]), rtol=1e-5, atol=1e-6
    )


def scalars(training):
    """Inputs of other types: x = scale · z where `on`, else 0, plus `times` and a fixed vector."""
    z, scale = v1.placeholder(tf.float32, [None, 4], "z"), v1.placeholder(tf.float32, [None, 1], "scale")
    on, times = v1.placeholder(tf.bool, [], "on"), v1.placeholder(tf.int32, [], "times")
    offset = v1.placeholder(tf.float32, [4], "offset")
    x = tf.where(on, z * scale * v1.get_variable("one", initializer=1.0), 0.0) * tf.cast(times, tf.float32) + offset
    return {"z": z, "scale": scale, "on": on, "times": times, "offset": offset}, {"default": x, "extra": z}


def test_constants_of_every_shape_and_type(tmp_path):
    path = written(tmp_path / "m", scalars, [[]], signature="generate")
    constants = {"scale": 2.0, "on": True, "times": 3, "offset": [1.0, 2.0, 3.0, 4.0]}
    np.testing.assert_allclose(loading.load_any(path, constants=constants).generate(Z), 6 * Z + [1, 2, 3, 4], rtol=1e-6)
    for wrong in ({"times": 2.5}, {"on": 3}, {"offset": [1.0, 2.0]}):
        with pytest.raises(ValueError, match=f"does not fit the input {next(iter(wrong))}"):
            loading.load_any(path, constants=constants | wrong)


def progan(training):
    """ProGAN's interface: one latent, which the generator normalises."""
    z, w = v1.placeholder(tf.float32, [None, 4], "latent_vector"), v1.get_variable("w", initializer=W)
    return {"latent_vector": z}, {"default": tf.reshape(tf.math.l2_normalize(z, axis=1) @ w, [-1, 2, 2, 3])}


def test_flags_give_tags_and_values(tmp_path):
    names = "step seed signature latent labels latent_shape labels_at num_classes label trust prior tags constants"
    given = {"tags": ["train"], "constants": ["truncation=0.5"], "prior": "normal", "seed": 0, "label": 1}
    named = types.SimpleNamespace(**{name: types.SimpleNamespace(value=given.get(name)) for name in names.split()})
    path = written(tmp_path / "m", biggan(), [[], ["train"]])
    loaded, z, labels = commands.load_with_latents(named, str(path), 3)
    np.testing.assert_array_equal(labels, tf.one_hot([1, 1, 1], 3))
    np.testing.assert_allclose(
        tf.reshape(loaded.generate(z, labels), [3, -1]), -upsampled(exact(z, 1, 0.5)[0]), rtol=1e-5, atol=1e-6
    )
    assert commands.about_latents(named, loaded)["set"] == {"truncation": 0.5}


def test_two_values_of_one_input_are_refused():
    with pytest.raises(ValueError, match=r"--set gives truncation two values, 0\.5 and 0\.7"):
        commands._constants(["truncation=0.5", "truncation=0.7"])


def test_a_module_of_one_latent(tmp_path):
    found = loading.load_any(written(tmp_path / "m", progan, [[]]))
    expected = tf.reshape(tf.math.l2_normalize(Z, axis=1) @ W, [3, 2, 2, 3])
    np.testing.assert_allclose(found.generate(Z), expected, rtol=1e-5)


def test_what_is_no_constant_no_shape_and_one_tag(tmp_path):
    path = written(tmp_path / "m", biggan(), [[], ["train"]])
    for wrong in ("a", None, np.nan, 1e39, 10**400, [[1.0], [1.0, 2.0]]):
        with pytest.raises(
            ValueError, match=r"does not fit the input truncation float32 \[\]: expected finite numbers"
        ):
            loading.load_any(path, constants={"truncation": wrong})
    for wrong in (4, "4", (-1,), (4.0,), (0,)):
        with pytest.raises(ValueError, match="latent_shape must be"):
            loading.load_any(path, constants={"truncation": 1.0}, latent_shape=wrong)
    one, same = (loading.load_any(path, tags=tags, constants={"truncation": 1.0}) for tags in ("train", ["train"]))
    np.testing.assert_array_equal(one.generate(Z, tf.eye(3)), same.generate(Z, tf.eye(3)))
