"""The paper's claims, each with its number, the rule that decides on it here, and what this study found."""

import dataclasses
import re

import numpy as np

from tfjc import statistics
from tfjc.study import _read

SUPPORTED, NOT_SUPPORTED, CONTRADICTED, NOT_TESTED = "supported", "not supported", "contradicted", "not tested"
_LEAST_RUNS = 5  # of an arm, for whatever is said of a spread or a correlation


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim of Odena et al. 2018: what it says, the paper's number, the rule, this study's number, the verdict."""

    claim: str
    paper: str
    rule: str
    found: str
    verdict: str


def check(recorded, arms, generator):
    """Every claim, of the first arm and of what each clamped arm changes; the generator is for bootstraps."""
    by_arm = {arm: [run for run in recorded if run.run.arm == arm and run.has_outcome] for arm in arms}
    recorded = [run for run in recorded if _model(run) not in _NO_GANS]
    known = ("classifier_score", "frechet_distance", "inception_score", "fid")
    scores = [name for name in known if _any(recorded, name)]
    first = [run for run in recorded if run.run.arm == arms[0] and run.has_outcome]
    claims = [_rises(first, arms[0], generator), _clusters(first, arms[0], generator)]
    claims += [_correlates(recorded, name, generator) for name in scores]
    if _any(recorded, "least_sampled_class"):
        claims.append(_correlates(recorded, "least_sampled_class", generator, paper="Pearson −0.86 (360 samples)"))
    for twin, arm in _clamped_twins(by_arm):
        claims += _changes(by_arm[twin], by_arm[arm], f"{twin} → {arm}", scores, generator)
    claims += _beside_gans(by_arm, "VAE", _STEADY_VAES, _varies_less, generator)
    claims += _beside_gans(by_arm, "Memoriser", _WELL_CONDITIONED_MEMORISERS, _misbehaves, generator)
    return [*claims, *_critic_steps(by_arm, scores, generator)]


def _any(recorded, name):
    return any(np.isfinite(run.last(name)) for run in recorded)


def _clamped_twins(by_arm):
    """(arm, clamped arm) of each two whose configurations differ by the clamp alone."""
    known = {arm: runs for arm, runs in by_arm.items() if runs}
    for arm, runs in known.items():
        twins = [name for name, others in known.items() if not _is_clamped(others) and _rest(others) == _rest(runs)]
        if _is_clamped(runs) and twins:
            yield twins[0], arm


def _rest(runs):
    """The bindings of an arm's configuration that are not those of the clamp."""
    path = runs[0].run.directory.config
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {line for line in lines if "=" in line and not re.search(r"^#|JacobianClamping", line)}


def _is_clamped(runs):
    configurations = [run.run.directory.config for run in runs]
    texts = [path.read_text(encoding="utf-8") for path in configurations if path.exists()]
    return any(re.search(r"generator_penalties = [^=]*JacobianClamping", text) for text in texts)


def _model(run):
    """The name of the model that a run's configuration trains."""
    path = run.run.directory.config
    found = re.search(r"train_and_evaluate\.model = @(\w+)", path.read_text(encoding="utf-8") if path.exists() else "")
    return found[1] if found else "GAN"


def _beside_gans(by_arm, model, claim, check, generator):
    """A claim on each arm of another model beside the first of unclamped GANs; one that is not tested without such."""
    known = {arm: runs for arm, runs in by_arm.items() if runs}
    gans = [arm for arm, runs in known.items() if _model(runs[0]) not in _NO_GANS and not _is_clamped(runs)]
    others = [arm for arm, runs in known.items() if _model(runs[0]) == model]
    if not gans or not others:
        return [dataclasses.replace(claim, found="no such arms")]
    return [
        dataclasses.replace(
            claim,
            claim=f"{claim.claim} ({gans[0]}, {arm})",
            **check(known[gans[0]], known[arm], generator),
        )
        for arm in others
    ]


def _varies_less(gans, vaes, generator):
    pair = [_distances(runs) for runs in (vaes, gans)]
    if min(map(len, pair)) < _LEAST_RUNS:
        return {"found": f"{len(pair[1])} and {len(pair[0])} runs"}
    found = statistics.difference(*pair, generator=generator)
    means = [f"{np.mean(part):.2g} ({len(part)} runs)" for part in pair]
    text = f"GANs {means[1]}, VAEs {means[0]}, difference {_range(found.low, found.high)}"
    return {"found": text, "verdict": _side(found.low, found.high, 0.0, above=SUPPORTED, below=CONTRADICTED)}


