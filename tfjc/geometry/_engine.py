"""Jacobians and metric tensors, computed in blocks of samples."""

import contextlib
import functools
import re
import warnings
import weakref
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from tfjc.geometry import _generator, _gradients, _memory
from tfjc.geometry._generator import Array, Generator, Inspection
from tfjc.geometry._methods import METHODS, UnconnectedError
from tfjc.support import checks, precision, replicas
from tfjc.support.xla import use_xla


def jacobian(
    generator: Generator,
    z: Array,
    *,
    labels: Array | None = None,
    method: str = "pullback",
    chunk: int | None = None,
) -> tf.Tensor:
    """The Jacobian J_z at each latent: J[b, i, j] = ∂G(z_b)_i / ∂(z_b)_j.

    Source: Odena et al. 2018, section 2.

    Args:
      generator: differentiable callable z [B, n_z] → x [B, ...] with outputs of floating type.
      z: latents [B, n_z].
      labels: labels [B, ...] of a class-conditional generator, which is called with (z, labels).
      method: "pullback" (n_z passes, the default), "batch_jacobian" (n_x passes, the reference) or "forward" (forward
        accumulation on B·n_z samples). Where TensorFlow cannot compute the pullback, "batch_jacobian" is tried and
        then "forward". A warning names the operation that has no derivative.
      chunk: the largest number of (sample, pass) pairs in memory at once; at least 2 passes run together. None chooses
        the number that fits into a quarter of the device's free memory.

    Returns:
      [B, n_x, n_z] float32 (float64 for float64 latents).

    Raises:
      ValueError: z is not a floating tensor [B, n_z] with B ≥ 1; G fails on z, or mixes the samples of a batch; the
        output of G is not floating, has no batch axis, or depends on z through operations without derivatives; no
        method can differentiate G; or an argument is out of range.
    """
    return tf.concat(list(blocks(generator, z, labels=labels, method=method, chunk=chunk)), axis=0)


def metric_tensor(
    generator: Generator,
    z: Array,
    *,
    labels: Array | None = None,
    method: str = "pullback",
    chunk: int | None = None,
) -> tf.Tensor:
    """The metric tensor M_z = J_zᵀJ_z at each latent: [B, n_z, n_z] float64.

    The product is formed in float64. A float32 product cannot resolve ln κ(M) above ln(1/1.2e-7) ≈ 16. Arguments and
    errors are those of `jacobian`. Source: Odena et al. 2018, section 2.
    """
    rows = blocks(generator, z, labels=labels, method=method, chunk=chunk)
    return tf.concat([gram(block) for block in rows], axis=0)


def settle(generator: Generator, z: Array, *, labels: Array | None = None) -> None:
    """Finds the method by which a graph is to compute J; a trace cannot try methods.

    Computes J at z once, unless an eager call has found the method of this generator. Arguments and errors are those
    of `jacobian`.
    """
    kept = _generator.kept(generator)
    if not (kept and (kept.working or kept.verified)):
        jacobian(generator, z, labels=labels)


_SLAB = 2**25  # elements that are held in float64 at once: 256 MiB


