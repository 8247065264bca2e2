"""Writes the report of a study from its records."""

import csv
import dataclasses
import itertools
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from tfjc.study import _claims, _figures, _html, _numbers, _plan, _read, _tested
from tfjc.support.files import replacing, write_text

_STATUSES = (
    *("finished", "diverged", "collapsed", "refused", "failed", "killed", "interrupted", "running", "waiting"),
    "damaged",
)
_CIRCUMSTANCES = ("tfjc", "commit", "device", "python", "tensorflow", "keras", "numpy")
ANSWER = (
    "What the claims are about. Dots are runs, and a line joins the runs of a seed. Black is an arm's mean with its "
    "95 % interval, or its median where a run is infinite. Triangles are infinite."
)
BY_ARM = "Final values of every run, with each arm's median (figure 7). Triangles are infinite."
AGAINST_CONDITIONING = "Final scores against the final log-condition number (section 3). Triangles are infinite."
_CURVES = (
    "classifier_score",
    "inception_score",
    "frechet_distance",
    "fid",
    "least_sampled_class",
)


Verdicts: TypeAlias = list[_tested.Tested | _claims.Claim]  # the study's own claims, then the paper's


def write(directory: _plan.StudyDirectory, rng: np.random.Generator) -> Verdicts:
    """Writes report.html, results.csv, results.json, and every figure as PNG and SVG; returns the verdicts.

    Args:
      directory: of the study.
      rng: simulates single clusters.

    Raises:
      ValueError: the directory holds no study, or no run has a record.
    """
    study = directory.read()
    recorded = _read.read(directory, study)
    if not any(run.rows for run in recorded):
        raise ValueError(f"no run of {directory.path} has recorded anything yet")
    figures = _draw(recorded, study, directory.path)
    return write_tables(directory.path, study, recorded, figures, rng)


def write_tables(
    folder: pathlib.Path,
    study: _plan.Study,
    recorded: Sequence[_read.Recorded],
    figures: Mapping[str, tuple[bytes, str]],
    rng: np.random.Generator,
) -> Verdicts:
    """Writes report.html with figures {name: (PNG, caption)}, results.csv and results.json; returns the verdicts."""
    numbers = _numbers.Numbers(recorded, list(study.arms), rng)
    tested = _tested.decide(study.claims, numbers, list(study.arms))
    claims, rows = _claims.decide(numbers), _read.results(recorded)
    found = _statistics(numbers)
    _write_csv(folder / "results.csv", rows)
    verdicts = {"planned_claims": [_dict(one) for one in tested]} if tested else {}
    result = {"study": study.as_dict(), "runs": rows, **found, **verdicts, "claims": [_dict(one) for one in claims]}
    write_text(folder / "results.json", json.dumps(result, indent=1) + "\n")
    write_text(folder / "report.html", _page(study, recorded, rows, numbers, found, tested, claims, figures))
    return [*tested, *claims]


def _statistics(numbers):
    """The statistics in `results.json`."""
    names = _named(numbers)
    return {
        "log_condition": numbers.condition,
        "summaries": {arm: {name: _dict(numbers.summary(arm, name)) for name in names} for arm in numbers.arms},
        "comparisons": {
            f"{first} → {second}": {
                name: {kind: _dict(found) for kind, found in numbers.comparison(first, second, name).items()}
                for name in names
            }
            for first, second in numbers.pairs()
        },
        "correlations": {
            score: {
                "pooled": _dict(numbers.correlation(score)),
                "arms": {arm: _dict(found) for arm, found in numbers.correlations(score).items()},
            }
            for score in numbers.scores
        },
        "clusters": {arm: _dict(found) for arm, found in numbers.clusters.items()},
    }


def _named(numbers):
    """The names of the numbers in the tables: conditioning, scores and time, if any run recorded them."""
    names = [*_read.CONDITIONS, *numbers.scores, "seconds"]
    return [name for name in names if not all(map(math.isnan, numbers.every(name)))]


def _dict(found):
    return dataclasses.asdict(found)


