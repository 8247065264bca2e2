"""Argument checks. Each returns the value, or raises a ValueError that says what was expected and what was found."""

from __future__ import annotations

import difflib
import math
import numbers
import os
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

if TYPE_CHECKING:
    import tensorflow as tf

T = TypeVar("T")

LARGEST_SEED = 2**31 - 1  # TensorFlow's stateless seeds are int32, and so are the steps folded into them
_LARGEST = 3.4e38  # of float32


def nearest(name: str, valid: Iterable[Any], count: int = 3) -> list[str]:
    """The entries of `valid` that are spelt most like `name`, at most `count`, best first."""
    valid = sorted(map(str, valid))
    by_fold = {entry.lower(): entry for entry in valid}
    close = difflib.get_close_matches(str(name).lower(), by_fold, n=count, cutoff=0.5)
    return [by_fold[entry] for entry in close]


def unknown(kind: str, found: Any, valid: Iterable[Any]) -> str:
    """The message for an unknown name: what was found, and the nearest valid names, or all where none is near."""
    close = nearest(found, valid)
    hint = f"nearest: {', '.join(close)}" if close else f"valid: {', '.join(sorted(map(str, valid)))}"
    return f"unknown {kind} {found!r}; {hint}"


def existing(kind: str, path: str | os.PathLike) -> pathlib.Path:
    """`path`, which must exist. The message of the ValueError names the nearest files beside it."""
    path = pathlib.Path(path)
    if not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest(path.name, siblings)
        raise ValueError(f"{kind} {path} does not exist" + (f"; nearest: {', '.join(near)}" if near else ""))
    if not (path.is_file() or path.is_dir()):  # reading a pipe would wait for ever
        raise ValueError(f"{kind} {path} is neither a file nor a directory")
    return path


def one_of(kind: str, value: T, valid: Iterable[Any]) -> T:
    """`value`, which must be one of the names `valid`."""
    if value not in tuple(valid):
        raise ValueError(unknown(kind, value, valid))
    return value


def divisible(name: str, value: int, by: int, of: str) -> int:
    """`value`, which must be a multiple of `by`. `of` says in the message what `by` counts."""
    if value % by:
        raise ValueError(f"{name} must be a multiple of {by}, the number of {of}, found {value}")
    return value


def integer(name: str, value: Any, minimum: int | None = None, maximum: int | None = None) -> int:
    """`value` as an int from `minimum` to `maximum`. Bools and fractions are refused."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ValueError(f"{name} must be a whole number, found {value!r} ({type(value).__name__})")
    number = int(value)
    if minimum is not None and number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, found {number}")
    if maximum is not None and number > maximum:
        raise ValueError(f"{name} must be at most {maximum}, found {number}")
    return number


def seed(name: str, value: int) -> int:
    """`value`, which must be a whole number from 0 to 2³¹ − 1."""
    return integer(name, value, minimum=0, maximum=LARGEST_SEED)


def fits(what: str, size: float) -> None:
    """Raises ValueError where `size`, the bytes that `what` needs at least, exceeds this machine's memory."""
    memory = psutil.virtual_memory().total
    if size > memory:
        raise ValueError(
            f"{what} needs at least {size / 2**30:.3g} GiB of memory, this machine has {memory / 2**30:.3g} GiB"
        )


def real(
    name: str, value: float, minimum: float | None = None, above: float | None = None, below: float | None = None
) -> float:
    """`value` as a float in float32's range, with value ≥ `minimum`, value > `above` and value < `below`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not abs(value) < math.inf:
        raise ValueError(f"{name} must be a finite number, found {value!r} ({type(value).__name__})")
    if abs(value) > _LARGEST:
        raise ValueError(f"{name} must be at most {_LARGEST:g} in size, float32's range, found {value}")
    if above is not None and value <= above:
        raise ValueError(f"{name} must be greater than {above}, found {value}")
    if minimum is not None and value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, found {value}")
    if below is not None and value >= below:
        raise ValueError(f"{name} must be less than {below}, found {value}")
    return float(value)


def boolean(name: str, value: bool) -> bool:
    """`value`, which must be True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, found {value!r}")
    return value


def rank(name: str, tensor: tf.Tensor, expected: int, axes: str) -> tf.Tensor:
    """`tensor`, which must have `expected` axes. `axes` is their description in the message, such as "[B, n_z]"."""
    found = tuple(tensor.shape)
    if len(found) != expected:
        raise ValueError(f"{name} must have shape {axes}, found {list(found)}")
    return tensor


def logits(name: str, value: tf.Tensor) -> tf.Tensor:
    """`value`, which must be one logit for each image: a tensor [B] or [B, 1]. A graph may leave its shape open."""
    if not hasattr(value, "shape"):
        raise ValueError(f"{name} must have shape [B] or [B, 1], found {type(value).__name__}")
    if getattr(value.shape, "rank", 0) is None:
        return value
    found = tuple(value.shape)
    if not found or found[1:] not in ((), (1,), (None,)):
        raise ValueError(f"{name} must have shape [B] or [B, 1], found {list(found)}")
    return value


def alike(**tensors: tf.Tensor) -> None:
    """Raises ValueError unless two tensors, given by name, are of floating type and have one shape [B, ...]."""
    (first, a), (second, b) = tensors.items()
    for name, tensor in tensors.items():
        if not tensor.dtype.is_floating:
            raise ValueError(f"{name} must be of floating type, found {tensor.dtype.name}")
    if not a.shape.is_compatible_with(b.shape):
        raise ValueError(f"{first} and {second} must have the same shape, found {list(a.shape)} and {list(b.shape)}")
