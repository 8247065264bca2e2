"""Holm's method by hand and by simulation; what a number of seeds can show, against simulated tests."""

import math

import numpy as np
import pytest
import scipy.stats
from repetitions import generator, hits

from tfjc.study import statistics


def test_holm_worked_by_hand():
    """0.01, 0.04, 0.03, 0.005 (m = 4): 4·0.005, 3·0.01, 2·0.03, and 1·0.04 raised to that."""
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert statistics.holm([]) == []


def test_a_test_that_could_not_be_made_counts_in_the_family():
    assert statistics.holm([0.01, math.nan, 0.02]) == pytest.approx([0.03, math.nan, 0.04], nan_ok=True)


def test_holm_holds_the_error_of_the_family():
    """Six true hypotheses, independent: any rejection in 1 − (1 − 0.05/6)⁶ = 4.9 % of families."""
    families = generator(0).random([5000, 6])
    rejected = sum(min(statistics.holm(family)) <= 0.05 for family in families)
    assert hits(1 - (1 - 0.05 / 6) ** 6, 5000)[0] <= rejected <= hits(0.05, 5000)[1]


@pytest.mark.parametrize("seeds, found", [(34, 0.4948), (20, 0.6604), (8, 1.1563), (5, 1.6820)])
def test_the_smallest_difference_has_a_power_of_80_percent(seeds, found):
    """In units of the deviation. Power by the noncentral t distribution, and by 20,000 simulated tests."""
    smallest = statistics.smallest_difference(1.0, seeds)
    assert smallest == pytest.approx(found, abs=1e-3)
    assert statistics.smallest_difference(3.0, seeds) == pytest.approx(3.0 * smallest)
    samples = generator(seeds).standard_normal([20_000, seeds]) + smallest
    p = scipy.stats.ttest_1samp(samples, 0.0, axis=1).pvalue
    assert np.mean(p <= 0.05) == pytest.approx(0.8, abs=0.012)  # 4 standard errors
    assert statistics.smallest_difference(1.0, seeds, level=0.005) > smallest


@pytest.mark.parametrize("seeds", [6, 9, 20])
def test_the_smallest_share_has_a_power_of_80_percent(seeds):
    share = statistics.smallest_share(seeds)
    positive = np.arange(seeds + 1)
    p = np.minimum(1.0, 2.0 * scipy.stats.binom(seeds, 0.5).cdf(seeds - positive))
    assert scipy.stats.binom(seeds, share).pmf(positive)[p <= 0.05].sum() == pytest.approx(0.8)
    assert math.isnan(statistics.smallest_share(5))


def test_the_smallest_correlation_has_a_power_of_80_percent():
    """Twenty Gaussian pairs with that Spearman correlation; Bonett and Wright's variance costs some power."""
    smallest, random = statistics.smallest_correlation(17), generator(1)
    rho = 2.0 * math.sin(math.pi * smallest / 6.0)
    x, noise = random.standard_normal([2, 1000, 20])
    y = rho * x + math.sqrt(1.0 - rho**2) * noise
    shown = sum(statistics.pooled_correlation([pair]).p_value <= 0.05 for pair in zip(x, y, strict=True))
    assert 700 <= shown <= hits(0.8, 1000)[1]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: statistics.smallest_difference(1.0, 1), "seeds must be at least 2, found 1"),
        (lambda: statistics.smallest_difference(-1.0, 5), "deviation must be at least 0"),
        (lambda: statistics.smallest_difference(1.0, 5, power=0.05), "power must be greater than level, found 0.05"),
        (lambda: statistics.smallest_correlation(0), "weight must be greater than 0"),
        (lambda: statistics.holm([[0.1]]), r"p_values must have shape \[N\]"),
    ],
)
def test_mistakes_say_what_was_found(call, message):
    with pytest.raises(ValueError, match=message):
        call()
