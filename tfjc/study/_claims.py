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
    known = ("classifier_score", "frechet_distance", "inception_score", "fid")
    scores = [name for name in known if _any(recorded, name)]
    first = [run for run in recorded if run.run.arm == arms[0] and run.has_outcome]
    claims = [_rises(first, arms[0], generator), _clusters(first, arms[0], generator)]
    claims += [_correlates(recorded, name, generator) for name in scores]
    if _any(recorded, "least_sampled_class"):
        claims.append(_correlates(recorded, "least_sampled_class", generator, paper="Pearson −0.86 (360 samples)"))
    for arm in arms[1:]:
        other = [run for run in recorded if run.run.arm == arm and run.has_outcome]
        if _is_clamped(other) and not _is_clamped(first):
            claims += _changes(first, other, f"{arms[0]} → {arm}", scores, generator)
    return [*claims, *_ELSEWHERE]


def _any(recorded, name):
    return any(np.isfinite(run.last(name)) for run in recorded)


def _is_clamped(runs):
    configurations = [run.run.directory.config for run in runs]
    texts = [path.read_text(encoding="utf-8") for path in configurations if path.exists()]
    return any(re.search(r"generator_penalties = [^=]*JacobianClamping", text) for text in texts)


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
    rule = "interval of Spearman's correlation over all runs: on the side of worse scores, on the other, or neither"
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


_ELSEWHERE = [
    Claim(claim, paper, rule, "no such arms", NOT_TESTED)
    for claim, paper, rule in (
        (
            "one critic step a generator step collapses without clamping and not with it (class-conditional WGAN-GP)",
            "figure 7: 5 runs each",
            "needs arms of the class-conditional WGAN-GP with 1 and 5 critic steps",
        ),
        (
            "training time more than halves with one critic step",
            "section 4.2",
            "needs arms of the class-conditional WGAN-GP with 1 and 5 critic steps",
        ),
        ("spectra of VAEs vary less between runs than those of GANs", "figure 3", "needs an arm of VAEs"),
        (
            "a generator that memorises is well conditioned though it has collapsed",
            "appendix B.1: score 4.95 on memorised latents, 2.22 on fresh ones",
            "needs an arm of the memorising generator",
        ),
    )
]
