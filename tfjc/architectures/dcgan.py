"""DCGAN (Radford et al. 2016, section 3) for images of any even height and width of at least 8 pixels."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from tfjc.architectures._networks import (
    WEIGHTS,
    Networks,
    batch_normalization,
    check_room,
    halvings,
    output_dtype,
)
from tfjc.architectures.prior import standard_normal
from tfjc.layers import Conv2D, Conv2DTranspose, LeakyReLU
from tfjc.support import checks, noise


def dcgan(
    image_shape: Sequence[int], *, n_z: int = 64, channels: int = 64, batch_norm: bool = True, seed: int = 0
) -> Networks:
    """DCGAN's generator and critic, with N(0, I) as prior.

    The generator maps z by a dense layer to the smallest map (28 → 7, 32 → 4, 48 → 6 pixels;
    both sides are halved as often as the one that can be halved less). 5×5 stride-2 transposed
    convolutions double the size and halve the channels down to `channels`; the last one makes the image, with tanh. The
    critic mirrors the generator with leaky ReLU 0.2. Weights are N(0, 0.02²). Batch normalisation with decay 0.9 and
    ε 1e-5 follows every layer except the generator's last and the critic's first and last. Source: Radford et al. 2016,
    section 3.

    Args:
      image_shape: (height, width, image channels).
      n_z: size of the latent.
      channels: number of channels of the largest map; each halving of the size doubles the number.
      batch_norm: whether to use batch normalisation.
      seed: seed of the initial weights.

    Raises:
      ValueError: a side cannot be halved, or an argument is out of range.
    """
    return _pair(image_shape, n_z, channels, batch_norm, seed, outputs={"logits": 1})


def dcgan_vae(
    image_shape: Sequence[int], *, n_z: int = 64, channels: int = 64, batch_norm: bool = True, seed: int = 0
) -> Networks:
    """DCGAN's generator as the decoder of a `models.VAE`, and DCGAN's critic with two outputs as the encoder.

    The decoder has the initial weights of `dcgan`'s generator, so that its spectrum can be compared with a GAN's. The
    encoder is `Networks.critic`; it maps images to [mean, log-variance], [B, n_z] each. Arguments and errors are those
    of `dcgan`.
    """
    return _pair(image_shape, n_z, channels, batch_norm, seed, outputs={"mean": n_z, "log_variance": n_z})


def _pair(image_shape, n_z, channels, batch_norm, seed, outputs):
    n_z, channels = checks.integer("n_z", n_z, minimum=1), checks.integer("channels", channels, minimum=1)
    checks.boolean("batch_norm", batch_norm)
    smallest, count = halvings("dcgan", image_shape)
    widths = [channels << level for level in range(count)]  # of the largest to the smallest map
    dense = n_z * math.prod(smallest) * widths[-1]
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


def _generator(layers, n_z, smallest, widths, image_channels):
    z = keras.Input([n_z], name="z")
    x = layers.dense(math.prod(smallest) * widths[-1])(z)
    x = keras.layers.Reshape([*smallest, widths[-1]])(x)
    for width in reversed(widths[:-1]):
        x = keras.layers.ReLU()(layers.normalised(x))
        x = layers.transposed(width)(x)
    x = keras.layers.ReLU()(layers.normalised(x))
    x = layers.transposed(image_channels)(x)
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
    """Makes DCGAN's layers. The initial weights of each layer come from the next of `seeds`."""

    def __init__(self, batch_norm: bool, seeds: Iterator[int]) -> None:
        self._batch_norm, self._seeds = batch_norm, seeds

    def _weights(self) -> keras.Initializer:
        return keras.initializers.RandomNormal(stddev=0.02, seed=next(self._seeds))

    def dense(self, units: int, **options: Any) -> keras.Layer:
        return keras.layers.Dense(units, kernel_initializer=self._weights(), **options)

    def transposed(self, filters: int) -> keras.Layer:
        return Conv2DTranspose(filters, 5, 2, padding="same", kernel_initializer=self._weights())

    def convolution(self, filters: int) -> keras.Layer:
        return Conv2D(filters, 5, 2, padding="same", kernel_initializer=self._weights())

    def normalised(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return batch_normalization(x) if self._batch_norm else x
