"""A training that is asked to end at random moments, by Ctrl-C and by SIGTERM: how it ends, and how fast.

    python tools/experiments/interrupts.py --seed=0 --count=40

Each time the same command is started again, so that it goes on from what the last interrupt left. Prints a row for
each signal, and exits with 1 if a process did not end with 130 or 143, if it printed a traceback, if a run that had
begun was not `interrupted`, or if a checkpoint was lost.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from tfjc.support.run_directory import RunDirectory

ROOT = pathlib.Path(__file__).parent.parent.parent
BINDINGS = (
    *("train_and_evaluate.steps = 1000000", "train_and_evaluate.eval_every = 20", "train_and_evaluate.batch_size = 16"),
    *("train_and_evaluate.eval_latents = 4", "train_and_evaluate.scores = [(@MissingModes, 100)]"),
    *("train_and_evaluate.score_samples = 100", "dcgan.channels = 4", "dcgan.n_z = 8"),
)
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


def sessions(run):
    """The number of sessions in run.json."""
    return len(run.read_run().get("sessions", []))


def steps(run):
    """The steps of the checkpoints."""
    return sorted(int(path.stem.removeprefix("ckpt-")) for path in run.checkpoints.glob("ckpt-*.sha256"))


def once(run, number, after, of_training):
    """Interrupts one process, `after` seconds after its start or after training began; returns a row and faults."""
    flags = ["--gin_file=gin/digits_jc.gin", f"--workdir={run.path}", *(f"--gin_bindings={text}" for text in BINDINGS)]
    before, kept = sessions(run), steps(run)
    with tempfile.TemporaryFile() as log:
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "tfjc.train", *flags],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        while of_training and sessions(run) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(after)
        sent = time.monotonic()
        process.send_signal(number)
        status = process.wait()
        took = time.monotonic() - sent
        log.seek(0)
        printed = log.read().decode(errors="replace")
    found, has_begun = run.read_run().get("status", "none"), sessions(run) > before
    faults = [f"exit status {status}"] if status != STATUS[number] else []
    faults += ["traceback"] if "Traceback" in printed else []
    faults += [f"run.json says {found}"] if has_begun and found != "interrupted" else []
    faults += ["lost a checkpoint"] if max(kept, default=0) > max(steps(run), default=0) else []
    newest = max(steps(run), default=None)
    row = (
        number.name,
        f"{sent - began:.2f}",
        "training" if has_begun else "start",
        status,
        found,
        newest,
        f"{took:.1f}",
    )
    return row, faults, printed


def main():
    """Interrupts `--count` times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--longest", type=float, default=8.0, help="seconds after the start, or after training began")
    parser.add_argument("--workdir", help="where the run is kept; a temporary directory by default")
    arguments = parser.parse_args()
    chance, faulty = random.Random(arguments.seed), []
    columns = "| signal | s after the start | in | exit status | run.json | newest checkpoint | s to its end | faults |"
    print(columns + "\n" + "|---" * 8 + "|")
    with tempfile.TemporaryDirectory() as temporary:
        run = RunDirectory(os.path.join(arguments.workdir or temporary, "run"))
        for index in range(arguments.count):
            after, of_training = chance.uniform(0.0, arguments.longest), index % 2 == 1
            row, faults, printed = once(run, list(STATUS)[index // 2 % 2], after, of_training)
            print(f"| {' | '.join(map(str, row))} | {', '.join(faults)} |", flush=True)
            if faults:
                faulty.append(index)
                print(json.dumps(printed[-3000:]), file=sys.stderr)
    print(f"{arguments.count} interrupts, {len(faulty)} with faults")
    return int(bool(faulty))


if __name__ == "__main__":
    sys.exit(main())
