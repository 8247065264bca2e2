"""What the replicas of a `tf.distribute` strategy share: noise, means, and work on a batch."""

import functools

import tensorflow as tf

from tfjc.support.precision import safe_norm


def unit_directions(shape, seed, dtype=tf.float32):
    """Directions uniform on the unit sphere, one a row: δ/‖δ‖ with δ ~ N(0, I); `shape` [B, n_z], `seed` int[2].

    In a replica of a strategy they are its rows of the whole batch's.
    """
    delta = rows(functools.partial(tf.random.stateless_normal, seed=seed, dtype=dtype), shape)
    return delta / safe_norm(delta)[:, None]


def count():
    """How many replicas of the current `tf.distribute` strategy make a step together; 1 without one."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def rows(draw, shape, parts=1):
    """Noise draw(shape); in one of n replicas its rows of what is drawn for all of them, draw([n·B, ...]).

    So the noise of a batch does not depend on how many replicas share it. Where a batch is made of `parts` consecutive
    ones, each replica has rows of each.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return draw(shape)
    shape = tf.convert_to_tensor(shape, tf.int32)
    n, size = context.num_replicas_in_sync, shape[0] // parts
    everybody = draw(tf.concat([shape[:1] * n, shape[1:]], axis=0))
    firsts = (tf.range(parts) * n + context.replica_id_in_sync_group) * size
    return tf.gather(everybody, tf.reshape(firsts[:, None] + tf.range(size), [parts * size]))


def mean(tensors):
    """The mean of each tensor over all replicas, when called in one of several; else the tensors."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, tensors)


def gather(tensor: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas [n·B, ...] of a tensor [B, ...], in order, when called in one of n; else the tensor."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensor
    return context.all_gather(tensor, axis=0)


def split(function):
    """`function` with the rows of the tensors it is called with split over the current strategy's replicas.

    It returns a tensor, or several, with a row for each of theirs; None among its arguments stays None. Rows that do
    not divide evenly are filled up with copies of the last one, which are dropped again. To run side by side, it is to
    be called in a graph.
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
    def whole(*tensors):
        found, count = strategy.run(part, args=tensors), _count(tensors[0])
        return tf.nest.map_structure(lambda parts: strategy.gather(parts, axis=0)[:count], found)

    return whole


def _count(tensor):
    return tf.shape(tensor)[0] if tensor.shape[0] is None else tensor.shape[0]


def is_distributed():
    """Whether a `tf.distribute` strategy's scope is entered, and no replica of it: work can be given to replicas."""
    return tf.distribute.has_strategy() and tf.distribute.in_cross_replica_context()


def all_workers(flag):
    """Whether `flag` is true in every worker of the current strategy; all must ask."""
    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return flag
    flags = strategy.run(lambda: tf.constant([int(flag)]))
    return bool(tf.reduce_all(strategy.gather(flags, axis=0) == 1))
