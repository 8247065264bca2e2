"""SN-GAN's networks (Miyato et al. 2018, appendix B.4; pfnet-research/sngan_projection; kwotsin/mimicry)."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from tfjc import layers
from tfjc.architectures._networks import (
    WEIGHTS,
    Networks,
    batch_normalization,
    check_room,
    check_shape,
    output_dtype,
)
from tfjc.architectures._resnet import Blocks
from tfjc.architectures.prior import standard_normal
from tfjc.support import checks, noise

_NORMALISE = {"critic": (False, True), "generator": (True, False), "both": (True, True), "none": (False, False)}
_CNN_SIZES = {32: (4,), 48: (6,)}  # {pixels of the image: pixels of the smallest map}
# {pixels of the image: (pixels of the smallest map; channels of the smallest map and after each doubling; channels of
# the critic's halving blocks; channels of its plain blocks)}. The unit is `channels`, 64 in the published networks.
_RESNETS = {
    32: (4, (4, 4, 4, 4), (2, 2), (2, 2)),
    48: (6, (8, 4, 2, 1), (1, 2, 4, 8), (16,)),
    64: (4, (16, 8, 4, 2, 1), (1, 2, 4, 8, 16), ()),
    128: (4, (16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16), (16,)),
    256: (4, (16, 16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16), (16,)),
}


def sngan_cnn(
    image_shape: Sequence[int],
    *,
    n_z: int = 128,
    channels: int = 64,
    normalise: str = "critic",
    preconditioning: int | str | None = None,
    seed: int = 0,
) -> Networks:
    """SN-GAN's plain networks for images of 32 or 48 pixels, with N(0, I) as prior (Miyato et al. 2018, table 3).

    With c = `channels`, the generator maps z by a dense layer to a 4×4 map (for 48 pixels 6×6) of 8c channels. 4×4
    stride-2 transposed convolutions to 4c, 2c and c channels follow, each with batch normalisation and ReLU, then a 3×3
    convolution with tanh. The critic alternates 3×3 convolutions to c, 2c, 4c and 8c channels with 4×4 stride-2
    convolutions to c, 2c and 4c channels, each with leaky ReLU 0.1. A dense layer makes the logit. The critic has no
    batch normalisation. Weights are N(0, 0.02²), DCGAN's, since the paper names none. Batch normalisation has decay 0.9
    and ε 1e-5.

    Args:
      image_shape: (height, width, image channels). The shorter side has one of these sizes. The longer side is halved
        as often, and must be divisible.
      n_z: size of the latent.
      channels: c, 64 in the paper.
      normalise: the networks whose layers get `tfjc.layers.SpectralNormalization`: "critic" (the paper), "generator",
        "both" or "none".
      preconditioning: level 0 to 4 or "adaptive" of `tfjc.layers.Preconditioning`, which then wraps the critic's
        convolutions; None for no preconditioning.
      seed: seed of the initial weights.

    Raises:
      ValueError: the images have another size, the critic has preconditioning but no spectral normalisation, or an
        argument is out of range.
    """
    smallest, _ = _of_size("sngan_cnn", _CNN_SIZES, image_shape)
    n_z, channels = checks.integer("n_z", n_z, minimum=1), checks.integer("channels", channels, minimum=1)
    wraps = _wraps(normalise, preconditioning)
    seeds = [noise.integers(checks.seed("seed", seed), stream) for stream in WEIGHTS]
    dense = n_z * math.prod(smallest) * 8 * channels
    check_room(f"sngan_cnn with n_z = {n_z}, channels = {channels}", dense, 16 * 8 * 4 * channels**2)
    return Networks(
        generator=_cnn_generator(_Layers(seeds[0], wraps[0]), n_z, channels, smallest, image_shape[-1]),
        critic=_cnn_critic(_Layers(seeds[1], wraps[1]), image_shape, channels),
        prior=standard_normal(n_z),
    )


def sngan_resnet(
    image_shape: Sequence[int],
    *,
    n_z: int = 128,
    channels: int = 64,
    normalise: str = "critic",
    preconditioning: int | str | None = None,
    seed: int = 0,
) -> Networks:
    """SN-GAN's residual networks for images of 32, 48, 64, 128 or 256 pixels, with N(0, I) as prior.

    The generator maps z by a dense layer to the smallest map. Residual blocks then double the size. A block has two
    3×3 convolutions, each after batch normalisation and ReLU. Nearest-neighbour upsampling comes before the first
    convolution, and the shortcut is upsampled with a 1×1 convolution. Batch normalisation, ReLU and a 3×3 convolution
    with tanh end the generator. The critic has no batch normalisation. Its blocks first halve the size by averaging,
    then keep the size. ReLU, the sum over all pixels and a dense layer make the logit. Channels in units of
    `channels` = 64:

    | pixels | generator | critic, halving | critic, keeping |
    |---|---|---|---|
    | 32 | 4×4 of 4; 4, 4, 4 | 2, 2 | 2, 2 |
    | 48 | 6×6 of 8; 4, 2, 1 | 1, 2, 4, 8 | 16 |
    | 64 | 4×4 of 16; 8, 4, 2, 1 | 1, 2, 4, 8, 16 | |
    | 128 | 4×4 of 16; 16, 8, 4, 2, 1 | 1, 2, 4, 8, 16 | 16 |
    | 256 | 4×4 of 16; 16, 8, 8, 4, 2, 1 | 1, 2, 4, 8, 8, 16 | 16 |

    Sources: for 32 and 48 pixels Miyato et al. 2018, tables 4 and 5, as implemented by mimicry; for 64 and 128 pixels
    mimicry's sngan_64 and sngan_128; for 256 pixels sngan_projection's snresnet_256 and resnet_dog_and_cat_256, without
    labels. Upsampling is that of sngan_projection (mimicry's is bilinear). Initial weights are those of both.

    Arguments and errors are those of `sngan_cnn`.
    """
    smallest, (widths, halving, keeping) = _of_size("sngan_resnet", _RESNETS, image_shape)
    n_z, channels = checks.integer("n_z", n_z, minimum=1), checks.integer("channels", channels, minimum=1)
    wraps = _wraps(normalise, preconditioning)
    seeds = [noise.integers(checks.seed("seed", seed), stream) for stream in WEIGHTS]
    dense = n_z * math.prod(smallest) * widths[0] * channels
    check_room(f"sngan_resnet with n_z = {n_z}, channels = {channels}", dense, 9 * (widths[1] * channels) ** 2)
    widths, halving, keeping = ([channels * unit for unit in units] for units in (widths, halving, keeping))
    return Networks(
        generator=_resnet_generator(
            Blocks(seeds[0], normalised=batch_normalization, wrap=wraps[0]), n_z, smallest, widths, image_shape[-1]
        ),
        critic=_resnet_critic(Blocks(seeds[1], wrap=wraps[1]), image_shape, halving, keeping),
        prior=standard_normal(n_z),
    )


def _of_size(name, sizes, image_shape):
    """((height, width) of the smallest map, the rest of the entry of `sizes`) for images whose shorter side is there.

    Raises ValueError for other images.
    """
    height, width, _ = shape = check_shape(name, image_shape)
    side = min(height, width)
    if side not in sizes:
        *others, last = map(str, sizes)
        raise ValueError(
            f"{name} is for images of {', '.join(others)} or {last} pixels on the shorter side, found {shape}; "
            "dataset.size resizes images"
        )
    smallest, *rest = sizes[side]
    halved = side // smallest
    if height % halved or width % halved:
        raise ValueError(f"{name} of {side} pixels needs sides that are multiples of {halved}, found {shape}")
    return (height // halved, width // halved), rest


def _wraps(normalise, preconditioning):
    """The wrappers of the generator's and of the critic's layers: two functions layer → layer."""
    generator, critic = _NORMALISE[checks.one_of("normalise", normalise, _NORMALISE)]
    if preconditioning is not None and not critic:
        raise ValueError(
            f"preconditioning = {preconditioning!r} needs spectral normalisation of the critic, found "
            f"normalise = {normalise!r}; set normalise to 'critic' or 'both'"
        )
    return _wrap(generator, None), _wrap(critic, preconditioning)


def _wrap(normalised, level):
    if not normalised:
        return lambda layer: layer
    numbers = itertools.count(1)  # Keras's default names depend on the number of layers made in the process

    def wrap(layer):
        name = f"{'dense' if isinstance(layer, keras.layers.Dense) else 'conv'}_{next(numbers)}"
        if level is None or isinstance(layer, keras.layers.Dense):
            return layers.SpectralNormalization(layer, name=name)
        return layers.Preconditioning(layer, level, name=name)

    return wrap


def _resnet_generator(blocks, n_z, smallest, widths, image_channels):
    z = keras.Input([n_z], name="z")
    x = blocks.dense(z, math.prod(smallest) * widths[0])
    x = keras.layers.Reshape([*smallest, widths[0]])(x)
    for width in widths[1:]:
        x = blocks.up(x, width)
    x = blocks.convolution(keras.layers.ReLU()(batch_normalization(x)), image_channels)
    return keras.Model(z, _tanh(x), name="generator")


def _resnet_critic(blocks, image_shape, halving, keeping):
    images = keras.Input(image_shape, name="images")
    x = blocks.first_down(images, halving[0])
    for width in halving[1:]:
        x = blocks.down(x, width)
    for width in keeping:
        x = blocks.plain(x, width)
    x = keras.ops.sum(keras.layers.ReLU()(x), axis=(1, 2))
    return keras.Model(images, blocks.dense(x, 1, dtype=output_dtype()), name="critic")


def _cnn_generator(make, n_z, channels, smallest, image_channels):
    z = keras.Input([n_z], name="z")
    x = make(keras.layers.Dense, math.prod(smallest) * 8 * channels)(z)
    x = keras.layers.Reshape([*smallest, 8 * channels])(x)
    for width in (4 * channels, 2 * channels, channels):
        x = keras.layers.ReLU()(batch_normalization(make(keras.layers.Conv2DTranspose, width, 4, 2, padding="same")(x)))
    x = make(keras.layers.Conv2D, image_channels, 3, padding="same")(x)
    return keras.Model(z, _tanh(x), name="generator")


def _cnn_critic(make, image_shape, channels):
    images = x = keras.Input(image_shape, name="images")
    for unit in (1, 2, 4):
        for width, size, stride in ((unit, 3, 1), (unit, 4, 2)):
            x = make(keras.layers.Conv2D, width * channels, size, stride, padding="same")(x)
            x = layers.LeakyReLU(0.1)(x)
    x = layers.LeakyReLU(0.1)(make(keras.layers.Conv2D, 8 * channels, 3, padding="same")(x))
    logits = make(keras.layers.Dense, 1, dtype=output_dtype())(keras.layers.Flatten()(x))
    return keras.Model(images, logits, name="critic")


def _tanh(x):
    return keras.layers.Activation("tanh", dtype=output_dtype(), name="images")(x)


class _Layers:
    """Makes the plain networks' layers. The initial weights of each layer come from the next of `seeds`."""

    def __init__(self, seeds: Iterator[int], wrap: Callable[[keras.Layer], keras.Layer]) -> None:
        self._seeds, self._wrap = seeds, wrap

    def __call__(self, kind: type[keras.Layer], *arguments: Any, **options: Any) -> keras.Layer:
        weights = keras.initializers.RandomNormal(stddev=0.02, seed=next(self._seeds))
        return self._wrap(kind(*arguments, kernel_initializer=weights, **options))
