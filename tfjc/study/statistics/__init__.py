"""Statistics of a study's runs: few values an arm, an interval with each estimate.

The same for all functions:

- Values are [N], one number a run. None and nan are missing and take part in nothing; `Counts` says how many there are.
- −∞ and ∞ (log-condition numbers of rank-deficient generators) are values: by order the least and the greatest. A mean
  of infinite values is infinite. It has no interval, and neither has a spread.
- What cannot be told, from too few values or from equal ones, is nan, and `reason` says why; it is "" otherwise.
- An interval that excludes the value of "no difference" is the test: there is no p-value beside it that could disagree.
- All results depend on the values alone, but for `two_clusters`, which simulates its null distribution with `rng`.

docs/results/studies.md has the measured coverage of every interval at 3, 5, 10 and 20 values.
All raise ValueError for values that are not [N] and for a confidence or level outside (0, 1).
"""

from tfjc.study.statistics._clusters import Clusters, two_clusters
from tfjc.study.statistics._correlation import Correlation, Pooled, correlation, pooled_correlation
from tfjc.study.statistics._samples import (
    Difference,
    SpreadRatio,
    Summary,
    Superiority,
    difference,
    infinite_shares,
    spread_ratio,
    summary,
    superiority,
)
from tfjc.study.statistics._values import Counts

__all__ = [
    "Clusters",
    "Correlation",
    "Counts",
    "Difference",
    "Pooled",
    "SpreadRatio",
    "Summary",
    "Superiority",
    "correlation",
    "difference",
    "infinite_shares",
    "pooled_correlation",
    "spread_ratio",
    "summary",
    "superiority",
    "two_clusters",
]
