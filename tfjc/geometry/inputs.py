"""Decides which input of a model takes the latents and which one takes the labels."""

import itertools
import re
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfjc.support import checks


class Input(NamedTuple):
    """One input of a model: its name, its shape without the batch axis, its type, and whether it has a batch axis."""

    name: str
    shape: tuple[int | None, ...]
    dtype: tf.DType
    batched: bool = True


def of(model: keras.Model) -> list[Input]:
    """The inputs of a functional Keras model. The keys of a dict of inputs are their names."""
    named = _named(model)
    return [Input(name, tuple(tensor.shape[1:]), tf.as_dtype(tensor.dtype)) for name, tensor in named.items()]


def arguments(model: keras.Model, values: dict[str, tf.Tensor]) -> Any:
    """`values` ({input name: tensor}) in the structure that the model takes: a tensor, a list or a dict."""
    named = _named(model)
    if len(named) == 1:
        return values[next(iter(named))]
    names = {id(tensor): name for name, tensor in named.items()}
    return keras.tree.map_structure(lambda tensor: values[names[id(tensor)]], model.input)


def _named(model):
    """{name: symbolic tensor} of a Keras model's inputs. A sequential model has `inputs`, but no `input`."""
    if len(model.inputs) > 1 and isinstance(model.input, dict) and len(model.input) == len(model.inputs):
        return model.input
    return {tensor.name: tensor for tensor in model.inputs}


def described(inputs: list[Input]) -> str:
    """A list of the inputs with their types and shapes, for messages."""
    axes = [", ".join([*["B"] * entry.batched, *map(str, entry.shape)]) for entry in inputs]
    return ", ".join(f"{entry.name} {entry.dtype.name} [{sizes}]" for entry, sizes in zip(inputs, axes, strict=True))


def tell_apart(
    inputs: list[Input],
    source: str,
    *,
    latent: str | None = None,
    labels: str | None = None,
    remedy: str = "name both (--latent, --labels), and give other inputs a value (--set=NAME=VALUE)",
) -> tuple[Input, Input | None]:
    """(the input of the latents, the input of the labels or None), from names, types and widths.

    An input takes labels if its type is integer, if its name says so (label, class, y, condition, ...), or if it takes
    one number while the other input takes several. An input takes latents if its type is floating and its name does not
    mean labels.

    Args:
      inputs: the inputs of the model.
      source: the name of the model in messages.
      latent, labels: names of inputs that the user has given. Giving both overrides what the names mean.
      remedy: advice for the user, for the message where the inputs cannot be told apart.

    Raises:
      ValueError: no input takes latents, there are inputs besides latents and labels, or the inputs cannot be told
        apart. The message lists the inputs.
    """
    names = [entry.name for entry in inputs]
    for flag, name in (("latent", latent), ("labels", labels)):
        if name is not None:
            checks.one_of(flag, name, names)
    if len(inputs) > 2 or (len(inputs) > 1 and any(entry.dtype == tf.bool or not entry.batched for entry in inputs)):
        raise ValueError(
            f"{source} must take one latent and at most one input of labels, found {described(inputs)}; {remedy}"
        )
    possible = [(z, y) for z, y in _orders(inputs) if _may_be_latent(z) and latent in (None, z.name)]
    if not possible:
        raise ValueError(
            f"{source} must take one latent of floating type{f' as {latent}' if latent else ''}, found none; "
            f"its inputs: {described(inputs)}"
        )
    if labels is not None:
        possible = [(z, y) for z, y in possible if y is not None and y.name == labels]
        if not possible:
            raise ValueError(f"{source} has no latent beside the labels {labels}; its inputs: {described(inputs)}")
    if len(inputs) == 1:
        return possible[0]
    certain = [(z, y) for z, y in possible if _is_plausible(z, y, labels) or (latent and labels)]
    if len(certain) != 1:
        (z, y), *others = possible
        doubt = (
            "which is the latent and which the labels" if others else f"that {z.name} is the latent, {y.name} labels"
        )
        raise ValueError(f"{source} takes {described(inputs)}: names, types and widths do not tell {doubt}; {remedy}")
    return certain[0]


def arranged(model: keras.Model, z: tf.Tensor, labels: tf.Tensor) -> Any:
    """z and labels in the structure that a functional Keras model takes, whatever the order of its inputs.

    Raises ValueError where the model has one input, where the inputs do not fit z and labels, or where shapes, names
    and types do not decide which input takes the latents.
    """
    inputs = of(model)
    if len(inputs) == 1:
        raise ValueError("the generator takes no labels: it has one input")
    orders = [pair for pair in _orders(inputs) if _fits(z, pair[0]) and _fits(labels, pair[1])]
    if len(orders) != 1 or _is_contradicted(*orders[0]):
        remedy = "pass a function that calls it: lambda z, labels: generator([labels, z])"
        told = [entry for entry in tell_apart(inputs, "the generator", remedy=remedy) if entry is not None]
        if tuple(told) not in orders:
            raise ValueError(
                f"the generator takes the latents {described(told[:1])} and the labels {described(told[1:])}, found z "
                f"{list(z.shape)} and labels {list(labels.shape)}"
            )
        orders = [tuple(told)]
    (first, second), *_ = orders
    return arguments(model, {first.name: z, second.name: labels})


def _orders(inputs):
    """All pairs (input of the latents, input of the labels or None)."""
    return [(inputs[0], None)] if len(inputs) == 1 else list(itertools.permutations(inputs, 2))


def _may_be_latent(entry):
    return entry.dtype.is_floating and bool(entry.shape)


def _is_plausible(z, y, labels):
    """Whether there is evidence that y takes labels, and none that z takes labels or y latents."""
    says_so = _kind(y) == "labels" or labels == y.name or (_is_one_number(y) and not _is_one_number(z))
    return says_so and not _is_contradicted(z, y)


def _is_contradicted(z, y):
    return _kind(z) == "labels" or _kind(y) == "latent"


def _is_one_number(entry):
    return entry.shape in ((), (1,))


def _kind(entry):
    """ "latent" or "labels" where the input's type or name decides; otherwise None."""
    if not entry.dtype.is_floating:
        return "labels"
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", entry.name).lower()
    words = re.findall("[a-z]+", name)
    latent = "z" in words or re.search("latent|noise", name)
    labels = {"y", "c", "hot"} & {*words} or re.search("label|onehot|categor|(?<![a-z])(class|cond|digit|target)", name)
    return None if bool(latent) == bool(labels) else "latent" if latent else "labels"


def _fits(tensor, entry):
    """Whether a tensor [B, ...] has an input's shape. Keras itself adds or drops a last axis of size 1."""
    shapes = [tuple(shape) for shape in (tensor.shape[1:], entry.shape)]
    found, expected = (shape[:-1] if shape[-1:] == (1,) else shape for shape in shapes)
    return tf.TensorShape(found).is_compatible_with(tf.TensorShape(expected))
