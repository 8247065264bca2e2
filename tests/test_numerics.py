"""Norms, directions, the scale of images and sub-pixel convolution."""

import numpy as np
import pytest
import tensorflow as tf

from tfjc import numerics


def test_safe_norm_and_its_gradient():
    """∂‖x‖/∂x = x/‖x‖, and 0 at x = 0."""
    x = tf.Variable([[3.0, 4.0], [0.0, 0.0]])
    with tf.GradientTape() as tape:
        norm = numerics.safe_norm(x)
    np.testing.assert_allclose(norm, [5.0, 0.0])
    np.testing.assert_allclose(tape.gradient(norm, x), [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)


def test_unit_directions_have_length_one_and_follow_the_seed():
    first = numerics.unit_directions([50, 7], [1, 2])
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(first, numerics.unit_directions([50, 7], [1, 2]))
    assert np.abs(first - numerics.unit_directions([50, 7], [1, 3])).max() > 0.1


def test_images_go_round():
    levels = np.arange(256, dtype=np.uint8)
    images = numerics.to_images(levels)
    assert (images.dtype, float(images[0]), float(images[255])) == (tf.float32, -1.0, 1.0)
    np.testing.assert_array_equal(numerics.to_uint8(images), levels)
    np.testing.assert_array_equal(numerics.to_uint8(tf.constant([-3.0, 3.0])), [0, 255])


def test_one_place_decides_on_xla():
    answers = {}
    for choice in ("on", "off", "auto"):
        numerics.choose_xla(choice)
        answers[choice] = numerics.use_xla()
    assert answers == {"on": True, "off": False, "auto": bool(tf.config.list_physical_devices("GPU"))}
    with pytest.raises(ValueError, match="unknown jit_compile 'yes'"):
        numerics.choose_xla("yes")


def test_norms_of_what_is_not_finite_are_not_finite():
    found = numerics.safe_norm(tf.constant([[np.nan, 1.0], [np.inf, 1.0], [3.0, 4.0]]))
    np.testing.assert_array_equal(found, [np.nan, np.inf, 5.0])


@pytest.mark.parametrize("kernel", [(5, 5), (4, 4), (3, 3), (2, 2), (1, 1), (7, 4)])
@pytest.mark.parametrize("stride", [2, 3])
def test_sub_pixel_convolution_is_the_transposed_one(kernel, stride):
    x = tf.random.stateless_normal([2, 3, 4, 6], [1, 1], dtype=tf.float64)
    weights = tf.random.stateless_normal([*kernel, 3, 6], [2, 2], dtype=tf.float64)
    expected = tf.nn.conv2d_transpose(x, weights, [2, 3 * stride, 4 * stride, 3], stride, "SAME")
    np.testing.assert_allclose(numerics.sub_pixel(x, weights, stride), expected, atol=1e-12)
