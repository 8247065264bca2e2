"""A study of 2 × 4 short runs, disturbed by five SIGKILLs to its runs and to itself, against the same undisturbed.

    python tools/experiments/study_kills.py --seed=0

Prints what was killed when, and whether both studies end with the same `results.csv`; exits with 1 if they do not.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parent.parent.parent
VICTIMS = ["run", "run", "parent", "run", "parent"]
STUDY = """study.arms = {'plain': ['gaussian_ring.gin'], 'wide': ['gaussian_ring.gin', 'mlp.width = 64']}
study.seeds = 4
study.bindings = [
    'train_and_evaluate.steps = 600', 'train_and_evaluate.eval_every = 50', 'train_and_evaluate.eval_latents = 8',
    'train_and_evaluate.scores = [(@MissingModes, 100)]', 'train_and_evaluate.score_samples = 200',
]
"""


def start(workdir, study):
    """The process that runs the study."""
    command = [sys.executable, "-m", "tfjc.study.run", f"--gin_file={study}", f"--workdir={workdir}", "--retries=10"]
    with open(f"{workdir}.log", "ab") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)


def results(workdir):
    """The bytes of the study's `results.csv`."""
    report = [sys.executable, "-m", "tfjc.study.report", f"--workdir={workdir}"]
    subprocess.run(report, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return (pathlib.Path(workdir) / "results.csv").read_bytes()


def runs_of(process):
    """The processes that a process has started."""
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in children.read_text().split()] if children.exists() else []


def disturbed(workdir, study, chance):
    """Runs the study to its end, in spite of the kills; the parent is started again whenever it was the victim."""
    process, began, victims = start(workdir, study), time.monotonic(), list(VICTIMS)
    chance.shuffle(victims)
    for victim in victims:
        time.sleep(chance.uniform(4.0, 12.0))
        while victim == "run" and not runs_of(process) and process.poll() is None:
            time.sleep(0.1)
        if process.poll() is not None:
            raise SystemExit(f"the study was over before all {len(victims)} kills: make it longer")
        pid = process.pid if victim == "parent" else chance.choice(runs_of(process))
        os.kill(pid, signal.SIGKILL)
        print(f"killed the {victim} after {time.monotonic() - began:.1f} s", flush=True)
        if victim == "parent":
            process.wait()
            process = start(workdir, study)
    return process.wait()


def main():
    """Runs both studies and compares them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the times and victims")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        study = pathlib.Path(directory) / "kills.gin"
        study.write_text(STUDY)
        quiet, noisy = f"{directory}/quiet", f"{directory}/noisy"
        print(f"undisturbed: exit status {start(quiet, study).wait()}", flush=True)
        print(f"disturbed: exit status {disturbed(noisy, study, random.Random(arguments.seed))}", flush=True)
        first, second = results(quiet), results(noisy)
    print(f"{first.count(b'finished')} and {second.count(b'finished')} runs finished; results.csv", end=" ")
    print("equal, byte for byte" if first == second else "DIFFER")
    return int(first != second or b"finished" not in first)


if __name__ == "__main__":
    sys.exit(main())
