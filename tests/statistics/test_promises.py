"""What all statistics have in common: reproducible, plain results, untouched arguments, errors."""

import dataclasses
import json

import numpy as np
import pytest
from repetitions import OTHER, TEN, generator

from tfjc import statistics


def sparse(seed, count=999):
    """Options of a quick call."""
    return {"generator": generator(seed), "n_resamples": count}


CALLS = {
    "summary": lambda **options: statistics.summary(TEN, **options),
    "difference": lambda **options: statistics.difference(TEN, OTHER, **options),
    "variance_ratio": lambda **options: statistics.variance_ratio(TEN, OTHER, **options),
    "correlation": lambda **options: statistics.correlation(TEN, OTHER, **options),
    "two_clusters": lambda **options: statistics.two_clusters(TEN, **options),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_same_state_gives_the_same_result(name):
    first, second, other = (CALLS[name](generator=generator(seed)) for seed in (5, 5, 6))
    assert first == second
    assert first != other  # or chance would play no part
    shared = generator(5)
    assert CALLS[name](generator=shared) == first
    assert CALLS[name](generator=shared) != first


@pytest.mark.parametrize("name", CALLS)
def test_results_are_plain_numbers(name):
    """json knows nothing of NumPy's."""
    found = dataclasses.asdict(CALLS[name](**sparse(0)))
    assert json.loads(json.dumps(found)).keys() == found.keys()
    assert found["reason"] == ""


@pytest.mark.parametrize("name", CALLS)
def test_nothing_in_place_and_no_warning(name, recwarn):
    before = TEN.copy(), OTHER.copy()
    CALLS[name](**sparse(0))
    assert all(np.array_equal(*pair) for pair in zip(before, (TEN, OTHER), strict=True))
    assert not recwarn.list


MISTAKES = [
    (lambda **o: statistics.summary([[1.0, 2.0]], **o), r"values must have shape \[N\], found \[1, 2\]"),
    (lambda **o: statistics.difference([1.0], 2.0, **o), r"second must have shape \[N\], found \[\]"),
    (lambda **o: statistics.variance_ratio(["a"], [1.0], **o), "could not convert string to float"),
    (lambda **o: statistics.correlation([1.0, 2.0], [1.0], **o), "x and y must be as many, found 2 and 1"),
    (lambda **o: statistics.summary([1.0], confidence=1.0, **o), "confidence must be less than 1, found 1.0"),
    (lambda **o: statistics.summary([1.0], confidence=95, **o), "confidence must be less than 1, found 95"),
    (lambda **o: statistics.two_clusters([1.0], level=0.0, **o), "level must be greater than 0.0, found 0.0"),
]


@pytest.mark.parametrize("call, message", MISTAKES)
def test_mistakes_say_what_was_found(call, message):
    with pytest.raises(ValueError, match=message):
        call(generator=generator())


@pytest.mark.parametrize("name", CALLS)
def test_mistakes_in_what_all_take(name):
    with pytest.raises(ValueError, match=r"generator must be a numpy\.random\.Generator, found int"):
        CALLS[name](generator=0)
    with pytest.raises(ValueError, match="n_resamples must be at least 1, found 0"):
        CALLS[name](generator=generator(), n_resamples=0)
