"""One and two samples against closed forms, hand-worked values and their promises of coverage."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from repetitions import OTHER, TEN, covered, hits

from tfjc.study import statistics

INF, NAN = math.inf, math.nan


def test_summary_worked_by_hand():
    """2, 4, 4, 10: mean 5, Σ(x − 5)² = 9 + 1 + 1 + 25 = 36, so s = √(36/3); the middle two are 4 and 4.

    Student's 97.5 % quantile of 3 degrees of freedom is 3.18245: the interval is 5 ± 3.18245·√12/2.
    """
    found = statistics.summary([4.0, 10.0, 2.0, 4.0])
    assert (found.mean, found.median, found.minimum, found.maximum) == (5.0, 4.0, 2.0, 10.0)
    assert found.standard_deviation == pytest.approx(math.sqrt(12.0))
    assert found.counts == statistics.Counts(finite=4, infinite=0, missing=0)
    assert (found.low, found.high) == pytest.approx((5 - 3.18245 * math.sqrt(3), 5 + 3.18245 * math.sqrt(3)), abs=1e-4)


@pytest.mark.parametrize("n, k", [(5, None), (6, 1), (8, 1), (9, 2), (12, 3), (20, 6)])
def test_the_medians_interval_is_of_order_statistics(n, k):
    """P(Binomial(n, ½) < k) ≤ 2.5 %: 1/64 for n = 6, k = 1; 10/512 for 9, 2; Conover's table has 3 for 12, 6 for 20."""
    found = statistics.summary(np.arange(1.0, n + 1))
    if k is None:
        assert math.isnan(found.median_low)
    else:
        assert (found.median_low, found.median_high) == (k, n + 1 - k)
        assert scipy.stats.binom.cdf(k - 1, n, 0.5) <= 0.025 < scipy.stats.binom.cdf(k, n, 0.5)


def test_infinite_values_are_values():
    """Order: −∞, 1, 3, ∞, ∞. The median is 3; a mean of both infinities is none, and one of ∞ alone is infinite."""
    found = statistics.summary([3.0, INF, NAN, 1.0, -INF, None, INF])
    assert found.counts == statistics.Counts(finite=2, infinite=3, missing=2)
    assert (found.median, found.minimum, found.maximum) == (3.0, -INF, INF)
    assert math.isnan(found.mean)
    found = statistics.summary([1.0, 2.0, 3.0, 4.0, 5.0, INF])
    assert (found.mean, found.median_low, found.median_high) == (INF, 1.0, INF)
    assert np.isnan([found.low, found.high, found.standard_deviation]).all()
    assert found.reason == "a mean's interval is not defined for infinite values, found 1"


def test_summaries_of_one_and_of_nothing(recwarn):
    one, nothing = statistics.summary([7.0]), statistics.summary([])
    assert (one.mean, one.median, one.reason) == (7.0, 7.0, "an interval needs at least 2 values, found 1")
    assert np.isnan([one.low, one.high, one.standard_deviation]).all()
    assert np.isnan([nothing.mean, nothing.median, nothing.minimum, nothing.maximum, nothing.low]).all()
    assert nothing.reason.endswith("found 0")
    assert math.isnan(statistics.summary([INF, -INF]).median)
    assert not recwarn.list


def test_intervals_move_with_the_values():
    found, moved = statistics.summary(TEN), statistics.summary(3.0 * TEN + 7.0)
    ends = (found.low, found.high, found.median_low, found.median_high)
    assert (moved.low, moved.high, moved.median_low, moved.median_high) == pytest.approx([3 * x + 7 for x in ends])


def test_the_difference_is_welchs():
    found = statistics.difference(TEN, OTHER[:7])
    interval = scipy.stats.ttest_ind(OTHER[:7], TEN, equal_var=False).confidence_interval(0.95)
    assert found.difference == pytest.approx(OTHER[:7].mean() - TEN.mean())
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    other = statistics.difference(OTHER[:7], TEN)
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low))


def test_differences_without_an_interval(recwarn):
    found = statistics.difference([1.0], [2.0])
    assert (found.difference, found.reason) == (1.0, "an interval needs at least 2 values on each side, found 1")
    infinite = statistics.difference([1.0, 2.0, INF], [3.0, 4.0, 5.0])
    assert (infinite.difference, infinite.first.infinite) == (-INF, 1)
    assert "not defined for infinite values" in infinite.reason
    equal = statistics.difference([2.0] * 4, [5.0] * 4)
    assert (equal.difference, equal.reason) == (3.0, "an interval needs values that differ, found none")
    assert np.isnan([found.low, infinite.low, equal.high, statistics.difference([NAN, 1.0], []).difference]).all()
    assert not recwarn.list


def test_superiority_worked_by_hand():
    """1, 3, 3 against 2, 3: of 6 pairs 2 > 1, 3 > 1 are greater and 3 = 3 twice equal: (2 + 1)/6."""
    assert statistics.superiority([1.0, 3.0, 3.0], [2.0, 3.0]).superiority == pytest.approx(0.5)
    found = statistics.superiority([1.0, 2.0, 3.0, -INF], [5.0, INF, 9.0, INF])
    assert (found.superiority, found.high, found.second.infinite) == (1.0, 1.0, 2)
    assert statistics.superiority([1.0, INF], [2.0, 3.0]).superiority == 0.5
    assert statistics.superiority([INF] * 3, [INF] * 3).superiority == 0.5


