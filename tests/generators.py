"""The table of small generators that the tests of the engine, the spectra and the exports share."""

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfjc import architectures


@dataclasses.dataclass(frozen=True)
class Case:
    """A generator: `make(dtype policy)` gives z → x; `exact(generator, z)` its Jacobian in closed form."""

    name: str
    n_z: int
    make: Callable
    exact: Callable | None = None

    def shared(self, policy="float32"):
        """One generator for all tests of a process that change none of its weights: it is traced once."""
        return _shared(self.make, policy)


@functools.cache
def _shared(make, policy):
    return make(policy)


def latents(case, count=3, dtype="float32"):
    return tf.cast(tf.random.stateless_normal([count, case.n_z], [7, 7], dtype=tf.float64), dtype)


def with_statistics(network):
    """Gives batch normalisation moving statistics and scales other than those it starts with."""
    random = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = (np.shape(w) for w in layer.get_weights())
            layer.set_weights(
                [
                    random.uniform(0.5, 1.5, gamma),
                    random.normal(0, 0.1, beta),
                    random.normal(0, 0.01, mean),
                    random.uniform(0.01, 0.02, variance),
                ]
            )
    return network


def _policy(function):
    """Builds under a dtype policy, and puts the old one back."""

    def make(policy="float32"):
        before = keras.config.dtype_policy()
        keras.config.set_floatx("float64" if policy == "float64" else "float32")  # the dtype of keras.Input
        keras.config.set_dtype_policy(policy)
        try:
            return function()
        finally:
            keras.config.set_floatx("float32")
            keras.config.set_dtype_policy(before)

    return make


def _weights(rows, columns):
    return np.random.default_rng(rows * columns).normal(size=(rows, columns)) / np.sqrt(columns)


def _linear():
    layer = keras.layers.Dense(12, use_bias=False)
    layer.build([None, 5])
    layer.set_weights([_weights(5, 12)])
    return keras.Sequential([keras.Input([5]), layer])


def _linear_exact(generator, z):
    return np.broadcast_to(generator.get_weights()[0].T, [len(z), 12, 5])


def _mlp():
    hidden, last = keras.layers.Dense(16, activation="tanh"), keras.layers.Dense(9)
    network = keras.Sequential([keras.Input([4]), hidden, last])
    hidden.set_weights([_weights(4, 16), np.linspace(-1, 1, 16)])
    last.set_weights([_weights(16, 9), np.zeros(9)])
    return network


def _mlp_exact(generator, z):
    first, bias, last, _ = (np.asarray(w, np.float64) for w in generator.get_weights())
    slope = 1.0 - np.tanh(np.asarray(z, np.float64) @ first + bias) ** 2
    return np.einsum("hx,bh,zh->bxz", last, slope, first)


def _dcgan(batch_norm):
    return with_statistics(architectures.dcgan((8, 8, 2), n_z=6, channels=4, batch_norm=batch_norm).generator)


def _conditional():
    z, label = keras.Input([4]), keras.Input([], dtype="int32")
    embedded = keras.layers.Embedding(3, 4)(label)
    x = keras.layers.Dense(10, activation="tanh")(keras.layers.Multiply()([z, embedded + 1.0]))
    network = keras.Model([z, label], keras.layers.Reshape([5, 2])(x))
    return lambda z: network([z, tf.fill([tf.shape(z)[0]], 2)])


CASES = [
    Case("linear", 5, _policy(_linear), _linear_exact),
    Case("mlp", 4, _policy(_mlp), _mlp_exact),
    Case("dcgan", 6, _policy(lambda: _dcgan(False))),
    Case("dcgan with batch normalisation", 6, _policy(lambda: _dcgan(True))),
    Case("conditional", 4, _policy(_conditional)),
]
