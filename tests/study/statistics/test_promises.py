"""What all statistics have in common: reproducible, plain results, untouched arguments, errors."""

import dataclasses
import json

import numpy as np
import pytest
from repetitions import OTHER, TEN, generator

from tfjc.study import statistics

CALLS = {
    "summary": lambda: statistics.summary(TEN),
    "difference": lambda: statistics.difference(TEN, OTHER),
    "superiority": lambda: statistics.superiority(TEN, OTHER),
    "spread_ratio": lambda: statistics.spread_ratio(TEN, OTHER),
    "correlation": lambda: statistics.correlation(TEN, OTHER),
    "pooled_correlation": lambda: statistics.pooled_correlation([(TEN, OTHER)] * 2),
    "paired": lambda: statistics.paired(TEN, OTHER),
    "factorial": lambda: statistics.factorial(TEN, OTHER, TEN**2, OTHER**2).interaction,
    "mean_correlation": lambda: statistics.mean_correlation([(TEN, OTHER)] * 2),
    "two_clusters": lambda: statistics.two_clusters(TEN, rng=generator(0), n_resamples=999),
}


def test_the_same_state_gives_the_same_clusters():
    first, second, other = (statistics.two_clusters(TEN, rng=generator(seed)) for seed in (5, 5, 6))
    assert first == second
    assert first != other  # or chance would play no part
    shared = generator(5)
    assert statistics.two_clusters(TEN, rng=shared) == first
    assert statistics.two_clusters(TEN, rng=shared) != first


@pytest.mark.parametrize("name", CALLS)
def test_results_are_plain_numbers(name):
    """json knows nothing of NumPy's."""
    found = dataclasses.asdict(CALLS[name]())
    assert json.loads(json.dumps(found)).keys() == found.keys()
    assert found["reason"] == ""


@pytest.mark.parametrize("name", CALLS)
def test_nothing_in_place_and_no_warning(name, recwarn):
    before = TEN.copy(), OTHER.copy()
    CALLS[name]()
    assert all(np.array_equal(*pair) for pair in zip(before, (TEN, OTHER), strict=True))
    assert not recwarn.list


MISTAKES = [
    (lambda: statistics.summary([[1.0, 2.0]]), r"values must have shape \[N\], found \[1, 2\]"),
    (lambda: statistics.difference([1.0], 2.0), r"second must have shape \[N\], found \[\]"),
    (lambda: statistics.spread_ratio(["a"], [1.0]), "could not convert string to float"),
    (lambda: statistics.correlation([1.0, 2.0], [1.0]), "x and y must have equal lengths, found 2 and 1"),
    (lambda: statistics.summary([1.0], confidence=1.0), "confidence must be less than 1, found 1.0"),
    (lambda: statistics.superiority([1.0], [1.0], confidence=95), "confidence must be less than 1, found 95"),
    (lambda: statistics.two_clusters([1.0], level=0.0, rng=generator()), "level must be greater than 0.0, found 0.0"),
    (lambda: statistics.two_clusters([1.0], rng=0), r"rng must be a numpy\.random\.Generator, found int"),
    (lambda: statistics.two_clusters([1.0], rng=generator(), n_resamples=0), "n_resamples must be at least 1, found 0"),
]


@pytest.mark.parametrize("call, message", MISTAKES)
def test_mistakes_say_what_was_found(call, message):
    with pytest.raises(ValueError, match=message):
        call()