def _draw(recorded, study, folder):
    """{name: (PNG, caption)} of the figures that have data. Writes each as PNG and SVG."""
    arms, names, condition = list(study.arms), _read.scores(recorded), _read.condition(recorded)
    drawn = {
        "answer": (_figures.answer(recorded, arms, study.claims, [condition, *names]), ANSWER),
        "curves": (
            _figures.curves(recorded, arms, [condition, *_CURVES]),
            "Over training, one colour a run (Odena et al. 2018, figures 1, 5, 6, 12, 13).",
        ),
        "by_arm": (
            _figures.by_arm(recorded, arms, [condition, *names, "seconds"]),
            BY_ARM,
        ),
        "against_conditioning": (
            _figures.against_conditioning(recorded, arms, condition, names),
            AGAINST_CONDITIONING,
        ),
        "latents": (_figures.latents(recorded, arms), "Log-condition number at each fixed latent (figure 2)."),
        "spectra": (_figures.spectra(recorded, arms), "Final spectra of the average Jacobian (figures 3 and 4)."),
        "histograms": (_figures.histograms(recorded, arms), "Samples by predicted class (figure 10)."),
        "samples": (_figures.samples(recorded, arms), "The newest samples of the first runs."),
    }
    drawn = {name: pair for name, pair in drawn.items() if pair[0] is not None}
    for name, (figure, _) in drawn.items():
        for kind in ("png", "svg"):
            with replacing(folder / f"{name}.{kind}") as temporary:
                figure.savefig(temporary, format=kind, dpi=110)
    return {name: ((folder / f"{name}.png").read_bytes(), caption) for name, (_, caption) in drawn.items()}


def _write_csv(path, rows):
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _page(study, recorded, rows, numbers, found, tested, claims, figures):
    """The report as HTML: the answer, the main figure, then the tables and the other figures."""
    figures = dict(figures)
    parts = [_html.heading("What was found"), *_answer(tested, claims)]
    if "answer" in figures:
        parts.append(_html.figure(*figures.pop("answer")))
    parts += [
        *_planned_claims(tested),
        _html.heading("Claims of the paper"),
        _html.table(
            ["claim", "paper", "this study", "verdict", "rule"],
            [(c.claim, c.paper, c.found, c.verdict, c.rule) for c in claims],
            text=True,
        ),
        _html.heading("What was run"),
        *_what_was_run(study, recorded),
        _html.heading("By arm"),
        *_by_arm(found),
        _html.heading(f"Correlations with {numbers.condition}"),
        _html.paragraph(
            f"Pooled by Fisher's z, with weights n − 3, within the arms of GANs: {', '.join(numbers.gans) or 'none'}."
        ),
        _correlations(found),
    ]
    for name, (png, caption) in figures.items():
        parts += [_html.heading(name.replace("_", " ")), _html.figure(png, caption)]
    parts += [_html.heading("Every run"), _html.table(list(rows[0]), [list(row.values()) for row in rows])]
    several = f"Study of {len(study.arms)} arms and {len(study.seeds)} seeds"
    return _html.page("Study: " + ", ".join(study.arms) if len(study.arms) <= 4 else several, parts)


def _answer(tested, claims):
    """A sentence for each planned claim, or else for each claim of the paper that was tested."""
    if tested:
        yield _html.sentences((one.verdict, one.claim, one.found) for one in tested)
        return
    decided = [claim for claim in claims if claim.verdict != _claims.NOT_TESTED]
    if decided:
        yield _html.sentences((claim.verdict, claim.claim, claim.found) for claim in decided)
    without = len(claims) - len(decided)
    if without:
        yield _html.paragraph(
            f"{without} of {len(claims)} claims of the paper are not tested. Their table has the reasons."
        )


def _planned_claims(tested):
    """The table of the study's own claims, which were planned before its runs."""
    if not tested:
        return
    yield _html.heading("Claims of this study")
    yield _html.paragraph(
        "Differences and effects are paired by seed. Intervals are at 95 %, for each claim alone. A claim is decided "
        f"where its p-value, adjusted by Holm's method over the {len(tested)} claims of this study, is at most 0.05. "
        f"The power is that of a test at 0.05/{len(tested)}."
    )
    columns = {
        **{"claim": "claim", "verdict": "verdict", "outcome": "outcome", "tested": "contrast", "expected": "expected"},
        **{"seeds": "seeds", "estimate": "estimate", "low": "low", "high": "high"},
        **{"p": "p_value", "p by Holm": "adjusted", "p of signs": "sign_p"},
    }
    rows = [
        [*(getattr(one, field) for field in columns.values()), one.power or ("" if one.seeds else one.found)]
        for one in tested
    ]
    yield _html.table([*columns, "power"], rows, text=True)


