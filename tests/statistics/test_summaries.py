"""One and two samples against closed forms, hand-worked permutations and their promises of coverage."""

import math

import numpy as np
import pytest
import scipy.stats
from repetitions import OTHER, TEN, covered, generator, hits

from tfjc import statistics

INF, NAN = math.inf, math.nan


def test_summary_worked_by_hand():
    """2, 4, 4, 10: mean 5, Σ(x − 5)² = 9 + 1 + 1 + 25 = 36, so s = √(36/3); the middle two are 4 and 4."""
    found = statistics.summary([4.0, 10.0, 2.0, 4.0], generator=generator())
    assert (found.mean, found.median, found.minimum, found.maximum) == (5.0, 4.0, 2.0, 10.0)
    assert found.standard_deviation == pytest.approx(math.sqrt(12.0))
    assert found.counts == statistics.Counts(finite=4, infinite=0, missing=0)
    assert 2.0 <= found.low < 5.0 < found.high <= 10.0


def test_what_is_not_finite_is_counted_and_keeps_its_place():
    """Order of the present: −∞, 1, 3, ∞, ∞. Median 3; the mean is of 1 and 3; nan and None are nowhere."""
    found = statistics.summary([3.0, INF, NAN, 1.0, -INF, None, INF], generator=generator())
    assert found.counts == statistics.Counts(finite=2, infinite=3, missing=2)
    assert (found.mean, found.standard_deviation) == (2.0, pytest.approx(math.sqrt(2.0)))
    assert (found.median, found.minimum, found.maximum) == (3.0, -INF, INF)
    alone = statistics.summary([3.0, 1.0], generator=generator())
    assert (found.low, found.high) == (alone.low, alone.high)


def test_summaries_of_one_and_of_nothing(recwarn):
    one, nothing = (statistics.summary(values, generator=generator()) for values in ([7.0], []))
    assert (one.mean, one.median, one.reason) == (7.0, 7.0, "an interval needs at least 2 finite values, found 1")
    assert np.isnan([one.low, one.high, one.standard_deviation]).all()
    assert np.isnan([nothing.mean, nothing.median, nothing.minimum, nothing.maximum, nothing.low]).all()
    assert nothing.reason.endswith("found 0")
    assert math.isnan(statistics.summary([INF, -INF], generator=generator()).median)
    assert not recwarn.list


def test_equal_values_have_an_interval_without_width(recwarn):
    """BCa has no acceleration there; percentiles have."""
    found = statistics.summary([0.1] * 10, generator=generator())
    assert (found.mean, found.low, found.high, found.standard_deviation) == (0.1, 0.1, 0.1, 0.0)
    assert not recwarn.list


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, 2.0, 5.0]])
def test_the_mean_of_two_or_three_is_anywhere_between(values):
    """Student's interval is wider than their range, which is as far as resamples go."""
    found = statistics.summary(values, generator=generator())
    assert (found.low, found.high) == (min(values), max(values))


def test_the_means_interval_is_nearly_students():
    """Of 30 quantiles of a Gaussian: the bootstrap's tails are then Gaussian, and BCa corrects nothing."""
    values = scipy.stats.norm.ppf((np.arange(30) + 0.5) / 30)
    for confidence in (0.8, 0.95):
        found = statistics.summary(values, confidence=confidence, n_resamples=50_000, generator=generator())
        student = scipy.stats.t.ppf((1 + confidence) / 2, 29) * found.standard_deviation / math.sqrt(30)
        assert (found.low, found.high) == pytest.approx((-student, student), rel=0.03)


def test_the_interval_is_bca_with_wider_tails():
    """Student's 97.5 % quantile for n = 10 is 2.2622; times √(10/9) it is 2.3845, a Gaussian tail of 0.00855."""
    values = np.exp(TEN)
    found = statistics.summary(values, generator=generator())
    bca = scipy.stats.bootstrap([values], np.mean, confidence_level=1 - 2 * 0.00855, rng=generator())
    assert (found.low, found.high) == pytest.approx(tuple(bca.confidence_interval), rel=1e-3)
    assert found.high - found.mean > 1.5 * (found.mean - found.low)  # as skewed as the values are


def test_intervals_move_with_the_values():
    found, moved = (statistics.summary(values, generator=generator()) for values in (TEN, 3.0 * TEN + 7.0))
    assert (moved.low, moved.high) == pytest.approx((3.0 * found.low + 7.0, 3.0 * found.high + 7.0), rel=1e-4)


