"""The class-conditional ResNet of WGAN-GP (Gulrajani et al. 2017, appendix F; gan_cifar_resnet.py of their code)."""

import math
from collections.abc import Sequence

import keras

from tfjc import layers
from tfjc.architectures._networks import (
    WEIGHTS,
    Networks,
    batch_normalization,
    check_room,
    halvings,
    output_dtype,
)
from tfjc.architectures._resnet import Blocks, classes
from tfjc.architectures.prior import standard_normal
from tfjc.support import checks, noise


def wgangp_resnet(
    image_shape: Sequence[int],
    *,
    num_classes: int | None = 10,
    n_z: int = 128,
    channels: int = 128,
    seed: int = 0,
) -> Networks:
    """WGAN-GP's class-conditional residual networks, with N(0, I) as prior.

    The generator maps z by a dense layer to the smallest map (32 → 4, 28 → 7, 48 → 6 pixels). Residual blocks double
    the size; conditional batch normalisation and ReLU come before each convolution. Batch normalisation, ReLU and a 3×3
    convolution with tanh end the generator. The critic has two residual blocks that halve the size and two that keep
    it, the mean over all pixels, and no normalisation. Its outputs are logits [B, 1] and, from the auxiliary
    classifier, class logits [B, num_classes]. For 32×32×3 images these are the published networks with 1,218,307 and
    1,055,115 weights. Other sizes are not published. Source: Gulrajani et al. 2017, appendix F.

    Args:
      image_shape: (height, width, image channels).
      num_classes: number of classes; None for plain batch normalisation and no classifier.
      n_z: size of the latent.
      channels: number of channels of every map.
      seed: seed of the initial weights.

    Raises:
      ValueError: a side cannot be halved twice, or an argument is out of range.
    """
    n_z, channels = checks.integer("n_z", n_z, minimum=1), checks.integer("channels", channels, minimum=1)
    num_classes, seed = classes(num_classes), checks.seed("seed", seed)
    smallest, doublings = halvings("wgangp_resnet", image_shape, least=2)
    what = f"wgangp_resnet with n_z = {n_z}, channels = {channels}, num_classes = {num_classes}"
    dense, scales = n_z * math.prod(smallest) * channels, (num_classes or 0) * channels
    check_room(what, dense, scales, 9 * channels * channels)
    return Networks(
        generator=_generator(seed, image_shape[-1], num_classes, n_z, channels, smallest, doublings),
        critic=_critic(seed, image_shape, num_classes, channels),
        prior=standard_normal(n_z),
        num_classes=num_classes,
    )


def _generator(seed, image_channels, num_classes, n_z, channels, smallest, doublings):
    z, labels = keras.Input([n_z], name="z"), keras.Input([], dtype="int32", name="labels")

    def normalised(x):
        if num_classes is None:
            return batch_normalization(x)
        return layers.ConditionalBatchNormalization(num_classes)([x, labels])

    blocks = Blocks(noise.integers(seed, WEIGHTS[0]), normalised=normalised)
    x = blocks.dense(z, math.prod(smallest) * channels)
    x = keras.layers.Reshape([*smallest, channels])(x)
    for _ in range(doublings):
        x = blocks.up(x, channels)
    x = batch_normalization(x)
    x = blocks.convolution(keras.layers.ReLU()(x), image_channels)
    images = keras.layers.Activation("tanh", dtype=output_dtype(), name="images")(x)
    return keras.Model(z if num_classes is None else [z, labels], images, name="generator")


def _critic(seed, image_shape, num_classes, channels):
    images = keras.Input(image_shape, name="images")
    blocks = Blocks(noise.integers(seed, WEIGHTS[1]))
    x = blocks.first_down(images, channels)
    x = blocks.down(x, channels)
    x = blocks.plain(blocks.plain(x, channels), channels)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    outputs = [blocks.dense(x, 1, dtype=output_dtype(), name="logits")]
    if num_classes is not None:
        outputs.append(blocks.dense(x, num_classes, dtype=output_dtype(), name="class_logits"))
    return keras.Model(images, outputs if num_classes is not None else outputs[0], name="critic")
