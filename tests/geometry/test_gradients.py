"""The gradients that the engine supplies to TensorFlow while it traces."""

import functools
import threading
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from tfjc.geometry import _gradients, jacobian, operator, twice_differentiable

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
    "nearest by factors that are no integers": lambda: (
        lambda z: tf.image.resize(tf.reshape(z, [-1, 2, 2, 2]), [5, 3], method="nearest")
    ),
    "smaller nearest": lambda: lambda z: tf.image.resize(tf.reshape(z, [-1, 2, 4, 1]), [1, 3], method="nearest"),
    "nearest layer": lambda: keras.Sequential(
        [keras.Input([8]), keras.layers.Reshape([2, 2, 2]), keras.layers.Resizing(4, 8, "nearest")]
    ),
    "padded nearest layer": lambda: keras.Sequential(
        [
            keras.Input([8]),
            keras.layers.Reshape([2, 2, 2]),
            keras.layers.Resizing(3, 5, "nearest", pad_to_aspect_ratio=True),
        ]
    ),
    "align_corners": lambda: (
        lambda z: tf.compat.v1.image.resize_bilinear(tf.reshape(z, [-1, 2, 2, 2]), [5, 3], align_corners=True)
    ),
    "tile": lambda: lambda z: tf.tile(tf.reshape(z, [-1, 2, 4]), [1, 3, 2]),
    "repeat": lambda: lambda z: tf.repeat(z, 3, axis=1),
}


@pytest.mark.parametrize("name", LINEAR)
def test_resizing_is_differentiated_by_the_pullback(name):
    """Linear maps: J is what they make of the unit vectors; and no warning, so no slower method was taken."""
    generator = LINEAR[name]()
    expected = tf.reshape(generator(tf.eye(8)), [8, -1]).numpy().T
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        whole, chunked = jacobian(generator, Z), jacobian(generator, Z[:2], chunk=3)
    np.testing.assert_allclose(whole, np.broadcast_to(expected, whole.shape), atol=1e-6)
    np.testing.assert_allclose(chunked, whole[:2], atol=1e-6)
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
    engine, penalty = _gradients.completed(), _gradients.twice_differentiable()

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


def _image(function):
    return lambda z: function(tf.reshape(z, [-1, 2, 2, 2]))


def _resized(operation, size, **options):
    return _image(lambda x: getattr(tf.raw_ops, operation)(images=x, size=size, **options))


def _scaled(x):
    size, scale, translation = [3, 5], tf.constant([1.5, 2.5]), tf.zeros([2])
    return tf.raw_ops.ScaleAndTranslate(images=x, size=size, scale=scale, translation=translation)


def _convolved(x):
    kernel = tf.reshape(tf.cast(tf.range(18), x.dtype) / 9.0 - 1.0, [3, 3, 1, 2])
    return tf.nn.conv2d_transpose(x, kernel, [tf.shape(x)[0], 4, 4, 1], 2)


NEAREST = {
    f"nearest {size} {corners} {half}": _resized(
        "ResizeNearestNeighbor", size, align_corners=corners, half_pixel_centers=half
    )
    for size in ([4, 8], [6, 3], [1, 5])
    for corners, half in ((False, False), (True, False), (False, True))
}
OWN = NEAREST | {
    "bilinear": _resized("ResizeBilinear", [3, 4]),
    "bicubic": _resized("ResizeBicubic", [3, 4]),
    "scaled": _image(_scaled),
    "tile": lambda z: tf.tile(z, [1, 3]),
    "softsign": tf.nn.softsign,
    "relu": tf.nn.relu,
    "leaky relu": tf.nn.leaky_relu,
    "sigmoid": tf.sigmoid,
    "tanh": tf.tanh,
    "one colour": _image(_convolved),
}
UNKNOWN_TO_XLA = ("bicubic", "scaled")  # TensorFlow does not compile these operations themselves
IN_FLOAT32 = ("bilinear", "bicubic", "scaled")  # and computes the results of these in float32, whatever it is given


def _slope(function, z):
    """∇_z Σ w·f(tanh z)², whose own derivative goes through that of the gradient of f by its upstream and its input."""
    with _gradients.completed(), tf.GradientTape() as tape:
        tape.watch(z)
        x = tf.cast(function(tf.tanh(z)), z.dtype)
        weights = tf.cast(tf.range(1, tf.size(x) + 1), z.dtype) / tf.cast(tf.size(x), z.dtype)
        y = tf.reduce_sum(tf.reshape(weights, tf.shape(x)) * tf.square(x))
        return tape.gradient(y, z)


def _curvature(function, z, v):
    """The derivative of `_slope` along v, by reverse accumulation over both."""
    with _gradients.completed(), tf.GradientTape() as tape:
        tape.watch(z)
        along = tf.reduce_sum(v * _slope(function, z))
        return tape.gradient(along, z)


