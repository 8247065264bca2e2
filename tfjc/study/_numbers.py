"""The statistics of a study. Its tables show them, and its claims decide by them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tfjc.study import _read, _rules, statistics

_NO_GANS = ("VAE", "Memoriser")  # models that the claims on GANs do not cover


class Numbers:
    """The final numbers of each arm's runs.

    Attributes:
      arms: {arm: its runs that have an outcome}, without arms that have no such run.
      configurations: {arm: `Configuration`} of the arms whose runs share one configuration.
      unknown: {arm: why its configuration is unknown} of the other arms.
      condition: name of the log-condition number in claims.
      scores: plain names of all recorded scores.
      recorded: names of all recorded numbers.
      clusters: {arm: `statistics.Clusters` of its log-condition numbers}.
    """

    def __init__(self, recorded: Sequence[_read.Recorded], arms: Sequence[str], rng: np.random.Generator) -> None:
        by_arm = {arm: [run for run in recorded if run.run.arm == arm and run.has_outcome] for arm in arms}
        self.arms = {arm: runs for arm, runs in by_arm.items() if runs}
        self.unknown = {arm: why for arm, runs in self.arms.items() if (why := _unknown(runs))}
        known = {arm: runs[0].configuration for arm, runs in self.arms.items() if arm not in self.unknown}
        self.configurations = {arm: found for arm, found in known.items() if found is not None}
        self.condition = _read.condition(recorded)
        self.scores = _read.scores(recorded)
        self.recorded = _read.names(recorded)
        self.clusters = {arm: statistics.two_clusters(self.values(arm, self.condition), rng=rng) for arm in self.arms}

    @property
    def gans(self) -> list[str]:
        """The arms of GANs, clamped or not."""
        return [arm for arm, found in self.configurations.items() if found.model not in _NO_GANS]

    @property
    def unclamped(self) -> list[str]:
        """The arms of GANs without Jacobian Clamping."""
        return [arm for arm in self.gans if not self.configurations[arm].is_clamped]

    @property
    def clamped(self) -> list[str]:
        """The arms of GANs with Jacobian Clamping."""
        return [arm for arm in self.gans if self.configurations[arm].is_clamped]

    def twin(self, clamped: str) -> str | None:
        """The first unclamped arm whose configuration differs only by the clamp, or None."""
        rest = self.configurations[clamped].without_clamp()
        return next((arm for arm in self.unclamped if self.configurations[arm] == rest), None)

    def values(self, arm: str, name: str) -> np.ndarray:
        """`Recorded.outcome` of each run of an arm, [N]."""
        return np.array([run.outcome(name) for run in self.arms[arm]])

    def by_seed(self, arm: str, name: str) -> dict[int, float]:
        """{seed: `Recorded.outcome`} of the runs of an arm; empty for an arm without an outcome."""
        return {run.run.seed: run.outcome(name) for run in self.arms.get(arm, ())}

    def every(self, name: str) -> np.ndarray:
        """The `values` of all arms."""
        return np.concatenate([self.values(arm, name) for arm in self.arms]) if self.arms else np.array([])

    def summary(self, arm: str, name: str) -> statistics.Summary:
        """`statistics.summary` of an arm's values."""
        return statistics.summary(self.values(arm, name))

    def comparison(self, first: str, second: str, name: str) -> dict[str, Any]:
        """{kind: statistic} of the second arm against the first: by order for conditioning, else by means."""
        pair = self.values(first, name), self.values(second, name)
        if name in _read.CONDITIONS:
            return {"superiority": _rules.superiority(*pair)}
        return {"difference": statistics.difference(*pair), "spread_ratio": statistics.spread_ratio(*pair)}

    def pairs(self) -> list[tuple[str, str]]:
        """(first, second) of the arms to compare: the first arm with each other one, twins with clamped arms."""
        arms = list(self.arms)
        twins = [(twin, arm) for arm in self.clamped if (twin := self.twin(arm))]
        return list(dict.fromkeys([*((arms[0], other) for other in arms[1:]), *twins]))

    def pairs_of(self, score: str, arms: Iterable[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """{arm: (log-condition numbers [N], scores [N])} of those `arms` that have the score in any run."""
        found = {arm: (self.values(arm, self.condition), self.values(arm, score)) for arm in arms}
        return {arm: pair for arm, pair in found.items() if not np.isnan(pair[1]).all()}

    def correlation(self, score: str) -> statistics.Pooled:
        """`statistics.pooled_correlation` of log-condition number and score within arms of GANs, which share seeds."""
        pairs = self.pairs_of(score, self.gans)
        seeds = [[run.run.seed for run in self.arms[arm]] for arm in pairs]
        return statistics.pooled_correlation(pairs.values(), seeds=seeds)

    def correlations(self, score: str) -> dict[str, statistics.Correlation]:
        """{arm: `statistics.correlation`} of log-condition number and score within each arm of any model."""
        return {arm: statistics.correlation(*pair) for arm, pair in self.pairs_of(score, self.arms).items()}


def _unknown(runs):
    """Why the configuration of an arm's runs is unknown, or ""."""
    named = {"have no bindings in run.json": [run for run in runs if run.configuration is None]}
    named["went on with another configuration (--force)"] = [run for run in runs if run.went_on_with_another]
    for what, found in named.items():
        if found:
            return f"{len(found)} of {len(runs)} runs {what} ({found[0].run.name})"
    others = [run for run in runs if run.configuration != runs[0].configuration]
    if not others:
        return ""
    return f"{runs[0].run.name} and {others[0].run.name} are configured differently: {_differing(runs[0], others[0])}"


def _differing(one, other):
    """The names of the bindings in which two runs differ; "precision" if these are equal."""
    one, other = one.about["bindings"], other.about["bindings"]
    return ", ".join(name for name in sorted({*one, *other}) if one.get(name) != other.get(name)) or "precision"
