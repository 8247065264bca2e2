"""Convolutions with fewer products: the numbers of Keras's layers, weights and derivatives included."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc import geometry, layers


def upsampled(size, **options):
    return keras.Sequential([keras.layers.UpSampling2D(dtype="float64"), keras.layers.Conv2D(5, size, **options)])


def pooled(size, **options):
    return keras.Sequential(
        [keras.layers.Conv2D(5, size, **options), keras.layers.AveragePooling2D(2, dtype="float64")]
    )


KINDS = {"up": (layers.UpsampledConv2D, upsampled), "pool": (layers.PooledConv2D, pooled)}


def same_weights(ours, theirs, shape):
    """Both built for images of `shape`, with random weights and biases."""
    random = np.random.default_rng(1)
    for layer in (ours, theirs):
        layer.build([None, *shape])
    ours.set_weights([random.normal(size=w.shape) for w in ours.weights])
    theirs.set_weights(ours.get_weights())


def assert_same(ours, theirs, shape):
    """Values, and the gradients of a function of them by images and weights, in float64."""
    same_weights(ours, theirs, shape)
    x = tf.constant(np.random.default_rng(2).normal(size=(3, *shape)))
    results = []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            loss = tf.reduce_sum(tf.sin(y))
        results.append([y, *tape.gradient(loss, [x, *layer.trainable_variables])])
    assert tuple(results[0][0].shape[1:]) == tuple(ours.compute_output_shape((None, *shape))[1:])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [1, 3, 5, (3, 5)])
@pytest.mark.parametrize("shape", [(4, 4, 2), (6, 2, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_one_layer_is_keras_s_two(kind, shape, size):
    ours, theirs = KINDS[kind]
    options = {"dtype": "float64", "activation": "tanh" if kind == "up" else None}
    assert_same(ours(5, size, **options), theirs(size, padding="same", **options), shape)


@pytest.mark.parametrize("kernel, stride", [(5, 2), (4, 2), (3, 2), (2, 2), (3, 3), (5, 3), (7, 4)])
@pytest.mark.parametrize("filters", [1, 3])
def test_a_sub_pixel_convolution_is_a_transposed_one(kernel, stride, filters):
    make = lambda module: module.Conv2DTranspose(filters, kernel, stride, padding="same", dtype="float64")  # noqa: E731
    assert_same(make(layers), make(keras.layers), (4, 3, 2))


@pytest.mark.parametrize(
    "filters, options",
    [(5, {}), (1, {"padding": "valid"}), (1, {"strides": 1}), (1, {"strides": (2, 1)}), (1, {"output_padding": 1})],
)
def test_other_transposed_convolutions_are_left_to_keras(filters, options):
    options = {"strides": 2, "padding": "same", "dtype": "float64", "use_bias": False, **options}
    ours, theirs = (kind(filters, 3, **options) for kind in (layers.Conv2DTranspose, keras.layers.Conv2DTranspose))
    assert_same(ours, theirs, (4, 3, 2))


@pytest.mark.parametrize("kernel, stride", [(5, 2), (4, 2), ((3, 5), 2), (2, 2), (1, 2), (3, 3), (7, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_by_images_are_sub_pixel_convolutions(kernel, stride, channels):
    """The numbers of Keras's layer, those of a penalty on slopes included, and no transposed convolution."""
    ours, theirs = (
        module.Conv2D(5, kernel, stride, padding="same", dtype="float64") for module in (layers, keras.layers)
    )
    shape = (2 * stride, 3 * stride, channels)
    assert_same(ours, theirs, shape)
    x, penalties = tf.constant(np.random.default_rng(3).normal(size=(3, *shape))), []
    for layer in (ours, theirs):

        @tf.function
        def penalty(x, layer=layer):
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    loss = tf.reduce_sum(tf.sin(layer(x)))
                slopes = tf.reduce_sum(tf.sin(inner.gradient(loss, x)))
            return outer.gradient(slopes, [x, *layer.trainable_variables])

        penalties.append(penalty(x))
        operations = penalty.get_concrete_function(x).graph.get_operations()
        strides = [op.get_attr("strides")[1] for op in operations if op.type == "Conv2DBackpropInput"]
        assert (stride in strides) is (layer is theirs)
    for found, expected in zip(*penalties, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "channels, options",
    [(5, {}), (1, {"padding": "valid"}), (1, {"strides": 1}), (1, {"strides": (2, 1)}), (2, {"groups": 2})],
)
def test_other_convolutions_are_left_to_keras(channels, options):
    options = {"strides": 2, "padding": "same", "dtype": "float64", **options}
    assert_same(*(kind(4, 3, **options) for kind in (layers.Conv2D, keras.layers.Conv2D)), (4, 6, channels))


def test_images_that_a_stride_does_not_divide_are_left_to_keras():
    assert_same(
        *(kind(4, 3, 2, padding="same", dtype="float64") for kind in (layers.Conv2D, keras.layers.Conv2D)), (5, 4, 1)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_products_are_made(kind):
    """A kernel of 4×4 instead of 3×3, at the places of the smaller images instead of the larger ones'."""
    layer = KINDS[kind][0](5, 3)
    graph = tf.function(layer).get_concrete_function(tf.zeros([1, 4, 4, 2])).graph
    (convolution,) = [op for op in graph.get_operations() if op.type in ("Conv2D", "Conv2DBackpropInput")]
    assert convolution.get_attr("strides") == [1, 2, 2, 1]
    assert tuple(convolution.inputs[1].shape[:2]) == (4, 4)


@pytest.mark.parametrize("kind", [layers.UpsampledConv2D, layers.PooledConv2D, layers.Conv2D, layers.Conv2DTranspose])
def test_a_file_and_a_jacobian_of_it(kind, tmp_path):
    """A .keras file brings the layer back, and the pullback is the columns of tf's own Jacobian."""
    options = {"strides": 2, "padding": "same"} if kind in (layers.Conv2D, layers.Conv2DTranspose) else {}
    first = [keras.Input([4]), keras.layers.Reshape([2, 2, 1]), keras.layers.Conv2D(2, 1)]
    model = keras.Sequential([*first, kind(3, 3, activation="tanh", **options)])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    z = tf.random.stateless_normal([3, 4], [1, 2])
    np.testing.assert_array_equal(again(z), model(z))
    np.testing.assert_allclose(
        geometry.jacobian(again, z), geometry.jacobian(model, z, method="batch_jacobian"), rtol=1e-5, atol=1e-6
    )


def test_no_latents_make_no_images():
    layer = layers.Conv2DTranspose(3, 5, 2, padding="same")
    assert layer(tf.zeros([0, 4, 4, 2])).shape == (0, 8, 8, 3)


def _built_for(size):
    layer = layers.PooledConv2D(2, 3)
    layer.build([None, size, size, 1])
    return layer


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: layers.UpsampledConv2D(2, 4), r"odd kernel_size.*found \(4, 4\)"),
        (lambda: layers.PooledConv2D(2, 3, padding="valid"), r"padding.* = \('same'.*found .*\('valid'"),
        (lambda: layers.PooledConv2D(2, 3, strides=2), r"strides.*\(1, 1\).*found .*\(2, 2\)"),
        (lambda: _built_for(4)(tf.zeros([1, 5, 4, 1])), r"images of even height and width, found \[5, 4, 1\]"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
