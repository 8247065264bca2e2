"""Statistics of a study's runs: few values an arm, an interval with each estimate.

Common to all functions:

- Values are [N], one number a run. None and nan are missing values, and are left out. `Counts` holds their number.
- −∞ and ∞ (log-condition numbers of rank-deficient generators) are values: the least and the greatest in order. A mean
  of infinite values is infinite and has no interval. Their spread is undefined.
- An estimate that needs more values, or different ones, is nan. `reason` then says why; otherwise it is "".
- An interval that excludes the value of "no difference" is the test. A `p_value` never disagrees with it.
- Results depend only on the values. `two_clusters` also depends on `rng`, which simulates its null distribution.
- Where arms share seeds, the seeds are the independent units: `paired`, `factorial` and `mean_correlation` make one
  number of each seed, and `pooled_correlation` takes the seeds of its groups.
- A function raises ValueError for values that are not [N], and for a confidence or level outside (0, 1).

docs/results/studies.md has the measured coverage of every interval at 3, 5, 10 and 20 values.
"""

from tfjc.study.statistics._clusters import Clusters, two_clusters
from tfjc.study.statistics._correlation import (
    Correlation,
    MeanCorrelation,
    Pooled,
    correlation,
    mean_correlation,
    pooled_correlation,
)
from tfjc.study.statistics._paired import Factorial, Paired, factorial, paired
from tfjc.study.statistics._power import holm, smallest_correlation, smallest_difference, smallest_share
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
    "Factorial",
    "MeanCorrelation",
    "Paired",
    "Pooled",
    "SpreadRatio",
    "Summary",
    "Superiority",
    "correlation",
    "difference",
    "factorial",
    "holm",
    "infinite_shares",
    "mean_correlation",
    "paired",
    "pooled_correlation",
    "smallest_correlation",
    "smallest_difference",
    "smallest_share",
    "spread_ratio",
    "summary",
    "superiority",
    "two_clusters",
]
