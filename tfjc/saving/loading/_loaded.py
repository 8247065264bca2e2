"""A loaded generator as a callable of flat latents and labels."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfjc import geometry
from tfjc.geometry import inputs as model_inputs
from tfjc.support import checks


class Loaded(NamedTuple):
    """A generator as `load_any` returns it.

    Attributes:
      generate: callable z [B, n_z] → x [B, ...]; with labels, (z, labels) → x.
      latent_shape: the shape of one latent as the model itself takes it; n_z is its size.
      labels: the input that takes labels, or None.
      model: the Keras model if its only input is [B, n], so that it can be computed in float64; else None.
      source: where the generator comes from, as text.
      num_classes: the number of classes of the labels, where it is known.
      labels_at: (start, stop) of the entries of the model's input that are a one-hot label, or None.
    """

    generate: geometry.Generator
    latent_shape: tuple[int, ...]
    labels: model_inputs.Input | None
    model: keras.Model | None
    source: str
    num_classes: int | None = None
    labels_at: tuple[int, int] | None = None

    @property
    def n_z(self) -> int:
        """n_z, the size of a latent."""
        return math.prod(self.latent_shape)


def loaded(
    apply: Callable[[Mapping[str, tf.Tensor]], Any],
    inputs: list[model_inputs.Input],
    source: str,
    *,
    latent: str | None = None,
    labels: str | None = None,
    latent_shape: Sequence[int] | None = None,
    constants: Mapping[str, ArrayLike] | None = None,
) -> Loaded:
    """The `Loaded` of a function of named tensors.

    Args:
      apply: function {input name: tensor} → x.
      inputs: the function's inputs.
      source: where the generator comes from, for messages.
      latent, labels: names of the inputs that take z and labels, where names, types and widths do not tell.
      latent_shape: the shape of one latent, where the function does not tell.
      constants: values of other inputs by name, each for all samples.

    Raises:
      ValueError: the inputs are not one latent with or without labels, the latent's shape is not known, or a constant
        fits no input.
    """
    names = [entry.name for entry in inputs]
    fixed = {checks.one_of("input", name, names): value for name, value in (constants or {}).items()}
    filled = {entry.name: (entry, _filling(entry, fixed[entry.name])) for entry in inputs if entry.name in fixed}
    free = [entry for entry in inputs if entry.name not in filled]
    if not free:
        raise ValueError(f"{source} has no input left for a latent; its inputs: {model_inputs.described(inputs)}")
    z, y = model_inputs.tell_apart(free, source, latent=latent, labels=labels)
    described = model_inputs.described([z])
    sizes = z.shape if latent_shape is None else _sizes(latent_shape)
    shape = tuple(size for size in sizes if size is not None)
    if len(shape) < len(sizes) or math.prod(shape) < 1:
        raise ValueError(f"{source} leaves the shape of its latent open ({described}): name it (--latent_shape)")
    if len(shape) != len(z.shape) or any(a not in (None, b) for a, b in zip(z.shape, shape, strict=True)):
        raise ValueError(f"{source} takes latents of shape {list(z.shape)}, found latent_shape {list(shape)}")

    def generate(latents, classes=None):
        values = {z.name: tf.cast(tf.reshape(latents, [-1, *shape]), z.dtype)}
        size = tf.shape(latents)[:1]
        for name, (entry, value) in filled.items():
            values[name] = tf.broadcast_to(value, tf.concat([size, tf.shape(value)], 0)) if entry.batched else value
        return apply(values if y is None else values | {y.name: classes})

    return Loaded(generate, shape, y, None, source)


def _sizes(latent_shape):
    """`latent_shape` as whole numbers of 1 or more; raises ValueError for anything else."""
    if not isinstance(latent_shape, Iterable):
        raise ValueError(f"latent_shape must be whole numbers such as (4, 4, 8), found {latent_shape!r}")
    return tuple(checks.integer("each number of latent_shape", size, minimum=1) for size in latent_shape)


def _filling(entry, value):
    """A constant as a tensor of an input's type and of its shape without the batch axis; a number fills all of it."""
    try:
        given = np.asarray(value)
        if given.dtype.kind not in "biuf" or not np.isfinite(given).all() or np.abs(given).max(initial=0) > 3.4e38:
            raise ValueError("not finite numbers")
    except ValueError as error:
        raise ValueError(
            f"the constant {value} does not fit the input {model_inputs.described([entry])}: expected finite numbers"
        ) from error
    sizes = given.shape if None in entry.shape else entry.shape
    if len(sizes) == len(entry.shape) and given.shape in ((), sizes):
        filling = tf.cast(np.broadcast_to(given, sizes), entry.dtype)
        if entry.dtype.is_floating or np.array_equal(filling, np.broadcast_to(given, sizes)):  # 0.5 is no integer
            return filling
    raise ValueError(f"the constant {value} does not fit the input {model_inputs.described([entry])}")


def with_labels_at(found: Loaded, start: int, stop: int) -> Loaded:
    """A generator whose latent contains a one-hot label, as a class-conditional generator G(z, labels).

    z [B, n_z] is the rest of the latent, and labels are float32 [B, stop − start]. J is the Jacobian by z alone.

    Args:
      found: a generator without labels.
      start, stop: entries start to stop − 1 of its latent are the label.

    Raises:
      ValueError: the generator takes labels already, or the range does not lie in its latent or leaves no z.
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


def in_float64(found: Loaded) -> geometry.Generator:
    """The generator of a `Loaded`, computed in float64.

    Raises:
      ValueError: it is not a Keras model whose only input is [B, n].
    """
    if found.model is None:
        raise ValueError(f"{found.source} cannot be computed in float64: only Keras models whose only input is z can")
    wide = geometry.in_float64(found.model)
    return wide if found.labels_at is None else _insert_labels(wide, found.labels_at[0])
