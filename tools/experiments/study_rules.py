"""How often the rules of studies find something where nothing is to be found, and how often intervals hold the truth.

    python tools/experiments/study_rules.py --repetitions=2000 --seed=0

Prints two tables as Markdown. Both sides of a rule are allowed 2.5 %. `tests/study/test_rules.py` runs a short form.
"""

import argparse
import math

import numpy as np

from tfjc.study import _rules, _tested, statistics

SIZES = (3, 5, 6, 10, 20)


def gaussian(rng, n):
    """N(0, 1)."""
    return rng.standard_normal(n)


def log_normal(rng, n):
    """exp of N(0, ½²), less its mean."""
    return np.exp(0.5 * rng.standard_normal(n)) - math.exp(0.125)


def two_clusters(rng, n):
    """Two Gaussians 6 σ apart, 7 to 3, less their mean."""
    return rng.standard_normal(n) + 6.0 * (rng.random(n) < 0.3) - 1.8


def some_infinite(rng, n):
    """N(0, 1), three in ten of which are infinite."""
    return np.where(rng.random(n) < 0.3, np.inf, rng.standard_normal(n))


DISTRIBUTIONS = {
    "Gaussian": gaussian,
    "log-normal": log_normal,
    "two clusters": two_clusters,
    "some infinite": some_infinite,
}
_MEDIANS = {gaussian: 0.0, log_normal: 1.0 - math.exp(0.125), some_infinite: 0.566}  # Φ(0.566) = 0.5/0.7
ARMS = ("first", "second")


def _median(rng, draw, n):
    return _rules.median(draw(rng, n), _MEDIANS[draw], name="x")


def _ranks(rng, draw, n):
    return _rules.ranks(draw(rng, n), draw(rng, n), name="x", arms=ARMS)


def _means(rng, draw, n):
    return _rules.means(draw(rng, n), draw(rng, n), name="x", arms=ARMS)


def _unequal_means(rng, draw, n):
    return _rules.means(draw(rng, n), 3.0 * draw(rng, n), name="x", arms=ARMS)


def _spread(rng, draw, n):
    return _rules.spread(draw(rng, n), draw(rng, n), name="x", arms=ARMS)


def _correlation(arms):
    def find(rng, draw, n):
        groups = {str(k): (draw(rng, n) + 10.0 * k, gaussian(rng, n) + 10.0 * k) for k in range(arms)}
        return _rules.correlation(statistics.pooled_correlation(groups.values()), groups, name="x")

    return find


def _paired_arms(rng, draw, arms, n):
    """[arms, n]: a part of each run, and a part of N(0, 2²) of the seed, which its runs share."""
    return draw(rng, [arms, n]) + 2.0 * gaussian(rng, n)


def _shared_correlation(rng, draw, n):
    groups = {str(k): pair for k, pair in enumerate(zip(*(_paired_arms(rng, draw, 3, n) for _ in "xy"), strict=True))}
    found = statistics.pooled_correlation(groups.values(), seeds=[range(n)] * 3)
    return _rules.correlation(found, groups, name="x")


def _planned(found, centre, n):
    """The `Finding` of a planned claim alone, a family of one."""
    if math.isnan(found.p_value) or n < _tested.LEAST:
        return _rules.Finding("", None)
    return _rules.Finding("", int(np.sign(centre)) if found.p_value <= 0.05 else 0)


def _paired(rng, draw, n):
    found = statistics.paired(*_paired_arms(rng, draw, 2, n))
    return _planned(found, found.centre, n)


def _interaction(rng, draw, n):
    found = statistics.factorial(*_paired_arms(rng, draw, 4, n)).interaction
    return _planned(found, found.centre, n)


def _within_seeds(rng, draw, n):
    found = statistics.mean_correlation(zip(*(_paired_arms(rng, draw, 5, n).T for _ in "xy"), strict=True))
    return _planned(found, found.spearman, n)


def _clusters(rng, draw, n):
    return _rules.clusters(statistics.two_clusters(draw(rng, n), n_resamples=999, rng=rng), name="x")


def _both(rng, draw, n):
    """A claim of two questions, neither of which has anything to find: 1 if both are on one side, −1 if one is not."""
    sides = [_rules.ranks(draw(rng, n), draw(rng, n), name="x", arms=ARMS, questions=2).side for _ in range(2)]
    if None in sides:
        return _rules.Finding("", None)
    return _rules.Finding("", -1 if -1 in sides else int(sides == [1, 1]))


RULES = {
    "median of one arm": _median,
    "order of two arms (log-condition numbers)": _ranks,
    "difference of means": _means,
    "difference of means, σ 1 to 3": _unequal_means,
    "spread": _spread,
    "correlation, one arm": _correlation(1),
    "correlation within two arms": _correlation(2),
    "correlation within three arms that share seeds": _shared_correlation,
    "paired difference": _paired,
    "interaction of two factors, paired": _interaction,
    "correlation within seeds, five arms": _within_seeds,
    "two clusters": _clusters,
    "two questions by order": _both,
}


