"""Studies made up of records with known numbers, as runs would have left them."""

import json

import numpy as np
from PIL import Image

from tfjc.study import _plan

QUANTILES = ("0.0", "0.05", "0.25", "0.5", "0.75", "0.95", "1.0")


def study(path, arms, steps=(0, 10, 20, 30, 40), **options):
    """A study's directory; `arms` {name: [(log-condition, score, Fréchet distance, least-sampled class) of a run]}."""
    made = _plan.make(arms={name: ["digits.gin"] for name in arms}, seeds=len(next(iter(arms.values()))), **options)
    directory = _plan.StudyDirectory(path)
    directory.begin(made)
    for run in directory.list_runs(made):
        values = arms[run.arm][run.seed]
        if values is not None:
            write(run, values, steps)
    return directory


def write(run, values, steps, status="finished"):
    """The records of one run, which rises to its log-condition number within the first quarter."""
    condition, score, distance, least = values
    run.directory.create()
    circumstances = {"tfjc": "0.1.0", "commit": "c0ffee", "device": "CPU", "tensorflow": "2", "keras": "3"}
    run.directory.update_run(seed=run.seed, status=status, sessions=[circumstances], scores=[{"classifier": "digits"}])
    for step in steps:
        at = 1.0 if step else 0.1
        scores = {"classifier_score": at * score, "frechet_distance": distance / at, "least_sampled_class": least}
        row = {
            "step": step,
            "seconds": float(step),
            "mean_log_condition": at * condition,
            "log_condition": [at * condition] * 3,
            "quotient_quantiles": {q: (float(q) + 0.5) * score for q in QUANTILES},
            "sigma_max": 2.0,
            "sigma_min": 1.0,
            "clamped_low": 0.0,
            "clamped_high": 0.25,
            "class_histogram": [least, 30, 31],
            **scores,
            **{f"{name}/digits/360": value for name, value in scores.items()},
        }
        record(run, row)
    run.directory.samples.mkdir()
    Image.fromarray(np.full([20, 20], 90, np.uint8)).save(run.directory.samples / "step_00000040.png")
    run.directory.update_run(bindings=bindings(run.arm))


def record(run, row):
    """One evaluation: its line and its spectrum."""
    spectrum(run, row["step"], np.geomspace(2.0, 0.1, 5))
    run.directory.append_metrics(row)


def spectrum(run, step, average_jacobian):
    """The spectrum of one evaluation, whose average Jacobian has these singular values."""
    z = np.zeros([3, len(average_jacobian)])
    run.directory.write_spectrum(step, z, np.stack([average_jacobian] * 3), average_jacobian)


def bindings(arm):
    """What an arm is configured with: w5, w1, w1_jc are WGANs of as many critic steps, clamped or not."""
    model = {"vae": "VAE", "memoriser": "Memoriser"}.get(arm, "GAN")
    found = {"train_and_evaluate.steps": 40, "train_and_evaluate.model": model}
    if arm == "clamped" or arm.endswith("_jc"):
        found |= {"GAN.generator_penalties": ["JacobianClamping"], "JacobianClamping.lambda_max": 20.0}
    if arm.startswith("w"):
        found |= {"GAN.loss": "wasserstein", "GAN.d_steps": int(arm[1])}
    return found


def numbers(path):
    """What `results.json` holds."""
    return json.loads((path / "results.json").read_text())
