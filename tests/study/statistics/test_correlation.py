"""Correlations against hand-worked permutations, closed forms, a published example, and for coverage."""

import math

import numpy as np
import pytest
import scipy.stats
from repetitions import OTHER, TEN, covered, generator, hits

from tfjc.study import statistics
from tfjc.study.statistics import _correlation

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
    assert nothing.reason == "an interval needs at least 4 pairs, found 3; x: all values are equal"


@pytest.mark.parametrize("rho, coverage", [(0.0, 0.965), (0.86, 0.947)])
def test_coverage_of_correlations(rho, coverage):
    """Gaussian pairs, n = 10; of their ranks, ρ_S = 6/π·asin(ρ/2)."""

    def call(random):
        x, noise = random.standard_normal([2, 10])
        return statistics.correlation(x, rho * x + math.sqrt(1 - rho**2) * noise)

    found = covered(800, call, 6 / math.pi * math.asin(rho / 2))
    assert hits(coverage, 800)[0] <= found <= hits(coverage, 800)[1]


def partial(x, y, z):
    """(r_xy − r_xz·r_yz)/√((1 − r_xz²)(1 − r_yz²)) of SciPy's Spearman correlations."""
    (xy, xz, yz) = (scipy.stats.spearmanr(*pair)[0] for pair in ((x, y), (x, z), (y, z)))
    return (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))


def test_partial_correlation():
    third = TEN + OTHER + 0.3 * generator(4).standard_normal(10)
    found = statistics.correlation(TEN, OTHER, given=third)
    assert found.spearman == pytest.approx(partial(TEN, OTHER, third))
    width = scipy.stats.norm.ppf(0.975) * math.sqrt((1 + found.spearman**2 / 2) / 6)
    assert found.low == pytest.approx(math.tanh(math.atanh(found.spearman) - width))
    assert statistics.correlation(TEN, OTHER, given=np.exp(third)) == found  # ranks alone
    infinite = np.where(third == third.max(), INF, third)
    assert statistics.correlation(TEN, OTHER, given=infinite).spearman == pytest.approx(found.spearman)


def test_a_common_cause_is_taken_out():
    """x and y follow z alone: their correlation is strong, the partial one is not."""
    z, noise = generator(0).standard_normal(200), generator(1).standard_normal([2, 200])
    x, y = z + 0.5 * noise
    assert correlation(x, y).low > 0.5
    found = statistics.correlation(x, y, given=z)
    assert found.low < 0.0 < found.high


@pytest.mark.parametrize(
    "given, reason",
    [
        (ORDER, "x: the order is that of what is given"),
        ([1.0] * 4, "given: all values are equal"),
        ([1.0, 3.0, 2.0, NAN], "a correlation needs at least 4 pairs, found 3"),
    ],
)
def test_a_partial_correlation_that_is_not_defined(given, reason):
    found = statistics.correlation(ORDER, [1.0, 2.0, 9.0, 4.0], given=given)
    assert (found.reason, math.isnan(found.spearman), math.isnan(found.low)) == (reason, True, True)


def test_arms_that_share_seeds_count_as_often_as_they_differ():
    """Two equal arms are one arm, two of other seeds are two, and a third that mirrors both is the same arm."""
    pair, seeds = (TEN, OTHER), list(range(10))
    alone = statistics.pooled_correlation([pair])
    twice = statistics.pooled_correlation([pair, pair], seeds=[seeds, seeds])
    assert (twice.design, twice.low, twice.high) == pytest.approx((2.0, alone.low, alone.high))
    apart = statistics.pooled_correlation([pair, pair], seeds=[seeds, range(10, 20)])
    assert apart == statistics.pooled_correlation([pair, pair])
    mirrored = statistics.pooled_correlation([pair, pair, (-TEN, -OTHER)], seeds=[seeds] * 3)
    assert (mirrored.design, mirrored.low) == pytest.approx((3.0, alone.low))
    shuffled = statistics.pooled_correlation([pair, (TEN[::-1], OTHER[::-1])], seeds=[seeds, seeds[::-1]])
    assert (shuffled.design, shuffled.low) == pytest.approx((2.0, alone.low))


