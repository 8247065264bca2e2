"""Three methods to compute J_z, each a graph function (generator, z, labels, passes) → (J, defect).

J is [B, n_x, n_z], the defect [B]. At most `passes` (2 or more) passes of a method run at once; None runs all at once.
The defect is ‖Jᵀu − Jᵀ(u)‖/‖Jᵀ(u)‖, where Jᵀ(u) is TensorFlow's own gradient along one random u. A defect above
rounding shows that a second derivative is missing: TensorFlow may ignore a missing second derivative without an error.
The defect costs one reverse pass.
"""

from collections.abc import Callable

import tensorflow as tf

from tfjc.geometry import _generator
from tfjc.geometry._generator import Generator
from tfjc.support import noise, precision


class UnconnectedError(Exception):
    """The output has no gradient path to z."""


def pullback(
    generator: Generator, z: tf.Tensor, labels: tf.Tensor | None, passes: int | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Jᵀ as the batch Jacobian of the pullback u ↦ Jᵀu, which is linear in u: n_z passes and one forward pass."""
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as outer:
        pulled, u = pull(generator, z, labels, outer.watch)
    if not _connected(outer, pulled, u):
        raise LookupError("the generator's gradient has itself no gradient")
    transposed = outer.batch_jacobian(pulled, u, parallel_iterations=passes)
    j = tf.linalg.matrix_transpose(tf.cast(transposed, z.dtype))
    return j, _defect(j, pulled, u)


def pull(
    generator: Generator,
    z: tf.Tensor,
    labels: tf.Tensor | None,
    watch: Callable[[tf.Tensor], object],
    u: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """(Jᵀu [B, n_z], u [B, n_x]): the pullback at z. `watch(u)` is called first; u is drawn where it is None."""
    with tf.GradientTape(watch_accessed_variables=False) as inner:
        inner.watch(z)
        x = _generator.call(generator, z, labels)
    u = tf.cast(_direction(x) if u is None else u, x.dtype)
    watch(u)
    pulled = inner.gradient(x, z, output_gradients=u)
    if pulled is None:
        raise UnconnectedError
    return pulled, u


def _direction(x):
    return tf.random.stateless_normal(tf.shape(x), noise.seed(0, noise.Stream.COTANGENTS))


def _defect(j, pulled, u):
    missing = precision.safe_norm(tf.linalg.matvec(j, tf.cast(u, j.dtype), transpose_a=True) - tf.cast(pulled, j.dtype))
    return tf.math.divide_no_nan(missing, precision.safe_norm(pulled))


def _connected(tape, target, source):
    # batch_jacobian returns zeros where there is no connection. Building this gradient only tests for a connection.
    return tape.gradient(target, source) is not None


def batch_jacobian(
    generator: Generator, z: tf.Tensor, labels: tf.Tensor | None, passes: int | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """J by one reverse pass for each output (tf.GradientTape.batch_jacobian of G itself)."""
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(z)
        x = _generator.call(generator, z, labels)
    if not _connected(tape, x, z):
        raise UnconnectedError
    j = tape.batch_jacobian(x, z, parallel_iterations=passes)
    return tf.cast(j, z.dtype), tf.zeros([tf.shape(z)[0]], z.dtype)  # J is TensorFlow's own gradient: no defect


def forward(
    generator: Generator, z: tf.Tensor, labels: tf.Tensor | None, passes: int | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The columns J·e_k by forward accumulation. Each column has its own copy of z: B·n_z samples run through G."""
    pulled, u = pull(generator, z, labels, lambda u: None)
    size, n_z = tf.shape(z)[0], z.shape[1]
    width = n_z if passes is None else min(passes, n_z)
    blocks = tf.reshape(tf.eye(-(-n_z // width) * width, n_z, dtype=z.dtype), [-1, width, n_z])

    def columns(directions):
        tiled = tf.repeat(z, width, axis=0), None if labels is None else tf.repeat(labels, width, axis=0)
        with tf.autodiff.ForwardAccumulator(tiled[0], tf.tile(directions, [size, 1])) as accumulator:
            x = _generator.call(generator, *tiled)
        pushed = accumulator.jvp(x)
        if pushed is None:
            raise LookupError("TensorFlow has no forward derivative of the generator")
        return tf.cast(tf.reshape(pushed, [size, width, -1]), z.dtype)

    if blocks.shape[0] == 1:
        transposed = columns(blocks[0])
    else:
        transposed = tf.transpose(tf.map_fn(columns, blocks, parallel_iterations=1), [1, 0, 2, 3])
        transposed = tf.reshape(transposed, [size, blocks.shape[0] * width, tf.shape(transposed)[3]])[:, :n_z]
    j = tf.linalg.matrix_transpose(transposed)
    return j, _defect(j, pulled, u)


METHODS = {"pullback": pullback, "batch_jacobian": batch_jacobian, "forward": forward}
