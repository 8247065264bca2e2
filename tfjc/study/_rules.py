"""The rules of decision of a study. Each takes values, one number a run.

A rule tests whether values are greater, or less, than others. Its error is 2.5 % a side: under the null hypothesis,
2.5 % of studies find "greater" and 2.5 % find "less". For each distribution in docs/results/studies.md, the error is at
most 5 % a side. `LEAST` is the smallest number of runs for each rule. Infinite values are the greatest. If a run has no
value, the rule is not applied, since the remaining runs would be a selected sample.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from tfjc.study import statistics

LEAST = {  # runs of an arm, or of each arm in a comparison
    "median": 6,  # all of 5 values lie on one side of the median by chance with probability 1/16
    "medians": 7,  # as "median", at 1.25 % a side, for a claim with two questions
    "clusters": 6,
    "correlation": 6,  # several arms need the Σ (n − 3) of one arm with so many runs
    "ranks": 5,
    "means": 5,
    "spread": 6,  # with 5 runs an arm, 8 of 100 studies find a deviation 3 times as great
}
_Values: TypeAlias = Sequence[float] | np.ndarray  # [N], one number a run
_ERROR = 0.05  # of both sides together


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of a rule.

    Attributes:
      text: its numbers, or the reason for no test.
      side: 1 (greater), −1 (less), 0 (undecided) or None (not tested).
    """

    text: str
    side: int | None


def median(values: _Values, middle: float, *, name: str, questions: int = 1) -> Finding:
    """Whether the median of one sample is greater than `middle`, by the exact interval of order statistics.

    `questions` is the number of rules that a claim combines, here and in all rules. They share its error.
    """
    least = LEAST["median" if questions == 1 else "medians"]
    if gap := _gap({name: values}, least):
        return gap
    found = statistics.summary(values, confidence=_confidence(questions))
    low, high = found.median_low, found.median_high
    return Finding(f"{name}: median {found.median:.3g} {interval(low, high)}", _side(low, high, middle))


def ranks(
    first: _Values,
    second: _Values,
    *,
    name: str,
    arms: Sequence[str],
    questions: int = 1,
) -> Finding:
    """Whether the second sample's values are greater than the first's, by order.

    It decides if the interval of the probability of superiority excludes ½. Where values are infinite, it also decides
    if Fisher's exact test finds more, or fewer, infinite ones; each of the two tests then has half the error. If the
    tests point to opposite sides, it does not decide.
    """
    if gap := _gap(_named(name, arms, first, second), LEAST["ranks"]):
        return gap
    found = superiority(first, second, questions)
    medians = [f"{statistics.summary(sample).median:.3g}" for sample in (first, second)]
    text = f"{name}: median {medians[0]} → {medians[1]}, P(higher) = {found.superiority:.2f} "
    text += interval(found.low, found.high)
    sides = {_side(found.low, found.high, 0.5)} - {0}
    if found.first.infinite or found.second.infinite:
        fewer, more = statistics.infinite_shares(first, second)
        counts = [f"{np.count_nonzero(np.isinf(sample))} of {len(sample)}" for sample in (first, second)]
        text += f"; infinite in {counts[0]} → {counts[1]} runs, Fisher's exact p = {min(1.0, 2 * min(fewer, more)):.2g}"
        sides |= {side for side, p in ((-1, fewer), (1, more)) if p <= _ERROR / (2 * questions) / 2.0}
    return Finding(text, sides.pop() if len(sides) == 1 else 0)


def superiority(first: _Values, second: _Values, questions: int = 1) -> statistics.Superiority:
    """`statistics.superiority` for `ranks`: with half the error where values are infinite."""
    has_infinite = bool(np.isinf([*first, *second]).any())
    return statistics.superiority(first, second, confidence=_confidence(questions * (1 + has_infinite)))


def means(
    first: _Values,
    second: _Values,
    *,
    name: str,
    arms: Sequence[str],
    questions: int = 1,
) -> Finding:
    """Whether the second sample's mean is greater than the first's, by Welch's interval."""
    if gap := _gap(_named(name, arms, first, second), LEAST["means"], infinite=False):
        return gap
    found = statistics.difference(first, second, confidence=_confidence(questions))
    text = f"{name}: mean {np.mean(first):.3g} → {np.mean(second):.3g}, difference {found.difference:+.3g} "
    return Finding(text + interval(found.low, found.high), _side(found.low, found.high, 0.0))