UNEQUAL = ("difference of means, σ 1 to 3",)  # shapes differ: what happens outside of the rule's promise


def applies(rule, draw):
    """Whether a rule has nothing to find in a distribution: two clusters are two, and have no unique median."""
    return draw is not two_clusters or rule not in ("two clusters", "median of one arm")


def false_findings(rule, draw, n, repetitions, rng):
    """(less, greater): in how many of samples of n a rule finds the one or the other; None if it is not asked."""
    sides = [RULES[rule](rng, draw, n).side for _ in range(repetitions)]
    return None if set(sides) == {None} else tuple(sides.count(side) / repetitions for side in (-1, 1))


def _mean_interval(rng, draw, n):
    found = statistics.summary(draw(rng, n))
    return found.low <= 0.0 <= found.high


def _median_interval(rng, draw, n):
    found = statistics.summary(draw(rng, n))
    return found.median_low <= _MEDIANS[draw] <= found.median_high


def _of_two(function, truth):
    def holds(rng, draw, n):
        found = function(draw(rng, n), draw(rng, n))
        return found.low <= truth <= found.high

    return holds


def _paired_interval(rng, draw, n):
    found = statistics.paired(*_paired_arms(rng, draw, 2, n))
    return found.low <= 0.0 <= found.high


def _within_seeds_interval(rng, draw, n):
    """Five doses and 0.3·dose + N(0, 1) in each seed; the mean of Spearman's correlation is 0.3956 (10⁷ draws)."""
    dose = np.arange(5.0)
    found = statistics.mean_correlation([(dose, 0.3 * dose + draw(rng, 5)) for _ in range(n)])
    return found.low <= 0.3956 <= found.high


def _shifted(rng, draw, n):
    """θ = Φ(1/√2), that of two Gaussians 1 σ apart."""
    found = statistics.superiority(gaussian(rng, n), gaussian(rng, n) + 1.0)
    return found.low <= 0.7602 <= found.high


def _correlated(rng, draw, n):
    """Spearman's 6/π·asin(ρ/2) of Gaussian pairs with ρ = 0.86."""
    x, noise = rng.standard_normal([2, n])
    found = statistics.correlation(x, 0.86 * x + math.sqrt(1.0 - 0.86**2) * noise)
    return found.low <= 6.0 / math.pi * math.asin(0.43) <= found.high


COVERAGE = {
    "mean (Student)": (_mean_interval, 3, (gaussian, log_normal, two_clusters)),
    "median (order statistics)": (_median_interval, 6, (gaussian, log_normal, some_infinite)),
    "difference of means (Welch)": (_of_two(statistics.difference, 0.0), 3, (gaussian, log_normal, two_clusters)),
    "superiority ½ (Newcombe)": (_of_two(statistics.superiority, 0.5), 3, tuple(DISTRIBUTIONS.values())),
    "superiority 0.76": (_shifted, 3, (gaussian,)),
    "ratio of spreads (Brown, Forsythe)": (
        _of_two(statistics.spread_ratio, 1.0),
        3,
        (gaussian, log_normal, two_clusters),
    ),
    "Spearman, ρ = 0.86": (_correlated, 5, (gaussian,)),
    "paired difference (Student)": (_paired_interval, 3, (gaussian, log_normal, two_clusters)),
    "paired difference (median, sign test)": (_paired_interval, 6, (some_infinite,)),
    "Spearman within seeds, five arms": (_within_seeds_interval, 3, (gaussian,)),
}


def main():
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    rng = np.random.default_rng(flags.seed)
    print(f"| rule | nothing to find in | n = {' | '.join(map(str, SIZES))} |\n|---|---|{'---|' * len(SIZES)}")
    for rule in RULES:
        for name, draw in DISTRIBUTIONS.items():
            if not applies(rule, draw):
                continue
            found = [false_findings(rule, draw, n, flags.repetitions, rng) for n in SIZES]
            if any(found):
                cells = ["–" if pair is None else f"{pair[0]:.1%}, {pair[1]:.1%}".replace("%", "") for pair in found]
                print(f"| {rule} | {name} | {' | '.join(cells)} |", flush=True)
    sizes = (3, 5, 10, 20)
    print(f"\n| interval | values | n = {' | '.join(map(str, sizes))} |\n|---|---|{'---|' * len(sizes)}")
    for interval, (holds, least, draws) in COVERAGE.items():
        for name, draw in DISTRIBUTIONS.items():
            if draw in draws:
                cells = [
                    f"{sum(holds(rng, draw, n) for _ in range(flags.repetitions)) / flags.repetitions:.1%}"
                    if n >= least
                    else "–"
                    for n in sizes
                ]
                print(f"| {interval} | {name} | {' | '.join(cells)} |".replace("%", ""), flush=True)


if __name__ == "__main__":
    main()
