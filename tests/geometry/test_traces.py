"""Traces of a generator are kept exactly as long as its Python state stays the same."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc import architectures, layers
from tfjc.geometry import Frozen, _engine, jacobian

Z = tf.random.stateless_normal([2, 3], [1, 1])


class Scaled(keras.Layer):
    """x·alpha, as a layer that fades in."""

    alpha = 1.0

    def call(self, x):
        return x * self.alpha


def _sequential(*layers):
    return keras.Sequential([keras.Input([3]), *layers])


def _fade_in():
    layer = Scaled()
    return _sequential(layer), lambda: setattr(layer, "alpha", 3.0)


def _fade_in_of_a_nested_model():
    layer = Scaled()
    return _sequential(_sequential(layer)), lambda: setattr(layer, "alpha", 3.0)


def _fade_in_of_a_wrapped_layer():
    layer = Scaled()
    wrapped = keras.layers.TimeDistributed(layer)
    reshape, flatten = keras.layers.Reshape([3, 1]), keras.layers.Flatten()
    return _sequential(reshape, wrapped, flatten), lambda: setattr(layer, "alpha", 3.0)


def _closure_of_a_lambda():
    alpha = [1.0]
    return _sequential(keras.layers.Lambda(lambda x: x * alpha[0])), lambda: alpha.__setitem__(0, 3.0)


def _closure_of_an_activation():
    alpha = [1.0]
    activation = keras.layers.Activation(lambda x: x * alpha[0])
    return _sequential(activation), lambda: alpha.__setitem__(0, 3.0)


def _arguments_of_a_lambda():
    layer = keras.layers.Lambda(tf.multiply, arguments={"y": 1.0})
    return _sequential(layer), lambda: layer.arguments.update({"y": 3.0})


def _activation_of_kerass_own():
    layer = keras.layers.Activation("linear")

    def change():
        layer.activation = keras.activations.exponential

    return _sequential(layer), change


def _slope_of_kerass_own():
    layer = keras.layers.LeakyReLU(0.1)
    return _sequential(layer), lambda: setattr(layer, "negative_slope", 0.5)


def _another_kernel():
    layer = keras.layers.Dense(2, use_bias=False)
    model = _sequential(layer)

    def change():
        vars(layer)["_kernel"] = keras.Variable(3.0 * layer.kernel.numpy())

    return model, change


def _array_in_the_graph():
    z, factors = keras.Input([3]), np.ones([1, 3], "float32")
    return keras.Model(z, z * factors), lambda: factors.fill(3.0)


def _method_of_one_object():
    layer = keras.layers.Activation("linear")

    def change():
        layer.call = lambda x: 3.0 * x

    return _sequential(layer), change


STATES = [
    _fade_in,
    _fade_in_of_a_nested_model,
    _fade_in_of_a_wrapped_layer,
    _closure_of_a_lambda,
    _closure_of_an_activation,
    _arguments_of_a_lambda,
    _activation_of_kerass_own,
    _slope_of_kerass_own,
    _another_kernel,
    _array_in_the_graph,
    _method_of_one_object,
]


@pytest.mark.parametrize("make", STATES, ids=lambda make: make.__name__.strip("_"))
def test_python_state_of_a_model_that_changes_is_seen(make):
    """J follows the model: it equals central differences of the model's output, before and after."""
    model, change = make()
    before = _differences(model)
    np.testing.assert_allclose(jacobian(model, Z), before, atol=2e-3)
    change()
    after = _differences(model)
    assert np.abs(after - before).max() > 0.1
    np.testing.assert_allclose(jacobian(model, Z), after, atol=2e-3)


def _differences(model, step=1e-2):
    """(G(z + he_j) − G(z − he_j))/2h: its error is h²/6·max|G'''| < 1e-3 here."""
    moved = [(model(Z + step * e) - model(Z - step * e)) / (2 * step) for e in tf.eye(3)]
    return np.stack([np.reshape(column, [2, -1]) for column in moved], axis=-1)


KEPT = {
    "dcgan": lambda: architectures.dcgan((8, 8, 1), n_z=3, channels=2).generator,
    "spectral": lambda: _sequential(layers.SpectralNormalization(keras.layers.Dense(4)), layers.LeakyReLU(0.2)),
    "recurrent": lambda: _sequential(keras.layers.Reshape([3, 1]), keras.layers.SimpleRNN(2, unroll=True)),
    "normalised": lambda: _sequential(
        keras.layers.Dense(4, "gelu"), keras.layers.LayerNormalization(), keras.layers.Dropout(0.5)
    ),
    "operations": lambda: (lambda z: keras.Model(z, keras.ops.sin(2.0 * z)))(keras.Input([3])),
    "frozen": lambda: type("Sine", (Frozen,), {"__call__": lambda self, z: tf.sin(z)})(),
}


@pytest.mark.parametrize("name", KEPT)
def test_models_of_keras_and_of_this_package_are_traced_once(name, monkeypatch):
    """A callback that measures at every interval traces at its first measurement alone, whatever training changes."""
    model, traced = KEPT[name](), []
    pullback = _engine.METHODS["pullback"]
    monkeypatch.setitem(_engine.METHODS, "pullback", lambda *a: traced.append(1) or pullback(*a))
    jacobian(model, Z)
    assert len(traced) == 1
    for _ in range(3):
        for weight in getattr(model, "trainable_weights", ()):
            weight.assign(0.9 * weight)
        if isinstance(model, keras.Model):
            model(Z, training=True)
        jacobian(model, Z)
    assert len(traced) == 1
