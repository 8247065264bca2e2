"""The scale of images."""

import numpy as np
import tensorflow as tf

from tfjc.support.images import to_images, to_uint8


def test_images_go_round():
    levels = np.arange(256, dtype=np.uint8)
    images = to_images(levels)
    assert (images.dtype, float(images[0]), float(images[255])) == (tf.float32, -1.0, 1.0)
    np.testing.assert_array_equal(to_uint8(images), levels)
    np.testing.assert_array_equal(to_uint8(tf.constant([-3.0, 3.0])), [0, 255])
