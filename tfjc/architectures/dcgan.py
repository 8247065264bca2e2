"""DCGAN (Radford et al. 2016, section 3), for any image size that halves evenly down to 4 to 7 pixels and more."""

import itertools

import keras

from tfjc.architectures._networks import (
    WEIGHTS,
    Networks,
    batch_normalization,
    check_room,
    output_dtype,
    square,
)
from tfjc.architectures.prior import standard_normal
from tfjc.layers import Conv2D, Conv2DTranspose, LeakyReLU
from tfjc.support import checks, noise


def dcgan(image_shape, *, n_z=64, channels=64, batch_norm=True, seed=0):
    """The DCGAN pair for images [size, size, colours], with N(0, I) as prior.

    The generator maps z by a dense layer to the smallest map (28 → 7, 32 → 4, 48 → 6 pixels), then by 5×5 stride-2
    transposed convolutions that halve the channels down to `channels`, then to tanh; the critic mirrors it with leaky
    ReLU 0.2. Weights N(0, 0.02); batch normalisation with decay 0.9 and ε 1e-5 after every layer but the generator's
    last and the critic's first.

    Args:
      image_shape: (size, size, colours).
      n_z: size of the latent.
      channels: of the widest map, doubled with every halving of the size.
      batch_norm: False leaves all normalisation out.
      seed: of the initial weights.

    Raises:
      ValueError: the size cannot be halved, or an argument is out of range.
    """
    return _pair(image_shape, n_z, channels, batch_norm, seed, outputs={"logits": 1})


def dcgan_vae(image_shape, *, n_z=64, channels=64, batch_norm=True, seed=0):
    """The DCGAN generator as the decoder of a `models.VAE`, and the critic with two outputs as its encoder.

    The decoder is `dcgan`'s generator, weights and all, so that its spectrum stands beside a GAN's. The encoder, in
    the critic's place, maps images to [mean, log-variance], [B, n_z] each.
    Arguments and errors as in `dcgan`.
    """
    return _pair(image_shape, n_z, channels, batch_norm, seed, outputs={"mean": n_z, "log_variance": n_z})


def _pair(image_shape, n_z, channels, batch_norm, seed, outputs):
    n_z, channels = checks.integer("n_z", n_z, minimum=1), checks.integer("channels", channels, minimum=1)
    checks.boolean("batch_norm", batch_norm)
    image_shape = square("dcgan", image_shape)
    smallest, widths = _pyramid(image_shape, channels)
    dense = n_z * smallest * smallest * widths[-1]
    check_room(
        f"dcgan with n_z = {n_z}, channels = {channels}", dense, *(25 * a * b for a, b in itertools.pairwise(widths))
    )
    seed = checks.seed("seed", seed)
    generator, critic = (_Layers(batch_norm, noise.integers(seed, stream)) for stream in WEIGHTS)
    return Networks(
        generator=_generator(generator, n_z, smallest, widths, image_shape[-1]),
        critic=_critic(critic, image_shape, widths, outputs),
        prior=standard_normal(n_z),
    )


def _pyramid(image_shape, channels):
    """The smallest map's size, and the channels from the widest map to the smallest: [c, 2c, 4c, ...]."""
    size, widths = image_shape[0], []
    while size % 2 == 0 and size // 2 >= 4:
        size //= 2
        widths.append(channels << len(widths))
    if not widths:
        raise ValueError(f"dcgan needs an even image size of at least 8 (28, 32, 48, ...), found {image_shape[0]}")
    return size, widths


def _generator(layers, n_z, smallest, widths, colours):
    z = keras.Input([n_z], name="z")
    x = layers.dense(smallest * smallest * widths[-1])(z)
    x = keras.layers.Reshape([smallest, smallest, widths[-1]])(x)
    for width in reversed(widths[:-1]):
        x = keras.layers.ReLU()(layers.normalised(x))
        x = layers.transposed(width)(x)
    x = keras.layers.ReLU()(layers.normalised(x))
    x = layers.transposed(colours)(x)
    images = keras.layers.Activation("tanh", dtype=output_dtype(), name="images")(x)
    return keras.Model(z, images, name="generator")


def _critic(layers, image_shape, widths, outputs):
    images = keras.Input(image_shape, name="images")
    x = LeakyReLU(0.2)(layers.convolution(widths[0])(images))
    for width in widths[1:]:
        x = LeakyReLU(0.2)(layers.normalised(layers.convolution(width)(x)))
    x = keras.layers.Flatten()(x)
    heads = [layers.dense(units, dtype=output_dtype(), name=name)(x) for name, units in outputs.items()]
    return keras.Model(images, heads[0] if len(heads) == 1 else heads, name="critic")


class _Layers:
    """Makes DCGAN's layers, each with initial weights from the next of `seeds`."""

    def __init__(self, batch_norm, seeds):
        self._batch_norm, self._seeds = batch_norm, seeds

    def _weights(self):
        return keras.initializers.RandomNormal(stddev=0.02, seed=next(self._seeds))

    def dense(self, units, **options):
        return keras.layers.Dense(units, kernel_initializer=self._weights(), **options)

    def transposed(self, filters):
        return Conv2DTranspose(filters, 5, 2, padding="same", kernel_initializer=self._weights())

    def convolution(self, filters):
        return Conv2D(filters, 5, 2, padding="same", kernel_initializer=self._weights())

    def normalised(self, x):
        return batch_normalization(x) if self._batch_norm else x
