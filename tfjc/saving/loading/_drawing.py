"""Latents and labels for a generator that was loaded."""

import tensorflow as tf

from tfjc.geometry import inputs as model_inputs
from tfjc.saving.loading._loaded import Loaded
from tfjc.support import checks, noise


def draw_latents(prior, shape, seed):
    """Latents [n, n_z] of a prior: "normal" N(0, I), "uniform" on [−1, 1], "truncated_normal" N(0, I) cut off at ±2."""
    sample = {
        "normal": tf.random.stateless_normal,
        "uniform": lambda shape, seed: tf.random.stateless_uniform(shape, seed, minval=-1.0, maxval=1.0),
        "truncated_normal": tf.random.stateless_truncated_normal,
    }
    return sample[checks.one_of("prior", prior, sample)](shape, noise.seed(seed, noise.Stream.LOADED_LATENTS))


def num_classes(loaded: Loaded, given: int | None = None) -> int | None:
    """How many classes a generator's labels are from: the width of one-hot labels, the run's number, or `given`.

    None where that is not known. Raises ValueError where `given` contradicts what is known.
    """
    if loaded.labels is None:
        return None
    known = loaded.labels.shape[0] if _is_one_hot(loaded) else loaded.num_classes
    if given is not None and known not in (None, given):
        takes = model_inputs.described([loaded.labels])
        raise ValueError(f"{loaded.source} has {known} classes ({takes}), found num_classes = {given}")
    return given if known is None else known


def draw_labels(loaded, count, *, classes=None, label=None, seed=0):
    """Labels [count, ...] for a generator that takes them, or None for one that does not.

    All of class `label`, or else drawn uniformly from `num_classes(loaded, classes)`.

    Raises:
      ValueError: labels are asked of a generator that takes none, their number is not known or contradicts what is
        known, or one is out of range.
    """
    if loaded.labels is None:
        if classes is not None or label is not None:
            raise ValueError(f"{loaded.source} takes no labels, but they were asked for")
        return None
    shape, dtype = loaded.labels.shape, loaded.labels.dtype
    takes = model_inputs.described([loaded.labels])
    if not (dtype.is_integer or dtype.is_floating):
        raise ValueError(f"{loaded.source} takes {takes} beside z: labels of that type are unknown")
    classes = num_classes(loaded, classes)
    if classes is None and (label is None or _is_one_hot(loaded)):
        raise ValueError(f"{loaded.source} takes labels ({takes}): say --num_classes or --label")
    if classes is not None and label is not None and label >= classes:
        raise ValueError(f"label must be less than {classes}, found {label}")
    drawn = tf.random.stateless_uniform(
        [count], noise.seed(seed, noise.Stream.LOADED_LABELS), maxval=classes or 1, dtype=tf.int32
    )
    drawn = drawn if label is None else tf.fill([count], label)
    shaped = tf.one_hot(drawn, classes) if _is_one_hot(loaded) else tf.reshape(drawn, [count, *[1] * len(shape)])
    return tf.cast(shaped, dtype)


def _is_one_hot(loaded):
    shape = loaded.labels.shape
    return len(shape) == 1 and shape[0] not in (None, 1)
