"""Convolutions that make with fewer products what two of Keras's layers, or one, make with more."""

import keras
import tensorflow as tf

from tfjc.support.convolutions import MOST_SUB_PIXEL_CHANNELS, strided_convolution, sub_pixel


class _Resampling(keras.layers.Conv2D):
    """A convolution with stride 1, "same", and a doubling or halving beside it."""

    def __init__(self, filters, kernel_size, padding="same", **options):
        super().__init__(filters, kernel_size, padding=padding, **options)
        found = self.padding, self.data_format, self.strides, self.dilation_rate, self.groups
        expected = "same", "channels_last", (1, 1), (1, 1), 1
        if found != expected or any(size % 2 == 0 for size in self.kernel_size):
            raise ValueError(
                f"{type(self).__name__} has an odd kernel_size, and (padding, data_format, strides, dilation_rate, "
                f"groups) = {expected}, found {self.kernel_size}, and {found}"
            )


@keras.saving.register_keras_serializable(package="tfjc")
class UpsampledConv2D(_Resampling):
    """`Conv2D(padding="same")` after `UpSampling2D`, nearest neighbours: [B, h, w, C] → [B, 2h, 2w, c].

    What upsampling makes equal is multiplied once, by the sum of its weights: a transposed convolution with stride 2
    and the kernel W ∗ (2×2 ones), mirrored, which has (k + 1)² products for four places of the result where there were
    4k². The arguments and weights are those of keras.layers.Conv2D. In 16 bits the sums are rounded once more.

    Raises:
      ValueError: the kernel's size is even, or strides, padding, dilation, groups or data format are others.
    """

    def convolution_op(self, inputs, kernel):
        """The convolution of the doubled images."""
        kernel = tf.linalg.matrix_transpose(tf.reverse(_summed(kernel), [0, 1]))
        batch, height, width = (inputs.shape[axis] or tf.shape(inputs)[axis] for axis in range(3))
        return tf.nn.conv2d_transpose(inputs, kernel, [batch, 2 * height, 2 * width, self.filters], 2, "SAME")

    def compute_output_shape(self, input_shape):
        """[B, 2h, 2w, c]."""
        batch, height, width, _ = input_shape
        return batch, height and 2 * height, width and 2 * width, self.filters


@keras.saving.register_keras_serializable(package="tfjc")
class PooledConv2D(_Resampling):
    """`AveragePooling2D` after `Conv2D(padding="same")`: [B, 2h, 2w, C] → [B, h, w, c].

    A convolution with stride 2 and the kernel W ∗ (2×2 ones)/4: (k + 1)² products for a place of the result where there
    were 4k². The arguments and weights are those of keras.layers.Conv2D; an activation comes after the averages.

    Raises:
      ValueError: as `UpsampledConv2D`, or the images' height or width is odd.
    """

    def convolution_op(self, inputs, kernel):
        """The averages of the convolution."""
        if any(size is None or size % 2 for size in inputs.shape[1:3]):
            raise ValueError(f"images of even height and width are halved, found {list(inputs.shape[1:])}")
        return tf.nn.conv2d(inputs, _summed(kernel) / 4.0, 2, "SAME")

    def compute_output_shape(self, input_shape):
        """[B, h, w, c]."""
        batch, height, width, _ = input_shape
        return batch, height // 2, width // 2, self.filters


@keras.saving.register_keras_serializable(package="tfjc")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras's transposed convolution; to up to 4 channels, images, as a sub-pixel convolution, on CPUs the faster one.

    That is a convolution of the unscaled input to all s×s pixels at once (Shi et al. 2016), `sub_pixel`.
    """

    def call(self, inputs):
        """The transposed convolution, with bias and activation."""
        if not _is_sub_pixel(self, inputs, self.filters) or self.output_padding is not None:
            return super().call(inputs)
        outputs = sub_pixel(inputs, tf.convert_to_tensor(self.kernel), self.strides[0])
        outputs = tf.nn.bias_add(outputs, tf.convert_to_tensor(self.bias)) if self.use_bias else outputs
        return outputs if self.activation is None else self.activation(outputs)


@keras.saving.register_keras_serializable(package="tfjc")
class Conv2D(keras.layers.Conv2D):
    """Keras's convolution; of up to 4 channels, images, the gradient by these is a sub-pixel convolution, as above.

    That is what a generator's gradient, and a critic's slope, go through.
    """

    def convolution_op(self, inputs, kernel):
        """The convolution."""
        s, sizes = self.strides[0], inputs.shape[1:3]
        divides = all(size is not None and size % s == 0 for size in sizes)
        if not divides or self.groups != 1 or not _is_sub_pixel(self, inputs, inputs.shape[-1]):
            return super().convolution_op(inputs, kernel)
        return strided_convolution(inputs, tf.convert_to_tensor(kernel), s)


def _is_sub_pixel(layer, inputs, channels):
    """Whether the transposed convolution to `channels`, the layer's own or that of its gradient, is done as one."""
    (s, t), dilations = layer.strides, set(layer.dilation_rate)
    usual = (layer.padding, layer.data_format, dilations) == ("same", "channels_last", {1}) and s == t > 1
    some = inputs.shape[0] != 0  # TensorFlow's convolution of none has too few channels
    return usual and some and channels <= MOST_SUB_PIXEL_CHANNELS


def _summed(kernel):
    """W ∗ (2×2 ones): [k, k, C, c] → [k + 1, k + 1, C, c]."""
    padded = tf.pad(tf.convert_to_tensor(kernel), [[1, 1], [1, 1], [0, 0], [0, 0]])
    rows = padded[1:] + padded[:-1]
    return rows[:, 1:] + rows[:, :-1]
