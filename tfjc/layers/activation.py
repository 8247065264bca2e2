"""A leaky rectifier that costs less in training."""

import keras
import tensorflow as tf

from tfjc.support import checks


@keras.saving.register_keras_serializable(package="tfjc")
class LeakyReLU(keras.layers.LeakyReLU):
    """Keras's max(x, slope·x), whose derivative is taken from its sign, which is that of x, and not from x.

    So x need not be kept, and TensorFlow makes one operation of convolution, bias and rectifier; of Keras's it tries to
    as well, and reports "remapper failed". All derivatives are those of Keras's layer.

    Raises:
      ValueError: `negative_slope` is no number ≥ 0: the result would not have the sign of x.
    """

    def __init__(self, negative_slope=0.3, **options):
        super().__init__(checks.real("negative_slope", negative_slope, minimum=0.0), **options)

    def call(self, inputs):
        """The rectified inputs."""
        return _leaky_relu(inputs, self.negative_slope)


def _leaky_relu(x, slope):
    @tf.custom_gradient
    def rectified(x):
        y = tf.nn.leaky_relu(x, slope)
        return y, lambda dy: tf.raw_ops.LeakyReluGrad(gradients=dy, features=y, alpha=slope)

    return rectified(x)
