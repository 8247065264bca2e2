"""The paper's claims, each with the paper's number, the rule that decides, and the result of a study."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfjc.study import _numbers, _read, _rules

SUPPORTED, NOT_SUPPORTED, CONTRADICTED, NOT_TESTED = "supported", "not supported", "contradicted", "not tested"
_EARLY = 0.25  # the early part of training, as a share


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim of Odena et al. 2018.

    Attributes:
      claim: the statement, with the arms that it is about.
      paper: the paper's result.
      rule: how the study decides.
      found: the study's numbers, or the reason for no test.
      verdict: `SUPPORTED`, `NOT_SUPPORTED`, `CONTRADICTED` or `NOT_TESTED`.
    """

    claim: str
    paper: str
    rule: str
    found: str
    verdict: str


def check(recorded: Sequence[_read.Recorded], arms: Sequence[str], rng: np.random.Generator) -> list[Claim]:
    """Every claim, from the recorded runs of these arms. `rng` simulates single clusters."""
    return decide(_numbers.Numbers(recorded, arms, rng))


def decide(numbers: _numbers.Numbers) -> list[Claim]:
    """Every claim: on the first unclamped arm, on all arms of GANs, on each clamped arm, on other models.

    An arm of unknown configuration enters only one line, which gives the reason.
    """
    claims = [
        Claim(f"all claims of the paper on an arm ({arm})", "", _KNOWN, why, NOT_TESTED)
        for arm, why in numbers.unknown.items()
    ]
    claims += _of_unclamped(numbers)
    scores = [name for name in _SCORES if name in numbers.scores]
    claims += [_correlates(numbers, name) for name in (*scores, "least_sampled_class") if name in numbers.scores]
    for arm in numbers.clamped:
        claims += _changes(numbers, numbers.twin(arm), arm, scores)
    claims += _beside_gans(numbers, "VAE", _STEADY_VAES, _varies_less)
    claims += _beside_gans(numbers, "Memoriser", _WELL_CONDITIONED_MEMORISERS, _misbehaves)
    return [*claims, *_critic_steps(numbers, scores)]


def _verdict(side, claimed):
    """The verdict for a `_rules.Finding.side` where the claim is the side `claimed`, 1 or −1."""
    return {None: NOT_TESTED, 0: NOT_SUPPORTED, claimed: SUPPORTED, -claimed: CONTRADICTED}[side]


def _both(*verdicts):
    """The verdict on a claim with several parts: the first of not tested, contradicted, not supported that occurs."""
    for verdict in (NOT_TESTED, CONTRADICTED, NOT_SUPPORTED):
        if verdict in verdicts:
            return verdict
    return SUPPORTED


def _better(name):
    """The side on which a score is better."""
    return -1 if name in _read.LOWER_IS_BETTER else 1


def _of_unclamped(numbers):
    """The claims on conditioning without clamping, for the first unclamped arm."""
    claims = (_RISES, _CLUSTERS)
    if not numbers.unclamped:
        return [dataclasses.replace(claim, found="no such arm") for claim in claims]
    arm, condition = numbers.unclamped[0], numbers.condition
    shares = [_early_share(*run.series(condition)) for run in numbers.arms[arm]]
    findings = (
        _rules.median(shares, 0.5, name=f"share of the rise of {condition} in the first quarter"),
        _rules.clusters(numbers.clusters[arm], name=condition),
    )
    return [
        _decided(claim, arm, finding.text, _verdict(finding.side, 1))
        for claim, finding in zip(claims, findings, strict=True)
    ]


def _decided(claim, arms, found, verdict):
    return dataclasses.replace(claim, claim=f"{claim.claim} ({arms})", found=found, verdict=verdict)


def _early_share(steps, values):
    """The share of the rise, from the first record to the highest, that happens in the first quarter of training.

    It is 0 without a rise. For a rise to infinity it is 1 if a number of the first quarter is infinite, else 0. It is
    nan if the first record lacks the number, if fewer than four records have it, or only one of the first quarter.
    """
    known = ~np.isnan(np.array(values, float))
    steps, values = np.array(steps, float)[known], np.array(values, float)[known]
    if len(values) < 4 or not known[0]:
        return np.nan
    early = values[steps <= _EARLY * steps[-1]]
    if len(early) < 2:
        return np.nan
    if not values.max() > values[0]:
        return 0.0
    if np.isinf(values.max()):
        return float(np.isinf(early.max()))
    return float((early.max() - values[0]) / (values.max() - values[0]))


def _correlates(numbers, name):
    """The claim that higher log-condition numbers go with worse scores, within the arms of GANs."""
    paper = _MODES if name == "least_sampled_class" else "figures 1, 5 and 6: ill-conditioned runs score worse"
    pairs = numbers.pairs_of(name, numbers.gans)
    finding = _rules.correlation(numbers.correlation(name), pairs, name=f"{numbers.condition} and {name}")
    verdict = _verdict(finding.side, -_better(name))
    return Claim(f"log-condition number correlates with {name}", paper, _CORRELATION, finding.text, verdict)


