"""Gradients that TensorFlow lacks or computes slowly. They are active while the engine traces or a penalty asks.

The engine differentiates the pullback u ↦ Jᵀu, so the gradient of each operation of G must itself have a gradient.

- Image resizing (bilinear, bicubic, Lanczos, antialiased): TensorFlow's gradient cannot be differentiated. TensorFlow
  treats that of bilinear resizing as constant, without an error. These maps are linear, so the derivative of the
  adjoint is the map itself.
- Nearest-neighbour resizing: TensorFlow's gradient cannot be differentiated, and XLA cannot compile it. Our gradient
  sums the copies of each pixel.
- Softsign: TensorFlow's gradient cannot be differentiated; the formula u/(1 + |x|)² can.
- BiasAdd: oneDNN's graph pass fuses a BiasAddGrad with any Conv2DBackpropFilter of the same upstream gradient. In a
  second derivative, the Conv2DBackpropFilter may depend on the BiasAddGrad. The fusion then makes a cycle, and the step
  fails with "nodes in a cycle", depending on the order of a hash table. Our gradient is a plain sum.
- Tile, which implements Keras's UpSampling2D: TensorFlow's gradient doubles the number of axes, and its kernels are
  slow for so many axes.
- ReLU, LeakyReLU, sigmoid, tanh: TensorFlow vectorises over n_z passes and copies the slope n_z times. Our product
  broadcasts the slope.
- The last transposed convolution, to 1 or 3 channels: TensorFlow is slow for so few output channels. A sub-pixel
  convolution (Shi et al. 2016) computes all s×s pixels at the size of the input and is faster.
"""

import contextlib
import threading
from contextlib import AbstractContextManager

import tensorflow as tf

from tfjc.support.convolutions import MOST_SUB_PIXEL_CHANNELS, sub_pixel

_lock = threading.Lock()
_held: dict[str, tuple] = {}  # {operation: (number of open contexts, entry, TensorFlow's own gradient)}


def completed() -> AbstractContextManager[None]:
    """A context in which traced gradients can be differentiated.

    It has no effect where TensorFlow's private registry lacks an attribute that `_hold` uses.
    """
    return _replaced(_GRADIENTS)


def twice_differentiable() -> AbstractContextManager[None]:
    """A context for gradients that are themselves differentiated. Compute the inner gradient inside it.

    Penalties on slopes and adjusted gradients differentiate a gradient. TensorFlow's gradients of image resizing and
    softsign cannot be differentiated: that of bilinear resizing counts as constant without an error, the others raise
    LookupError. TensorFlow's gradient of BiasAdd can make a graph that TensorFlow refuses.
    """
    return _replaced(_TWICE)


@contextlib.contextmanager
def _replaced(names):
    with _lock:
        held = [name for name in names if _hold(name)]
    try:
        yield
    finally:
        with _lock:
            for name in held:
                _release(name)


def _hold(name):
    """Puts our gradient into TensorFlow's registry; False where the registry lacks an expected attribute."""
    try:
        from tensorflow.python.framework import ops  # TensorFlow has no public way to replace a gradient

        entry = ops._gradient_registry._registry[name]
        count, entry, gradient = _held.get(name, (0, entry, entry["type"]))
    except (ImportError, AttributeError, KeyError, TypeError):
        return False
    if not count:
        entry["type"] = _GRADIENTS[name](gradient)
    _held[name] = count + 1, entry, gradient
    return True


def _release(name):
    count, entry, gradient = _held.pop(name)
    if count > 1:
        _held[name] = count - 1, entry, gradient
    else:
        entry["type"] = gradient


def _linear(again):
    """The gradient of an operation that is linear in its first input; `again` applies the operation to other images."""

    def wrapped(gradient):
        def differentiable(operation, upstream):
            image = operation.inputs[0]
            constant = _Constant(operation)
            if image.dtype not in _ADJOINT_TYPES.get(operation.type, [image.dtype]):
                constant.inputs[0] = tf.cast(constant.inputs[0], tf.float32)

            @tf.custom_gradient
            def adjoint(u):
                pulled = tf.cast(gradient(constant, u)[0], image.dtype)
                return pulled, lambda v: again(constant, v, tf.shape(u)[1:3])

            return [adjoint(upstream), *[None] * (len(operation.inputs) - 1)]

        return differentiable

    return wrapped


# The image types of TensorFlow's adjoints, for operations that themselves take more types.
_ADJOINT_TYPES = {"ResizeBicubic": [tf.float32, tf.float64], "ScaleAndTranslate": [tf.float32]}


class _Constant:
    """An operation with constant inputs. The adjoint uses only the size of the image."""

    def __init__(self, operation: tf.Operation) -> None:
        self.get_attr = operation.get_attr
        # TensorFlow keeps None for an input that the gradient does not use.
        self.inputs = [x if x is None else tf.stop_gradient(x) for x in operation.inputs]


def _attributes(operation, *names):
    values = {name: operation.get_attr(name) for name in names}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def _bilinear(operation, images, size):
    options = _attributes(operation, "align_corners", "half_pixel_centers")
    return tf.raw_ops.ResizeBilinear(images=images, size=size, **options)


def _bicubic(operation, images, size):
    options = _attributes(operation, "align_corners", "half_pixel_centers")
    return tf.raw_ops.ResizeBicubic(images=images, size=size, **options)


