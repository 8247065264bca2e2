"""Sub-pixel convolutions."""

import numpy as np
import pytest
import tensorflow as tf

from tfjc.support.convolutions import sub_pixel


@pytest.mark.parametrize("kernel", [(5, 5), (4, 4), (3, 3), (2, 2), (1, 1), (7, 4)])
@pytest.mark.parametrize("stride", [2, 3])
def test_sub_pixel_convolution_is_the_transposed_one(kernel, stride):
    x = tf.random.stateless_normal([2, 3, 4, 6], [1, 1], dtype=tf.float64)
    weights = tf.random.stateless_normal([*kernel, 3, 6], [2, 2], dtype=tf.float64)
    expected = tf.nn.conv2d_transpose(x, weights, [2, 3 * stride, 4 * stride, 3], stride, "SAME")
    np.testing.assert_allclose(sub_pixel(x, weights, stride), expected, atol=1e-12)