GAUSSIAN = (lambda random, n: random.standard_normal(n), 0.0, 1.0)  # draws, mean, variance
LOG_NORMAL = (
    lambda random, n: np.exp(0.5 * random.standard_normal(n)),
    math.exp(0.125),
    math.exp(0.25) * math.expm1(0.25),
)
TWO = (lambda random, n: random.standard_normal(n) + 6.0 * (random.random(n) < 0.3), 1.8, 1.0 + 36.0 * 0.21)


@pytest.mark.parametrize(
    "distribution, n, coverage",
    [(GAUSSIAN, 10, 0.945), (LOG_NORMAL, 10, 0.923), (TWO, 10, 0.963), (GAUSSIAN, 20, 0.947)],
)
def test_coverage_of_the_mean(distribution, n, coverage):
    """The docstring's figures; the plain bootstrap (0.88 at n = 10) would fail."""
    draw, mean, _ = distribution
    found = covered(600, lambda random, **options: statistics.summary(draw(random, n), **options), mean)
    assert hits(coverage, 600)[0] <= found <= hits(coverage, 600)[1]
    assert found > hits(0.88, 600)[0]


def exact(first, second):
    return statistics.difference(first, second, generator=generator())


def test_permutations_worked_by_hand():
    """Of the C(5, 2) = 10 ways to choose the first two, only one is as low as 1, 2: p = 2·1/10.

    Of the 6 ways for two and two, the second's sum is 3, 4, 5, 5, 6, 7; as much as 2 + 4 = 6 in two: p = 2·2/6.
    2 + 3 = 5 is reached from either side in 4 of 6: p = 1, not 2·4/6.
    """
    assert exact([1.0, 2.0], [3.0, 4.0, 5.0]).p_value == pytest.approx(0.2)
    assert exact([1.0, 3.0], [2.0, 4.0]).p_value == pytest.approx(2 / 3)
    assert exact([1.0, 4.0], [2.0, 3.0]).p_value == 1.0


def test_superiority_worked_by_hand():
    """1, 3, 3 against 2, 3: of 6 pairs 2 > 1, 3 > 1 are greater and 3 = 3 twice equal: (2 + 1)/6.

    Where all of 4 lie above all of 4, the p-value is 2/C(8, 4), whatever the values, ∞ among them.
    """
    assert exact([1.0, 3.0, 3.0], [2.0, 3.0]).superiority == pytest.approx(0.5)
    found = exact([1.0, 2.0, 3.0, -INF], [5.0, INF, 9.0, INF])
    assert (found.superiority, found.superiority_p_value) == (1.0, pytest.approx(2 / 70))
    assert found.second == statistics.Counts(finite=2, infinite=2, missing=0)
    assert found.difference == 7.0 - 2.0
    assert exact([1.0, INF], [2.0, 3.0]).superiority == 0.5


def test_many_permutations_are_sampled():
    """C(16, 8) = 12,870 are too many for 9,999; of C(20, 10) the two most extreme are hardly met: 2·1/10,000."""
    enough = statistics.difference(TEN[:8], OTHER[:8], n_resamples=12_870, generator=generator()).p_value
    assert exact(TEN[:8], OTHER[:8]).p_value == pytest.approx(enough, abs=4 * math.sqrt(2 * enough / 10_000))
    assert exact(np.arange(10.0), np.arange(100.0, 110.0)).p_value == pytest.approx(2e-4)


def test_difference_changes_its_sign():
    one, other = exact(TEN, OTHER), exact(OTHER, TEN)
    assert one.difference == pytest.approx(OTHER.mean() - TEN.mean())
    assert (other.difference, other.superiority) == pytest.approx((-one.difference, 1.0 - one.superiority))
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=0.1)


def test_differences_of_few(recwarn):
    found = exact([1.0], [2.0])
    assert (found.difference, found.superiority) == (1.0, 1.0)
    assert np.isnan([found.low, found.high, found.p_value, found.superiority_p_value]).all()
    assert found.reason == "an interval needs at least 2 finite values on each side, found 1"
    nothing = exact([NAN, 1.0], [])
    assert np.isnan([nothing.difference, nothing.superiority]).all()
    equal = exact([2.0] * 4, [5.0] * 4)
    assert (equal.low, equal.high, equal.p_value) == (3.0, 3.0, pytest.approx(2 / 70))
    assert not recwarn.list


@pytest.mark.parametrize(
    "first, second, coverage", [(GAUSSIAN, GAUSSIAN, 0.958), (TWO, GAUSSIAN, 0.959), (LOG_NORMAL, GAUSSIAN, 0.946)]
)
def test_coverage_of_the_difference(first, second, coverage):
    def call(random, **options):
        return statistics.difference(first[0](random, 10), second[0](random, 10), **options)

    found = covered(300, call, second[1] - first[1])
    assert hits(coverage, 300)[0] <= found <= hits(coverage, 300)[1]


