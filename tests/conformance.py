"""The table of all architectures and layers, and what each is built with in the tests that all of them must pass."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from tfjc import architectures, layers, models


@dataclasses.dataclass(frozen=True)
class Architecture:
    """`make(image_shape, seed)` builds it small; `shapes` are the images it claims, `fits` the model that trains it."""

    name: str
    make: Callable
    shapes: tuple
    fits: Callable = models.GAN
    output_range: float = 1.0


def _square(*sizes, colours=3):
    return tuple((size, size, colours) for size in sizes)


ARCHITECTURES = [
    Architecture(
        "dcgan",
        lambda shape, seed: architectures.dcgan(shape, n_z=6, channels=4, seed=seed),
        ((28, 20, 1), *_square(28, colours=1), *_square(32, 48)),
    ),
    Architecture(
        "dcgan_vae",
        lambda shape, seed: architectures.dcgan_vae(shape, n_z=6, channels=4, seed=seed),
        ((20, 28, 1), *_square(28, colours=1), *_square(32, 48)),
        fits=models.VAE,
    ),
    Architecture(
        "mlp",
        lambda shape, seed: architectures.mlp(shape, n_z=2, width=16, seed=seed),
        ((2,), (8, 12, 1)),
        output_range=np.inf,
    ),
    Architecture(
        "wgangp_resnet",
        lambda shape, seed: architectures.wgangp_resnet(shape, n_z=6, channels=4, seed=seed),
        ((28, 20, 1), *_square(28, colours=1), *_square(32, 48)),
    ),
    Architecture(
        "wgangp_resnet without classes",
        lambda shape, seed: architectures.wgangp_resnet(shape, num_classes=None, n_z=6, channels=4, seed=seed),
        _square(32),
    ),
    Architecture(
        "sngan_cnn",
        lambda shape, seed: architectures.sngan_cnn(shape, n_z=6, channels=2, normalise="both", seed=seed),
        (*_square(32, 48), (32, 40, 1)),
    ),
    Architecture(
        "sngan_resnet",
        lambda shape, seed: architectures.sngan_resnet(shape, n_z=6, channels=1, preconditioning="adaptive", seed=seed),
        (*_square(32, 48, 64, 128, 256), (64, 48, 1)),
    ),
]


@dataclasses.dataclass(frozen=True)
class Layer:
    """`make()` gives a layer; `inputs` the shapes and types of what it is called with, without the batch axis."""

    name: str
    make: Callable
    inputs: tuple


LAYERS = [
    Layer("BatchNormalization", lambda: layers.BatchNormalization(momentum=0.8), (((4, 6, 2), "float32"),)),
    Layer(
        "ConditionalBatchNormalization",
        lambda: layers.ConditionalBatchNormalization(3, momentum=0.8, epsilon=1e-3),
        (((4, 6, 2), "float32"), ((), "int32")),
    ),
    Layer("UpsampledConv2D", lambda: layers.UpsampledConv2D(3, 3, activation="tanh"), (((2, 3, 2), "float32"),)),
    Layer("PooledConv2D", lambda: layers.PooledConv2D(3, 3, activation="tanh"), (((4, 6, 2), "float32"),)),
    Layer("Conv2D", lambda: layers.Conv2D(3, 5, 2, padding="same", activation="tanh"), (((4, 6, 2), "float32"),)),
    Layer("LeakyReLU", lambda: layers.LeakyReLU(0.2), (((4, 6, 2), "float32"),)),
    Layer(
        "Conv2DTranspose",
        lambda: layers.Conv2DTranspose(3, 5, 2, padding="same", activation="tanh"),
        (((2, 3, 2), "float32"),),
    ),
    Layer(
        "SpectralNormalization",
        lambda: layers.SpectralNormalization(keras.layers.Dense(3, activation="tanh")),
        (((4,), "float32"),),
    ),
    Layer(
        "Preconditioning",
        lambda: layers.Preconditioning(keras.layers.Conv2DTranspose(3, 4, 2, padding="same"), 3),
        (((4, 6, 2), "float32"),),
    ),
    Layer(
        "Preconditioning adaptive",
        lambda: layers.Preconditioning(keras.layers.Conv2D(3, 3), "adaptive"),
        (((4, 6, 2), "float32"),),
    ),
]


def model_of(case, image_shape, seed=0):
    """(the networks, the model that trains them) of an architecture."""
    networks = case.make(image_shape, seed)
    classes = {} if networks.num_classes is None else {"num_classes": networks.num_classes}
    return networks, case.fits(*networks[:2], prior=networks.prior, seed=seed, **classes)


def functional(layer):
    """(a Keras model of the layer alone, arrays that it takes) for an entry of `LAYERS`."""
    inputs = [keras.Input(shape, dtype=dtype) for shape, dtype in layer.inputs]
    random = np.random.default_rng(0)
    arrays = [
        random.integers(0, 3, (5, *shape)).astype(dtype)
        if dtype == "int32"
        else random.normal(size=(5, *shape)).astype(dtype)
        for shape, dtype in layer.inputs
    ]
    single = len(inputs) == 1
    model = keras.Model(inputs[0] if single else inputs, layer.make()(inputs[0] if single else inputs))
    return model, arrays[0] if single else arrays