def test_the_mean_over_seeds():
    """0.8, 1 and −0.6 in three seeds of four arms: m = 0.4, and s = 0.872 is more than 0.84·√(1.08/3)."""
    groups = [(ORDER, [1.0, 2.0, 9.0, 4.0]), (ORDER, ORDER), (ORDER, [3.0, 4.0, 1.0, 2.0])]
    found, error = statistics.mean_correlation(groups), np.std([0.8, 1.0, -0.6], ddof=1) / 0.84 / math.sqrt(3)
    assert (found.spearman, found.deviation) == pytest.approx((0.4, error * math.sqrt(3)))
    assert found.p_value == pytest.approx(2 * scipy.stats.t.sf(math.atanh(0.4) / error, 2))
    width = scipy.stats.t.ppf(0.975, 2) * error
    assert (found.low, found.high) == pytest.approx(tuple(np.tanh(math.atanh(0.4) + np.array([-width, width]))))


def test_seeds_that_all_agree_have_an_interval():
    """Ten seeds, five arms in one order in each: as though one of the seeds had 0.9."""
    found = statistics.mean_correlation([([*ORDER, 9.0], [*ORDER, 9.0])] * 10)
    width = scipy.stats.t.ppf(0.975, 9) * math.sqrt((1 + 0.99**2 / 2) / 4 / 10)
    assert (found.spearman, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(math.tanh(math.atanh(0.99) - width))
    assert found.p_value < 1e-6


def test_a_seed_without_a_correlation_gives_the_reason():
    found = statistics.mean_correlation([(ORDER, ORDER), (ORDER, [1.0] * 4)])
    assert (found.reason, math.isnan(found.p_value)) == ("y: all values are equal", True)
    assert statistics.mean_correlation([(ORDER, ORDER)]).reason == "a mean needs at least 2 seeds, found 1"


def _arms(random, seeds):
    """(x, y, z), each [3 arms, seeds]: a part of the seed, which all arms share, and a part of the run."""
    return random.standard_normal([3, 1, seeds]) + 0.5 * random.standard_normal([3, 3, seeds])


def _found(random, n, repetitions, given=False, seeds=True):
    """How often a relation is found at 5 % where x and y follow their seeds, not each other."""
    named, found = [range(n)] * 3 if seeds else None, 0
    for _ in range(repetitions):
        groups = zip(*_arms(random, n)[: 2 + given], strict=True)
        found += statistics.pooled_correlation(groups, seeds=named).p_value <= 0.05
    return found


@pytest.mark.parametrize("n", [5, 8, 20])
def test_no_relation_is_found_within_arms_that_share_seeds(n):
    assert _found(generator(n), n, 1000) <= 60


def test_no_partial_relation_is_found_within_arms_that_share_seeds():
    assert _found(generator(8), 8, 300, given=True) <= hits(0.05, 300)[1]


def test_without_seeds_a_relation_is_found_too_often():
    assert _found(generator(8), 8, 300, seeds=False) >= hits(0.12, 300)[0]


@pytest.mark.parametrize("n", [5, 8, 20])
@pytest.mark.parametrize("slope, arms", [(0.0, 4), (0.3, 5), (0.7, 8)])
def test_coverage_of_the_mean_over_seeds(n, slope, arms):
    """y = slope·dose + N(0, 1) in each seed, the doses being 0, 1, ... At least 95 % hold the mean over many seeds."""
    random = generator(n)
    dose = np.arange(arms) - (arms - 1) / 2.0

    def correlations(*shape):
        ranks = scipy.stats.rankdata(slope * dose + random.standard_normal([*shape, arms]), axis=-1)
        return ranks @ dose * 12.0 / (arms**3 - arms)

    true, found = np.mean(correlations(100_000)), [_correlation._mean(r, arms, 0, 0.95) for r in correlations(1000, n)]
    held = sum(low <= true <= high for _, low, high, _, _ in found)
    assert held >= hits(0.95, 1000)[0]
    assert all((p <= 0.05) == (not low <= 0.0 <= high) for _, low, high, p, _ in found)
    assert slope or sum(p <= 0.05 for *_, p, _ in found) <= 60
