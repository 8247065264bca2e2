"""A small run of 20,000 steps with all callbacks: does its memory grow, and how much does it leave on the disk?

    python tools/experiments/long_run.py --workdir=DIR

Watches the process from outside, at every evaluation. Prints resident memory and the sizes of what grows, and the slope
of the memory in bytes a step: least squares through the means of 20 parts of the run (which single samples are not
independent enough for) after the first fifth, with its standard error.
"""

import argparse
import pathlib
import subprocess
import sys
import time

import numpy as np
import psutil
import scipy.stats

from tfjc.support.run_directory import RunDirectory

ROOT = pathlib.Path(__file__).parent.parent.parent
BINDINGS = {
    "train_and_evaluate.batch_size": 16,
    "train_and_evaluate.eval_latents": 8,
    "train_and_evaluate.scores": "[(@ClassifierEvaluator, 500), (@MissingModes, 500)]",
    "train_and_evaluate.score_samples": 400,
    "sngan_cnn.channels": 2,
    "sngan_cnn.n_z": 8,
}
PARTS, WARM_UP = 20, 0.2


def start(workdir, steps, every):
    """The process that trains: every callback that `train_and_evaluate` has, weights' spectra among them."""
    bindings = {**BINDINGS, "train_and_evaluate.steps": steps, "train_and_evaluate.eval_every": every}
    flags = [f"--gin_bindings={name} = {value}" for name, value in bindings.items()]
    command = [sys.executable, "-m", "tfjc.train", "--gin_file=gin/digits_sngan.gin", f"--workdir={workdir}", *flags]
    with open(f"{workdir}.log", "wb") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)


def size(path):
    """Bytes of a file, or of all files of a directory."""
    while True:
        try:
            files = path.rglob("*") if path.is_dir() else [path]
            return sum(file.stat().st_size for file in files if file.is_file())
        except FileNotFoundError:  # renamed or removed meanwhile
            continue


def watch(process, run):
    """[(step, resident bytes, {name: bytes on the disk})] at each evaluation of the run."""
    seen = []
    while process.poll() is None:
        time.sleep(0.1)
        rows = run.read_metrics() if run.metrics.exists() else []
        if not rows or (seen and seen[-1][0] >= rows[-1]["step"]):
            continue
        step = rows[-1]["step"]
        try:
            resident = psutil.Process(process.pid).memory_info().rss
        except psutil.NoSuchProcess:
            break
        grown = {p.name: size(p) for p in (run.tensorboard, run.checkpoints, run.samples, run.metrics, run.spectra)}
        seen.append((step, resident, grown))
    return seen


def slope(steps, resident):
    """(bytes a step, its standard error) after the warm-up, through the means of `PARTS` parts."""
    kept = steps >= WARM_UP * steps[-1]
    parts = zip(np.array_split(steps[kept], PARTS), np.array_split(resident[kept], PARTS), strict=True)
    means = np.array([(np.mean(step), np.mean(value)) for step, value in parts])
    fitted = scipy.stats.linregress(*means.T)
    return fitted.slope, fitted.stderr


def table(seen, lines=10):
    """Memory and sizes at about so many times, as markdown."""
    names = list(seen[0][2])
    print(f"| step | resident, MB | {' | '.join(f'{name}, kB' for name in names)} |")
    print("|---" * (2 + len(names)) + "|")
    for index in np.unique(np.linspace(0, len(seen) - 1, lines + 1).astype(int)):
        step, resident, grown = seen[index]
        print(f"| {step:,} | {resident / 1e6:.1f} | {' | '.join(f'{grown[name] / 1e3:.1f}' for name in names)} |")


def main():
    """Trains and reports; returns 1 where the run did not end well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--eval_every", type=int, default=50)
    arguments = parser.parse_args()
    if arguments.steps < 2 * PARTS * arguments.eval_every:
        parser.error(f"expected at least {2 * PARTS} evaluations, found {arguments.steps // arguments.eval_every}")
    process = start(arguments.workdir, arguments.steps, arguments.eval_every)
    seen = watch(process, RunDirectory(arguments.workdir))
    table(seen)
    steps, resident = (np.array([row[column] for row in seen], np.float64) for column in (0, 1))
    bytes_a_step, error = slope(steps, resident)
    print(f"\n{len(seen)} evaluations seen; memory grows by {bytes_a_step:.1f} ± {error:.1f} bytes a step")
    return int(process.wait() != 0)


if __name__ == "__main__":
    sys.exit(main())