def _scaled(operation, images, size):
    _, _, scale, translation = operation.inputs
    options = _attributes(operation, "kernel_type", "antialias")
    return tf.raw_ops.ScaleAndTranslate(images=images, size=size, scale=scale, translation=translation, **options)


def _nearest(gradient):
    """The gradient of nearest-neighbour resizing: each pixel gets the sum over its copies."""

    def summed(operation, upstream):
        before, after = operation.inputs[0].shape, upstream.shape
        options = _attributes(operation, "align_corners", "half_pixel_centers")
        if _is_repetition(before, after) and not options["align_corners"]:
            (_, height, width, channels), (_, tall, wide, _) = before, after
            copies = tf.reshape(upstream, [-1, height, tall // height, width, wide // width, channels])
            return [tf.reduce_sum(copies, [2, 4]), None]

        def selection(axis):
            """The matrix [size after, size before] that selects rows or columns: the resized unit matrix."""
            unit = tf.eye(tf.shape(operation.inputs[0])[axis], dtype=upstream.dtype)[None, :, None, :]
            size = tf.stack([tf.shape(upstream)[axis], 1])
            return tf.raw_ops.ResizeNearestNeighbor(images=unit, size=size, **options)[0, :, 0]

        return [tf.einsum("bijc,ih,jw->bhwc", upstream, selection(1), selection(2)), None]

    return summed


def _is_repetition(before, after):
    """Whether resizing repeats all pixels equally often: by powers of 2, for which float32 coordinates are exact."""
    if not (before[1:].is_fully_defined() and after[1:].is_fully_defined()):
        return False
    pairs = zip(before[1:3], after[1:3], strict=True)
    return all(tall % height == 0 and (tall // height).bit_count() == 1 for height, tall in pairs)


def _softsign(gradient):
    return lambda operation, upstream: upstream / tf.square(1.0 + tf.abs(operation.inputs[0]))


def _bias_add(gradient):
    def summed(operation, upstream):
        if upstream.shape.rank is None:
            return gradient(operation, upstream)
        axes = list(range(upstream.shape.rank))
        axes.pop(1 if operation.get_attr("data_format") == b"NCHW" else -1)
        return [upstream, tf.reduce_sum(upstream, axes)]

    return summed


def _tile(gradient):
    def summed(operation, upstream):
        """Σ over the copies. The reshaped tensor has one additional axis for each tiled axis."""
        shape = operation.inputs[0].shape
        if not (tf.is_tensor(upstream) and shape.is_fully_defined() and upstream.shape.is_fully_defined()):
            return gradient(operation, upstream)
        split, copies = [], []
        for size, tiled in zip(shape, upstream.shape, strict=True):
            if tiled != size:
                copies.append(len(split))
                split.append(tiled // size)
            split.append(size)
        return [tf.reduce_sum(tf.reshape(upstream, split), copies), None]

    return summed


def _factor(place, slope):
    """The gradient of an operation that multiplies its input at index `place` by a slope, written as a product."""

    def wrapped(gradient):
        def multiplied(operation, upstream):
            gradients = list(gradient(operation, upstream))
            gradients[place] = upstream * slope(operation)
            return gradients

        return multiplied

    return wrapped


def _relu_slope(operation):
    features = operation.inputs[1]
    return tf.cast(features > 0, features.dtype)


def _leaky_relu_slope(operation):
    features = operation.inputs[1]
    return tf.where(features > 0, tf.ones_like(features), tf.cast(operation.get_attr("alpha"), features.dtype))


def _convolution(gradient):
    def transposed(operation, upstream):
        gradients = list(gradient(operation, upstream))
        if _is_sub_pixel(operation):
            gradients[0] = sub_pixel(upstream, operation.inputs[1], operation.get_attr("strides")[1])
        return gradients

    return transposed


def _is_sub_pixel(operation):
    _, height, width, channels = operation.inputs[0].shape if operation.inputs[0].shape.rank == 4 else [None] * 4
    _, s, t, _ = operation.get_attr("strides")
    return (
        operation.get_attr("padding") == b"SAME"
        and operation.get_attr("data_format") == b"NHWC"
        and list(operation.get_attr("dilations")) == [1, 1, 1, 1]
        and operation.inputs[1].shape.is_fully_defined()
        and operation.inputs[1].shape[2] == channels
        and None not in (height, width, channels)
        and s == t > 1
        and channels <= MOST_SUB_PIXEL_CHANNELS
        and height % s == width % s == 0
    )


_GRADIENTS = {
    "BiasAdd": _bias_add,
    "Conv2D": _convolution,
    "LeakyReluGrad": _factor(0, _leaky_relu_slope),
    "ReluGrad": _factor(0, _relu_slope),
    "SigmoidGrad": _factor(1, lambda operation: operation.inputs[0] * (1.0 - operation.inputs[0])),
    "TanhGrad": _factor(1, lambda operation: 1.0 - tf.square(operation.inputs[0])),
    "ResizeBilinear": _linear(_bilinear),
    "ResizeBicubic": _linear(_bicubic),
    "ResizeNearestNeighbor": _nearest,
    "ScaleAndTranslate": _linear(_scaled),
    "Softsign": _softsign,
    "Tile": _tile,
}
_TWICE = ("BiasAdd", "ResizeBilinear", "ResizeBicubic", "ResizeNearestNeighbor", "ScaleAndTranslate", "Softsign")
