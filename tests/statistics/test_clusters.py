"""The split into two clusters against all partitions, exact null distributions, and for power and false alarms."""

import math

import numpy as np
import pytest
from repetitions import OTHER, TEN, generator, hits

from tfjc import statistics

INF, NAN = math.inf, math.nan


def test_two_far_clusters():
    found = statistics.two_clusters([9.0, 1.0, NAN, 10.0, 2.0, INF, 11.0, 0.0], rng=generator())
    assert found.members == ((1, 4, 7), (0, 3, 6))
    assert (found.means, found.threshold) == ((1.0, 10.0), 5.5)
    assert found.explained == pytest.approx(6 * 4.5**2 / (6 * 4.5**2 + 4))  # W = 2 + 2
    assert found.p_value < 0.05
    quick = statistics.two_clusters([0.0] * 5 + [1.0] * 5, n_resamples=99, rng=generator())
    assert quick.p_value == 0.01  # the sample itself is one of 100
    assert found.counts == statistics.Counts(finite=6, infinite=1, missing=1)


def test_one_cluster():
    found = statistics.two_clusters([1.0, 2.0, 3.0, 4.0, 5.0], rng=generator())
    assert (found.members, found.means, found.reason) == (((0, 1, 2, 3, 4),), (3.0,), "")
    assert math.isnan(found.threshold)
    assert found.explained == pytest.approx(7.5 / 10)  # 1 2 | 3 4 5: B = 2·1.5² + 3·1 = 7.5 of 10
    assert found.p_value > 0.5


def test_the_split_is_the_best_of_all_partitions():
    for seed in range(20):
        x = generator(seed).standard_normal(8)
        masks = (np.arange(1, 128)[:, None] >> np.arange(8)) & 1
        one = masks @ x
        within = np.sum(x**2) - one**2 / masks.sum(1) - (x.sum() - one) ** 2 / (8 - masks.sum(1))
        found = statistics.two_clusters(x, level=0.999, n_resamples=99, rng=generator())
        assert found.explained == pytest.approx(1 - within.min() / np.var(x) / 8)
        best = masks[within.argmin()] == masks[within.argmin()][x.argmin()]
        if len(found.members) == 2:
            assert found.members == (tuple(np.flatnonzero(best)), tuple(np.flatnonzero(~best)))
            assert x[best].max() < found.threshold < x[~best].min()


@pytest.mark.parametrize("gap", [0.05, 0.3, 0.9])
def test_p_value_of_three_in_closed_form(gap):
    """Three centred values in order are a vector at an angle of 0 to 60° from (−2, 1, 1), uniformly under one Gaussian.

    B is its squared projection on (−2, 1, 1) or (−1, −1, 2), 60° apart: B/(B + W) = cos² of the angle to the nearer, at
    most 30°. So the p-value is that angle over 30°.
    """
    found = statistics.two_clusters([0.0, gap, 1.0 + gap], n_resamples=40_000, rng=generator())
    p = math.acos(math.sqrt(found.explained)) / (math.pi / 6)
    assert found.p_value == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 40_000))


def test_explained_of_one_large_gaussian():
    """Halves of a Gaussian lie at ±√(2/π): B/(B + W) → 2/π (Hartigan 1978)."""
    found = statistics.two_clusters(generator().standard_normal(100_000), n_resamples=1, rng=generator())
    assert found.explained == pytest.approx(2 / math.pi, abs=0.005)


def test_clusters_under_change_of_units_and_order():
    x = np.concatenate([TEN, OTHER + 8.0])
    order = generator(9).permutation(20)
    found, moved, mixed = (statistics.two_clusters(v, rng=generator()) for v in (x, 5 * x - 3, x[order]))
    assert (moved.members, moved.p_value) == (found.members, found.p_value)
    assert moved.threshold == pytest.approx(5 * found.threshold - 3)
    assert [set(order[list(part)]) for part in mixed.members] == [set(part) for part in found.members]


def share_of_two(draw, repetitions=500):
    random = generator(4)
    found = (statistics.two_clusters(draw(random), rng=random, n_resamples=299) for _ in range(repetitions))
    return sum(len(result.members) == 2 for result in found)


@pytest.mark.parametrize(
    "draw, share",
    [
        (lambda random: 3 + 2 * random.standard_normal(10), 0.05),
        (lambda random: random.standard_normal(20), 0.05),
        (lambda random: np.exp(random.standard_normal(10)), 0.32),
        (lambda random: random.random(10), 0.17),
        (lambda random: random.standard_normal(10) + 6 * (np.arange(10) < 5), 0.90),
        (lambda random: random.standard_normal(10) + 6 * (np.arange(10) < 3), 0.83),
        (lambda random: random.standard_normal(12) + 5 * (np.arange(12) < 6), 0.82),
        (lambda random: random.standard_normal(20) + 4 * (np.arange(20) < 10), 0.79),
    ],
)
def test_power_and_false_alarms_of_clusters(draw, share):
    """The docstring's figures. Log-normal values are one cluster, and yet two in a third of samples."""
    low, high = hits(share, 500)
    assert low <= share_of_two(draw) <= high


@pytest.mark.parametrize(
    "values, members, reason",
    [
        ([], (), "a split needs at least 3 finite values, found 0"),
        ([INF, NAN], (), "a split needs at least 3 finite values, found 0"),
        ([1.0, 9.0], ((0, 1),), "a split needs at least 3 finite values, found 2"),
        ([0.3, 0.1 + 0.2, 0.3], ((0, 1, 2),), "values: all finite values are equal"),
    ],
)
def test_what_cannot_be_split(values, members, reason):
    found = statistics.two_clusters(values, rng=generator())
    assert (found.members, found.reason) == (members, reason)
    assert np.isnan([found.p_value, found.explained, found.threshold]).all()
