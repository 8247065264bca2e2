"""Gradients that TensorFlow lacks, or computes slowly, supplied while the engine traces.

The pullback u ↦ Jᵀu has to be differentiated in its turn. TensorFlow's gradient of image resizing (bilinear, bicubic,
Lanczos, antialiased) cannot be: for bilinear resizing it even counts silently as constant. These maps are linear, so
that the derivative of the adjoint is the map itself. And its gradient of Tile, which Keras's UpSampling2D is made of,
doubles the number of axes, beyond those that its kernels are fast for.
"""

import contextlib
import threading

import tensorflow as tf

_lock, _depth, _replaced = threading.Lock(), 0, {}


@contextlib.contextmanager
def completed():
    """Within it, traced gradients are differentiable; as before where TensorFlow's registry is not as we know it."""
    global _depth
    with _lock:
        if _depth == 0:
            _replaced.update(_replace())
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                for entry, gradient in _replaced.values():
                    entry["type"] = gradient
                _replaced.clear()


def _replace():
    """Puts our gradients into TensorFlow's registry; returns {operation: (entry, TensorFlow's own gradient)}."""
    try:
        from tensorflow.python.framework import ops  # there is no public way to replace a gradient

        entries = {name: ops._gradient_registry._registry[name] for name in _GRADIENTS}
        before = {name: (entry, entry["type"]) for name, entry in entries.items()}
    except (ImportError, AttributeError, KeyError, TypeError):
        return {}
    for name, (entry, gradient) in before.items():
        entry["type"] = _GRADIENTS[name](gradient)
    return before


def _linear(again):
    """The gradient of an operation that is linear in its first input; `again` applies it to another one."""

    def wrapped(gradient):
        def differentiable(operation, upstream):
            @tf.custom_gradient
            def adjoint(u):
                return gradient(operation, u)[0], lambda v: again(operation, v, tf.shape(u)[1:3])

            return [adjoint(upstream), *[None] * (len(operation.inputs) - 1)]

        return differentiable

    return wrapped


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


_GRADIENTS = {
    "ResizeBilinear": _linear(_bilinear),
    "ResizeBicubic": _linear(_bicubic),
    "ScaleAndTranslate": _linear(_scaled),
    "Tile": _tile,
}
