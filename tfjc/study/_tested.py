"""The verdicts on a study's planned claims. The claims form one family, whose error Holm's method holds."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfjc.study import _numbers, _planned, _rules, statistics
from tfjc.study._claims import CONTRADICTED, NOT_SUPPORTED, NOT_TESTED, SUPPORTED
from tfjc.support import checks

_ERROR = 0.05  # of the family
_POWER = 0.8
LEAST = 5  # seeds


@dataclasses.dataclass(frozen=True)
class Tested:
    """A planned claim and its result.

    Attributes:
      claim, outcome, expected: as planned.
      contrast: what is tested, as text.
      seeds: number of seeds that enter.
      estimate, low, high: the effect and its 95 % interval.
      p_value, adjusted: two-sided, alone and by Holm's method over the study's claims.
      sign_p: of the sign test, which assumes nothing about the size of differences; nan for correlations.
      found: the numbers as text, or the reason for no test.
      power: what the seeds could show with 80 %, at the level of Holm's first step; "" if the claim was decided.
      verdict: supported, not supported, contradicted or not tested.
    """

    claim: str
    outcome: str
    expected: str
    contrast: str
    seeds: int
    estimate: float
    low: float
    high: float
    p_value: float
    adjusted: float
    sign_p: float
    found: str
    power: str
    verdict: str


def decide(claims: Sequence[Mapping[str, Any]], numbers: _numbers.Numbers, arms: Sequence[str]) -> list[Tested]:
    """The verdict on each planned claim. `arms` are all arms of the study.

    A claim is decided where its p-value, adjusted by Holm's method over all planned claims, is at most 5 %: supported
    if the effect is on the expected side, else contradicted. A claim with a missing value is not tested, and counts as
    one of the family.
    """
    found = [_test(claim, numbers, arms, _ERROR / len(claims)) for claim in claims]
    adjusted = statistics.holm([one.p_value for one in found])
    return [_decided(one, p) for one, p in zip(found, adjusted, strict=True)]


def _decided(one, adjusted):
    if math.isnan(adjusted):
        return one
    one = dataclasses.replace(one, adjusted=adjusted, found=f"{one.found}, by Holm {adjusted:.2g}")
    if adjusted > _ERROR:
        return dataclasses.replace(one, found=f"{one.found}; {one.seeds} seeds {one.power}", verdict=NOT_SUPPORTED)
    is_expected = np.sign(one.estimate) == _planned.SIDES[one.expected]
    return dataclasses.replace(one, power="", verdict=SUPPORTED if is_expected else CONTRADICTED)


def _test(claim, numbers, arms, level):
    """`Tested` without the adjusted p-value and the verdict. The power is at `level`."""
    compared = _planned.compared_arms(claim, arms)
    untested = Tested(
        *(claim["claim"], claim["outcome"], claim["expected"], _planned.contrast(claim), 0),
        *(math.nan,) * 6,
        *("", "", NOT_TESTED),
    )
    names = [claim[key] for key in ("outcome", "dose", "given") if key in claim]
    table = {name: {arm: numbers.by_seed(arm, name) for arm in compared} for name in names}
    if why := _gap(table, numbers):
        return dataclasses.replace(untested, found=why)
    seeds = [seed for seed in table[names[0]][compared[0]] if all(seed in table[names[0]][arm] for arm in compared)]
    if "dose" in claim and claim["within"] == "arms":
        return _within_arms(untested, table, compared, level)
    if len(seeds) < LEAST:
        return dataclasses.replace(
            untested, found=f"{len(seeds)} seeds have an outcome in all arms; {LEAST} are needed"
        )
    values = [np.array([[table[name][arm][seed] for seed in seeds] for arm in compared]) for name in names]
    if "dose" in claim:
        return _within_seeds(untested, values, level)
    return _paired(untested, claim, values[0], level)


def _gap(table, numbers):
    """Why {name: {arm: {seed: value}}} cannot be tested: there are no runs, or values are missing."""
    for name, arms in table.items():
        plain = name.partition("@")[0]
        if plain not in numbers.recorded:
            return checks.unknown("recorded number", plain, numbers.recorded)
        for arm, values in arms.items():
            missing = sum(map(math.isnan, values.values()))
            if missing or not values:
                return (
                    f"{missing} of {len(values)} runs have no {name} ({arm})"
                    if values
                    else f"no run of {arm} has an outcome"
                )
    return ""


def _paired(untested, claim, values, level):
    if "difference" in claim:
        found = statistics.paired(values[1], values[0])
    else:
        effects = statistics.factorial(*values)
        names = (*_planned.crossed_factors(claim), "interaction")
        found = dict(zip(names, effects, strict=True))[claim["effect"]]
    seeds = values.shape[1]
    if found.reason:
        return dataclasses.replace(untested, seeds=seeds, found=found.reason)
    infinite = f", {found.counts.infinite} of them infinite" if found.counts.infinite else ""
    interval = _rules.interval(found.low, found.high)
    centre = "between −∞ and ∞" if math.isnan(found.centre) else f"{found.centre:+.3g}"
    text = f"{found.kind} difference {centre} {interval}, {seeds} seeds{infinite}, p = {found.p_value:.2g}"
    power = _power(found, seeds, level)
    return dataclasses.replace(_with(untested, seeds, found.centre, found, text, power), sign_p=found.sign_p)


def _power(found, seeds, level):
    """What so many seeds could show by the test of a `statistics.Paired`, as text."""
    if found.deviation == 0.0:
        return "do not differ at all"
    if found.kind == "mean":
        smallest = statistics.smallest_difference(found.deviation, seeds, level=level, power=_POWER)
        return f"could show a difference of {smallest:.2g} with 80 %"
    smallest = statistics.smallest_share(seeds, level=level, power=_POWER)
    if math.isnan(smallest):
        return "are too few to show any difference by their signs"
    return f"could show a difference that {smallest:.0%} of seeds have with 80 %"


def _within_arms(untested, table, arms, level):
    outcome, dose, *given = table.values()
    groups = [[np.array([*part[arm].values()]) for part in (dose, outcome, *given)] for arm in arms]
    seeds = [list(outcome[arm]) for arm in arms]
    found = statistics.pooled_correlation(groups, seeds=seeds)
    n = len({seed for named in seeds for seed in named})
    if found.reason or found.weight < _rules.LEAST["correlation"] - 3:
        return dataclasses.replace(untested, seeds=n, found=found.reason or "too few runs: Σ (n − 3) must be 3 or more")
    smallest = statistics.smallest_correlation(found.weight / found.design, level=level, power=_POWER)
    return _correlated(untested, n, found, smallest)


def _within_seeds(untested, values, level):
    outcome, dose, *given = values
    found = statistics.mean_correlation(zip(dose.T, outcome.T, *(part.T for part in given), strict=True))
    seeds, arms = outcome.shape[1], outcome.shape[0]
    if found.reason:
        return dataclasses.replace(untested, seeds=seeds, found=found.reason)
    deviation = max(found.deviation * (1.0 - found.spearman**2), 1.0 / math.sqrt(arms - 1 - len(given)))
    smallest = math.tanh(statistics.smallest_difference(deviation, seeds, level=level, power=_POWER))
    return _correlated(untested, seeds, found, smallest)


def _correlated(untested, seeds, found, smallest):
    interval = _rules.interval(found.low, found.high)
    text = f"Spearman {found.spearman:.2f} {interval}, {seeds} seeds, p = {found.p_value:.2g}"
    power = f"could show a correlation of {smallest:.2f} with 80 %"
    return _with(untested, seeds, found.spearman, found, text, power)


def _with(untested, seeds, estimate, found, text, power):
    return dataclasses.replace(
        untested,
        seeds=seeds,
        estimate=estimate,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        found=f"{untested.outcome}: {text}",
        power=power,
    )