def gram(matrices: Array) -> tf.Tensor:
    """The Gram matrix AᵀA of each matrix A in float64: [B, m, n] → [B, n, n]. Large A are cast in slabs of rows."""
    matrices = tf.convert_to_tensor(matrices)
    size, rows, columns = matrices.shape
    if None in (size, rows, columns) or size * rows * columns <= _SLAB:
        return _gram(matrices)
    height = max(1, _SLAB // (size * columns))
    return functools.reduce(tf.add, (_gram(matrices[:, i : i + height]) for i in range(0, rows, height)))


def _gram(matrices):
    matrices = tf.cast(matrices, tf.float64)
    return tf.matmul(matrices, matrices, transpose_a=True)


def blocks(
    generator: Generator,
    z: Array,
    *,
    labels: Array | None = None,
    method: str = "pullback",
    chunk: int | None = None,
    inspection: Inspection | None = None,
) -> Iterator[tf.Tensor]:
    """Yields the result of `jacobian` in consecutive blocks of samples, [b, n_x, n_z] each.

    Arguments and errors are those of `jacobian`. `inspection` is the result of `inspect` at these latents; it is
    computed where it is None.
    """
    checks.one_of("method", method, METHODS)
    z = _generator.latents(z)
    labels = _generator.conditions(labels, z)
    eager = tf.executing_eagerly()
    inspection = inspection or _generator.inspect(generator, z, labels)
    if not eager and chunk is not None and z.shape[0] is None:
        raise ValueError("chunk needs a known number of latents, found z with an unknown first axis")
    sharing = replicas.count() if replicas.is_distributed() else 1  # replicas share a block's samples
    # Tracing does not know the device that the graph will run on, so a graph without `chunk` runs all pairs at once.
    pairs = None if not eager and chunk is None else sharing * _memory.pairs(inspection, chunk)
    differentiate = _Differentiation(generator, method, inspection, pairs)
    size = z.shape[0] if pairs is None else _memory.samples(z.shape[0], z.shape[1], pairs)
    for start in range(0, z.shape[0] or 1, size or 1):
        part = slice(start, start + size) if size else slice(None)
        with precision.without_tf32() if eager else contextlib.nullcontext():
            j = differentiate(z[part], None if labels is None else labels[part])
        yield j


# {generator: the slower method that an eager call found}. A graph cannot try methods, so it uses this entry.
_settled: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class _Differentiation:
    """Computes J of one generator for each block, by the first method that TensorFlow supports for the generator."""

    def __init__(self, generator: Generator, method: str, inspection: Inspection, pairs: int | None) -> None:
        self._generator, self._inspection, self._pairs = generator, inspection, pairs
        self._kept = _generator.kept(generator)
        self._xla = use_xla() and not (self._kept and self._kept.without_xla)
        known = self._kept.working if self._kept else None
        if not tf.executing_eagerly() and isinstance(generator, (keras.Model, tf.Module)):
            known = known or _settled.get(generator)
        self._names = [method] if method != "pullback" else [known] if known else list(METHODS)
        self._is_checked = not tf.executing_eagerly() or replicas.is_distributed()  # a graph cannot tell
        self._functions: dict[str, Callable] = {}
        self._failures: dict[str, str] = {}

    def __call__(self, z: tf.Tensor, labels: tf.Tensor | None) -> tf.Tensor:
        """J [B, n_x, n_z] of a block; raises ValueError with the reason of each method where no method works."""
        if not self._is_checked:
            _generator.check_independent(self._generator, z, labels, self._inspection)
            self._is_checked = True  # one block is enough
        while self._names:
            try:
                j = self._by(self._names[0], z, labels)
            except UnconnectedError:
                return _zeros(self._generator, z, labels)
            except _REFUSALS as error:
                self._give_up(error)
            else:
                self._settle()
                return j
        raise ValueError(f"TensorFlow cannot differentiate the generator ({self._reasons()})")

    def _by(self, name, z, labels):
        if name == "forward" and tf.executing_eagerly():
            self._check_without_noise(z, labels)
        if name not in self._functions:
            self._functions[name] = _computation(METHODS[name], self._generator, self._kept, self._xla)
        columns = (name == "batch_jacobian" and self._inspection.n_x) or z.shape[1]
        passes = _memory.passes(z.shape[0], columns, self._pairs)
        with _gradients.completed(), _vectorisation():
            j, defect = self._functions[name](z, labels, passes)
            return self._verified(name, j, defect)

    def _verified(self, name, j, defect):
        """J. Where a second derivative is missing, an eager call raises LookupError; for a graph see `_unless`.

        The graph of a kept generator never changes, so one block without a defect is enough.
        """
        if name == "batch_jacobian" or (self._kept and name in self._kept.verified):
            return j
        wrong = defect > _generator.tolerance(self._inspection.epsilon)
        missing = (
            "a second derivative is missing: J disagrees with TensorFlow's own gradient (as it does, too, where the "
            "generator mixes samples: batch normalisation in training mode)"
        )
        if not tf.executing_eagerly():
            return _unless(wrong, j, f"{missing}; method='batch_jacobian' needs no second derivative")
        if np.any(wrong):
            raise LookupError(missing)
        if self._kept:
            self._kept.verified.add(name)
        return j

    def _check_without_noise(self, z, labels):
        if self._kept and self._kept.without_noise:
            return
        if _generator.draws_noise(self._generator, z, labels):
            raise ValueError("the generator draws random numbers, which differ between the columns of J")
        if self._kept:
            self._kept.without_noise = True

    def _give_up(self, error):
        """Drops XLA where XLA failed; otherwise drops the method."""
        if self._xla and "XLA" in str(error):
            self._xla, self._functions = False, {}
            if self._kept:
                self._kept.without_xla = True
            text = f"XLA cannot compile the generator; J is computed without XLA: {_generator.summary(error)}"
            warnings.warn(text, RuntimeWarning, stacklevel=5)
        else:
            self._failures[self._names.pop(0)] = _reason(error)

    def _settle(self):
        """Keeps the method that worked; warns if it is not the first one."""
        if self._failures:
            if self._kept:
                self._kept.working = self._names[0]
            text = f"the Jacobian is computed by the slower method {self._names[0]!r} ({self._reasons()})"
            if isinstance(self._generator, (keras.Model, tf.Module)) and tf.executing_eagerly():
                _settled[self._generator] = self._names[0]
            if not self._kept and tf.executing_eagerly():
                text += "; each call traces the generator, because it is not a functional model of Keras layers"
            warnings.warn(text, RuntimeWarning, stacklevel=5)
        self._names, self._failures = self._names[:1], {}

    def _reasons(self):
        return "; ".join(f"{name}: {reason}" for name, reason in self._failures.items())


# TensorFlow raises these where an operation has no derivative or cannot be vectorised. Lack of memory raises others.
_REFUSALS = (
    *(LookupError, ValueError, TypeError, NotImplementedError, AttributeError),
    tf.errors.InvalidArgumentError,
    tf.errors.UnimplementedError,
    tf.errors.UnknownError,
    tf.errors.InternalError,
)


def _reason(error):
    operation = re.search(r"(?:no entry for|No pfor vectorization defined for|op type)[: ]+'?(\w+)", str(error))
    return f"no derivative of the operation {operation[1]}" if operation else _generator.summary(error)


@contextlib.contextmanager
def _vectorisation():
    """Puts the name of an operation that TensorFlow cannot vectorise into the error.

    TensorFlow writes hundreds of lines about such an operation to its log. They are suppressed.
    """
    failed = []

    def keep(record):
        if "parallel_for" not in record.pathname:
            return True
        failed.extend(_VECTORISED.findall(record.getMessage()))  # the operation first, then the loops around it
        return False

    logger = tf.get_logger()
    logger.addFilter(keep)
    try:
        yield
    except _REFUSALS as error:
        if not failed:
            raise
        names = " within ".join(dict.fromkeys(failed))
        raise NotImplementedError(f"TensorFlow cannot vectorise the operation {names}") from error
    finally:
        logger.removeFilter(keep)


_VECTORISED = re.compile(r"(?sm)^Got error while pfor was converting .*?^op: \"(?!\w*PartitionedCall)(\w+)")


def _unless(wrong, j, message):
    """`j` in a graph that raises InvalidArgumentError with the message where a sample is `wrong`.

    XLA drops assertions. Under XLA, J of wrong samples is nan.
    """
    wrong = tf.broadcast_to(wrong, tf.shape(j)[:1])
    with tf.control_dependencies([tf.debugging.Assert(tf.logical_not(tf.reduce_any(wrong)), [message])]):
        return tf.where(wrong[:, None, None], tf.constant(np.nan, j.dtype), j)


def _zeros(generator, z, labels):
    """J = 0 for a generator whose output has no gradient path to z; only a constant generator may have none."""
    x = _generator.call(generator, z, labels)
    j = tf.zeros([tf.shape(z)[0], tf.shape(x)[1], z.shape[1]], z.dtype)
    if not tf.executing_eagerly():
        changed = tf.reduce_any(x != _generator.call(generator, z + 1.0, labels))
        return _unless(changed, j, _generator.NOT_DIFFERENTIABLE)
    if not _generator.is_constant(generator, z, labels):
        raise ValueError(_generator.NOT_DIFFERENTIABLE)
    return j


def _computation(function, generator, kept, xla):
    """One method applied to one generator, as a graph function (z, labels, passes) → (J, defect).

    A generator with a fixed graph is traced once; its traces live as long as the generator. Any other callable is
    traced at each call, since its Python state may have changed. In a strategy's scope, the replicas share the samples
    of a generator whose traces are kept.
    """
    if not tf.executing_eagerly():
        return functools.partial(function, generator)  # the function being traced decides whether XLA compiles it
    if kept:
        # tf.function keeps only a weak reference to its arguments, so passing the generator does not keep it alive.
        if (function, xla) not in kept.traces:
            graph = _graph(function, xla)
            kept.traces[function, xla] = graph, tf.function(functools.partial(_split, graph), autograph=False)
        graph, split = (functools.partial(trace, generator) for trace in kept.traces[function, xla])
        return split if replicas.is_distributed() else graph
    return _graph(functools.partial(function, generator), xla)


def _graph(function, xla):
    graph = tf.function(function, jit_compile=xla, autograph=False)
    graph._omit_frequent_tracing_warning = True  # each generator needs its own traces
    return graph


def _split(graph, generator, z, labels, passes):
    """J and defects of all samples; each replica computes its part of z with `graph`."""
    return replicas.split(lambda *part: graph(generator, *part, passes))(z, labels)
