"""Correlations against hand-worked permutations, closed forms, a published example, and for coverage."""

import math

import numpy as np
import pytest
import scipy.stats
from repetitions import OTHER, TEN, covered, hits

from tfjc.study import statistics

INF, NAN = math.inf, math.nan
ORDER = [1.0, 2.0, 3.0, 4.0]


def correlation(x, y):
    return statistics.correlation(x, y)


def test_correlations_worked_by_hand():
    """1 2 3 4 against 1 2 9 4: Pearson 8/√(5·38), Σ(x − x̄)(y − ȳ) being 8 and the sums of squares 5 and 38.

    Spearman of ranks 1 2 4 3 is 1 − 6·2/(4·15) = 0.8.
    """
    found = correlation(ORDER, [1.0, 2.0, 9.0, 4.0])
    assert (found.pearson, found.spearman) == pytest.approx((8.0 / math.sqrt(5.0 * 38.0), 0.8))


def test_spearmans_interval_as_published():
    """The example of `ci.spear` in Bonett's R package statpsych: 0.8699639, from 0.5840951 to 0.9638297."""
    y = [21, 4, 9, 12, 35, 18, 10, 22, 24, 1, 6, 8, 13, 16, 19]
    x = [67, 28, 30, 28, 52, 40, 25, 37, 44, 10, 14, 20, 28, 40, 51]
    found = correlation(x, y)
    expected = (0.8699639, 0.5840951, 0.9638297)
    assert (found.spearman, found.low, found.high) == pytest.approx(expected, abs=1e-7)


def test_a_perfect_order_still_has_an_interval():
    """Five pairs in one order: the lower end is that of the next correlation, 0.9."""
    found, inverse = correlation([*ORDER, 9.0], np.exp([*ORDER, 9.0])), correlation([*ORDER, 9.0], [9, 6, 5, 1, 0])
    next_best = correlation([*ORDER, 9.0], [1, 2, 3, 9, 4])
    assert (next_best.spearman, found.spearman, found.high) == pytest.approx((0.9, 1.0, 1.0))
    assert found.low == pytest.approx(next_best.low)
    assert (inverse.low, inverse.high) == pytest.approx((-1.0, -found.low))


def test_correlation_under_change_of_units():
    found, mirrored, bent = correlation(TEN, OTHER), correlation(2 * TEN + 1, -3 * OTHER), correlation(TEN**3, OTHER)
    assert (mirrored.low, mirrored.high, mirrored.pearson) == pytest.approx((-found.high, -found.low, -found.pearson))
    assert bent.spearman == pytest.approx(found.spearman)
    assert bent.pearson != pytest.approx(found.pearson, abs=0.01)


def test_pairs_that_are_not_finite():
    """Ranks 1 2 3 4 (∞ last) against 2 1 3 4: Spearman 0.8; Pearson's correlation is that of finite pairs, or none."""
    found = correlation([1.0, 2.0, 3.0, INF, NAN, INF], [2.0, 1.0, 5.0, 7.0, INF, None])
    assert found.counts == statistics.Counts(finite=3, infinite=1, missing=2)
    assert (found.spearman, found.reason) == (pytest.approx(0.8), "")
    assert math.isnan(found.pearson)


@pytest.mark.parametrize(
    "x, y, reason",
    [
        (ORDER[:2], ORDER[:2], "a correlation needs at least 3 pairs, found 2"),
        ([], [], "a correlation needs at least 3 pairs, found 0"),
        ([5.0] * 4, ORDER, "x: all values are equal"),
        ([INF] * 4, ORDER, "x: all values are equal"),
        ([0.3, 0.1 + 0.2, 0.3, 0.3], [1.0] * 4, "x and y: all values are equal"),
    ],
)
def test_what_does_not_correlate(x, y, reason, recwarn):
    found = correlation(x, y)
    assert np.isnan([found.pearson, found.spearman, found.low, found.high]).all()
    assert found.reason == reason
    assert not recwarn.list


def test_groups_are_pooled_by_fishers_z():
    """r = 0.8 of 4 pairs and −1 of 5, which counts as −0.9: z̄ = (atanh 0.8 − 2·atanh 0.9)/3."""
    groups = [(ORDER, [1.0, 2.0, 9.0, 4.0]), ([*ORDER, 9.0], [9.0, 6.0, 5.0, 1.0, 0.0])]
    found = statistics.pooled_correlation(groups)
    z = (math.atanh(0.8) - 2 * math.atanh(0.9)) / 3
    width = scipy.stats.norm.ppf(0.975) * math.sqrt((1 + math.tanh(z) ** 2 / 2) / 3)
    assert found.weight == 3
    assert (found.spearman, found.low, found.high) == pytest.approx(tuple(np.tanh([z, z - width, z + width])))


def test_one_group_pooled_is_that_group():
    for pair in ((TEN, OTHER), (TEN, TEN)):
        found, alone = statistics.pooled_correlation([pair]), correlation(*pair)
        assert (found.spearman, found.low, found.high) == pytest.approx((alone.spearman, alone.low, alone.high))


def test_a_shift_between_groups_does_not_enter():
    pairs = [(TEN, OTHER), (OTHER, TEN)]
    shifted = [(TEN, OTHER), (OTHER + 50.0, TEN - 9.0)]
    assert statistics.pooled_correlation(pairs).spearman == pytest.approx(
        statistics.pooled_correlation(shifted).spearman
    )


def test_groups_without_weight():
    """Three pairs, or equal ones, leave the other groups as they are; of these alone nothing is pooled."""
    idle = [([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), ([1.0] * 5, TEN[:5])]
    found, alone = statistics.pooled_correlation([(TEN, OTHER), *idle]), statistics.pooled_correlation([(TEN, OTHER)])
    assert (found.weight, found.low, found.high) == (7, pytest.approx(alone.low), pytest.approx(alone.high))
    nothing = statistics.pooled_correlation(idle)
    assert nothing.weight == 0 and math.isnan(nothing.spearman)
    assert nothing.reason.startswith("a pooled correlation needs a group of at least 4 pairs")


@pytest.mark.parametrize("rho, coverage", [(0.0, 0.965), (0.86, 0.947)])
def test_coverage_of_correlations(rho, coverage):
    """Gaussian pairs, n = 10; of their ranks, ρ_S = 6/π·asin(ρ/2)."""

    def call(random):
        x, noise = random.standard_normal([2, 10])
        return statistics.correlation(x, rho * x + math.sqrt(1 - rho**2) * noise)

    found = covered(800, call, 6 / math.pi * math.asin(rho / 2))
    assert hits(coverage, 800)[0] <= found <= hits(coverage, 800)[1]
