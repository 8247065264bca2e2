"""A generator that was loaded: which of its inputs is the latent, which are labels, and how it is called."""

import math
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from tfjc import geometry
from tfjc.geometry import inputs as model_inputs


class Loaded(NamedTuple):
    """A generator as `load` found it.

    Attributes:
      generate: callable z [B, n_z] → x [B, ...]; with labels, (z, labels) → x.
      latent_shape: the shape of one latent as the model itself takes it; n_z is its size.
      labels: the input that takes labels beside z, or None.
      model: the Keras model if it has one input [B, n], which can be cloned in float64; else None.
      source: where it came from, as text.
      num_classes: how many classes the labels are from, where that is known.
      labels_at: (start, stop) of the numbers in the model's input that are a one-hot label, or None.
    """

    generate: Callable
    latent_shape: tuple
    labels: model_inputs.Input | None
    model: keras.Model | None
    source: str
    num_classes: int | None = None
    labels_at: tuple[int, int] | None = None

    @property
    def n_z(self) -> int:
        """The size of a latent."""
        return math.prod(self.latent_shape)


def loaded(apply, inputs, source, *, latent=None, labels=None, latent_shape=None):
    """The `Loaded` for a function of {input name: tensor} and the inputs that it has."""
    z, y = model_inputs.tell_apart(inputs, source, latent=latent, labels=labels)
    described = model_inputs.described([z])
    shape = tuple(latent_shape or z.shape)
    if None in shape or math.prod(shape) < 1:
        raise ValueError(f"{source} leaves the shape of its latent open ({described}): name it (--latent_shape)")
    if len(shape) != len(z.shape) or any(a not in (None, b) for a, b in zip(z.shape, shape, strict=True)):
        raise ValueError(f"{source} takes latents of shape {list(z.shape)}, found latent_shape {list(shape)}")

    def generate(latents, classes=None):
        values = {z.name: tf.cast(tf.reshape(latents, [-1, *shape]), z.dtype)}
        return apply(values if y is None else values | {y.name: classes})

    return Loaded(generate, shape, y, None, source)


def with_labels_at(found: Loaded, start: int, stop: int) -> Loaded:
    """`found`, a generator whose latent has a one-hot label in its numbers start to stop − 1, as G(z, labels).

    z [B, n_z] is what is left of the latent, labels are float32 [B, stop − start], and J is taken by z alone.

    Raises:
      ValueError: the generator takes labels already, or the range is no part of its latent that leaves a z.
    """
    shape, size = found.latent_shape, found.n_z
    if found.labels is not None:
        taken = model_inputs.described([found.labels])
        raise ValueError(f"labels_at is for models that take one input, and {found.source} takes {taken} beside it")
    if math.prod(shape[:-1]) != 1:
        raise ValueError(f"labels_at is for latents of one axis, and {found.source} takes {list(shape)}")
    if start < 0 or not start + 2 <= stop <= size or stop - start == size:
        raise ValueError(
            f"labels_at must be START:STOP with 0 ≤ START, STOP ≤ {size}, two classes or more, and a latent left, "
            f"found {start}:{stop}"
        )
    label = model_inputs.Input(f"numbers {start} to {stop - 1}", (stop - start,), tf.float32)
    generate, shape = _insert_labels(found.generate, start), (size - (stop - start),)
    return found._replace(generate=generate, latent_shape=shape, labels=label, labels_at=(start, stop))


def _insert_labels(generate, start):
    def with_labels(z, labels):
        return geometry.run(generate, tf.concat([z[:, :start], tf.cast(labels, z.dtype), z[:, start:]], axis=1))

    return with_labels


def in_float64(found: Loaded) -> Callable:
    """The generator of a `Loaded` in float64; raises ValueError where it is no Keras model of one input [B, n]."""
    if found.model is None:
        raise ValueError(f"{found.source} cannot be computed in float64: only Keras models whose only input is z can")
    wide = geometry.in_float64(found.model)
    return wide if found.labels_at is None else _insert_labels(wide, found.labels_at[0])
