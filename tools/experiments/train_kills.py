"""A training killed with SIGKILL 20 times, also while it writes, against the same undisturbed: bit for bit.

    python tools/experiments/train_kills.py --seed=0

Prints a table of where each kill fell and what it left half-done, then whether both runs end with the same weights,
optimisers' state, records, spectra and pictures; exits with 1 if they do not.
"""

import argparse
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

from tfjc.support.run_directory import RunDirectory

ROOT = pathlib.Path(__file__).parent.parent.parent
BINDINGS = {
    "train_and_evaluate.steps": 1000,
    "train_and_evaluate.eval_every": 10,
    "train_and_evaluate.batch_size": 16,
    "train_and_evaluate.eval_latents": 4,
    "train_and_evaluate.scores": "[(@MissingModes, 50)]",
    "train_and_evaluate.score_samples": 100,
    "dcgan.channels": 4,
    "dcgan.n_z": 8,
}
# What a kill may be aimed at, and the sign that it is happening, as a pattern of names in the run directory. All of it
# is waited for after a random number of new lines of records, but for "start", which is any moment before training.
SIGNS = {
    "start": None,
    "training": None,
    "checkpoint, being written": "checkpoints/ckpt-*_temp",
    "checkpoint, not yet sealed": "checkpoints/.ckpt-*.sha256.*.tmp",
    "note of the checkpoint": "checkpoints/.checkpoint.*.tmp",
    "spectra": "spectra/.step_*.tmp",
    "picture": "samples/.step_*.tmp",
    "line of records": None,
    "export": ".saved_model.*.new.tmp",
}
AIMS = ["start"] * 3 + ["training"] * 8 + [name for name, sign in SIGNS.items() if sign and name != "export"]
AIMS += ["checkpoint, being written", "line of records", "line of records"]  # and last of 20, "export"


def start(workdir, bindings):
    """The process that trains in `workdir`; what it prints is added to `workdir`.log."""
    flags = [f"--gin_bindings={name} = {value}" for name, value in bindings.items()]
    command = [sys.executable, "-m", "tfjc.train", "--gin_file=gin/digits_jc.gin", f"--workdir={workdir}", *flags]
    with open(f"{workdir}.log", "ab") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)


def kill(process, run, aim, chance, lines):
    """Waits for the moment that is aimed at, and kills; returns the seconds since the start. False if it had ended.

    The moment is looked for after fewer than `lines` new lines of records.
    """
    began, sessions = time.monotonic(), len(_sessions(run))
    if aim == "start":
        time.sleep(chance.uniform(0.5, 4.0))
    else:
        while len(_sessions(run)) <= sessions and process.poll() is None:
            time.sleep(0.01)
        _wait(process, run, aim, chance, lines)
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    process.wait()
    return time.monotonic() - began


def _sessions(run):
    return run.read_run().get("sessions", [])


def _wait(process, run, aim, chance, most):
    """Waits until what is aimed at is happening, or the process has ended."""
    lines = _lines(run)
    for _ in range(0 if aim == "export" else chance.randrange(most)):
        lines = _new_line(process, run, lines)
    if aim == "line of records":
        _new_line(process, run, lines)
    elif aim == "training":
        time.sleep(chance.uniform(0.0, 0.3))
    else:
        while not any(run.path.glob(SIGNS[aim])) and process.poll() is None:
            pass


def _new_line(process, run, lines):
    """Waits for one more line of records than `lines`; returns how many there are."""
    while (found := _lines(run)) <= lines and process.poll() is None:
        lines = min(lines, found)  # a session first makes them fewer
    return found


def _lines(run):
    return run.metrics.read_bytes().count(b"\n") if run.metrics.exists() else 0


