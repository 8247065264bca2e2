"""λ_min and λ_max from the quotients of the runs with the best scores."""

from collections.abc import Sequence

import numpy as np

from tfjc.study import _read, statistics
from tfjc.support import checks, noise


def best_runs(runs: Sequence[_read.Recorded], score: str) -> tuple[list[_read.Recorded], str]:
    """(the best runs by their final scores, the reason why the scores are not two clusters or "").

    The best runs are the better of two clusters (`statistics.two_clusters`). If there is one cluster, they are the
    better half; runs without a score count as the worst.
    """
    sign = -1.0 if score in _read.LOWER_IS_BETTER else 1.0
    values = np.array([sign * run.last(score) for run in runs])
    clusters = statistics.two_clusters(values, rng=noise.rng(0, noise.Stream.LAMBDAS))
    if len(clusters.members) == 2:
        return [runs[index] for index in clusters.members[1]], ""
    why = clusters.reason or f"they are one cluster, p = {clusters.p_value:.2g}"
    order = np.argsort(-np.where(np.isnan(values), -np.inf, values), kind="stable")[: max(1, len(runs) // 2)]
    return [runs[index] for index in sorted(order)], why


def interval(runs: Sequence[_read.Recorded], low: str, high: str) -> tuple[float, float]:
    """(λ_min, λ_max): medians over runs of Q's quantiles `low` and `high`, averaged over the second half of training.

    Source: Odena et al. 2018, section 4: λ_min and λ_max are set by looking at Q in runs without clamping.

    Raises:
      ValueError: a quantile was not recorded, is not finite in a run, or `low` is not less than `high`.
    """
    without = [run for run in runs if not run.rows or not all("quotient_quantiles" in row for row in run.rows)]
    if without:
        why = without[0].rows[-1].get("no_quotient") if without[0].rows else f"the run {without[0].status} before"
        raise ValueError(f"no quotients were recorded of {', '.join(run.run.name for run in without)}: {why}")
    recorded = list(runs[0].rows[-1]["quotient_quantiles"])
    for quantile in (low, high):
        checks.one_of("quantile", quantile, recorded)
    if not float(low) < float(high):
        raise ValueError(f"the lower quantile must be less than the higher one, found {low} and {high}")
    means: list[list[float]] = []
    for run in runs:
        half = [row["quotient_quantiles"] for row in run.rows[len(run.rows) // 2 :]]
        means.append([float(np.mean([quantiles[name] for quantiles in half])) for name in (low, high)])
        if not np.isfinite(means[-1]).all():
            raise ValueError(f"the quotients of {run.run.name} must be finite, found {means[-1]}")
    lowest, highest = (float(np.median(column)) for column in zip(*means, strict=True))
    return lowest, highest
