"""Checks images and labels, and makes batches in a stateless random order."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfjc.support import checks, noise


def check_images(images: ArrayLike) -> np.ndarray:
    """`images` as an array [N, ...] of uint8, or of floats in [−1, 1].

    Raises:
      ValueError: another shape, type or range.
    """
    images = np.asarray(images)
    if images.ndim < 2 or len(images) == 0:
        raise ValueError(f"images must have shape [N, ...] with N ≥ 1, found {list(images.shape)}")
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"images must be uint8, or floats in [-1, 1], found {images.dtype}")
    low, high = float(images.min()), float(images.max())
    if not (low >= -1.001 and high <= 1.001):  # also catches nan
        raise ValueError(
            f"images of floating type must lie in [-1, 1], found [{low:g}, {high:g}]; scale [0, 255] by x / 127.5 - 1"
        )
    return images


def integer_labels(labels: ArrayLike, count: int | None = None) -> np.ndarray:
    """`labels` as an array [N] of whole numbers. A second axis of size 1, which some datasets have, is dropped.

    Args:
      labels: [N] or [N, 1].
      count: N, if it is given.

    Raises:
      ValueError: another shape or type.
    """
    labels = np.asarray(labels)
    labels = labels[:, 0] if labels.shape[1:] == (1,) else labels
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or count not in (None, len(labels)):
        expected = "N" if count is None else count
        found = f"{labels.dtype} {list(labels.shape)}"
        raise ValueError(f"labels must be whole numbers [{expected}], one for each image, found {found}")
    return labels


def check_labels(labels: ArrayLike, num_classes: int, count: int | None = None) -> np.ndarray:
    """`labels` as int32 [N] from 0 to num_classes − 1; N is `count` if it is given.

    Raises:
      ValueError: another shape, type or range.
    """
    labels = integer_labels(labels, count)
    low, high = (labels.min(), labels.max()) if len(labels) else (0, 0)
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"labels must lie in 0 to {num_classes - 1} (num_classes = {num_classes}), found {low} to {high}"
        )
    return labels.astype(np.int32)


def batches(
    images: np.ndarray | Sequence[np.ndarray], batch_size: int, *, seed: int, start: int | Callable[[], int] = 0
) -> tf.data.Dataset:
    """Endless batches of `images` from step `start` on. The images are held in memory in their own type.

    Step t takes positions t·batch_size, ..., (t + 1)·batch_size − 1 of an endless sequence. Epoch e of the sequence
    is a permutation of all images, drawn by TensorFlow's stateless `RandomIndexShuffle` from (seed, e). A run can
    therefore start at any step at no cost.

    Args:
      images: an array [N, ...], or a tuple of arrays with N entries each, such as (images, labels).
      batch_size: images of a batch.
      seed: seed of the order.
      start: the first step, or a function that gives it. Each iteration calls the function before its first batch.

    Raises:
      ValueError: there are fewer images than a batch takes.
    """
    several = isinstance(images, (tuple, list))
    count = len(images[0] if several else images)
    batch_size = checks.integer("batch_size", batch_size, minimum=1)
    seed = checks.seed("seed", seed)
    if count < batch_size:
        raise ValueError(f"a batch takes {batch_size} images, found {count}")
    with tf.device("CPU"):
        arrays = [tf.constant(array) for array in (images if several else [images])]

    @tf.autograph.experimental.do_not_convert  # it has no control flow, and converting takes a third of a second
    def batch(step):
        position = step * batch_size + tf.range(batch_size, dtype=tf.int64)
        epoch = position // count
        # A batch never spans more than two epochs.
        two = tf.stack([_epoch_seed(seed, epoch[0]), _epoch_seed(seed, epoch[0] + 1)])
        index = tf.raw_ops.RandomIndexShuffle(
            index=position % count,
            seed=tf.gather(two, epoch - epoch[0]),
            max_index=tf.fill([batch_size], tf.constant(count - 1, tf.int64)),
            rounds=8,
        )
        taken = [tf.ensure_shape(tf.gather(array, index), [batch_size, *array.shape[1:]]) for array in arrays]
        return tuple(taken) if several else taken[0]

    return _steps(start).map(batch, num_parallel_calls=1).prefetch(4)


def _steps(start):
    """start, start + 1, ... as a dataset."""
    if not callable(start):
        return tf.data.Dataset.counter(start=start)

    def from_first(_):
        first = tf.numpy_function(lambda: np.int64(start()), [], tf.int64)
        return tf.data.Dataset.counter(start=tf.ensure_shape(first, []))

    return tf.data.Dataset.from_tensors(0).flat_map(from_first)  # runs when iteration starts


def _epoch_seed(seed, epoch):
    """An epoch's seed, int32[3]. With small numbers, or fewer rounds, permutations would be near the identity."""
    return tf.random.stateless_uniform([3], noise.seed(seed, noise.Stream.DATA_ORDER, epoch), None, None, tf.int32)
