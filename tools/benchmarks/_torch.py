"""A described network in PyTorch, and torch.func's Jacobians of it."""

import os

import torch
from _child import scale_and_shift
from torch.nn import functional

torch.set_num_threads(len(os.sched_getaffinity(0)))
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

_CUDA = torch.cuda.is_available()


class Network:
    """A network as a function of one latent, and the methods for its Jacobian by name."""

    def __init__(self, network, operations, z):
        self._operations = [_prepared(operation) for operation in operations]
        self._z = _tensor(z)

    def _generate(self, z):
        values = []
        for function, inputs in self._operations:
            values.append(function(*([values[place] for place in inputs] or [z])))
        return values[-1].permute(1, 2, 0)  # channels last, as in TensorFlow

    def forward(self):
        """Images of the latents."""
        with torch.no_grad():
            return torch.func.vmap(self._generate)(self._z).cpu().numpy()

    def method(self, name):
        """A call that returns when the Jacobians by `jacfwd` or `jacrev` are there."""
        take = torch.func.vmap(getattr(torch.func, name)(lambda z: self._generate(z).flatten()))

        def call():
            value = take(self._z)
            if _CUDA:
                torch.cuda.synchronize()
            return value

        return call


def array(value):
    """The Jacobians as an array."""
    return value.cpu().numpy()


def device():
    """What PyTorch computes on."""
    return torch.cuda.get_device_name() if _CUDA else "CPU"


def gpu_peak():
    """Peak of the GPU's memory in bytes, or None without one."""
    return torch.cuda.max_memory_allocated() if _CUDA else None


def _tensor(array):
    return torch.tensor(array, device="cuda" if _CUDA else "cpu")


def _prepared(operation):
    """An operation as a function of its inputs, weights in PyTorch's layout, and the places of the inputs."""
    kind = operation["kind"]
    if kind == "BatchNormalization":
        weights = [_tensor(w)[:, None, None] for w in scale_and_shift(operation)]
    elif "Conv2D" in kind:
        kernel, bias = operation["weights"]
        weights = [_tensor(kernel.transpose(3, 2, 0, 1).copy()), _tensor(bias)]
    else:
        weights = [_tensor(w) for w in operation["weights"]]
    return lambda *inputs: _KINDS[kind](operation, *inputs, *weights), operation["inputs"]


def _transposed(operation, x, kernel, bias):
    """TensorFlow's "same": of the k − s pixels too many, the lesser half is cut off before and the rest behind."""
    stride = operation["strides"][0]
    before, rest = divmod(kernel.shape[-1] - stride, 2)
    x = functional.conv_transpose2d(x, kernel, bias, stride, before)
    return x[..., : x.shape[-2] - rest, : x.shape[-1] - rest]


def _doubled(x):
    return functional.interpolate(x[None], scale_factor=2)[0]


def _reshape(operation, x):
    height, width, channels = operation["target_shape"]
    return x.reshape(height, width, channels).permute(2, 0, 1)


_KINDS = {
    "InputLayer": lambda _, z: z,
    "Dense": lambda _, x, kernel, bias: x @ kernel + bias,
    "Reshape": _reshape,
    "BatchNormalization": lambda _, x, scale, shift: x * scale + shift,
    "ReLU": lambda _, x: torch.relu(x),
    "Conv2D": lambda _, x, kernel, bias: functional.conv2d(x, kernel, bias, padding="same"),
    "Conv2DTranspose": _transposed,
    "UpsampledConv2D": lambda _, x, kernel, bias: functional.conv2d(_doubled(x), kernel, bias, padding="same"),
    "UpSampling2D": lambda operation, x: functional.interpolate(x[None], scale_factor=operation["size"])[0],
    "Add": lambda _, x, y: x + y,
    "Activation": lambda operation, x: getattr(torch, operation["activation"])(x),
}