def _distances(runs):
    """How far each run's ln σ_k of E[J] are from the arm's means: root mean squares, with n − 1 in place of n."""
    spectra = [run.spectrum for run in runs if run.spectrum is not None]
    logs = np.array([np.log(values) for values in spectra if np.all(values > 0) and np.all(np.isfinite(values))])
    if len(logs) < 2:
        return [np.nan] * len(logs)
    squares = np.mean((logs - logs.mean(axis=0)) ** 2, axis=1)
    return np.sqrt(squares * len(logs) / (len(logs) - 1)).tolist()


def _misbehaves(gans, memorisers, generator):
    falls = [run.last("memorised_classifier_score") - run.last("classifier_score") for run in memorisers]
    falls = [fall for fall in falls if np.isfinite(fall)]
    pair = [_values(runs, "mean_log_condition") for runs in (gans, memorisers)]
    if min(len(falls), *map(len, pair)) < 3:
        return {"found": f"{len(pair[0])} and {len(falls)} runs"}
    fall, condition = statistics.summary(falls, generator=generator), statistics.difference(*pair, generator=generator)
    sides = {
        _side(fall.low, fall.high, 0.0, above=SUPPORTED, below=CONTRADICTED),
        _side(condition.low, condition.high, 0.0, above=CONTRADICTED, below=SUPPORTED),
    }
    text = f"score falls by {fall.mean:.2f} {_range(fall.low, fall.high)}, log-condition number "
    text += f"{condition.difference:+.2f} {_range(condition.low, condition.high)} from the GANs'"
    decided = CONTRADICTED if CONTRADICTED in sides else NOT_SUPPORTED
    return {"found": text, "verdict": SUPPORTED if sides == {SUPPORTED} else decided}


def _critic_steps(by_arm, scores, generator):
    """What one critic step does to Wasserstein GANs, and clamping to that: an arm for each (one step?, clamped?)."""
    wasserstein = {arm: runs for arm, runs in by_arm.items() if runs and _binds(runs[0], "GAN.loss", "'wasserstein'")}
    one = {arm for arm, runs in wasserstein.items() if not _binds(runs[0], "GAN.d_steps", r"([2-9]|\d\d)")}
    clamped = {arm for arm, runs in wasserstein.items() if _is_clamped(runs)}
    kinds = [set(wasserstein) - one - clamped, one - clamped, one & clamped]
    if not all(kinds) or not scores:
        return [dataclasses.replace(claim, found="no such arms") for claim in (_RESCUED, _FASTER)]
    arms = [next(arm for arm in wasserstein if arm in kind) for kind in kinds]
    several, single, held = (wasserstein[arm] for arm in arms)
    named = f"({', '.join(arms)})"
    return [
        dataclasses.replace(
            _RESCUED, claim=f"{_RESCUED.claim} {named}", **_rescue(several, single, held, scores[0], generator)
        ),
        dataclasses.replace(_FASTER, claim=f"{_FASTER.claim} {named}", **_halving(several, held, generator)),
    ]


def _rescue(several, single, held, name, generator):
    values = [_values(runs, name) for runs in (several, single, held)]
    if min(map(len, values)) < 3:
        return {"found": f"{', '.join(str(len(part)) for part in values)} runs"}
    worse = name in _read.LOWER_IS_BETTER
    above, below = (CONTRADICTED, SUPPORTED) if worse else (SUPPORTED, CONTRADICTED)
    lost, gained = (statistics.difference(values[1], values[k], generator=generator) for k in (0, 2))
    sides = {_side(found.low, found.high, 0.0, above=above, below=below) for found in (lost, gained)}
    text = f"{name}: several steps {lost.difference:+.3g} {_range(lost.low, lost.high)}, "
    text += f"clamping {gained.difference:+.3g} {_range(gained.low, gained.high)} from one step alone"
    decided = CONTRADICTED if CONTRADICTED in sides else NOT_SUPPORTED
    return {"found": text, "verdict": SUPPORTED if sides == {SUPPORTED} else decided}