def test_superiority_excludes_a_half_where_mann_and_whitney_reject():
    """Their Gaussian approximation: |θ̂ − ½| > 1.96·√((n + m + 1)/(12·n·m)); found on 300 samples of two sizes."""
    random = np.random.default_rng(5)
    for _ in range(300):
        first, second = random.standard_normal(6), random.standard_normal(9) + 1.0
        found = statistics.superiority(first, second)
        rejects = abs(found.superiority - 0.5) > scipy.stats.norm.ppf(0.975) * math.sqrt(16 / (12 * 54))
        assert (not found.low <= 0.5 <= found.high) == rejects
        inverse = statistics.superiority(second, first)
        assert (inverse.low, inverse.high) == pytest.approx((1 - found.high, 1 - found.low))


def test_infinite_shares_are_fishers():
    """6 of 10 against none of 10: C(14, 4)/C(20, 10) ways."""
    fewer, more = statistics.infinite_shares([INF] * 6 + [1.0] * 4, [2.0] * 10)
    assert (fewer, more) == pytest.approx((math.comb(14, 4) / math.comb(20, 10), 1.0))
    for a, b in itertools.product(range(4), range(5)):
        pair = [INF] * a + [0.0] * (5 - a), [INF] * b + [0.0] * (7 - b)
        table = [[b, 7 - b], [a, 5 - a]]
        expected = [scipy.stats.fisher_exact(table, alternative=side).pvalue for side in ("less", "greater")]
        assert statistics.infinite_shares(*pair) == pytest.approx(expected)


def test_spread_ratio_worked_by_hand():
    """1, 2, 3 and 1, 3, 8 deviate from their medians by 1, 0, 1 and 2, 0, 5, with means 2/3 and 7/3: 3.5 times."""
    found = statistics.spread_ratio([1.0, 2.0, 3.0], [1.0, 3.0, 8.0])
    assert (found.ratio, found.low, found.high) == (pytest.approx(3.5), 0.0, INF)


def test_the_spreads_interval_inverts_brown_and_forsythes_test():
    """It excludes 1 where the test rejects; scaled so that its end is 1, the test's p-value is 5 %."""
    random = np.random.default_rng(6)
    for _ in range(100):
        first, second = random.standard_normal(8), 2.2 * random.standard_normal(9)
        found = statistics.spread_ratio(first, second)
        p_value = scipy.stats.levene(first, second, center="median").pvalue
        assert (p_value < 0.05) == (not found.low <= 1.0 <= found.high)
        ends = [end for end in (found.low, found.high) if 0.0 < end < INF]
        values = [scipy.stats.levene(end * first, second, center="median").pvalue for end in ends]
        assert values == pytest.approx([0.05] * len(ends))


def test_spreads_of_few_and_of_equal_values(recwarn):
    few, flat = statistics.spread_ratio([1.0, 2.0], TEN), statistics.spread_ratio([1.0] * 8, TEN)
    infinite = statistics.spread_ratio([1.0, 2.0, INF], TEN)
    assert [found.reason for found in (few, flat, infinite)] == [
        "a ratio of spreads needs at least 3 values on each side, found 2",
        "first: all values are equal",
        "a spread is not defined for infinite values, found 1",
    ]
    assert np.isnan([found.ratio for found in (few, flat, infinite)]).all()
    assert not recwarn.list


GAUSSIAN = (lambda random, n: random.standard_normal(n), 0.0)  # draws, mean
LOG_NORMAL = (lambda random, n: np.exp(0.5 * random.standard_normal(n)), math.exp(0.125))
TWO = (lambda random, n: random.standard_normal(n) + 6.0 * (random.random(n) < 0.3), 1.8)


@pytest.mark.parametrize("distribution, n, coverage", [(GAUSSIAN, 3, 0.95), (LOG_NORMAL, 10, 0.923), (TWO, 10, 0.934)])
def test_coverage_of_the_mean(distribution, n, coverage):
    """Student's interval is exact for Gaussians; of skewed values docs/results/studies.md has the figures."""
    draw, mean = distribution
    found = covered(800, lambda random: statistics.summary(draw(random, n)), mean)
    assert hits(coverage, 800)[0] <= found <= hits(coverage, 800)[1]


@pytest.mark.parametrize("n", [6, 10, 20])
def test_coverage_of_the_median(n):
    """1 − 2·P(Binomial(n, ½) < k), whatever the distribution; that of exponentials is ln 2."""
    k = {6: 1, 10: 2, 20: 6}[n]
    share = 1 - 2 * scipy.stats.binom.cdf(k - 1, n, 0.5)
    found = covered(
        800, lambda r: statistics.summary(r.standard_exponential(n)), math.log(2), "median_low", "median_high"
    )
    assert hits(share, 800)[0] <= found <= hits(share, 800)[1]


@pytest.mark.parametrize("function, truth", [(statistics.difference, 0.0), (statistics.superiority, 0.5)])
def test_coverage_beside_another_sample(function, truth):
    """95 to 96 % of two log-normal samples of 10."""
    draw, _ = LOG_NORMAL
    found = covered(600, lambda random: function(draw(random, 10), draw(random, 10)), truth)
    assert hits(0.955, 600)[0] <= found <= hits(0.955, 600)[1]


def test_coverage_of_a_superiority_that_is_not_a_half():
    """Two Gaussians 1 σ apart: Φ(1/√2)."""
    truth = scipy.stats.norm.cdf(1 / math.sqrt(2))
    found = covered(600, lambda r: statistics.superiority(r.standard_normal(10), r.standard_normal(10) + 1.0), truth)
    assert hits(0.95, 600)[0] <= found <= hits(0.95, 600)[1]