def ratio(
    first: _Values,
    second: _Values,
    middle: float,
    *,
    name: str,
    arms: Sequence[str],
) -> Finding:
    """Whether the second sample's geometric mean over the first's is above `middle`, by Welch's interval of logs."""
    if gap := _gap(_named(name, arms, first, second), LEAST["means"], infinite=False):
        return gap
    found = statistics.difference(np.log(first), np.log(second), confidence=_confidence(1))
    low, high = math.exp(found.low), math.exp(found.high)
    text = f"{name}: ratio {math.exp(found.difference):.2f} {interval(low, high)}"
    return Finding(text, _side(low, high, middle))


def spread(first: _Values, second: _Values, *, name: str, arms: Sequence[str]) -> Finding:
    """Whether the second sample varies more than the first, by the test of Brown and Forsythe."""
    if gap := _gap(_named(name, arms, first, second), LEAST["spread"], infinite=False):
        return gap
    found = statistics.spread_ratio(first, second, confidence=_confidence(1))
    text = f"{name}: ratio of mean absolute deviations {found.ratio:.2g} {interval(found.low, found.high)}"
    return Finding(text, _side(found.low, found.high, 1.0))


def correlation(found: statistics.Pooled, groups: Mapping[str, tuple[np.ndarray, np.ndarray]], *, name: str) -> Finding:
    """Whether pairs {arm: (x, y)} correlate positively within arms, by the interval of their pooled correlation."""
    if gap := _gap({f"{name} ({arm})": _present(*pair) for arm, pair in groups.items()}, 0):
        return gap
    within = [
        f"{arm} {_correlated(group)} ({len(x)} runs)"
        for (arm, (x, _)), group in zip(groups.items(), found.groups, strict=True)
    ]
    if found.reason:
        return Finding(f"{name} (x and y): {', '.join(within) or 'no runs'}; {found.reason}", None)
    if found.weight < LEAST["correlation"] - 3:
        return Finding(f"{name}: {', '.join(within)}; 6 runs are needed, or Σ (n − 3) = 3", None)
    how = f", pooled over {', '.join(within)}" if len(groups) > 1 else ""
    text = f"{name}: Spearman {found.spearman:.2f} {interval(found.low, found.high)}{how}"
    return Finding(text, _side(found.low, found.high, 0.0))


def clusters(found: statistics.Clusters, *, name: str) -> Finding:
    """Whether values form two clusters (1) rather than one (0)."""
    n = found.counts.finite + found.counts.infinite
    if gap := _gap({name: [0.0] * n + [math.nan] * found.counts.missing}, LEAST["clusters"]):
        return gap
    if found.reason:
        return Finding(f"{name}: {found.counts.infinite} of {n} runs are infinite; {found.reason}", None)
    if len(found.members) < 2:
        return Finding(f"{name}: one cluster, p = {found.p_value:.2g}", 0)
    sizes = f"{len(found.members[0])} under {found.threshold:.3g}, {len(found.members[1])} above"
    return Finding(f"{name}: {sizes}, p = {found.p_value:.2g}", 1)


def _gap(samples, least, infinite=True) -> Finding | None:
    """Why {name: values} cannot be tested: values are missing, too few, or infinite without `infinite`."""
    for name, values in samples.items():
        missing = np.count_nonzero(np.isnan(values))
        if missing:
            return Finding(f"{missing} of {len(values)} runs have no {name}", None)
        if not infinite and np.isinf(values).any():
            return Finding(f"{name} is infinite in {np.count_nonzero(np.isinf(values))} of {len(values)} runs", None)
    sizes = [len(values) for values in samples.values()]
    if min(sizes, default=least) < least:
        return Finding(f"{' and '.join(map(str, sizes))} runs; {least} are needed", None)
    return None


def _named(name, arms, *samples):
    return {f"{name} ({arm})": sample for arm, sample in zip(arms, samples, strict=True)}


def _present(x, y):
    """nan for each pair with a missing value, else 0."""
    return np.where(np.isnan(x) | np.isnan(y), np.nan, 0.0)


def _correlated(group):
    return "none" if math.isnan(group.spearman) else f"{group.spearman:.2f}"


def _confidence(questions):
    """The confidence of each of so many questions, whose errors add up to `_ERROR`."""
    return 1.0 - _ERROR / questions


def _side(low, high, middle):
    """1 for an interval above the middle, −1 for one below, 0 for one that contains it, None for no interval."""
    return None if math.isnan(low) else int(low > middle) - int(high < middle)


def interval(low: float, high: float) -> str:
    """The ends of an interval as text."""
    return "(no interval)" if math.isnan(low) else f"[{low:.2g}, {high:.2g}]"