def test_false_alarms_of_the_tests():
    """Of one distribution for both, 5 % of p-values are at most 0.05."""
    random, found = generator(2), []
    for _ in range(400):
        first, second = random.standard_exponential([2, 10])
        found.append(statistics.difference(first, second, generator=random, n_resamples=299))
    for key in ("p_value", "superiority_p_value"):
        count = sum(getattr(result, key) <= 0.05 for result in found)
        assert hits(0.05, 400)[0] <= count <= hits(0.05, 400)[1]


def test_variance_ratio_worked_by_hand():
    """Var(1, 2, 3) = 1, Var(1, 3, 8) = (9 + 1 + 16)/2 = 13.

    Deviations from the medians 2 and 3: 1, 0, 1 and 2, 0, 5, with means 2/3 and 7/3. F(1, 4) = between/(within/4) with
    between = 2·3·(5/6)² = 25/6 and within = 2/3 + 38/3 = 40/3: F = 5/4, the square of Student's
    t with 4 degrees of freedom, for which P(t ≤ τ) = ½ + ⅜·s·(1 − s²/12) with s = τ/√(1 + τ²/4).
    """
    found = statistics.variance_ratio([1.0, 2.0, 3.0], [1.0, 3.0, 8.0], generator=generator())
    s = math.sqrt(5 / 4) / math.sqrt(1 + 5 / 16)
    assert found.ratio == pytest.approx(13.0)
    assert found.p_value == pytest.approx(2 * (0.5 - 3 / 8 * s * (1 - s * s / 12)))
    assert math.isnan(found.low)
    assert found.reason == "an interval needs at least 6 finite values on each side, found 3"


@pytest.mark.parametrize("n, share", [(10, 0.04), (5, 0.007)])
def test_false_alarms_of_brown_and_forsythes_test(n, share):
    random = generator(2)
    pairs = (random.standard_normal([2, n]) for _ in range(800))
    found = [statistics.variance_ratio(*pair, generator=random, n_resamples=9).p_value for pair in pairs]
    assert hits(share, 800)[0] <= sum(p_value <= 0.05 for p_value in found) <= hits(share, 800)[1]


def test_variance_ratio_scales_and_inverts():
    found, scaled, inverse = (
        statistics.variance_ratio(*pair, generator=generator())
        for pair in ((TEN, OTHER), (TEN + 5.0, 3.0 * OTHER), (OTHER, TEN))
    )
    assert found.ratio == pytest.approx(np.var(OTHER) / np.var(TEN))
    assert (scaled.ratio, scaled.low, scaled.high) == pytest.approx((9 * found.ratio, 9 * found.low, 9 * found.high))
    assert (inverse.ratio, inverse.p_value) == pytest.approx((1.0 / found.ratio, found.p_value))
    assert (inverse.low, inverse.high) == pytest.approx((1.0 / found.high, 1.0 / found.low), rel=0.2)


def test_variances_of_few_and_of_equal_values(recwarn):
    def ratio(first, second):
        return statistics.variance_ratio(first, second, generator=generator())

    one_varies, none_varies, tied = ratio([1.0] * 8, TEN), ratio([1.0] * 8, [2.0] * 8), ratio([0.0] * 6 + [1.0], TEN)
    assert (one_varies.ratio, ratio(TEN, [1.0] * 8).ratio) == (INF, 0.0)
    assert one_varies.p_value < 0.05
    assert np.isnan([none_varies.ratio, none_varies.p_value, one_varies.low, tied.low, tied.high]).all()
    assert all("values that differ" in found.reason for found in (one_varies, none_varies, tied))
    two = ratio([1.0, 2.0, INF], [1.0, 4.0, NAN])
    assert (two.ratio, two.first.infinite, two.second.missing) == (pytest.approx(9.0), 1, 1)
    assert math.isnan(two.p_value)
    assert not recwarn.list


@pytest.mark.parametrize(
    "first, second, coverage", [(GAUSSIAN, GAUSSIAN, 0.973), (LOG_NORMAL, LOG_NORMAL, 0.954), (TWO, GAUSSIAN, 0.975)]
)
def test_coverage_of_the_variance_ratio(first, second, coverage):
    def call(random, **options):
        return statistics.variance_ratio(first[0](random, 10), second[0](random, 10), **options)

    found = covered(500, call, second[2] / first[2])
    assert hits(coverage, 500)[0] <= found <= hits(coverage, 500)[1]
