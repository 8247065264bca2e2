"""Noise, means and batches that the replicas of a `tf.distribute` strategy share."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from numpy.typing import ArrayLike

from tfjc.support.precision import safe_norm


def unit_directions(
    shape: ArrayLike | tf.Tensor, seed: ArrayLike | tf.Tensor, dtype: tf.DType = tf.float32
) -> tf.Tensor:
    """Directions uniform on the unit sphere, one in each row: δ/‖δ‖ with δ ~ N(0, I), [B, n_z].

    In a replica of a strategy these are the replica's rows of the directions drawn for the whole batch.

    Args:
      shape: [B, n_z].
      seed: int[2].
      dtype: floating type of the directions.
    """
    delta = rows(functools.partial(tf.random.stateless_normal, seed=seed, dtype=dtype), shape)
    return delta / safe_norm(delta)[:, None]


def count() -> int:
    """The number of replicas of the current `tf.distribute` strategy; 1 without a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def rows(draw: Callable[[tf.Tensor], tf.Tensor], shape: ArrayLike | tf.Tensor, parts: int = 1) -> tf.Tensor:
    """Noise for this replica's rows of a batch, so that the noise of a batch does not depend on the number of replicas.

    Without replicas this is draw(shape). In one of n replicas it is the replica's rows of draw([n·B, ...]).

    Args:
      draw: a function of a shape.
      shape: the shape [B, ...] of this replica's part.
      parts: the number of consecutive sub-batches in the batch; a replica has rows of each.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return draw(shape)
    shape = tf.convert_to_tensor(shape, tf.int32)
    n, size = context.num_replicas_in_sync, shape[0] // parts
    together = draw(tf.concat([shape[:1] * n, shape[1:]], axis=0))
    firsts = (tf.range(parts) * n + context.replica_id_in_sync_group) * size
    return tf.gather(together, tf.reshape(firsts[:, None] + tf.range(size), [parts * size]))


def mean(tensors: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
    """The mean of each tensor over all replicas, when called in one of several replicas; else the tensors."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, tensors)


def gather(tensor: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas in order, [n·B, ...], when called in one of n replicas; else the tensor [B, ...]."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensor
    return context.all_gather(tensor, axis=0)


def split(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, with the rows of its arguments split over the replicas of the current strategy.

    Rows that do not divide evenly are padded with copies of the last row; the results for the copies are dropped.
    Replicas run in parallel only where the result is called in a graph.

    Args:
      function: takes tensors with equally many rows, or None, and returns one or several tensors with as many rows.
    """
    strategy = tf.distribute.get_strategy()
    if not is_distributed():
        return function

    def part(*tensors):
        context = tf.distribute.get_replica_context()
        count = _count(tensors[0])
        size = -(-count // context.num_replicas_in_sync)
        mine = tf.minimum(context.replica_id_in_sync_group * size + tf.range(size), count - 1)
        return function(*(None if tensor is None else tf.gather(tensor, mine) for tensor in tensors))

    @functools.wraps(function)
    def joined(*tensors):
        found, count = strategy.run(part, args=tensors), _count(tensors[0])
        return tf.nest.map_structure(lambda parts: strategy.gather(parts, axis=0)[:count], found)

    return joined


def _count(tensor):
    return tf.shape(tensor)[0] if tensor.shape[0] is None else tensor.shape[0]


def is_distributed() -> bool:
    """Whether the code is in a `tf.distribute` strategy's scope and outside its replicas, so that it can start them."""
    return tf.distribute.has_strategy() and tf.distribute.in_cross_replica_context()


def all_workers(flag: bool) -> bool:
    """Whether `flag` is true in every worker of the current strategy. Every worker must call this."""
    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return flag
    flags = strategy.run(lambda: tf.constant([int(flag)]))
    return bool(tf.reduce_all(strategy.gather(flags, axis=0) == 1))
