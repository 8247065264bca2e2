"""The gradients that the engine supplies to TensorFlow while it traces."""

import threading
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from tfjc.jacobian import _gradients, jacobian, operator

Z = tf.random.stateless_normal([2, 8], [1, 1])


def _up(**options):
    return keras.Sequential(
        [keras.Input([8]), keras.layers.Reshape([2, 2, 2]), keras.layers.UpSampling2D((2, 3), **options)]
    )


LINEAR = {
    "nearest": lambda: _up(),
    "bilinear": lambda: _up(interpolation="bilinear"),
    "bicubic": lambda: _up(interpolation="bicubic"),
    "lanczos3": lambda: _up(interpolation="lanczos3"),
    "half-pixel bilinear": lambda: lambda z: tf.image.resize(tf.reshape(z, [-1, 2, 2, 2]), [5, 3]),
    "antialiased": lambda: lambda z: tf.image.resize(tf.reshape(z, [-1, 2, 4, 1]), [3, 3], antialias=True),
    "align_corners": lambda: (
        lambda z: tf.compat.v1.image.resize_bilinear(tf.reshape(z, [-1, 2, 2, 2]), [5, 3], align_corners=True)
    ),
    "tile": lambda: lambda z: tf.tile(tf.reshape(z, [-1, 2, 4]), [1, 3, 2]),
    "repeat": lambda: lambda z: tf.repeat(z, 3, axis=1),
}


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("chunk", [None, 3])
def test_resizing_is_differentiated_by_the_pullback(name, chunk):
    """Linear maps: J is what they make of the unit vectors; and no warning, so no slower method was taken."""
    generator = LINEAR[name]()
    expected = tf.reshape(generator(tf.eye(8)), [8, -1]).numpy().T
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = jacobian(generator, Z, chunk=chunk)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-6)
    np.testing.assert_allclose(operator(generator, Z).matvec(Z), Z @ expected.T, atol=1e-5)


def test_tensorflows_own_gradients_are_back_afterwards():
    registry = ops._gradient_registry
    before = {name: registry.lookup(name) for name in _gradients._GRADIENTS}
    with _gradients.completed():
        assert all(registry.lookup(name) is not gradient for name, gradient in before.items())
        with _gradients.completed():
            pass
        assert all(registry.lookup(name) is not gradient for name, gradient in before.items())
    with pytest.raises(RuntimeError), _gradients.completed():
        raise RuntimeError
    assert {name: registry.lookup(name) for name in _gradients._GRADIENTS} == before


def test_what_is_held_twice_is_let_go_last():
    """A penalty's context, for resizing alone, may begin or end within the engine's."""
    registry = ops._gradient_registry
    before = {name: registry.lookup(name) for name in ("Tile", "ResizeBilinear")}
    engine, penalty = _gradients.completed(), _gradients.differentiable_resizing()

    def replaced():
        return {name for name, gradient in before.items() if registry.lookup(name) is not gradient}

    penalty.__enter__()
    assert replaced() == {"ResizeBilinear"}
    engine.__enter__()
    penalty.__exit__(None, None, None)
    assert replaced() == {"Tile", "ResizeBilinear"}
    engine.__exit__(None, None, None)
    assert replaced() == set()


def test_two_threads_leave_them_back_too():
    before = ops._gradient_registry.lookup("Tile")
    first, second = threading.Event(), threading.Event()

    def hold():
        with _gradients.completed():
            first.set()
            second.wait(10)

    thread = threading.Thread(target=hold)
    with _gradients.completed():
        thread.start()
        first.wait(10)
    second.set()
    thread.join()
    assert ops._gradient_registry.lookup("Tile") is before


def test_another_registry_is_left_alone(monkeypatch):
    """Should TensorFlow change inside, the engine goes without, and falls back where it must."""
    monkeypatch.delattr(ops, "_gradient_registry")
    with _gradients.completed():
        pass


@pytest.mark.parametrize("multiples", [[1, 3, 2], [1, 1, 1], [2, 1, 3]])
def test_the_gradient_of_tile_sums_the_copies(multiples):
    """⟨tile(x), u⟩ = ⟨x, adjoint(u)⟩ for any u."""
    x = tf.random.stateless_normal([2, 4, 3], [1, 2])

    @tf.function
    def gradient(x, u):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.tile(x, multiples)
        return tape.gradient(y, x, output_gradients=u)

    u = tf.random.stateless_normal(np.multiply([2, 4, 3], multiples), [3, 4])
    with _gradients.completed():
        found = gradient(x, u)
    expected = sum(u[i * 2 : i * 2 + 2, j * 4 : j * 4 + 4, k * 3 : k * 3 + 3] for i, j, k in np.ndindex(*multiples))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("colours", [1, 3, 5])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2, (1, 2)])
def test_transposed_convolutions_of_any_kind_keep_their_jacobian(colours, padding, stride):
    """Linear but for a bias: J is what the map makes of the unit vectors, less what it makes of 0."""
    last = keras.layers.Conv2DTranspose(colours, 5, stride, padding=padding)
    generator = keras.Sequential([keras.Input([8]), keras.layers.Reshape([2, 2, 2]), last])
    expected = tf.reshape(generator(tf.eye(8)) - generator(tf.zeros([1, 8])), [8, -1]).numpy().T
    found = jacobian(generator, Z)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "sigmoid", "tanh", "elu", "selu", "gelu", "swish"])
def test_activations_have_their_slopes_on_the_diagonal(activation):
    function = keras.activations.get(activation)
    z = tf.random.stateless_normal([2, 8], [1, 1], dtype=tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(z)
        x = function(z)
    found = jacobian(lambda z: function(z), z)
    np.testing.assert_allclose(found, tf.linalg.diag(tape.gradient(x, z)), rtol=1e-12, atol=1e-14)
