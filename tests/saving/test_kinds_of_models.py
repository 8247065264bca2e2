"""The table of docs/guide.md: kinds of generators, each made as its users make it, and what they get."""

import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from conftest import ROOT
from hub_modules import v1, written

from tfjc import geometry
from tfjc.saving import loading

Z = tf.random.stateless_normal([3, 4], [1, 1])
KERNEL = np.random.default_rng(0).normal(size=(4, 12)).astype("float32")


def upsampled(library):
    """x = W·z as an image [2, 2, 3], and each pixel four times: σ of J is 2σ(W)."""
    layers = library.layers
    model = library.Sequential(
        [layers.Dense(12, use_bias=False), layers.Reshape([2, 2, 3]), layers.Resizing(4, 4, interpolation="nearest")]
    )
    model.build([None, 4])
    model.set_weights([KERNEL])
    return model


def drawn(z, kernel):
    """The same as a function."""
    return tf.image.resize(tf.reshape(z @ kernel, [-1, 2, 2, 3]), [4, 4], "nearest")


class Plain(tf.Module):
    """The same as a module of TensorFlow."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable(KERNEL)

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="z")])
    def generate(self, z):
        return drawn(z, self.w)


class Own(keras.Model):
    """The same as a subclassed model of Keras."""

    def __init__(self):
        super().__init__()
        self.inner = upsampled(keras)

    def call(self, z):
        return self.inner(z)


def module(training):
    """The same as a module of TF-Hub."""
    z = v1.placeholder(tf.float32, [None, 4], "z")
    x = tf.reshape(z @ v1.get_variable("w", initializer=KERNEL), [-1, 2, 2, 3])
    return {"z": z}, {"default": v1.image.resize_nearest_neighbor(x, [4, 4])}


def save(model, path):
    model.save(path)
    return path


def export(path):
    upsampled(keras).export(path, verbose=False)
    return path


def save_module(path):
    plain = Plain()
    tf.saved_model.save(plain, path, signatures=plain.generate)
    return path


FILES = {
    "Keras 3 `.keras`": lambda path: save(upsampled(keras), path / "g.keras"),
    "Keras 3 `.h5`": lambda path: save(upsampled(keras), path / "g.h5"),
    "Keras 2 `.keras`": lambda path: save(upsampled(tf_keras), path / "g.keras"),
    "Keras 2 `.h5`": lambda path: save(upsampled(tf_keras), path / "g.h5"),
    "SavedModel of `model.export`": lambda path: export(path / "m"),
    "SavedModel of `tf.saved_model.save`": lambda path: save_module(path / "m"),
    "TF-Hub module, one latent": lambda path: written(path / "m", module, [[], ["train"]]),
}
OBJECTS = {
    "Keras 3 model": lambda: upsampled(keras),
    "Keras 2 model (tf_keras)": lambda: upsampled(tf_keras),
    "subclassed model": Own,
    "function": lambda: lambda z: drawn(z, KERNEL),
}
ELSEWHERE = {
    "TF-Hub module like BigGAN": "test_hub.py",
    "weights alone": "test_keras_2_files.py",
    "run directory": "test_loading.py",
}


def check(generate):
    with warnings.catch_warnings(action="error", category=RuntimeWarning):  # no slower method
        values = geometry.spectrum(generate, Z).singular_values
    np.testing.assert_allclose(values, [2.0 * np.linalg.svd(KERNEL, compute_uv=False)] * 3, rtol=1e-5)


@pytest.mark.parametrize("kind", FILES)
def test_files(tmp_path, kind):
    found = loading.load_any(FILES[kind](tmp_path))
    assert (found.latent_shape, found.labels) == ((4,), None)
    check(found.generate)


@pytest.mark.parametrize("kind", OBJECTS)
def test_objects(kind):
    check(OBJECTS[kind]())


def test_the_guide_lists_these():
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    table = guide.partition("| kind | given as |")[2].partition("\n\n")[0]
    assert set(re.findall(r"(?m)^\| ([^|]+) \|", table)) == {*FILES, *OBJECTS, *ELSEWHERE}
    for name in ELSEWHERE.values():
        assert (ROOT / "tests" / "saving" / name).exists()