def left(run):
    """What a kill left: (newest recorded step, newest checkpoint's step, names of what is half-done)."""
    text = run.metrics.read_text() if run.metrics.exists() else ""
    steps = [json.loads(line)["step"] for line in text.split("\n")[:-1]]
    kept = sorted(int(re.search(r"\d+", path.name)[0]) for path in run.checkpoints.glob("ckpt-*.index"))
    half = [path.name for path in run.path.rglob("*") if re.search(r"\.tmp$|_temp$", path.name)]
    half += [f"ckpt-{step} without seal" for step in kept if not (run.checkpoints / f"ckpt-{step}.sha256").exists()]
    half += ["a line of metrics.jsonl"] if not text.endswith("\n") and text else []
    return max(steps, default=None), max(kept, default=None), half


def differences(first, second):
    """What differs between two finished runs: of checkpoints, records (but for `seconds`), spectra and pictures."""
    found = [f"checkpoint: {name}" for name in _unequal(_variables(first), _variables(second))]
    rows = ([{**row, "seconds": 0} for row in run.read_metrics()] for run in (first, second))
    found += [f"line {number} of metrics.jsonl" for number, (a, b) in enumerate(zip(*rows, strict=False)) if a != b]
    if len(first.read_metrics()) != len(second.read_metrics()):
        found.append("the number of lines of metrics.jsonl")
    for name in ("spectra", "samples"):
        files = ({path.name: path.read_bytes() for path in (run.path / name).iterdir()} for run in (first, second))
        found += [f"{name}/{file}" for file in _unequal(*files)]
    return found


def _variables(run):
    """Every variable in the newest checkpoint: weights, optimisers' state, step."""
    import tensorflow as tf

    from tfjc.saving import checkpoints

    path = checkpoints.path(run.checkpoints, checkpoints.find(run.checkpoints)[0])
    reader = tf.train.load_checkpoint(path)
    names = [name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name]
    return {name: reader.get_tensor(name) for name in names}


def _unequal(first, second):
    """The names whose values are not the same, bit for bit, or that only one side has."""
    both = first.keys() & second.keys()
    return sorted((first.keys() ^ second.keys()) | {name for name in both if _bits(first[name]) != _bits(second[name])})


def _bits(value):
    return value if isinstance(value, bytes) else (np.shape(value), np.asarray(value).tobytes())


def disturbed(run, chance, aims, bindings, lines=8):
    """Trains to the end in spite of kills aimed at `aims`, one after another; prints a row for each kill."""
    print(
        "| kill | aimed at | s after the start | newest record | newest checkpoint | half-done |\n" + "|---" * 6 + "|"
    )
    for number, aim in enumerate(aims, 1):
        seconds = kill(start(run.path, bindings), run, aim, chance, lines)
        if not seconds:
            raise SystemExit(f"the run was over before kill {number}: make it longer; see {run.path}.log")
        recorded, kept, half = left(run)
        print(f"| {number} | {aim} | {seconds:.1f} | {recorded} | {kept} | {', '.join(half)} |", flush=True)
    return start(run.path, bindings).wait()


def main():
    """Trains both runs and compares them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the order and the times")
    parser.add_argument("--workdir", help="where the runs are kept; a temporary directory by default")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    aims = [*chance.sample(AIMS, len(AIMS)), "export"]
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(arguments.workdir or temporary)
        os.makedirs(directory, exist_ok=True)
        quiet, noisy = (RunDirectory(directory / name) for name in ("quiet", "noisy"))
        print(f"undisturbed: exit status {start(quiet.path, BINDINGS).wait()}", flush=True)
        print(f"disturbed: exit status {disturbed(noisy, chance, aims, BINDINGS)}", flush=True)
        found = differences(quiet, noisy)
        print(
            f"{len(aims)} kills, {len(_sessions(noisy))} sessions; {len(_variables(quiet))} variables of the", end=" "
        )
        print(f"checkpoints, {len(quiet.read_metrics())} lines, spectra and pictures:", end=" ")
        print("equal, bit for bit" if not found else f"DIFFER: {', '.join(found)}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
