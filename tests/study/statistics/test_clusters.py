"""The split into two clusters against all partitions, a closed form, and for power and false alarms."""

import math

import numpy as np
import pytest
from repetitions import OTHER, TEN, generator, hits

from tfjc.study import statistics

INF, NAN = math.inf, math.nan


def test_two_far_clusters():
    found = statistics.two_clusters([19.0, 1.0, NAN, 20.0, 2.0, 21.0, 0.0], rng=generator())
    assert found.members == ((1, 4, 6), (0, 3, 5))
    assert (found.means, found.threshold) == ((1.0, 20.0), 10.5)
    assert found.explained == pytest.approx(6 * 9.5**2 / (6 * 9.5**2 + 4))  # W = 2 + 2
    assert found.p_value < 0.025
    quick = statistics.two_clusters([0.0] * 5 + [1.0] * 5, n_resamples=99, rng=generator())
    assert quick.p_value == 0.01  # the sample itself is one of 100
    assert found.counts == statistics.Counts(finite=6, infinite=0, missing=1)


def test_one_cluster():
    found = statistics.two_clusters([1.0, 2.0, 3.0, 4.0, 5.0], rng=generator())
    assert (found.members, found.means, found.reason) == (((0, 1, 2, 3, 4),), (3.0,), "")
    assert math.isnan(found.threshold)
    assert found.explained == pytest.approx(7.5 / 10)  # 1 2 | 3 4 5: B = 2·1.5² + 3·1 = 7.5 of 10
    assert found.p_value > 0.5


def test_an_outlier_is_no_cluster():
    found = statistics.two_clusters([*np.linspace(0.0, 1.0, 9), 1000.0], rng=generator())
    assert (len(found.members), found.p_value > 0.025) == (1, True)


def test_the_split_is_the_best_of_all_partitions_into_two_or_more():
    for seed in range(20):
        x = generator(seed).standard_normal(8)
        masks = (np.arange(1, 128)[:, None] >> np.arange(8)) & 1
        masks = masks[(masks.sum(1) >= 2) & (masks.sum(1) <= 6)]
        one = masks @ x
        within = np.sum(x**2) - one**2 / masks.sum(1) - (x.sum() - one) ** 2 / (8 - masks.sum(1))
        found = statistics.two_clusters(x, level=0.999, n_resamples=99, rng=generator())
        assert found.explained == pytest.approx(1 - within.min() / np.var(x) / 8)
        best = masks[within.argmin()] == masks[within.argmin()][x.argmin()]
        if len(found.members) == 2:
            assert found.members == (tuple(np.flatnonzero(best)), tuple(np.flatnonzero(~best)))
            assert x[best].max() < found.threshold < x[~best].min()


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


@pytest.mark.parametrize(
    "draw, share",
    [
        (lambda random: np.exp(random.standard_normal(10)), 0.024),
        (lambda random: random.random(10), 0.014),
        (lambda random: random.standard_normal(10) + 8 * (np.arange(10) < 5), 0.76),
        (lambda random: random.standard_normal(10) + 8 * (np.arange(10) < 3), 0.64),
        (lambda random: random.standard_normal(20) + 6 * (np.arange(20) < 10), 0.70),
    ],
)
def test_power_and_false_alarms_of_clusters(draw, share):
    """The docstring's figures, and 2.5 % or fewer of flat and of skewed samples."""
    random = generator(4)
    found = (statistics.two_clusters(draw(random), rng=random, n_resamples=499) for _ in range(250))
    count = sum(len(result.members) == 2 for result in found)
    assert hits(share, 250)[0] <= count <= hits(share, 250)[1]


@pytest.mark.parametrize(
    "values, reason",
    [
        ([], "a split needs at least 5 values, found 0"),
        ([1.0, 9.0, NAN], "a split needs at least 5 values, found 2"),
        ([INF] * 6 + [11.9, 12.0, 12.05, 12.1], "a split is not defined for infinite values, found 6"),
        ([0.3, 0.1 + 0.2, 0.3, 0.3, 0.3], "values: all values are equal"),
    ],
)
def test_what_cannot_be_split(values, reason):
    found = statistics.two_clusters(values, rng=generator())
    assert (found.members, found.means, found.reason) == ((), (), reason)
    assert np.isnan([found.p_value, found.explained, found.threshold]).all()