def _changes(numbers, twin, arm, scores):
    """The claims on what clamping changes: conditioning, mean scores and their spread, against the arm's twin."""
    if twin is None:
        found = "no arm has the same configuration without the clamp"
        yield Claim(f"clamping lowers the log-condition number ({arm})", "figures 1, 5, 6", _RANKS, found, NOT_TESTED)
        return
    arms = f"{twin} → {arm}"

    def compare(rule, name):
        return rule(numbers.values(twin, name), numbers.values(arm, name), name=name, arms=(twin, arm))

    finding = compare(_rules.ranks, numbers.condition)
    claim, verdict = f"clamping lowers the log-condition number ({arms})", _verdict(finding.side, -1)
    yield Claim(claim, "figures 1, 5, 6", _RANKS, finding.text, verdict)
    for name in scores:
        finding, better = compare(_rules.means, name), _better(name)
        claim = f"clamping {'raises' if better > 0 else 'lowers'} the mean {name} ({arms})"
        paper = "section 4: improves the average case"
        yield Claim(claim, paper, _MEANS, finding.text, _verdict(finding.side, better))
    for name in scores:
        finding, claim = compare(_rules.spread, name), f"clamping lowers the variance of {name} ({arms})"
        paper = "section 4 and figure 7: reduces the variance between runs"
        yield Claim(claim, paper, _SPREAD, finding.text, _verdict(finding.side, -1))


def _beside_gans(numbers, model, claim, check):
    """A claim on each arm of another model against the first unclamped arm of GANs."""
    others = [arm for arm, found in numbers.configurations.items() if found.model == model]
    if not numbers.unclamped or not others:
        return [dataclasses.replace(claim, found="no such arms")]
    gans = numbers.unclamped[0]
    return [_decided(claim, f"{gans}, {arm}", *check(numbers, gans, arm)) for arm in others]


def _varies_less(numbers, gans, vaes):
    """(numbers as text, verdict) on `_STEADY_VAES`."""
    distances = [_distances(numbers.arms[arm]) for arm in (vaes, gans)]
    finding = _rules.means(*distances, name="distance of spectra", arms=(vaes, gans))
    return finding.text, _verdict(finding.side, 1)


def _distances(runs):
    """The distance of each run's spectrum of E[J] from its arm's mean: √(mean_k (ln σ_k − m_k)² · n/(n − 1)).

    m_k is the mean of ln σ_k over the arm's n runs. The distance is infinite for a run with a σ_k of 0, and nan for a
    run without a spectrum. Neither enters the means.
    """
    known = [run.spectrum is not None and not np.isnan(run.spectrum).any() for run in runs]
    finite = [has and bool(np.all(run.spectrum > 0)) for has, run in zip(known, runs, strict=True)]
    found = np.where(known, np.inf, np.nan)
    if sum(finite) > 1:
        logs = np.log([run.spectrum for run, is_finite in zip(runs, finite, strict=True) if is_finite])
        squares = np.mean((logs - logs.mean(axis=0)) ** 2, axis=1)
        found[finite] = np.sqrt(squares * len(logs) / (len(logs) - 1))
    return found.tolist()


def _misbehaves(numbers, gans, memorisers):
    """(numbers as text, verdict) on `_WELL_CONDITIONED_MEMORISERS`."""
    pair = [numbers.values(memorisers, name) for name in ("classifier_score", "memorised_classifier_score")]
    fall = _rules.median(pair[1] - pair[0], 0.0, name="fall of classifier_score", questions=2)
    conditions = [numbers.values(arm, numbers.condition) for arm in (gans, memorisers)]
    well = _rules.ranks(*conditions, name=numbers.condition, arms=(gans, memorisers), questions=2)
    return f"{fall.text}; {well.text}", _both(_verdict(fall.side, 1), _verdict(well.side, -1))


def _critic_steps(numbers, scores):
    """The claims on one critic step: three arms of Wasserstein GANs that differ only by critic steps and clamping."""
    for held in numbers.clamped:
        single = numbers.twin(held)
        several = single and _with_more_steps(numbers, single)
        if several and scores:
            named = f"{several}, {single}, {held}"
            return [
                _decided(_RESCUED, named, *_rescue(numbers, several, single, held, scores[0])),
                _decided(_FASTER, named, *_halving(numbers, several, held)),
            ]
    return [dataclasses.replace(claim, found="no such arms") for claim in (_RESCUED, _FASTER)]


def _with_more_steps(numbers, single):
    """The first unclamped arm that differs from `single` only by more critic steps; None if `single` does not fit.

    `single` must be an arm of Wasserstein GANs with one critic step.
    """
    found = numbers.configurations[single]
    if found.parameters.get("loss") != "wasserstein" or found.critic_steps != 1:
        return None
    alike = [arm for arm in numbers.unclamped if numbers.configurations[arm].critic_steps > 1]
    rest = found.without_critic_steps()
    return next((arm for arm in alike if numbers.configurations[arm].without_critic_steps() == rest), None)


