"""Jacobians and metric tensors, block by block of samples."""

import functools
import re
import warnings
import weakref

import keras
import numpy as np
import tensorflow as tf

from tfjc import checks, numerics
from tfjc.jacobian import _generator, _gradients, _memory
from tfjc.jacobian._methods import METHODS, UnconnectedError


def jacobian(generator, z, *, labels=None, method="pullback", chunk=None):
    """J_z for each latent: J[b, i, j] = ∂G(z_b)_i / ∂(z_b)_j.

    Args:
      generator: callable z [B, n_z] → x [B, ...], differentiable, of floating type.
      z: latents [B, n_z].
      labels: [B, ...] for a class-conditional generator, called with (z, labels).
      method: "pullback" (n_z passes, the default), "batch_jacobian" (n_x passes, the reference) or "forward" (forward
        accumulation on B·n_z samples). Where TensorFlow cannot take the pullback, the others are tried in this order,
        with a warning that names the operation.
      chunk: the most (sample, pass) pairs held at once (2 passes at least), which bounds memory; None takes what a
        quarter of the device's free memory holds.

    Returns:
      [B, n_x, n_z] float32 (float64 for float64 latents).

    Raises:
      ValueError: z is not [B, n_z] with B ≥ 1 and floating; G fails on it, its output is not floating, lacks the batch
        axis or depends on z without derivatives; no method can differentiate G; or an argument is out of range.
    """
    return tf.concat(list(blocks(generator, z, labels=labels, method=method, chunk=chunk)), axis=0)


def metric_tensor(generator, z, *, labels=None, method="pullback", chunk=None):
    """M_z = J_zᵀJ_z for each latent, formed in float64: [B, n_z, n_z]. Arguments and errors as `jacobian`.

    In float32 the Gram matrix could not resolve ln κ(M) above ln(1/1.2e-7) ≈ 16.
    """
    rows = blocks(generator, z, labels=labels, method=method, chunk=chunk)
    return tf.concat([gram(block) for block in rows], axis=0)


_SLAB = 2**25  # elements of the matrices that are in float64 at once: 256 MiB


