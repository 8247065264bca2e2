"""Gradients that TensorFlow lacks, or computes slowly, supplied while the engine traces or a penalty asks for them.

The engine differentiates the pullback u ↦ Jᵀu, so every operation of G needs a gradient that has itself a gradient.

- Image resizing (bilinear, bicubic, Lanczos, antialiased): TensorFlow's gradient cannot be differentiated, and that of
  bilinear resizing counts silently as constant. These maps are linear: the derivative of the adjoint is the map itself.
- Nearest-neighbour resizing: TensorFlow's gradient cannot be differentiated, and XLA cannot compile it. Ours sums the
  copies of each pixel.
- Softsign: TensorFlow's gradient cannot be differentiated; the formula u/(1 + |x|)² can.
- BiasAdd: oneDNN's pass over the graph fuses a BiasAddGrad with any Conv2DBackpropFilter of the same upstream gradient.
  Where the filter's gradient is one of a second derivative and depends on the BiasAddGrad, that makes a cycle, and the
  step fails with "nodes in a cycle", depending on the order of a hash table. Ours is a plain sum.
- Tile, which Keras's UpSampling2D is made of: TensorFlow's gradient doubles the number of axes, beyond those that its
  kernels are fast for.
- ReLU and its like: vectorised over n_z passes, TensorFlow copies the slope n_z times; a product broadcasts it.
- The last transposed convolution, to 1 or 3 colours: few output channels make it slow; as a convolution at the size of
  its input to all s×s pixels at once (Shi et al. 2016, sub-pixel convolution) it is not.
"""

import contextlib
import threading

import tensorflow as tf

from tfjc.support.convolutions import MOST_SUB_PIXEL_CHANNELS, sub_pixel

_lock = threading.Lock()
_held: dict[str, tuple] = {}  # {operation: (how often it is held, entry, TensorFlow's own gradient)}


def completed():
    """Within it, traced gradients are differentiable; as before where TensorFlow's registry is not as we know it."""
    return _replaced(_GRADIENTS)


def twice_differentiable():
    """A context within which to take gradients that are themselves differentiated.

    TensorFlow's gradients of image resizing and softsign cannot be differentiated: that of bilinear resizing counts as
    constant without a word, the others raise LookupError. That of BiasAdd can make a graph that TensorFlow refuses.
    Penalties on slopes and adjusted gradients differentiate a gradient: they take the inner one within this context.
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
    """Puts our gradient into TensorFlow's registry unless it is there; False where the registry is another."""
    try:
        from tensorflow.python.framework import ops  # there is no public way to replace a gradient

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
    """The gradient of an operation that is linear in its first input; `again` applies it to another one."""

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


# The types of images that TensorFlow's own adjoints take, where the resizing itself takes more.
_ADJOINT_TYPES = {"ResizeBicubic": [tf.float32, tf.float64], "ScaleAndTranslate": [tf.float32]}


class _Constant:
    """An operation whose inputs do not vary: of the image, the adjoint takes the size alone."""

    def __init__(self, operation):
        self.get_attr = operation.get_attr
        self.inputs = [x if x is None else tf.stop_gradient(x) for x in operation.inputs]  # None where it is not needed


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
            """The matrix [size after, size before] that picks rows or columns: resizing, applied to the unit matrix."""
            unit = tf.eye(tf.shape(operation.inputs[0])[axis], dtype=upstream.dtype)[None, :, None, :]
            size = tf.stack([tf.shape(upstream)[axis], 1])
            return tf.raw_ops.ResizeNearestNeighbor(images=unit, size=size, **options)[0, :, 0]

        return [tf.einsum("bijc,ih,jw->bhwc", upstream, selection(1), selection(2)), None]

    return summed


def _is_repetition(before, after):
    """Whether nearest-neighbour resizing repeats each pixel as often: by powers of 2, of which float32 is exact."""
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
        """Σ over the copies, with an axis more for each tiled axis alone."""
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
    """The gradient of an operation that multiplies its input number `place` by a slope, as that product."""

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
    _, height, width, colours = operation.inputs[0].shape if operation.inputs[0].shape.rank == 4 else [None] * 4
    _, s, t, _ = operation.get_attr("strides")
    return (
        operation.get_attr("padding") == b"SAME"
        and operation.get_attr("data_format") == b"NHWC"
        and list(operation.get_attr("dilations")) == [1, 1, 1, 1]
        and operation.inputs[1].shape.is_fully_defined()
        and operation.inputs[1].shape[2] == colours
        and None not in (height, width, colours)
        and s == t > 1
        and colours <= MOST_SUB_PIXEL_CHANNELS
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
