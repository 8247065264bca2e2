"""What tests of statistics share: samples, and how often an interval may miss."""

import numpy as np
import scipy.stats

RANDOM = np.random.default_rng(3)
TEN, OTHER = RANDOM.standard_normal(10), RANDOM.standard_normal(10) + 0.5


def generator(seed=0):
    return np.random.default_rng(seed)


def hits(share, repetitions):
    """The range in which a binomial count of that chance lies but once in 10,000 times."""
    return scipy.stats.binom.interval(1 - 1e-4, repetitions, share)


def covered(repetitions, call, true, low="low", high="high"):
    """How many of the intervals call(random) hold `true`."""
    random = generator(1)
    results = [call(random) for _ in range(repetitions)]
    return sum(getattr(result, low) <= true <= getattr(result, high) for result in results)