def _rescue(numbers, several, single, held, name):
    """(numbers as text, verdict) on `_RESCUED`, by the score `name`."""
    findings = [
        _rules.means(
            numbers.values(single, name), numbers.values(arm, name), name=name, arms=(single, arm), questions=2
        )
        for arm in (several, held)
    ]
    text = f"several steps instead of one: {findings[0].text}; clamping at one step: {findings[1].text}"
    return text, _both(*(_verdict(finding.side, _better(name)) for finding in findings))


def _halving(numbers, several, held):
    """(numbers as text, verdict) on `_FASTER`."""
    pair = [
        [run.last("seconds") if run.status == "finished" else np.nan for run in numbers.arms[arm]]
        for arm in (several, held)
    ]
    finding = _rules.ratio(*pair, 0.5, name="time of a finished run", arms=(several, held))
    return finding.text, _verdict(finding.side, -1)


_SCORES = ("classifier_score", "frechet_distance", "inception_score", "fid")
_MODES = "Pearson −0.86 (360 samples, ten runs of one kind)"
_KNOWN = "the bindings in run.json must be the same for all runs of an arm"
_RANKS = (
    "interval of the probability that a run with clamping has the higher number, infinite being the highest: below ½, "
    "above ½, or neither; where runs are infinite, also Fisher's exact test of their number, each with half the error; "
    f"at least {_rules.LEAST['ranks']} runs an arm"
)
_MEANS = (
    "Welch's interval of the difference of means: on the claimed side of 0, on the other, or neither; at least "
    f"{_rules.LEAST['means']} runs an arm"
)
_SPREAD = (
    "Brown and Forsythe's test, as an interval of the ratio of mean absolute deviations from the median: below 1, "
    f"above 1, or neither; at least {_rules.LEAST['spread']} runs an arm"
)
_CORRELATION = (
    "interval of Spearman's correlation within arms of GANs, pooled by Fisher's z with weights n − 3, and wider where "
    "arms with the same seeds are alike: on the side of worse scores, on the other, or neither; at least "
    f"{_rules.LEAST['correlation']} runs of one arm, or Σ (n − 3) = {_rules.LEAST['correlation'] - 3}"
)
_RISES = Claim(
    "the log-condition number rises early in training",
    "figure 1: within the first steps",
    "exact interval of the median share of the rise that happens in the first quarter of training: above ½, below ½, "
    f"or neither; at least {_rules.LEAST['median']} runs",
    "",
    NOT_TESTED,
)
_CLUSTERS = Claim(
    "runs fall into a well and an ill conditioned cluster",
    "about half the runs on MNIST in each",
    "two clusters of final log-condition numbers, 2 runs or more in each, are supported against one flat or skewed "
    f"cluster (p ≤ 0.025); at least {_rules.LEAST['clusters']} runs, all finite",
    "",
    NOT_TESTED,
)
_STEADY_VAES = Claim(
    "spectra of VAEs vary less between runs than those of GANs",
    "figure 3: nearly identical",
    "distances of runs' ln σ_k of E[J] from their arm's mean: Welch's interval of the GANs' mean less the VAEs': above "
    f"0, below 0, or neither; at least {_rules.LEAST['means']} runs an arm",
    "",
    NOT_TESTED,
)
_WELL_CONDITIONED_MEMORISERS = Claim(
    "a generator that memorises is well conditioned though it has collapsed",
    "appendix B.1: score 4.95 on memorised latents, 2.22 on fresh ones",
    "two intervals, each with half the error: the exact one of the median fall in classifier_score from memorised to "
    "fresh latents, above 0; and that of the probability that a memoriser's log-condition number is higher than a "
    "GAN's, below ½: both; one on the other side; or neither; at least "
    f"{_rules.LEAST['medians']} memorisers and {_rules.LEAST['ranks']} GANs",
    "",
    NOT_TESTED,
)
_RESCUED = Claim(
    "one critic step a generator step makes a Wasserstein GAN fail without clamping and not with it",
    "figure 7: 5 runs each, class-conditional WGAN-GP with 5 and 1 critic steps",
    "Welch's intervals of two differences of mean scores, each with half the error: unclamped, several critic steps "
    "less one; at one step, with clamping less without: both on the better side of 0; one on the worse; or neither; at "
    f"least {_rules.LEAST['means']} runs an arm",
    "",
    NOT_TESTED,
)
_FASTER = Claim(
    "training time more than halves with one critic step",
    "section 4.2",
    "Welch's interval, on logarithms, of the ratio of geometric mean times, one critic step with clamping over "
    "several: below ½, above ½, or neither; times include records and scores; at least "
    f"{_rules.LEAST['means']} runs an arm, all finished",
    "",
    NOT_TESTED,
)
