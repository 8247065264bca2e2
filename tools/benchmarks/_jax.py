"""A described network in JAX, and JAX's Jacobians of it."""

import jax
from _child import scale_and_shift
from jax import lax
from jax import numpy as jnp

jax.config.update("jax_default_matmul_precision", "highest")

_LAYOUT = ("NHWC", "HWIO", "NHWC")


class Network:
    """A network as a function of weights and one latent, and the methods for its Jacobian by name."""

    def __init__(self, network, operations, z):
        self._operations, self._z = operations, jnp.asarray(z)
        self._weights = [[jnp.asarray(w) for w in _weights(operation)] for operation in operations]

    def _generate(self, weights, z):
        values = []
        for operation, own in zip(self._operations, weights, strict=True):
            inputs = [values[place] for place in operation["inputs"]] or [z]
            values.append(_KINDS[operation["kind"]](operation, *inputs, *own))
        return values[-1]

    def forward(self):
        """Images of the latents."""
        return jax.device_get(jax.jit(jax.vmap(self._generate, (None, 0)))(self._weights, self._z))

    def method(self, name):
        """A call that returns when the Jacobians by `jacfwd` or `jacrev` are there."""
        # Weights are arguments: as constants they would be folded, which takes XLA minutes.
        one = getattr(jax, name)(lambda weights, z: self._generate(weights, z).reshape(-1), argnums=1)
        take = jax.jit(jax.vmap(one, (None, 0)))
        return lambda: jax.block_until_ready(take(self._weights, self._z))


def array(value):
    """The Jacobians as an array."""
    return jax.device_get(value)


def device():
    """What JAX computes on."""
    return jax.devices()[0].device_kind.replace("cpu", "CPU")


def gpu_peak():
    """Peak of the GPU's memory in bytes, or None without one."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def _weights(operation):
    return scale_and_shift(operation) if operation["kind"] == "BatchNormalization" else operation["weights"]


def _convolution(operation, x, kernel, bias):
    return lax.conv_general_dilated(x[None], kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT)[0] + bias


def _transposed(operation, x, kernel, bias):
    strides = operation["strides"]
    x = lax.conv_transpose(x[None], kernel, strides, "SAME", dimension_numbers=_LAYOUT, transpose_kernel=True)
    return x[0] + bias


_KINDS = {
    "InputLayer": lambda _, z: z,
    "Dense": lambda _, x, kernel, bias: x @ kernel + bias,
    "Reshape": lambda operation, x: x.reshape(operation["target_shape"]),
    "BatchNormalization": lambda _, x, scale, shift: x * scale + shift,
    "ReLU": lambda _, x: jax.nn.relu(x),
    "Conv2D": _convolution,
    "Conv2DTranspose": _transposed,
    "UpsampledConv2D": lambda operation, x, *weights: _convolution(operation, x.repeat(2, 0).repeat(2, 1), *weights),
    "UpSampling2D": lambda operation, x: x.repeat(operation["size"][0], axis=0).repeat(operation["size"][1], axis=1),
    "Add": lambda _, x, y: x + y,
    "Activation": lambda operation, x: getattr(jnp, operation["activation"])(x),
}
