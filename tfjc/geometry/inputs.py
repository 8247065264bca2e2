"""Which input of a model takes the latents, and which one the labels."""

import itertools
import re
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfjc.support import checks


class Input(NamedTuple):
    """One input of a model: its name, its shape without the batch axis, its type."""

    name: str
    shape: tuple
    dtype: tf.DType


def of(model: keras.Model) -> list[Input]:
    """The inputs of a functional Keras model, named by the keys of its dict of inputs where it has one."""
    named = _named(model)
    return [Input(name, tuple(tensor.shape[1:]), tf.as_dtype(tensor.dtype)) for name, tensor in named.items()]


def arguments(model: keras.Model, values: dict[str, tf.Tensor]) -> Any:
    """`values`, a tensor for each input's name, in the structure (a tensor, a list, a dict) that the model takes."""
    named = _named(model)
    if len(named) == 1:
        return values[next(iter(named))]
    names = {id(tensor): name for name, tensor in named.items()}
    return keras.tree.map_structure(lambda tensor: values[names[id(tensor)]], model.input)


def _named(model):
    """{name: symbolic tensor} of a functional Keras model's inputs. A sequential one has `inputs`, but no `input`."""
    if len(model.inputs) > 1 and isinstance(model.input, dict) and len(model.input) == len(model.inputs):
        return model.input
    return {tensor.name: tensor for tensor in model.inputs}


def described(inputs: list[Input]) -> str:
    """The inputs with their types and shapes, for messages."""
    return ", ".join(f"{i.name} {i.dtype.name} [B, {', '.join(map(str, i.shape))}]".replace(", ]", "]") for i in inputs)


def tell_apart(
    inputs: list[Input],
    source: str,
    *,
    latent: str | None = None,
    labels: str | None = None,
    remedy: str = "name both (--latent, --labels)",
) -> tuple[Input, Input | None]:
    """(the input that takes the latents, the input that takes labels or None), by names, types and widths.

    Labels are an input of integers, one whose name says so (label, class, y, condition, ...), or one number beside a
    latent of more. Latents are of floating type, and their name does not say that they are labels.

    Args:
      inputs: of the model.
      source: what the model is called in messages.
      latent, labels: names of the inputs that the user has named. Naming both overrides what the names say.
      remedy: what the user can do where the inputs cannot be told apart.

    Raises:
      ValueError: there is no latent, or more than labels beside it, or the inputs cannot be told apart; with what was
        found.
    """
    names = [entry.name for entry in inputs]
    for flag, name in (("latent", latent), ("labels", labels)):
        if name is not None:
            checks.one_of(flag, name, names)
    if len(inputs) > 2 or (len(inputs) > 1 and any(entry.dtype == tf.bool for entry in inputs)):
        raise ValueError(f"{source} must take one latent and at most labels beside it, found {described(inputs)}")
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
    """What a functional Keras model of latents and labels takes, in whichever order it has these inputs.

    Raises ValueError where the model has not two inputs, where these do not fit z and labels, or where the shapes fit
    both ways and names and types do not decide.
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
    """Pairs (input of the latents, input of the labels or None) that are possible by their number."""
    return [(inputs[0], None)] if len(inputs) == 1 else list(itertools.permutations(inputs, 2))


def _may_be_latent(entry):
    return entry.dtype.is_floating and bool(entry.shape)


def _is_plausible(z, y, labels):
    """Whether something says that y is labels, and nothing that z is, or that y is the latent."""
    says_so = _kind(y) == "labels" or labels == y.name or (_is_one_number(y) and not _is_one_number(z))
    return says_so and not _is_contradicted(z, y)


def _is_contradicted(z, y):
    return _kind(z) == "labels" or _kind(y) == "latent"


def _is_one_number(entry):
    return entry.shape in ((), (1,))


def _kind(entry):
    """ "latent" or "labels", if the input's type or name says so; else None."""
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