def gram(matrices):
    """AᵀA of each matrix in float64: [B, m, n] → [B, n, n]. Large matrices are cast by slabs of rows."""
    matrices = tf.convert_to_tensor(matrices)
    size, rows, columns = matrices.shape
    if None in (size, rows, columns) or size * rows * columns <= _SLAB:
        return _gram(matrices)
    height = max(1, _SLAB // (size * columns))
    return functools.reduce(tf.add, (_gram(matrices[:, i : i + height]) for i in range(0, rows, height)))


def _gram(matrices):
    matrices = tf.cast(matrices, tf.float64)
    return tf.matmul(matrices, matrices, transpose_a=True)


def blocks(generator, z, *, labels=None, method="pullback", chunk=None):
    """The rows of `jacobian` as consecutive blocks of samples, computed one after the other."""
    checks.one_of("method", method, METHODS)
    z = _generator.latents(z)
    labels = _generator.conditions(labels, z)
    _generator.check(generator, z, labels)
    inspection = _generator.inspect(generator, z, labels) if tf.executing_eagerly() else None
    parts, passes = _plan(z, inspection, chunk)
    differentiate = _Differentiation(generator, method, inspection)
    for part in parts:
        yield differentiate(z[part], None if labels is None else labels[part], passes)


def _plan(z, inspection, chunk):
    """(slices of the samples, passes at once or None for all)."""
    if inspection is None and chunk is None:
        return [slice(None)], None  # what a graph will run on is not known here
    if z.shape[0] is None:
        raise ValueError("chunk needs a known number of latents, found z with an unknown first axis")
    size, passes = _memory.split(*z.shape, inspection, chunk)
    return [slice(start, start + size) for start in range(0, z.shape[0], size)], passes


class _Differentiation:
    """J of one generator, block after block, by a method or, where TensorFlow cannot take the pullback, by the next."""

    def __init__(self, generator, method, inspection):
        self._generator, self._functions, self._failures = generator, {}, {}
        known = _working.get(generator) if _is_kept(generator) else None
        self._names = [method] if method != "pullback" else [known] if known else list(METHODS)
        self._tolerance = max(_DEFECT, 64 * inspection.epsilon) if inspection else None

    def __call__(self, z, labels, passes):
        """J [B, n_x, n_z] of a block; ValueError with every reason where no method works."""
        while self._names:
            try:
                j = self._by(self._names[0], z, labels, passes)
            except UnconnectedError:
                return _zeros(self._generator, z, labels)
            except _REFUSALS as error:
                self._failures[self._names.pop(0)] = _reason(error)
            else:
                self._settle()
                return j
        raise ValueError(f"TensorFlow cannot differentiate the generator ({self._reasons()})")

    def _by(self, name, z, labels, passes):
        if name == "forward" and self._tolerance is not None:
            _check_without_noise(self._generator, z, labels)
        if name not in self._functions:
            self._functions[name] = _computation(METHODS[name], self._generator)
        with _gradients.completed():
            if not _is_kept(self._generator):
                j, defect = self._functions[name](z, labels, passes, self._tolerance is not None)
                self._verify(defect)
                return j
            self._verify_once(name, z[:1], None if labels is None else labels[:1], passes)
            return self._functions[name](z, labels, passes, False)[0]

    def _verify_once(self, name, z, labels, passes):
        # What is missing is missing from the graph: for a model, looking once is enough.
        known = _whole.setdefault(self._generator, set())
        if self._tolerance is not None and name not in known:
            self._verify(self._functions[name](z, labels, passes, True)[1])
            known.add(name)

    def _verify(self, defect):
        if self._tolerance is not None and np.any(defect > self._tolerance):
            raise LookupError("a second derivative is missing somewhere: J is not that of TensorFlow's own gradient")

    def _settle(self):
        """Stays with the method that worked, and says so if it is not the one asked for."""
        if self._failures:
            if _is_kept(self._generator):
                _working[self._generator] = self._names[0]
            text = f"the Jacobian is taken by the slower method {self._names[0]!r} ({self._reasons()})"
            warnings.warn(text, RuntimeWarning, stacklevel=5)
        self._names, self._failures = self._names[:1], {}

    def _reasons(self):
        return "; ".join(f"{name}: {reason}" for name, reason in self._failures.items())


_DEFECT = 1e-2  # rounding makes 1e-6 in float32, and 1e-3 on GPUs that round products to TF32
# What TensorFlow raises where it lacks a derivative or cannot vectorise one. Memory that runs out is none of these.
_REFUSALS = (
    *(LookupError, ValueError, TypeError, NotImplementedError, AttributeError),
    tf.errors.InvalidArgumentError,
    tf.errors.UnimplementedError,
    tf.errors.UnknownError,
    tf.errors.InternalError,
)
_working = weakref.WeakKeyDictionary()  # the method that works for a model, where that is not the pullback
_whole = weakref.WeakKeyDictionary()  # the methods by which no derivative of a model is missing
_without_noise = weakref.WeakSet()  # models of which that is known


def _reason(error):
    operation = re.search(r"(?:no entry for|No pfor vectorization defined for|op type)[: ]+'?(\w+)", str(error))
    return f"no derivative of the operation {operation[1]}" if operation else _generator.summary(error)


def _check_without_noise(generator, z, labels):
    if _is_kept(generator) and generator in _without_noise:
        return
    if _generator.draws_noise(generator, z, labels):
        raise ValueError("the generator draws noise of its own, another in each column")
    if _is_kept(generator):
        _without_noise.add(generator)


def _zeros(generator, z, labels):
    """J = 0, which is true of a generator without a chain of derivatives only where it is constant."""
    if tf.executing_eagerly() and not _generator.is_constant(generator, z, labels):
        raise ValueError(
            "the generator's output changes with z, but through operations without derivatives (rounding, integers, "
            "numpy_function, ...)"
        )
    x = _generator.call(generator, z, labels)
    return tf.zeros([tf.shape(z)[0], tf.shape(x)[1], z.shape[1]], z.dtype)


def _computation(function, generator):
    """A method on a generator as a graph (z, labels, passes, check) → (J, defect).

    Traces are kept for models and modules, whose state is in variables, and only as long as these live. Any other
    callable is traced at each call, since whatever it holds may have changed.
    """
    if not tf.executing_eagerly():
        return functools.partial(function, generator)  # the function being traced decides, on XLA too
    if _is_kept(generator):
        return functools.partial(_traced(function, numerics.use_xla(), generator), generator)
    return tf.function(functools.partial(function, generator), jit_compile=numerics.use_xla(), autograph=False)


def _is_kept(generator):
    return isinstance(generator, (keras.Layer, tf.Module))


_traces = weakref.WeakKeyDictionary()


def _traced(function, xla, generator):
    # The generator is an argument of the tf.function, which keeps but a weak reference to it.
    traces = _traces.setdefault(generator, {})
    if (function, xla) not in traces:
        traces[function, xla] = tf.function(function, jit_compile=xla, autograph=False)
    return traces[function, xla]
