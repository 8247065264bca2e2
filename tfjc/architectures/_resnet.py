"""Residual blocks, as WGAN-GP's and SN-GAN's networks have them."""

import keras

from tfjc import layers
from tfjc.architectures._networks import square
from tfjc.support import checks


class Blocks:
    """Makes layers and residual blocks, each layer with initial weights from the next of `seeds`.

    Weights are uniform with variance 4/(fan_in + fan_out) in residual branches and 2/(fan_in + fan_out) (Glorot's)
    elsewhere, biases 0 (improved_wgan_training's gan_cifar_resnet.py).

    Args:
      seeds: iterator over whole numbers.
      normalised: what stands before each nonlinearity of a branch: x → x.
      wrap: what each layer with weights is put into: layer → layer.
    """

    def __init__(self, seeds, *, normalised=lambda x: x, wrap=lambda layer: layer):
        self._seeds, self._normalised, self._wrap = seeds, normalised, wrap

    def dense(self, x, units, **options):
        """An affine map."""
        return self._wrap(keras.layers.Dense(units, kernel_initializer=self._uniform(1.0), **options))(x)

    def convolution(self, x, channels, size=3, *, residual=False, kind=keras.layers.Conv2D):
        """A convolution with stride 1 that keeps height and width, or one of another `kind` of layer."""
        weights = self._uniform(2.0 if residual else 1.0)
        return self._wrap(kind(channels, size, padding="same", kernel_initializer=weights))(x)

    def up(self, x, channels):
        """A block that doubles height and width: nearest-neighbour upsampling before its first convolution."""
        branch = self.convolution(self._active(x), channels, residual=True, kind=layers.UpsampledConv2D)
        branch = self.convolution(self._active(branch), channels, residual=True)
        shortcut = keras.layers.UpSampling2D()(self.convolution(x, channels, 1))  # the same in the other order
        return keras.layers.Add()([shortcut, branch])

    def down(self, x, channels):
        """A block that halves height and width by averaging."""
        branch = self.convolution(self._active(x), x.shape[-1], residual=True)
        branch = self.convolution(self._active(branch), channels, residual=True, kind=layers.PooledConv2D)
        return keras.layers.Add()([self._halved(x, channels), branch])

    def first_down(self, x, channels):
        """The critic's first block: as `down`, but its input is images, so no nonlinearity comes before."""
        branch = keras.layers.ReLU()(self.convolution(x, channels, residual=True))
        branch = self.convolution(branch, channels, residual=True, kind=layers.PooledConv2D)
        return keras.layers.Add()([self._halved(x, channels), branch])

    def plain(self, x, channels):
        """A block that keeps the size; the shortcut is the identity where the channels stay the same."""
        branch = self.convolution(self._active(x), x.shape[-1], residual=True)
        branch = self.convolution(self._active(branch), channels, residual=True)
        return keras.layers.Add()([x if x.shape[-1] == channels else self.convolution(x, channels, 1), branch])

    def _halved(self, x, channels):
        """The shortcut of a block that halves: averaged first, which is the same at a quarter of the cost."""
        return self.convolution(keras.layers.AveragePooling2D(2)(x), channels, 1)

    def _active(self, x):
        return keras.layers.ReLU()(self._normalised(x))

    def _uniform(self, scale):
        return keras.initializers.VarianceScaling(scale, "fan_avg", "uniform", seed=next(self._seeds))


def halvings(name, image_shape, least=4):
    """(the smallest size ≥ `least` that a square image comes to by halving, how many halvings).

    Raises ValueError for images that are not square or cannot be halved.
    """
    size, count = square(name, image_shape)[0], 0
    while size % 2 == 0 and size // 2 >= least:
        size, count = size // 2, count + 1
    if not count:
        raise ValueError(f"{name} needs an even image size of at least {2 * least}, found {image_shape[0]}")
    return size, count


def classes(num_classes):
    """`num_classes` checked: None for a network without labels, else 2 or more."""
    return None if num_classes is None else checks.integer("num_classes", num_classes, minimum=2)
