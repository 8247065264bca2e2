"""Writes what a study has found, from its records alone."""

import csv
import dataclasses
import json

from tfjc import records, statistics
from tfjc.study import _claims, _figures, _html, _read

_STATUSES = ("finished", "diverged", "failed", "interrupted", "running", "waiting")
_CIRCUMSTANCES = ("tfjc", "commit", "device", "python", "tensorflow", "keras", "numpy")
_CURVES = (
    "mean_log_condition",
    "classifier_score",
    "inception_score",
    "frechet_distance",
    "fid",
    "least_sampled_class",
)


def write(directory, generator):
    """Writes report.html, results.csv, results.json, and every figure as PNG and SVG; returns the claims.

    Raises ValueError where the directory holds no study, or none with a record.
    """
    study = directory.read()
    recorded = _read.read(directory, study)
    if not any(run.rows for run in recorded):
        raise ValueError(f"no run of {directory.path} has recorded anything yet")
    arms, rows = list(study.arms), _read.results(recorded)
    numbers = ["mean_log_condition", *_read.scores(recorded), "seconds"]
    found = _statistics(recorded, arms, numbers, generator)
    claims = _claims.check(recorded, arms, generator)
    figures = _draw(recorded, arms, directory.path)
    _write_csv(directory.path / "results.csv", rows)
    result = {"study": study.as_dict(), "runs": rows, **found, "claims": [dataclasses.asdict(c) for c in claims]}
    records.write_text(directory.path / "results.json", json.dumps(result, indent=1) + "\n")
    page = _page(study, recorded, rows, numbers, found, claims, figures)
    records.write_text(directory.path / "report.html", page)
    return claims


def _statistics(recorded, arms, numbers, generator):
    """Summaries by arm; differences and ratios of variances to the first arm; correlations with conditioning."""
    runs = {arm: [run for run in recorded if run.run.arm == arm and run.has_outcome] for arm in arms}
    values = {arm: {name: [run.last(name) for run in runs[arm]] for name in numbers} for arm in arms}
    every = [run for run in recorded if run.has_outcome]
    conditions = [run.last("mean_log_condition") for run in every]

    def compare(function):
        pairs = {arm: zip(numbers, values[arms[0]].values(), values[arm].values(), strict=True) for arm in arms[1:]}
        return {arm: {n: _dict(function(a, b, generator=generator)) for n, a, b in pair} for arm, pair in pairs.items()}

    return {
        "summaries": {
            arm: {name: _dict(statistics.summary(sample, generator=generator)) for name, sample in columns.items()}
            for arm, columns in values.items()
        },
        "differences": compare(statistics.difference),
        "variance_ratios": compare(statistics.variance_ratio),
        "correlations": {
            name: _dict(statistics.correlation(conditions, [run.last(name) for run in every], generator=generator))
            for name in _read.scores(recorded)
        },
        "clusters": {
            arm: _dict(statistics.two_clusters(values[arm]["mean_log_condition"], generator=generator)) for arm in arms
        },
    }


def _dict(found):
    return dataclasses.asdict(found)


def _draw(recorded, arms, folder):
    """{name: (PNG, caption)} of what there is to draw, each written as PNG and SVG."""
    names = _read.scores(recorded)
    drawn = {
        "curves": (
            _figures.curves(recorded, arms, _CURVES),
            "Over training, one colour a run (Odena et al. 2018, figures 1, 5, 6, 12, 13).",
        ),
        "by_arm": (
            _figures.by_arm(recorded, arms, ["mean_log_condition", *names, "seconds"]),
            "Final values of every run, with each arm's mean; seconds are those of training (figure 7).",
        ),
        "against_conditioning": (
            _figures.against_conditioning(recorded, arms, names),
            "Final scores against the final mean log-condition number (section 3).",
        ),
        "latents": (_figures.latents(recorded, arms), "Log-condition number at each fixed latent (figure 2)."),
        "spectra": (_figures.spectra(recorded, arms), "Final spectra of the average Jacobian (figures 3 and 4)."),
        "histograms": (_figures.histograms(recorded, arms), "Samples by predicted class (figure 10)."),
        "samples": (_figures.samples(recorded, arms), "The newest samples of the first runs."),
    }
    drawn = {name: pair for name, pair in drawn.items() if pair[0] is not None}
    for name, (figure, _) in drawn.items():
        for kind in ("png", "svg"):
            with records.replacing(folder / f"{name}.{kind}") as temporary:
                figure.savefig(temporary, format=kind, dpi=110)
    return {name: ((folder / f"{name}.png").read_bytes(), caption) for name, (_, caption) in drawn.items()}


