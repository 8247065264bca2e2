"""Draws latents and labels for a loaded generator."""

from collections.abc import Sequence

import tensorflow as tf

from tfjc.geometry import inputs as model_inputs
from tfjc.saving.loading._loaded import Loaded
from tfjc.support import checks, noise


def draw_latents(prior: str, shape: Sequence[int], seed: int) -> tf.Tensor:
    """Latents [n, n_z] drawn from a prior.

    Args:
      prior: "normal" for N(0, I), "uniform" on [−1, 1], or "truncated_normal" for N(0, I) cut off at ±2.
      shape: [n, n_z].
      seed: seed of the latents.

    Raises:
      ValueError: the prior is unknown.
    """
    sample = {
        "normal": tf.random.stateless_normal,
        "uniform": lambda shape, seed: tf.random.stateless_uniform(shape, seed, minval=-1.0, maxval=1.0),
        "truncated_normal": tf.random.stateless_truncated_normal,
    }
    return sample[checks.one_of("prior", prior, sample)](shape, noise.seed(seed, noise.Stream.LOADED_LATENTS))


def num_classes(loaded: Loaded, given: int | None = None) -> int | None:
    """The number of classes of a generator's labels, or None where it is not known.

    It is the width of one-hot labels, the number in the run's record, or `given`.

    Raises:
      ValueError: `given` contradicts the known number.
    """
    if loaded.labels is None:
        return None
    known = loaded.labels.shape[0] if _is_one_hot(loaded) else loaded.num_classes
    if given is not None and known not in (None, given):
        takes = model_inputs.described([loaded.labels])
        raise ValueError(f"{loaded.source} has {known} classes ({takes}), found num_classes = {given}")
    return given if known is None else known


def draw_labels(
    loaded: Loaded, count: int, *, classes: int | None = None, label: int | None = None, seed: int = 0
) -> tf.Tensor | None:
    """Labels [count, ...] for a class-conditional generator; None for other generators.

    Args:
      loaded: the generator.
      count: the number of labels.
      classes: the number of classes, where the generator does not tell.
      label: the class of all labels; None draws labels uniformly.
      seed: seed of the labels.

    Raises:
      ValueError: the generator takes no labels and some are asked for, the number of classes is not known or
        contradicts the known one, or `label` is out of range.
    """
    if loaded.labels is None:
        if classes is not None or label is not None:
            raise ValueError(
                f"{loaded.source} takes no labels, but they were asked for; where a one-hot label is part of its one "
                "input, --labels_at=START:STOP says where"
            )
        return None
    shape, dtype = loaded.labels.shape, loaded.labels.dtype
    takes = model_inputs.described([loaded.labels])
    if not (dtype.is_integer or dtype.is_floating):
        raise ValueError(f"{loaded.source} takes {takes} beside z: labels of that type are not supported")
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
