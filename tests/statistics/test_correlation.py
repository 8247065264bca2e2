"""Correlations against hand-worked permutations, closed forms, a published example, and for coverage."""

import math

import numpy as np
import pytest
import scipy.stats
from repetitions import OTHER, TEN, covered, generator, hits

from tfjc import statistics

INF, NAN = math.inf, math.nan
ORDER = [1.0, 2.0, 3.0, 4.0]


def correlation(x, y):
    return statistics.correlation(x, y, generator=generator())


def test_correlations_worked_by_hand():
    """1 2 3 4 against 1 2 9 4: Pearson 8/√(5·38), Σ(x − x̄)(y − ȳ) being 8 and the sums of squares 5 and 38.

    Spearman of ranks 1 2 4 3 is 1 − 6·2/(4·15) = 0.8, or more in 4 of 24 orders: p = 2·4/24.
    """
    found = correlation(ORDER, [1.0, 2.0, 9.0, 4.0])
    assert (found.pearson, found.spearman) == pytest.approx((8.0 / math.sqrt(5.0 * 38.0), 0.8))
    assert found.spearman_p_value == pytest.approx(8 / 24)


def test_pearsons_interval_is_fishers():
    found = correlation(TEN, OTHER)
    r = np.corrcoef(TEN, OTHER)[0, 1]
    ends = np.tanh(np.arctanh(r) + np.array([-1, 1]) * scipy.stats.norm.ppf(0.975) / math.sqrt(7))
    assert (found.pearson, found.pearson_low, found.pearson_high) == pytest.approx((r, *ends))


def test_spearmans_interval_as_published():
    """The example of `ci.spear` in Bonett's R package statpsych: 0.8699639, from 0.5840951 to 0.9638297."""
    y = [21, 4, 9, 12, 35, 18, 10, 22, 24, 1, 6, 8, 13, 16, 19]
    x = [67, 28, 30, 28, 52, 40, 25, 37, 44, 10, 14, 20, 28, 40, 51]
    found = correlation(x, y)
    expected = (0.8699639, 0.5840951, 0.9638297)
    assert (found.spearman, found.spearman_low, found.spearman_high) == pytest.approx(expected, abs=1e-7)


def test_a_perfect_order_still_has_an_interval():
    """Five pairs in one order: the lower end is that of the next correlation, 0.9; 2 of 120 orders are as extreme."""
    found, inverse = correlation([*ORDER, 9.0], np.exp([*ORDER, 9.0])), correlation([*ORDER, 9.0], [9, 6, 5, 1, 0])
    next_best = correlation([*ORDER, 9.0], [1, 2, 3, 9, 4])
    assert (next_best.spearman, found.spearman, found.spearman_high) == pytest.approx((0.9, 1.0, 1.0))
    assert found.spearman_low == pytest.approx(next_best.spearman_low)
    assert (inverse.spearman_low, inverse.spearman_high) == pytest.approx((-1.0, -found.spearman_low))
    assert found.spearman_p_value == pytest.approx(2 / 120)


def test_correlation_under_change_of_units():
    found, mirrored, bent = correlation(TEN, OTHER), correlation(2 * TEN + 1, -3 * OTHER), correlation(TEN**3, OTHER)
    for kind in ("pearson", "spearman"):
        low, high = getattr(found, f"{kind}_low"), getattr(found, f"{kind}_high")
        assert (getattr(mirrored, f"{kind}_low"), getattr(mirrored, f"{kind}_high")) == pytest.approx((-high, -low))
    assert bent.spearman == pytest.approx(found.spearman)
    assert bent.pearson != pytest.approx(found.pearson, abs=0.01)


def test_pairs_that_are_not_finite():
    """Ranks 1 2 3 4 (∞ last) against 2 1 3 4: Spearman 0.8; three finite pairs: Pearson without an interval."""
    found = correlation([1.0, 2.0, 3.0, INF, NAN, INF], [2.0, 1.0, 5.0, 7.0, INF, None])
    assert found.counts == statistics.Counts(finite=3, infinite=1, missing=2)
    assert found.spearman == pytest.approx(0.8)
    assert found.pearson == pytest.approx(np.corrcoef([1, 2, 3], [2, 1, 5])[0, 1])
    assert np.isnan([found.pearson_low, found.pearson_high]).all()
    assert found.reason == "an interval needs at least 4 finite pairs, found 3"


@pytest.mark.parametrize(
    "x, y, reason",
    [
        (ORDER[:2], ORDER[:2], "a correlation needs at least 3 finite pairs, found 2"),
        ([], [], "a correlation needs at least 3 finite pairs, found 0"),
        ([5.0] * 4, ORDER, "x: all finite values are equal"),
        ([0.3, 0.1 + 0.2, 0.3, 0.3], [1.0] * 4, "x and y: all finite values are equal"),
    ],
)
def test_what_does_not_correlate(x, y, reason, recwarn):
    found = correlation(x, y)
    assert np.isnan([found.pearson, found.spearman, found.pearson_p_value, found.spearman_high]).all()
    assert found.reason == reason
    assert not recwarn.list


@pytest.mark.parametrize("rho, spearman", [(0.0, 0.965), (0.86, 0.947)])
def test_coverage_of_correlations(rho, spearman):
    """Gaussian pairs, n = 10; of their ranks, ρ_S = 6/π·asin(ρ/2). Fisher's interval is exact but for 1 %."""

    def call(random, **options):
        x, noise = random.standard_normal([2, 10])
        return statistics.correlation(x, rho * x + math.sqrt(1 - rho**2) * noise, **(options | {"n_resamples": 1}))

    found = covered(800, call, rho, "pearson_low", "pearson_high")
    assert hits(0.95, 800)[0] <= found <= hits(0.95, 800)[1]
    found = covered(800, call, 6 / math.pi * math.asin(rho / 2), "spearman_low", "spearman_high")
    assert hits(spearman, 800)[0] <= found <= hits(spearman, 800)[1]