@pytest.mark.parametrize("way", ["eager", "graph", "XLA"])
@pytest.mark.parametrize("name", OWN)
def test_second_derivatives_equal_differences_of_the_first(name, way):
    """The Hessian is symmetric: its product with v equals (∇(z + hv) − ∇(z − hv))/2h."""
    if way == "XLA" and name in UNKNOWN_TO_XLA:
        pytest.skip("TensorFlow has no such operation under XLA")
    z, v = (tf.random.stateless_normal([2, 8], [1, seed], dtype=tf.float64) for seed in (1, 2))
    h, bound = (1e-2, 1e-3) if name in IN_FLOAT32 else (1e-6, 1e-7)
    expected = (_slope(OWN[name], z + h * v) - _slope(OWN[name], z - h * v)) / (2 * h)
    curvature = functools.partial(_curvature, OWN[name])
    if way != "eager":
        curvature = tf.function(curvature, jit_compile=way == "XLA")
    dtype = tf.float32 if way == "XLA" and name in IN_FLOAT32 else tf.float64
    found = curvature(tf.cast(z, dtype), tf.cast(v, dtype))
    np.testing.assert_allclose(found, expected, atol=bound * np.abs(expected).max())


@pytest.mark.parametrize("name", [*NEAREST, "softsign"])
def test_our_first_derivatives_are_tensorflows(name):
    z = tf.random.stateless_normal([2, 8], [1, 1], dtype=tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(z)
        x = OWN[name](z)
    u = tf.random.stateless_normal(tf.shape(x), [2, 2], dtype=tf.float64)
    theirs = tape.gradient(x, z, u)
    with _gradients.completed(), tf.GradientTape() as tape:
        tape.watch(z)
        x = OWN[name](z)
        ours = tape.gradient(x, z, u)
    np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    ("shape", "data_format"),
    [([4, 3], None), ([4, 5, 3], "NWC"), ([2, 4, 5, 3], "NHWC"), ([2, 3, 4, 5], "NCHW"), ([2, 3, 4, 5, 6], "NCDHW")],
)
def test_the_gradient_of_a_bias_is_tensorflows(shape, data_format):
    """∂L/∂b = Σ ∂L/∂y over all axes but the channels', and ∂L/∂x = ∂L/∂y, for dense layers and either layout."""
    x, u = (tf.random.stateless_normal(shape, [1, seed], dtype=tf.float64) for seed in (1, 2))
    bias = tf.constant([1.0, -2.0, 0.5], tf.float64)

    def gradients():
        with tf.GradientTape() as tape:
            tape.watch([x, bias])
            y = tf.nn.bias_add(x, bias, data_format)
            return tape.gradient(y, [x, bias], u)

    theirs = gradients()
    with twice_differentiable():
        ours = gradients()
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("name", ["nearest [4, 8] False True", "nearest [6, 3] True False", "softsign", "bilinear"])
@pytest.mark.parametrize("traced", [False, True])
def test_penalties_on_slopes_differentiate_what_tensorflow_cannot(name, traced):
    """∇_w of ‖∇_z Σ f(w·z)²‖², the kind of a gradient penalty: equal to central differences in w."""
    z = tf.random.stateless_normal([2, 8], [1, 1], dtype=tf.float64)

    def penalty(w):
        with twice_differentiable(), tf.GradientTape() as tape:
            tape.watch(z)
            slope = tape.gradient(tf.reduce_sum(tf.square(OWN[name](tf.sin(w * z)))), z)
        return tf.reduce_sum(tf.square(slope))

    def gradient(w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            value = penalty(w)
        return tape.gradient(value, w)

    w, h = tf.constant(1.2, tf.float64), 1e-2 if name == "bilinear" else 1e-5
    expected = (penalty(w + h) - penalty(w - h)) / (2 * h)
    found = (tf.function(gradient) if traced else gradient)(w)
    np.testing.assert_allclose(found, expected, rtol=2e-3 if name == "bilinear" else 1e-7)


@pytest.mark.parametrize("make", ["SavedModel", "tf_keras"])
def test_nearest_neighbours_in_models_of_other_kinds_take_the_pullback(make, tmp_path):
    """Functions of a SavedModel are differentiated within the engine as well, so our gradient is in them."""
    up = lambda x: tf.image.resize(tf.reshape(x, [-1, 2, 2, 2]), [4, 6], method="nearest")  # noqa: E731
    if make == "SavedModel":
        module = tf.Module()
        module.serve = tf.function(up, input_signature=[tf.TensorSpec([None, 8])])
        tf.saved_model.save(module, str(tmp_path))
        loaded = tf.saved_model.load(str(tmp_path))
        generator = lambda z: loaded.serve(z)  # noqa: E731
    else:
        import tf_keras

        layers = [tf_keras.layers.Reshape([2, 2, 2], input_shape=[8]), tf_keras.layers.UpSampling2D((2, 3))]
        generator = tf_keras.Sequential(layers)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = jacobian(generator, Z)
    expected = tf.transpose(tf.reshape(up(tf.eye(8)), [8, -1]))
    np.testing.assert_array_equal(found, np.broadcast_to(expected, found.shape))


@pytest.mark.parametrize("dtype", [tf.float64, tf.float16])
@pytest.mark.parametrize("method", ["bicubic", "lanczos3"])
def test_resizing_of_any_type_has_derivatives(dtype, method):
    """TensorFlow's adjoints of these know float32 alone, or 64 bits too: ours cast."""

    def generator(z):
        return tf.image.resize(tf.cast(tf.reshape(z, [-1, 2, 2, 2]), dtype), [3, 5], method=method)

    expected = tf.transpose(tf.reshape(generator(tf.eye(8)), [8, -1]))
    found = jacobian(generator, tf.cast(Z, tf.float64 if dtype == tf.float64 else tf.float32))
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=2e-3)
