"""The residual blocks of WGAN-GP's and SN-GAN's networks."""

from collections.abc import Callable, Iterator
from typing import Any

import keras

from tfjc import layers
from tfjc.support import checks


class Blocks:
    """Makes layers and residual blocks. The initial weights of each layer come from the next of `seeds`.

    Weights are uniform with variance 4/(fan_in + fan_out) in residual branches and 2/(fan_in + fan_out) (Glorot)
    elsewhere. Biases are 0. Source: gan_cifar_resnet.py of improved_wgan_training.

    Args:
      seeds: iterator over integer seeds.
      normalised: the normalisation before each nonlinearity of a branch, x → x.
      wrap: wrapper of each layer with weights, layer → layer.
    """

    def __init__(
        self,
        seeds: Iterator[int],
        *,
        normalised: Callable[[keras.KerasTensor], keras.KerasTensor] = lambda x: x,
        wrap: Callable[[keras.Layer], keras.Layer] = lambda layer: layer,
    ) -> None:
        self._seeds, self._normalised, self._wrap = seeds, normalised, wrap

    def dense(self, x: keras.KerasTensor, units: int, **options: Any) -> keras.KerasTensor:
        """A dense layer."""
        return self._wrap(keras.layers.Dense(units, kernel_initializer=self._uniform(1.0), **options))(x)

    def convolution(
        self,
        x: keras.KerasTensor,
        channels: int,
        size: int = 3,
        *,
        residual: bool = False,
        kind: type[keras.Layer] = keras.layers.Conv2D,
    ) -> keras.KerasTensor:
        """A convolution of class `kind` with stride 1 and "same" padding."""
        weights = self._uniform(2.0 if residual else 1.0)
        return self._wrap(kind(channels, size, padding="same", kernel_initializer=weights))(x)

    def up(self, x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
        """A block that doubles height and width by nearest-neighbour upsampling before its first convolution."""
        branch = self.convolution(self._active(x), channels, residual=True, kind=layers.UpsampledConv2D)
        branch = self.convolution(self._active(branch), channels, residual=True)
        # A 1×1 convolution commutes with upsampling; it is cheaper before.
        shortcut = keras.layers.UpSampling2D()(self.convolution(x, channels, 1))
        return keras.layers.Add()([shortcut, branch])

    def down(self, x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
        """A block that halves height and width by averaging."""
        branch = self.convolution(self._active(x), x.shape[-1], residual=True)
        branch = self.convolution(self._active(branch), channels, residual=True, kind=layers.PooledConv2D)
        return keras.layers.Add()([self._halved(x, channels), branch])

    def first_down(self, x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
        """The critic's first block: as `down`, without a nonlinearity on the input, which is images."""
        branch = keras.layers.ReLU()(self.convolution(x, channels, residual=True))
        branch = self.convolution(branch, channels, residual=True, kind=layers.PooledConv2D)
        return keras.layers.Add()([self._halved(x, channels), branch])

    def plain(self, x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
        """A block that keeps height and width. The shortcut is the identity where the number of channels is equal."""
        branch = self.convolution(self._active(x), x.shape[-1], residual=True)
        branch = self.convolution(self._active(branch), channels, residual=True)
        return keras.layers.Add()([x if x.shape[-1] == channels else self.convolution(x, channels, 1), branch])

    def _halved(self, x, channels):
        """The shortcut of a block that halves the size. Averaging before the 1×1 convolution costs a quarter."""
        return self.convolution(keras.layers.AveragePooling2D(2)(x), channels, 1)

    def _active(self, x):
        return keras.layers.ReLU()(self._normalised(x))

    def _uniform(self, scale):
        return keras.initializers.VarianceScaling(scale, "fan_avg", "uniform", seed=next(self._seeds))


def classes(num_classes: int | None) -> int | None:
    """`num_classes`: None for a network without labels, or at least 2. Raises ValueError for any other value."""
    return None if num_classes is None else checks.integer("num_classes", num_classes, minimum=2)
