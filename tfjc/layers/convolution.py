"""Convolutions that give the outputs of Keras's layers, with the same weights and fewer multiplications.

`UpsampledConv2D` and `PooledConv2D` fuse a convolution with 2× up- or downsampling. `Conv2DTranspose` and `Conv2D` use
sub-pixel convolutions for images of few channels.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfjc.support.convolutions import MOST_SUB_PIXEL_CHANNELS, strided_convolution, sub_pixel


class _Resampling(keras.layers.Conv2D):
    """A convolution with stride 1 and "same" padding, fused with 2× up- or downsampling."""

    def __init__(self, filters: int, kernel_size: int | Sequence[int], padding: str = "same", **options: Any) -> None:
        super().__init__(filters, kernel_size, padding=padding, **options)
        found = self.padding, self.data_format, self.strides, self.dilation_rate, self.groups
        expected = "same", "channels_last", (1, 1), (1, 1), 1
        if found != expected or any(size % 2 == 0 for size in self.kernel_size):
            raise ValueError(
                f"{type(self).__name__} needs an odd kernel_size and (padding, data_format, strides, dilation_rate, "
                f"groups) = {expected}, found {self.kernel_size} and {found}"
            )


@keras.saving.register_keras_serializable(package="tfjc")
class UpsampledConv2D(_Resampling):
    """`UpSampling2D` (nearest neighbour) followed by `Conv2D(padding="same")`: [B, h, w, C] → [B, 2h, 2w, c].

    Upsampling makes 2×2 equal pixels, which are multiplied once by the sum of their weights. This is a transposed
    convolution with stride 2 and the mirrored kernel W ∗ (2×2 ones). It takes (k + 1)² products for each 2×2 output
    pixels, instead of 4k². Arguments and weights are those of keras.layers.Conv2D. In 16-bit types the summed weights
    are rounded, which adds one rounding.

    Args:
      filters: number of output channels.
      kernel_size: k, odd.
      padding: "same".
      options: other arguments of keras.layers.Conv2D.

    Raises:
      ValueError: the kernel size is even, or strides, padding, dilation, groups or data format are not the default.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """The convolution of the upsampled images."""
        kernel = tf.linalg.matrix_transpose(tf.reverse(_summed(kernel), [0, 1]))
        batch, height, width = (inputs.shape[axis] or tf.shape(inputs)[axis] for axis in range(3))
        return tf.nn.conv2d_transpose(inputs, kernel, [batch, 2 * height, 2 * width, self.filters], 2, "SAME")

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """[B, 2h, 2w, c]."""
        batch, height, width, _ = input_shape
        return batch, height and 2 * height, width and 2 * width, self.filters


@keras.saving.register_keras_serializable(package="tfjc")
class PooledConv2D(_Resampling):
    """`Conv2D(padding="same")` followed by `AveragePooling2D`: [B, 2h, 2w, C] → [B, h, w, c].

    This is a convolution with stride 2 and the kernel W ∗ (2×2 ones)/4. It takes (k + 1)² products for each output
    pixel, instead of 4k². Arguments and weights are those of keras.layers.Conv2D. An activation is applied after the
    averaging.

    Args:
      filters: number of output channels.
      kernel_size: k, odd.
      padding: "same".
      options: other arguments of keras.layers.Conv2D.

    Raises:
      ValueError: as `UpsampledConv2D`, or the images' height or width is odd.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """The averaged convolution."""
        if any(size is None or size % 2 for size in inputs.shape[1:3]):
            raise ValueError(f"PooledConv2D needs images of even height and width, found {list(inputs.shape[1:])}")
        return tf.nn.conv2d(inputs, _summed(kernel) / 4.0, 2, "SAME")

    def compute_output_shape(self, input_shape: Sequence[int]) -> tuple[int | None, ...]:
        """[B, h, w, c]."""
        batch, height, width, _ = input_shape
        return batch, height // 2, width // 2, self.filters


@keras.saving.register_keras_serializable(package="tfjc")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras's transposed convolution, computed as a sub-pixel convolution for up to 4 output channels.

    A sub-pixel convolution computes all s×s output pixels of an input pixel at once (Shi et al. 2016). It is faster on
    CPUs for so few channels. Arguments, weights and outputs are those of Keras's layer.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The transposed convolution, with bias and activation."""
        if not _is_sub_pixel(self, inputs, self.filters) or self.output_padding is not None:
            return super().call(inputs)
        outputs = sub_pixel(inputs, tf.convert_to_tensor(self.kernel), self.strides[0])
        outputs = tf.nn.bias_add(outputs, tf.convert_to_tensor(self.bias)) if self.use_bias else outputs
        return outputs if self.activation is None else self.activation(outputs)


@keras.saving.register_keras_serializable(package="tfjc")
class Conv2D(keras.layers.Conv2D):
    """Keras's convolution. For up to 4 input channels, its gradient by the images is a sub-pixel convolution.

    The gradient of a generator's loss passes through this gradient, and so does the critic's slope. Arguments, weights
    and outputs are those of Keras's layer.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """The convolution, without bias and activation."""
        s, sizes = self.strides[0], inputs.shape[1:3]
        divides = all(size is not None and size % s == 0 for size in sizes)
        if not divides or self.groups != 1 or not _is_sub_pixel(self, inputs, inputs.shape[-1]):
            return super().convolution_op(inputs, kernel)
        return strided_convolution(inputs, tf.convert_to_tensor(kernel), s)


def _is_sub_pixel(layer, inputs, channels):
    """Whether the layer, or its gradient, is a transposed convolution to `channels` that `sub_pixel` can compute."""
    (s, t), dilations = layer.strides, set(layer.dilation_rate)
    usual = (layer.padding, layer.data_format, dilations) == ("same", "channels_last", {1}) and s == t > 1
    filled = inputs.shape[0] != 0  # TensorFlow gives a convolution of an empty batch too few channels
    return usual and filled and channels <= MOST_SUB_PIXEL_CHANNELS


def _summed(kernel):
    """W ∗ (2×2 ones): [k, k, C, c] → [k + 1, k + 1, C, c]."""
    kernel, none, above, below = tf.convert_to_tensor(kernel), [0, 0], [1, 0], [0, 1]
    rows = tf.pad(kernel, [below, none, none, none]) + tf.pad(kernel, [above, none, none, none])
    return tf.pad(rows, [none, below, none, none]) + tf.pad(rows, [none, above, none, none])
