"""SN-GAN's networks (Miyato et al. 2018, appendix B.4; pfnet-research/sngan_projection; kwotsin/mimicry)."""

import itertools

import keras

from tfjc import layers
from tfjc.architectures._networks import (
    WEIGHTS,
    Networks,
    batch_normalization,
    check_room,
    output_dtype,
)
from tfjc.architectures._resnet import Blocks
from tfjc.architectures.prior import standard_normal
from tfjc.support import checks, noise

_NORMALISE = {"critic": (False, True), "generator": (True, False), "both": (True, True), "none": (False, False)}
_CNN_SIZES = {32: 4, 48: 6}  # pixels of the image, and of the smallest map
# Pixels: of the smallest map; channels of it and after each doubling; of the critic's halving and its plain blocks. In
# units of `channels`, which is 64 in the published networks.
_RESNETS = {
    32: (4, (4, 4, 4, 4), (2, 2), (2, 2)),
    48: (6, (8, 4, 2, 1), (1, 2, 4, 8), (16,)),
    64: (4, (16, 8, 4, 2, 1), (1, 2, 4, 8, 16), ()),
    128: (4, (16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16), (16,)),
    256: (4, (16, 16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16), (16,)),
}


def sngan_cnn(image_shape, *, n_z=128, channels=64, normalise="critic", preconditioning=None, seed=0):
    """SN-GAN's plain pair for images of 32 or 48 pixels, with N(0, I) as prior (Miyato et al. 2018, table 3).

    With c = `channels`, the generator maps z by a dense layer to 4×4 (48 pixels: 6×6) of 8c, then by 4×4 stride-2
    transposed convolutions to 4c, 2c and c, with batch normalisation and ReLU after each, then by a 3×3 convolution to
    tanh. The critic has 3×3 convolutions to c, 2c, 4c and 8c, between them 4×4 stride-2 ones to c, 2c and 4c, leaky
    ReLU 0.1 after each, and a dense layer to the logit; no batch normalisation. Weights N(0, 0.02), DCGAN's, since the
    paper is silent; batch normalisation with decay 0.9 and ε 1e-5.

    Args:
      image_shape: (size, size, colours).
      n_z: size of the latent.
      channels: c, 64 in the paper.
      normalise: whose layers are in `tfjc.layers.SpectralNormalization`: "critic" (the paper), "generator", "both" or
        "none".
      preconditioning: level 0 to 4, or "adaptive", of `tfjc.layers.Preconditioning` about the critic's convolutions.
      seed: of the initial weights.

    Raises:
      ValueError: images of another size, preconditioning of a critic that is not normalised, or an argument out of
        range.
    """
    smallest = _of_size("sngan_cnn", _CNN_SIZES, image_shape)
    n_z, channels = checks.integer("n_z", n_z, minimum=1), checks.integer("channels", channels, minimum=1)
    wraps = _wraps(normalise, preconditioning)
    seeds = [noise.integers(checks.seed("seed", seed), stream) for stream in WEIGHTS]
    dense = n_z * smallest * smallest * 8 * channels
    check_room(f"sngan_cnn with n_z = {n_z}, channels = {channels}", dense, 16 * 8 * 4 * channels**2)
    return Networks(
        generator=_cnn_generator(_Layers(seeds[0], wraps[0]), n_z, channels, smallest, image_shape[-1]),
        critic=_cnn_critic(_Layers(seeds[1], wraps[1]), image_shape, channels),
        prior=standard_normal(n_z),
    )


