"""Checks of images, and random access to them in a stateless order."""

import numpy as np
import tensorflow as tf

from tfjc import checks, numerics


def check_images(images):
    """`images` as an array [N, ...] of uint8, or of floats in [−1, 1]; raises ValueError for anything else."""
    images = np.asarray(images)
    if images.ndim < 2 or len(images) == 0:
        raise ValueError(f"images must have shape [N, ...] with N ≥ 1, found {list(images.shape)}")
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"images must be uint8, or floats in [-1, 1], found {images.dtype}")
    low, high = float(images.min()), float(images.max())
    if not (low >= -1.001 and high <= 1.001):  # nan fails this too
        raise ValueError(
            f"images of floating type must lie in [-1, 1], found [{low:g}, {high:g}]; for [0, 255] x / 127.5 - 1"
        )
    return images


def batches(images, batch_size, *, seed, start=0):
    """Endless batches of `images` from step `start` on, as a tf.data.Dataset; in memory they stay as they are.

    Step t takes positions t·batch_size, ... of an endless sequence in which epoch e is the permutation of all images
    that (seed, e) gives (TensorFlow's stateless `RandomIndexShuffle`), so that a run can start anywhere at no cost.
    Raises ValueError where there are fewer images than a batch.
    """
    count, batch_size = len(images), checks.integer("batch_size", batch_size, minimum=1)
    seed = checks.integer("seed", seed, minimum=0)
    if count < batch_size:
        raise ValueError(f"a batch takes {batch_size} images, found {count}")
    with tf.device("CPU"):
        images = tf.constant(images)

    def batch(step):
        position = step * batch_size + tf.range(batch_size, dtype=tf.int64)
        epoch = position // count
        two = tf.stack([_epoch_seed(seed, epoch[0]), _epoch_seed(seed, epoch[0] + 1)])  # no batch falls into more
        index = tf.raw_ops.RandomIndexShuffle(
            index=position % count,
            seed=tf.gather(two, epoch - epoch[0]),
            max_index=tf.fill([batch_size], tf.constant(count - 1, tf.int64)),
            rounds=8,
        )
        return tf.ensure_shape(tf.gather(images, index), [batch_size, *images.shape[1:]])

    steps = tf.data.Dataset.counter(start=start)
    return steps.map(batch, num_parallel_calls=1).prefetch(4)


def _epoch_seed(seed, epoch):
    """Three random words: with small ones, or fewer rounds, RandomIndexShuffle's permutations are near the identity."""
    return tf.random.stateless_uniform([3], numerics.fold([seed, 0], epoch), None, None, tf.int32)