def _halving(several, held, generator):
    pair = [[np.log(value) for value in _values(runs, "seconds") if value > 0] for runs in (several, held)]
    if min(map(len, pair)) < 3:
        return {"found": f"{len(pair[0])} and {len(pair[1])} runs"}
    found = statistics.difference(*pair, generator=generator)
    ratio, low, high = np.exp([found.difference, found.low, found.high])
    text = f"ratio of times {ratio:.2f} {_range(low, high)}"
    return {"found": text, "verdict": _side(low, high, 0.5, above=CONTRADICTED, below=SUPPORTED)}


def _binds(run, parameter, value):
    """Whether a run's configuration binds a parameter to what the pattern `value` matches."""
    path = run.run.directory.config
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return re.search(rf"^{re.escape(parameter)} = {value}", text, re.MULTILINE) is not None


def _rises(runs, arm, generator):
    """Of the rise from the first record to the highest, how much a quarter of the training holds."""
    shares = [share for share in map(_early_share, runs) if np.isfinite(share)]
    rule = (
        "interval of the mean share of the rise that the first quarter of training holds: above ½, below ½, or neither"
    )
    claim = f"the log-condition number rises early in training ({arm})"
    if len(shares) < 3:
        return Claim(claim, "figure 1: within the first steps", rule, f"{len(shares)} runs", NOT_TESTED)
    found = statistics.summary(shares, generator=generator)
    verdict = _side(found.low, found.high, 0.5, above=SUPPORTED, below=CONTRADICTED)
    text = f"{found.mean:.2f} {_range(found.low, found.high)}"
    return Claim(claim, "figure 1: within the first steps", rule, text, verdict)


def _early_share(run):
    steps, values = (np.array(part, dtype=float) for part in run.series("mean_log_condition"))
    values = np.where(np.isfinite(values), values, np.nan)
    if len(values) < 4 or np.isnan(values[0]) or not np.nanmax(values) > values[0]:
        return np.nan
    early = np.nanmax(values[steps <= steps[-1] / 4])
    return (early - values[0]) / (np.nanmax(values) - values[0])


def _clusters(runs, arm, generator):
    claim = f"runs fall into a well and an ill conditioned cluster ({arm})"
    paper = "about half the runs on MNIST in each"
    rule = "two clusters of final log-condition numbers are supported against one (p < 0.05)"
    if len(runs) < _LEAST_RUNS:
        return Claim(claim, paper, rule, f"{len(runs)} runs", NOT_TESTED)
    found = statistics.two_clusters([run.last("mean_log_condition") for run in runs], generator=generator)
    return Claim(claim, paper, rule, *_split(found))


def _split(found):
    if len(found.members) < 2:
        return f"one cluster, p = {found.p_value:.2g}", NOT_SUPPORTED
    sizes = f"{len(found.members[0])} under {found.threshold:.3g}, {len(found.members[1])} above"
    return f"{sizes}, p = {found.p_value:.2g}", SUPPORTED


def _correlates(recorded, name, generator, paper="figures 1, 5 and 6: ill-conditioned runs score worse"):
    """All runs with an outcome; ill conditioning is to go with worse scores."""
    runs = [run for run in recorded if run.has_outcome and np.isfinite(run.last(name))]
    rule = "interval of Spearman's correlation over all GANs: on the side of worse scores, on the other, or neither"
    claim = f"log-condition number correlates with {name}"
    if len(runs) < _LEAST_RUNS:
        return Claim(claim, paper, rule, f"{len(runs)} runs", NOT_TESTED)
    x, y = ([run.last(which) for run in runs] for which in ("mean_log_condition", name))
    found = statistics.correlation(x, y, generator=generator)
    worse = name in _read.LOWER_IS_BETTER
    above, below = (SUPPORTED, CONTRADICTED) if worse else (CONTRADICTED, SUPPORTED)
    low, high = found.spearman_low, found.spearman_high
    verdict = _side(low, high, 0.0, above=above, below=below)
    text = f"Spearman {found.spearman:.2f} {_range(low, high)}, Pearson {found.pearson:.2f}"
    return Claim(claim, paper, rule, text, verdict)