def _write_csv(path, rows):
    with records.replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _page(study, recorded, rows, numbers, found, claims, figures):
    """The report as HTML."""
    parts = [
        _html.heading("Claims of the paper"),
        _html.table(
            ["claim", "paper", "this study", "verdict", "rule"],
            [(c.claim, c.paper, c.found, c.verdict, c.rule) for c in claims],
            text=True,
        ),
        _html.heading("What was run"),
        *_what_was_run(study, recorded),
        _html.heading("By arm"),
        *_by_arm(found, numbers),
        _html.heading("Correlations with the mean log-condition number"),
        _correlations(found),
    ]
    for name, (png, caption) in figures.items():
        parts += [_html.heading(name.replace("_", " ")), _html.figure(png, caption)]
    parts += [_html.heading("Every run"), _html.table(list(rows[0]), [list(row.values()) for row in rows])]
    return _html.page("Study: " + ", ".join(study.arms), parts)


def _what_was_run(study, recorded):
    """Arms, outcomes, who is missing, versions and devices."""
    counts = [
        [arm, " ".join(parts), *(sum(r.run.arm == arm and r.status == s for r in recorded) for s in _STATUSES)]
        for arm, parts in study.arms.items()
    ]
    missing = [f"{run.run.name} ({run.status})" for run in recorded if not run.has_outcome]
    told = {
        ", ".join(f"{name} {session.get(name)}" for name in _CIRCUMSTANCES)
        for run in recorded
        for session in run.about.get("sessions", [])
    }
    scored = {json.dumps(about, sort_keys=True) for run in recorded for about in run.about.get("scores", [])}
    return [
        _html.table(["arm", "configuration", *_STATUSES], counts),
        _html.paragraph(f"For all arms: {'; '.join(study.bindings) or 'nothing else'}. Seeds: {list(study.seeds)}."),
        _html.paragraph(f"Without an outcome, and in no number below: {', '.join(missing) or 'none'}."),
        *(_html.paragraph(f"Made with {text}.") for text in sorted(told)),
        *(_html.paragraph(f"Scored with {text}.") for text in sorted(scored)),
    ]


def _by_arm(found, numbers):
    """Mean with interval, deviation, median of each number and arm; then what the other arms change."""
    columns = ["number", "arm", "runs", "mean", "low", "high", "deviation", "median", "least", "greatest"]
    fields = ("mean", "low", "high", "standard_deviation", "median", "minimum", "maximum")
    rows = [
        [name, arm, summaries[name]["counts"]["finite"], *(summaries[name][field] for field in fields)]
        for name in numbers
        for arm, summaries in found["summaries"].items()
    ]
    yield _html.table(columns, rows)
    for arm, differences in found["differences"].items():
        ratios = found["variance_ratios"][arm]
        yield _html.paragraph(f"{arm} against the first arm: difference of means, ratio of variances, 95 % intervals.")
        rows = [
            [
                name,
                *(d[field] for field in ("difference", "low", "high", "p_value")),
                *(ratios[name][field] for field in ("ratio", "low", "high", "p_value")),
            ]
            for name, d in differences.items()
        ]
        yield _html.table(
            ["number", "difference", "low", "high", "permutation p", "ratio", "low", "high", "Brown–Forsythe p"], rows
        )


def _correlations(found):
    fields = ("pearson", "pearson_low", "pearson_high", "pearson_p_value")
    fields += tuple(field.replace("pearson", "spearman") for field in fields)
    columns = ["score", "Pearson", "low", "high", "p", "Spearman", "low", "high", "p"]
    return _html.table(columns, [[name, *(c[field] for field in fields)] for name, c in found["correlations"].items()])
