"""TensorFlow's side: the generators in Keras, our methods, and the limits these are held against."""

import json
import math

import keras
import numpy as np
import tensorflow as tf

import tfjc.geometry
from tfjc import geometry, penalties
from tfjc.architectures.dcgan import dcgan
from tfjc.models import GAN
from tfjc.support.xla import use_xla

tf.config.experimental.enable_tensor_float_32_execution(False)  # 1e-7 in all frameworks, or ratios mean nothing

_OPTIONS = ("strides", "size", "target_shape", "epsilon", "activation")  # what an operation is told beside its weights


def build(name):
    """The generator of that name: dcgan32-128 is for 32 pixels and n_z 128; a third number sets its channels."""
    architecture, n_z, *channels = name.split("-")
    keras.utils.set_random_seed(0)
    if architecture == "resnet32":
        return resnet(int(n_z), *map(int, channels))
    size = int(architecture.removeprefix("dcgan"))
    return dcgan((size, size, 1 if size == 28 else 3), n_z=int(n_z), channels=int(*channels or [64])).generator


def resnet(n_z, channels=128):
    """The generator of WGAN-GP for CIFAR-10 (Gulrajani et al. 2017, appendix F), unconditional."""
    z = keras.Input([n_z])
    x = keras.layers.Reshape([4, 4, channels])(keras.layers.Dense(16 * channels)(z))
    for _ in range(3):
        main = _convolution(channels)(keras.layers.UpSampling2D()(_activated(x)))
        main = _convolution(channels)(_activated(main))
        x = keras.layers.Add()([main, _convolution(channels, 1)(keras.layers.UpSampling2D()(x))])
    return keras.Model(z, keras.layers.Activation("tanh")(_convolution(3)(_activated(x))))


def _activated(x):
    return keras.layers.ReLU()(keras.layers.BatchNormalization(epsilon=1e-5)(x))


def _convolution(filters, size=3):
    return keras.layers.Conv2D(filters, size, padding="same", kernel_initializer="he_uniform")


def export(name, file, samples):
    """Writes what a network computes in terms that any framework can follow, and what n_z passes through it cost."""
    model = build(name)
    z = np.random.default_rng(0).standard_normal([samples, model.input_shape[1]], np.float32)
    _calibrate(model)
    operations = describe(model)
    weights = {f"{place}.{i}": w for place, op in enumerate(operations) for i, w in enumerate(op["weights"])}
    for operation in operations:
        operation["weights"] = len(operation["weights"])
    flops = 2 * z.size * macs(model)
    np.savez(file, operations=json.dumps(operations), z=z, images=model(z).numpy(), flops=flops, **weights)


def _calibrate(model):
    """Gives batch normalisation the statistics of 64 latents, so that J has the scale of a network in training."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(tf.random.stateless_normal([64, model.input_shape[1]], [0, 0]), training=True)


def describe(model):
    """A model as operations in order, each with the places of its inputs, its options and its weights."""
    places = {id(layer.output): place for place, layer in enumerate(model.layers)}
    return [
        {
            "kind": type(layer).__name__,
            "inputs": [places[id(x)] for x in keras.tree.flatten(layer.input) if x is not layer.output],
            "weights": layer.get_weights(),
            **{key: value for key, value in layer.get_config().items() if key in _OPTIONS},
        }
        for layer in model.layers
    ]


def macs(model):
    """Multiplications in the linear layers for one sample: each kernel's size times the pixels it is applied at."""
    total = 0
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            pixels = (layer.input if isinstance(layer, keras.layers.Conv2DTranspose) else layer.output).shape[1:-1]
            total += math.prod(layer.kernel.shape) * math.prod(pixels)
    return total


class Network:
    """A network in Keras, and the methods for its Jacobian by name."""

    def __init__(self, network, operations, z):
        self.model, self.z = build(network), tf.constant(z)
        for layer, operation in zip(self.model.layers, operations, strict=True):
            layer.set_weights(operation["weights"])

    def forward(self):
        """Images of the latents."""
        return self.model(self.z).numpy()

    def method(self, name):
        """A call that returns when the method's result is there."""
        if name == "naive":
            z = tf.repeat(self.z, self.z.shape[1], axis=0)
            return _awaited(_graph(self.model), z)
        if name == "batch_jacobian":
            return _awaited(_graph(self._batch_jacobian), self.z)
        return _awaited(lambda z: geometry.jacobian(self.model, z, method=name), self.z)

    def _batch_jacobian(self, z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            x = self.model(z)
        direct = tape.batch_jacobian(x, z)
        return tf.reshape(direct, [z.shape[0], -1, z.shape[1]])


def _graph(function):
    return tf.function(lambda z: function(z), jit_compile=use_xla(), autograph=False)


def _awaited(function, *arguments):
    def call():
        value = function(*arguments)
        tf.test.experimental.sync_devices()
        return value

    return call


def array(value):
    """The Jacobians as an array."""
    return value.numpy()


def matmul():
    """A large float32 matrix product as a call, and its FLOPs."""
    size = 16384 if _gpus() else 4096
    a, b = (tf.random.stateless_normal([size, size], [0, seed]) for seed in range(2))
    return _awaited(tf.matmul, a, b), 2 * size**3


def training():
    """500 steps of gin/mnist_small_jc.gin as a call."""
    networks = dcgan((28, 28, 1), n_z=64, channels=24)
    gan = GAN(networks.generator, networks.critic, generator_penalties=[penalties.JacobianClamping(1.0, 20.0, 1.0)])
    images = np.random.default_rng(0).integers(0, 256, [6400, 28, 28, 1], np.uint8)
    return lambda: gan.fit(images, batch_size=64, steps_per_epoch=500, verbose=0), None


def spectrum():
    """What that training measures every 500 steps, the spectra of 64 latents, as a call, and its FLOPs."""
    networks = dcgan((28, 28, 1), n_z=64, channels=24)
    z = networks.prior.sample(64, seed=[0, 0])
    return lambda: tfjc.geometry.spectrum(networks.generator, z), 2 * 64 * 64 * macs(networks.generator)


def _gpus():
    return tf.config.list_physical_devices("GPU")


def device():
    """What TensorFlow computes on."""
    return tf.config.experimental.get_device_details(_gpus()[0]).get("device_name", "GPU") if _gpus() else "CPU"


def gpu_peak():
    """Peak of the GPU's memory in bytes, or None without one."""
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] if _gpus() else None
