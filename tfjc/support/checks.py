"""Argument checks: each returns the value or raises a ValueError that says what was expected and found."""

import difflib
import math
import numbers

import psutil

LARGEST_SEED = 2**31 - 1  # TensorFlow's stateless seeds, and the steps that are folded into them, are int32
_LARGEST = 3.4e38  # float32's


def nearest(name, valid, count=3):
    """The up to `count` entries of `valid` that are spelt most like `name`, best first."""
    valid = sorted(map(str, valid))
    by_fold = {entry.lower(): entry for entry in valid}
    close = difflib.get_close_matches(str(name).lower(), by_fold, n=count, cutoff=0.5)
    return [by_fold[entry] for entry in close]


def unknown(kind, found, valid):
    """The sentence for an unknown name: what was found, the nearest valid names, or all of them."""
    close = nearest(found, valid)
    hint = f"nearest: {', '.join(close)}" if close else f"valid: {', '.join(sorted(map(str, valid)))}"
    return f"unknown {kind} {found!r}; {hint}"


def one_of(kind, value, valid):
    """`value`, which must be one of the names `valid`."""
    if value not in tuple(valid):
        raise ValueError(unknown(kind, value, valid))
    return value


def divisible(name, value, by, of):
    """`value`, which `by` must divide; `of` says in the message what there are `by` of."""
    if value % by:
        raise ValueError(f"{name} must be a multiple of {by}, the number of {of}, found {value}")
    return value


def integer(name, value, minimum=None, maximum=None):
    """`value` as an int (a bool or a fraction is refused), at least `minimum`, at most `maximum`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ValueError(f"{name} must be a whole number, found {value!r} ({type(value).__name__})")
    if minimum is not None and value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, found {value}")
    if maximum is not None and value > maximum:
        raise ValueError(f"{name} must be at most {maximum}, found {value}")
    return int(value)


def seed(name, value):
    """`value`, which must be a whole number from 0 to 2³¹ − 1."""
    return integer(name, value, minimum=0, maximum=LARGEST_SEED)


def fits(what, size):
    """Raises ValueError where `size` bytes, which `what` needs at least, are more than this machine's memory."""
    memory = psutil.virtual_memory().total
    if size > memory:
        raise ValueError(
            f"{what} needs at least {size / 2**30:.3g} GiB of memory, this machine has {memory / 2**30:.3g} GiB"
        )


def real(name, value, minimum=None, above=None, below=None):
    """`value` as a float in float32's range, at least `minimum`, strictly greater than `above`, less than `below`."""
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


def boolean(name, value):
    """`value`, which must be True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, found {value!r}")
    return value


def rank(name, tensor, expected, axes):
    """`tensor`, which must have `expected` axes, named in the message as `axes`."""
    found = tuple(tensor.shape)
    if len(found) != expected:
        raise ValueError(f"{name} must have shape {axes}, found {list(found)}")
    return tensor
