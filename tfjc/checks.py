"""Argument checks: each returns the value or raises a ValueError that says what was expected and found."""

import difflib
import math
import numbers


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


def integer(name, value, minimum=None):
    """`value` as an int (a bool or a fraction is refused), at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ValueError(f"{name} must be a whole number, found {value!r} ({type(value).__name__})")
    if minimum is not None and value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, found {value}")
    return int(value)


def real(name, value, minimum=None, above=None, below=None):
    """`value` as a finite float, at least `minimum`, strictly greater than `above` and less than `below`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, found {value!r} ({type(value).__name__})")
    if minimum is not None and value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, found {value}")
    if above is not None and value <= above:
        raise ValueError(f"{name} must be greater than {above}, found {value}")
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
