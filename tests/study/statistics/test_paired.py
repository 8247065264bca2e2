"""Paired differences and 2 × 2 contrasts against worked examples, SciPy, and for coverage."""

import math

import numpy as np
import pytest
import scipy.stats
from repetitions import OTHER, TEN, generator, hits

from tfjc.study import statistics

INF, NAN = math.inf, math.nan
SIZES = (5, 8, 20)


def test_finite_differences_have_students_interval_and_test():
    """SciPy's paired t-test, its interval, and its test of signs."""
    found, expected = statistics.paired(TEN, OTHER), scipy.stats.ttest_rel(OTHER, TEN)
    interval = expected.confidence_interval(0.95)
    assert (found.kind, found.centre) == ("mean", pytest.approx(np.mean(OTHER - TEN)))
    assert (found.low, found.high, found.p_value) == pytest.approx((interval.low, interval.high, expected.pvalue))
    assert found.sign_p == pytest.approx(scipy.stats.binomtest(int(np.sum(OTHER > TEN)), 10).pvalue)
    assert found.deviation == pytest.approx(np.std(OTHER - TEN, ddof=1))


def test_a_common_effect_of_seeds_cancels():
    seeds = 100.0 * generator(5).standard_normal(10)
    found, alone = statistics.paired(TEN + seeds, OTHER + seeds), statistics.paired(TEN, OTHER)
    assert (found.centre, found.low, found.p_value) == pytest.approx((alone.centre, alone.low, alone.p_value))
    mirrored = statistics.paired(OTHER, TEN)
    assert (mirrored.low, mirrored.high) == pytest.approx((-alone.high, -alone.low))


def test_infinite_differences_are_ranked():
    """Seven of eight seeds are lowered, three of them from ∞; one is ∞ in both: p = 2·(1 + 8)/2⁸."""
    first = np.array([INF, INF, INF, INF, 20.0, 21.0, 22.0, 23.0])
    second = np.array([INF, 12.0, 12.0, 12.0, 19.0, 18.0, 17.0, 16.0])
    found = statistics.paired(first, second)
    assert (found.kind, found.centre) == ("median", -6.0)  # of −∞, −∞, −∞, −7, −5, −3, −1, 0
    assert (found.low, found.high) == (-INF, 0.0)  # the least and the greatest: k = 1 for n = 8
    assert found.p_value == pytest.approx(2 * 9 / 256)
    assert found.counts == statistics.Counts(finite=5, infinite=3, missing=0)
    assert math.isnan(found.deviation) and found.sign_p == found.p_value
    assert statistics.paired(first[1:], second[1:]).p_value == pytest.approx(2 / 128)


@pytest.mark.parametrize("n", [6, 9, 20])
def test_the_sign_test_agrees_with_the_interval_of_the_median(n):
    random, decided = generator(n), []
    for _ in range(200):
        differences = np.where(random.random(n) < 0.2, INF, random.standard_normal(n)) + 0.7
        differences[0] = INF  # or it were Student's
        found = statistics.paired(np.zeros(n), differences)
        assert (found.p_value <= 0.05) == (not found.low <= 0.0 <= found.high)
        decided.append(found.p_value <= 0.05)
    assert 0 < sum(decided) < 200


def test_a_median_between_infinities_is_no_number(recwarn):
    half = np.repeat([INF, 10.0], 4)
    found = statistics.paired(half, half[::-1])
    assert (math.isnan(found.centre), found.low, found.high, found.p_value) == (True, -INF, INF, 1.0)
    assert not recwarn.list


def test_equal_arms_differ_by_nothing():
    found = statistics.paired([1.0, INF, 3.0], [1.0, INF, 3.0])
    assert (found.centre, found.low, found.high, found.p_value, found.reason) == (0.0, 0.0, 0.0, 1.0, "")


@pytest.mark.parametrize(
    "first, second, reason",
    [
        ([1.0], [2.0], "an interval needs at least 2 seeds, found 1"),
        ([1.0, NAN, 3.0], [2.0, 5.0, NAN], "an interval needs at least 2 seeds, found 1"),
        ([1.0, 2.0, 3.0], [2.0, 3.0, 4.0], "all differences are equal"),
        ([1.0, 2.0, 3.0], [2.0, INF, 4.0], "a median of 3 seeds has no interval"),
    ],
)
def test_what_has_no_interval_says_why(first, second, reason, recwarn):
    found = statistics.paired(first, second)
    assert np.isnan([found.low, found.high, found.p_value]).all()
    assert found.reason == reason
    assert not recwarn.list


def test_arms_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match=r"one number for each seed, found \{'first': 2, 'second': 3\}"):
        statistics.paired([1.0, 2.0], [1.0, 2.0, 3.0])


def test_effects_of_a_2_by_2_design():
    """Cells 10, 13, 11 and 20 in each seed: main effects (3 + 9)/2 and (1 + 7)/2, interaction 9 − 3."""
    noise = 0.01 * generator(2).standard_normal([4, 8])
    found = statistics.factorial(*(np.array([[10.0], [13.0], [11.0], [20.0]]) + noise))
    assert [effect.centre for effect in found] == pytest.approx([6.0, 4.0, 6.0], abs=0.03)
    expected = scipy.stats.ttest_1samp(6.0 + noise[3] - noise[2] - noise[1] + noise[0], 0.0)
    assert found.interaction.p_value == pytest.approx(expected.pvalue, rel=1e-6)


def test_a_main_effect_of_opposed_infinities_has_a_reason():
    finite, infinite = np.arange(8.0), np.full(8, INF)
    found = statistics.factorial(finite, infinite, infinite, finite)
    assert "to ∞ and the other lowers it, in 16" in found.first.reason and math.isnan(found.first.p_value)
    raised = statistics.factorial(finite, infinite, finite, infinite)
    assert (raised.first.centre, raised.first.p_value) == (INF, pytest.approx(2 / 256))
    assert (raised.interaction.centre, raised.interaction.p_value) == (0.0, 1.0)


def gaussian(random, size):
    return random.standard_normal(size)


def log_normal(random, size):
    return np.exp(random.standard_normal(size))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("draw", [gaussian, log_normal])
def test_coverage_of_paired_intervals(draw, n):
    """1,000 studies of n seeds: intervals hold the true difference, in 95 % for Gaussians."""
    random, repetitions = generator(n), 1000
    cells = draw(random, [4, repetitions, n]) + 2.0 * random.standard_normal([repetitions, n])
    pairs = [statistics.paired(first, second + 0.5) for first, second in zip(cells[0], cells[1], strict=True)]
    effects = [statistics.paired(a - b, c - d) for a, b, c, d in zip(*cells, strict=True)]  # interactions
    for found, true in ((pairs, 0.5), (effects, 0.0)):
        held = sum(one.low <= true <= one.high for one in found)
        least, most = hits(0.95, repetitions)
        assert held >= least
        assert draw is log_normal or held <= most  # long tails make Student's test cautious
    assert sum(effect.p_value <= 0.05 for effect in effects) <= hits(0.05, repetitions)[1]
