"""Reports on a study whose run directories are gone, from the `results.csv` that its report left.

    python tools/experiments/study_from_results.py docs/results/mnist_nobn

Writes results.csv, results.json, report.html and three of the figures again, by the rules as they are. Each run is one
record of its final numbers, so what needs the course of training is not tested. The other figures stay as they are. The
configuration is that of the arms' gin files as they are now: whoever runs this has to see that it is the same.
"""

import csv
import json
import pathlib
import sys

from tfjc.runs import configuration
from tfjc.study import _figures, _plan, _read, _report
from tfjc.support import noise
from tfjc.support.run_directory import RunDirectory

_OLD = {  # captions of the figures that stay as they are
    "curves": "Over training, one colour a run (Odena et al. 2018, figures 1, 5, 6, 12, 13).",
    "latents": "Log-condition number at each fixed latent (figure 2).",
    "spectra": "Final spectra of the average Jacobian (figures 3 and 4).",
    "histograms": "Samples by predicted class (figure 10).",
    "samples": "The newest samples of the first runs.",
}
_NO_SCORES = ("arm", "seed", "status", "step", "clamped_low", "clamped_high", "sigma_max", "sigma_min")


def bindings(study, arm):
    """The resolved bindings of an arm."""
    parts = [*study.arms[arm], *study.bindings]
    files = [part for part in parts if part.endswith(".gin")]
    configuration.parse(files, [part for part in parts if not part.endswith(".gin")])
    return configuration.bindings()


def recorded(row, configured):
    """The `Recorded` run that a row of `results.csv` stands for."""
    numbers = {name: float(value) for name, value in row.items() if name not in ("arm", "seed", "status", "step")}
    quantiles = {name.removeprefix("quotient_"): numbers.pop(name) for name in row if name.startswith("quotient_")}
    scores = [name for name in numbers if name not in (*_NO_SCORES, "mean_log_condition")]
    keys = {f"{name}/{configured['dataset.name']}": numbers[name] for name in scores}
    record = {"step": int(row["step"]), **numbers, **keys, "quotient_quantiles": quantiles}
    run = _plan.Run(row["arm"], int(row["seed"]), RunDirectory("gone"))
    return _read.Recorded(run, {"status": row["status"], "bindings": configured}, [record])


def main(folder):
    """Writes the report in a folder again."""
    study = _plan.make(**json.loads((folder / "results.json").read_text())["study"])
    with open(folder / "results.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    configured = {arm: bindings(study, arm) for arm in study.arms}
    runs = [recorded(row, configured[row["arm"]]) for row in rows]
    names, condition = _read.scores(runs), _read.condition(runs)
    drawn = {
        "answer": (_figures.answer(runs, list(study.arms), study.claims, [condition, *names]), _report.ANSWER),
        "by_arm": (_figures.by_arm(runs, list(study.arms), [condition, *names]), _report.BY_ARM),
        "against_conditioning": (
            _figures.against_conditioning(runs, list(study.arms), condition, names),
            _report.AGAINST_CONDITIONING,
        ),
    }
    for name, (figure, _) in drawn.items():
        figure.savefig(folder / f"{name}.png", dpi=110)
    captions = {**_OLD, **{name: caption for name, (_, caption) in drawn.items()}}
    figures = {name: ((folder / f"{name}.png").read_bytes(), caption) for name, caption in captions.items()}
    for one in _report.write_tables(folder, study, runs, figures, noise.rng(0, noise.Stream.REPORT)):
        print(f"{one.verdict:<13}  {one.claim}: {one.found}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
