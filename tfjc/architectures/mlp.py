"""Fully connected networks, for points in the plane and other small data."""

import math
from collections.abc import Sequence

import keras

from tfjc.architectures._networks import WEIGHTS, Networks, check_room, output_dtype
from tfjc.architectures.prior import standard_normal
from tfjc.support import checks, noise


def mlp(image_shape: Sequence[int], *, n_z: int = 2, width: int = 128, depth: int = 2, seed: int = 0) -> Networks:
    """Fully connected generator and critic for data of any shape, with N(0, I) as prior.

    The generator's output is linear, so data may exceed [−1, 1]. Hidden layers have He initialisation, the last layer
    Glorot initialisation.

    Args:
      image_shape: shape of a sample, such as (2,) or (28, 28, 1).
      n_z: size of the latent.
      width: number of units of each hidden layer.
      depth: number of hidden ReLU layers of each network.
      seed: seed of the initial weights.

    Raises:
      ValueError: an argument is out of range.
    """
    if not isinstance(image_shape, (tuple, list)):
        raise ValueError(f"mlp needs the shape of a sample, such as (28, 28, 1) or (2,), found {image_shape!r}")
    image_shape = tuple(checks.integer("mlp's image_shape", entry, minimum=1) for entry in image_shape)
    n_z, width = checks.integer("n_z", n_z, minimum=1), checks.integer("width", width, minimum=1)
    depth, seed = checks.integer("depth", depth, minimum=1, maximum=1000), checks.seed("seed", seed)
    size = math.prod(image_shape)
    check_room(f"mlp with n_z = {n_z}, width = {width}, depth = {depth}", width * (n_z + size), depth * width * width)

    def stack(x, units, stream):
        seeds = noise.integers(seed, stream)
        for _ in range(depth):
            he = keras.initializers.HeNormal(seed=next(seeds))
            x = keras.layers.Dense(width, activation="relu", kernel_initializer=he)(x)
        last = keras.initializers.GlorotUniform(seed=next(seeds))
        return keras.layers.Dense(units, kernel_initializer=last, dtype=output_dtype())(x)

    z, x = keras.Input([n_z], name="z"), keras.Input(image_shape, name="images")
    images = keras.layers.Reshape(image_shape, dtype=output_dtype())(stack(z, math.prod(image_shape), WEIGHTS[0]))
    logits = stack(keras.layers.Flatten()(x), 1, WEIGHTS[1])
    return Networks(
        generator=keras.Model(z, images, name="generator"),
        critic=keras.Model(x, logits, name="critic"),
        prior=standard_normal(n_z),
    )
