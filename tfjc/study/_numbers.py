"""The statistics of a study, each computed in one place: its tables show them and its claims decide by them."""

import numpy as np

from tfjc.study import _read, _rules, statistics

_NO_GANS = ("VAE", "Memoriser")  # models to which the claims on GANs do not apply
CONDITIONS = ("median_log_condition", "mean_log_condition", "infinite_latents")


class Numbers:
    """What the runs of each arm ended with.

    Attributes:
      arms: {arm: its `Recorded` runs that have an outcome}, arms without one left out.
      configurations: {arm: `Configuration`} of the arms whose runs all have the same one.
      unknown: {arm: why its configuration is not known} of the others.
      condition: the log-condition number that claims go by.
      scores: plain names of the scores that any run recorded.
      clusters: {arm: `statistics.Clusters` of its log-condition numbers}.
    """

    def __init__(self, recorded, arms, rng):
        by_arm = {arm: [run for run in recorded if run.run.arm == arm and run.has_outcome] for arm in arms}
        self.arms = {arm: runs for arm, runs in by_arm.items() if runs}
        self.unknown = {arm: why for arm, runs in self.arms.items() if (why := _unknown(runs))}
        self.configurations = {arm: runs[0].configuration for arm, runs in self.arms.items() if arm not in self.unknown}
        self.condition = _read.condition(recorded)
        self.scores = _read.scores(recorded)
        self.clusters = {arm: statistics.two_clusters(self.values(arm, self.condition), rng=rng) for arm in self.arms}

    @property
    def gans(self):
        """The arms of GANs, clamped or not."""
        return [arm for arm, found in self.configurations.items() if found.model not in _NO_GANS]

    @property
    def unclamped(self):
        """The arms of GANs without Jacobian Clamping."""
        return [arm for arm in self.gans if not self.configurations[arm].is_clamped]

    @property
    def clamped(self):
        """The arms of GANs with Jacobian Clamping."""
        return [arm for arm in self.gans if self.configurations[arm].is_clamped]

    def twin(self, clamped):
        """The first unclamped arm whose configuration differs by the clamp alone, or None."""
        rest = self.configurations[clamped].without_clamp()
        return next((arm for arm in self.unclamped if self.configurations[arm] == rest), None)

    def values(self, arm, name):
        """What each run of an arm ended with: conditioning at its last record, scores when last taken."""
        taken = "final" if name in CONDITIONS else "last"
        return np.array([getattr(run, taken)(name) for run in self.arms[arm]])

    def every(self, name):
        """The values of all arms."""
        return np.concatenate([self.values(arm, name) for arm in self.arms]) if self.arms else np.array([])

    def summary(self, arm, name):
        """`statistics.summary` of an arm's values."""
        return statistics.summary(self.values(arm, name))

    def comparison(self, first, second, name):
        """{kind: statistic} of the second arm beside the first: by order for conditioning, by means for all else."""
        pair = self.values(first, name), self.values(second, name)
        if name in CONDITIONS:
            return {"superiority": _rules.superiority(*pair)}
        return {"difference": statistics.difference(*pair), "spread_ratio": statistics.spread_ratio(*pair)}

    def pairs(self):
        """(first, second) of all arms that are compared: each with the first arm, and clamped ones with their twins."""
        arms = list(self.arms)
        twins = [(self.twin(arm), arm) for arm in self.clamped if self.twin(arm)]
        return list(dict.fromkeys([*((arms[0], other) for other in arms[1:]), *twins]))

    def pairs_of(self, score, arms):
        """{arm: (log-condition numbers, scores)} of those arms that have any of the score."""
        found = {arm: (self.values(arm, self.condition), self.values(arm, score)) for arm in arms}
        return {arm: pair for arm, pair in found.items() if not np.isnan(pair[1]).all()}

    def correlation(self, score):
        """`statistics.pooled_correlation` of log-condition number and score within the arms of GANs."""
        return statistics.pooled_correlation(self.pairs_of(score, self.gans).values())

    def correlations(self, score):
        """{arm: `statistics.correlation`} of log-condition number and score within each arm, whatever its model."""
        return {arm: statistics.correlation(*pair) for arm, pair in self.pairs_of(score, self.arms).items()}


def _unknown(runs):
    """Why it is not known what the runs of an arm were configured with; "" where it is."""
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
    """The names of the bindings in which two runs differ, or else the precision."""
    one, other = one.about["bindings"], other.about["bindings"]
    return ", ".join(name for name in sorted({*one, *other}) if one.get(name) != other.get(name)) or "precision"