def sngan_resnet(image_shape, *, n_z=128, channels=64, normalise="critic", preconditioning=None, seed=0):
    """SN-GAN's residual pair for images of 32, 48, 64, 128 or 256 pixels, with N(0, I) as prior.

    The generator maps z by a dense layer to the smallest map, then by blocks that double the size (batch
    normalisation, ReLU, nearest-neighbour upsampling and 3×3 convolution; batch normalisation, ReLU, 3×3; the shortcut
    upsampled, then 1×1), then by batch normalisation, ReLU and a 3×3 convolution to tanh. The critic halves the size in
    blocks without batch normalisation, by averaging, follows with blocks that keep it, and takes ReLU, the sum over all
    places and a dense layer to the logit. In units of `channels` = 64:

    | pixels | generator | critic, halving | critic, keeping |
    |---|---|---|---|
    | 32 | 4×4 of 4; 4, 4, 4 | 2, 2 | 2, 2 |
    | 48 | 6×6 of 8; 4, 2, 1 | 1, 2, 4, 8 | 16 |
    | 64 | 4×4 of 16; 8, 4, 2, 1 | 1, 2, 4, 8, 16 | |
    | 128 | 4×4 of 16; 16, 8, 4, 2, 1 | 1, 2, 4, 8, 16 | 16 |
    | 256 | 4×4 of 16; 16, 8, 8, 4, 2, 1 | 1, 2, 4, 8, 8, 16 | 16 |

    32 and 48 pixels are Miyato et al. 2018, tables 4 and 5, as mimicry has them; 64 and 128 pixels are mimicry's
    sngan_64 and sngan_128; 256 pixels are sngan_projection's snresnet_256 and resnet_dog_and_cat_256 without labels.
    Upsampling is that of sngan_projection (mimicry's is bilinear); initial weights are those of both.

    Arguments and errors are those of `sngan_cnn`.
    """
    smallest, widths, halving, keeping = _of_size("sngan_resnet", _RESNETS, image_shape)
    n_z, channels = checks.integer("n_z", n_z, minimum=1), checks.integer("channels", channels, minimum=1)
    wraps = _wraps(normalise, preconditioning)
    seeds = [noise.integers(checks.seed("seed", seed), stream) for stream in WEIGHTS]
    dense = n_z * smallest * smallest * widths[0] * channels
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
    """The entry of `sizes` for square images of that size."""
    shape = tuple(image_shape) if isinstance(image_shape, (tuple, list)) else (image_shape,)
    if len(shape) != 3 or shape[0] != shape[1] or shape[0] not in sizes:
        *others, last = map(str, sizes)
        raise ValueError(
            f"{name} is for square images of {', '.join(others)} or {last} pixels, found {shape}; dataset.size resizes"
        )
    return sizes[shape[0]]


def _wraps(normalise, preconditioning):
    """What the generator's and the critic's layers are put into: two functions layer → layer."""
    generator, critic = _NORMALISE[checks.one_of("normalise", normalise, _NORMALISE)]
    if preconditioning is not None and not critic:
        raise ValueError(
            f"preconditioning = {preconditioning!r} is built on the critic's spectral normalisation, which "
            f"normalise = {normalise!r} leaves out; set it to 'critic' or 'both'"
        )
    return _wrap(generator, None), _wrap(critic, preconditioning)


def _wrap(normalised, level):
    if not normalised:
        return lambda layer: layer
    numbers = itertools.count(1)  # names of our own stay the same however many layers a process has made

    def wrap(layer):
        name = f"{'dense' if isinstance(layer, keras.layers.Dense) else 'conv'}_{next(numbers)}"
        if level is None or isinstance(layer, keras.layers.Dense):
            return layers.SpectralNormalization(layer, name=name)
        return layers.Preconditioning(layer, level, name=name)

    return wrap


def _resnet_generator(blocks, n_z, smallest, widths, colours):
    z = keras.Input([n_z], name="z")
    x = blocks.dense(z, smallest * smallest * widths[0])
    x = keras.layers.Reshape([smallest, smallest, widths[0]])(x)
    for width in widths[1:]:
        x = blocks.up(x, width)
    x = blocks.convolution(keras.layers.ReLU()(batch_normalization(x)), colours)
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


def _cnn_generator(make, n_z, channels, smallest, colours):
    z = keras.Input([n_z], name="z")
    x = make(keras.layers.Dense, smallest * smallest * 8 * channels)(z)
    x = keras.layers.Reshape([smallest, smallest, 8 * channels])(x)
    for width in (4 * channels, 2 * channels, channels):
        x = keras.layers.ReLU()(batch_normalization(make(keras.layers.Conv2DTranspose, width, 4, 2, padding="same")(x)))
    x = make(keras.layers.Conv2D, colours, 3, padding="same")(x)
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
    """Makes the plain networks' layers, each with initial weights from the next of `seeds`."""

    def __init__(self, seeds, wrap):
        self._seeds, self._wrap = seeds, wrap

    def __call__(self, kind, *arguments, **options):
        weights = keras.initializers.RandomNormal(stddev=0.02, seed=next(self._seeds))
        return self._wrap(kind(*arguments, kernel_initializer=weights, **options))