def _changes(first, other, arms, scores, generator):
    """What the other arm does to conditioning, to mean scores and to their spread."""
    claim = f"clamping lowers the log-condition number ({arms})"
    yield _difference(first, other, "mean_log_condition", claim, "figures 1, 5, 6", generator)
    for name in scores:
        claim = f"clamping {'lowers' if name in _read.LOWER_IS_BETTER else 'raises'} the mean {name} ({arms})"
        yield _difference(first, other, name, claim, "section 4: improves the average case", generator)
    for name in scores:
        yield _spread(first, other, name, f"clamping lowers the variance of {name} ({arms})", generator)


def _difference(first, other, name, claim, paper, generator):
    rule = "interval of the difference of means: on the claimed side of 0, on the other, or neither"
    pair = [_values(runs, name) for runs in (first, other)]
    if min(map(len, pair)) < 3:
        return Claim(claim, paper, rule, f"{len(pair[0])} and {len(pair[1])} runs", NOT_TESTED)
    found = statistics.difference(*pair, generator=generator)
    lower = name in _read.LOWER_IS_BETTER or name == "mean_log_condition"
    above, below = (CONTRADICTED, SUPPORTED) if lower else (SUPPORTED, CONTRADICTED)
    verdict = _side(found.low, found.high, 0.0, above=above, below=below)
    text = f"{found.difference:+.3g} {_range(found.low, found.high)}, permutation p = {found.p_value:.2g}"
    left_out = len(first) + len(other) - sum(map(len, pair))
    text += f"; of finite values: {left_out} left out" * bool(left_out)
    return Claim(claim, paper, rule, text, verdict)


def _spread(first, other, name, claim, generator):
    rule = "Brown–Forsythe p < 0.05: supported if the variance is the less, contradicted if it is the greater"
    paper = "section 4 and figure 7: reduces the variance between runs"
    pair = [_values(runs, name) for runs in (first, other)]
    if min(map(len, pair)) < _LEAST_RUNS:
        return Claim(claim, paper, rule, f"{len(pair[0])} and {len(pair[1])} runs", NOT_TESTED)
    found = statistics.variance_ratio(*pair, generator=generator)
    decided = SUPPORTED if found.ratio < 1.0 else CONTRADICTED
    verdict = decided if found.p_value < 0.05 else NOT_SUPPORTED
    text = f"ratio {found.ratio:.2g} {_range(found.low, found.high)}, Brown–Forsythe p = {found.p_value:.2g}"
    return Claim(claim, paper, rule, text, verdict)


def _values(runs, name):
    return [value for value in (run.last(name) for run in runs) if np.isfinite(value)]


def _side(low, high, middle, *, above, below):
    """The verdict for an interval wholly above or below the middle; not supported for one that holds it."""
    return above if low > middle else below if high < middle else NOT_SUPPORTED


def _range(low, high):
    return "(no interval)" if np.isnan(low) else f"[{low:.2g}, {high:.2g}]"


_NO_GANS = ("VAE", "Memoriser")  # models to which the claims on GANs do not apply
_STEADY_VAES = Claim(
    "spectra of VAEs vary less between runs than those of GANs",
    "figure 3: nearly identical",
    "distances of runs' ln σ_k of E[J] from their arm's mean: interval of the GANs' mean less the VAEs' above 0, below "
    "0, or neither",
    "",
    NOT_TESTED,
)
_WELL_CONDITIONED_MEMORISERS = Claim(
    "a generator that memorises is well conditioned though it has collapsed",
    "appendix B.1: score 4.95 on memorised latents, 2.22 on fresh ones",
    "interval of the fall in classifier_score from memorised to fresh latents above 0, and that of the difference from "
    "the GANs' log-condition number below 0: both; one on the other side; or neither",
    "",
    NOT_TESTED,
)
_RESCUED = Claim(
    "one critic step a generator step makes a Wasserstein GAN fail without clamping and not with it",
    "figure 7: 5 runs each, class-conditional WGAN-GP with 5 and 1 critic steps",
    "intervals of two differences of means: several critic steps less one, unclamped, and with clamping less without, "
    "both at one step: both on the better side of 0; one on the worse; or neither",
    "",
    NOT_TESTED,
)
_FASTER = Claim(
    "training time more than halves with one critic step",
    "section 4.2",
    "interval of the ratio of geometric mean times to the last record, one critic step with clamping to several: below "
    "½, above ½, or neither; records and scores are part of the times",
    "",
    NOT_TESTED,
)