def _what_was_run(study, recorded):
    """Arms, numbers of outcomes, runs without an outcome, versions and devices."""
    counts = [
        [arm, " ".join(parts), *(sum(r.run.arm == arm and r.status == s for r in recorded) for s in _STATUSES)]
        for arm, parts in study.arms.items()
    ]
    missing = [
        f"{run.run.name} ({run.status}{f': {run.damage}' if run.damage else ''})"
        for run in recorded
        if not run.has_outcome
    ]
    told = {
        ", ".join(f"{name} {session.get(name)}" for name in _CIRCUMSTANCES)
        for run in recorded
        for session in run.about.get("sessions", [])
    }
    scored = {json.dumps(about, sort_keys=True) for run in recorded for about in run.about.get("scores", [])}
    return [
        _html.table(["arm", "configuration", *_STATUSES], counts),
        _html.paragraph(f"For all arms: {'; '.join(study.bindings) or 'nothing else'}. Seeds: {list(study.seeds)}."),
        _html.paragraph(f"Runs without an outcome, left out below: {', '.join(missing) or 'none'}."),
        *(_html.paragraph(f"Made with {text}.") for text in sorted(told)),
        *(_html.paragraph(f"Scored with {text}.") for text in sorted(scored)),
    ]


def _by_arm(found):
    """A table of means and medians with intervals, for each number and arm; then a table for each comparison."""
    columns = ["number", "arm", "runs", "infinite", "missing", "mean", "low", "high", "deviation"]
    columns += ["median", "low", "high", "least", "greatest"]
    fields = ("mean", "low", "high", "standard_deviation", "median", "median_low", "median_high", "minimum", "maximum")
    names = list(dict.fromkeys(name for summaries in found["summaries"].values() for name in summaries))
    rows = []
    for name, (arm, summaries) in itertools.product(names, found["summaries"].items()):
        summary = summaries[name]
        counts = summary["counts"]
        rows.append([name, arm, sum(counts.values()), counts["infinite"], counts["missing"]])
        rows[-1] += [summary[field] for field in fields]
    yield _html.table(columns, rows)
    for arms, comparisons in found["comparisons"].items():
        yield _html.paragraph(
            f"{arms}: P(higher) is the probability that a run of the second arm has the higher number; infinite is the "
            "highest. Other numbers have the difference of means and the ratio of mean absolute deviations. Intervals "
            "are at 95 %, those of P(higher) at 97.5 % where runs are infinite."
        )
        columns = ["number", "P(higher)", "low", "high", "difference", "low", "high", "ratio", "low", "high"]
        yield _html.table(columns, [_compared(name, kinds) for name, kinds in comparisons.items()])


def _compared(name, kinds):
    """A row of a comparison's table."""
    row = [name]
    for kind, value in (("superiority", "superiority"), ("difference", "difference"), ("spread_ratio", "ratio")):
        row += [kinds.get(kind, {}).get(field, "") for field in (value, "low", "high")]
    return row


def _correlations(found):
    """A table of Spearman's correlation, pooled within the arms of GANs as in the claims, and of each arm."""
    rows = []
    for score, kinds in found["correlations"].items():
        pooled = kinds["pooled"]
        rows.append([score, "GANs, pooled", "", *(pooled[field] for field in ("spearman", "low", "high")), ""])
        for arm, one in kinds["arms"].items():
            runs = one["counts"]["finite"] + one["counts"]["infinite"]
            rows.append([score, arm, runs, *(one[field] for field in ("spearman", "low", "high", "pearson"))])
    return _html.table(["score", "arm", "runs", "Spearman", "low", "high", "Pearson"], rows)
