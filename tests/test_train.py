"""The command line, as a user starts it."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
from runs import SHORT, without_time

from tfjc import records

ROOT = pathlib.Path(__file__).parent.parent
BINDINGS = [f"--gin_bindings={binding}" for binding in SHORT]


def command(*arguments):
    return [sys.executable, "-m", "tfjc.train", *arguments]


def run(*arguments):
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    path = tmp_path_factory.mktemp("train") / "run"
    done = run("--gin_file=gin/digits_jc.gin", f"--workdir={path}", *BINDINGS)
    assert done.returncode == 0, done.stderr
    (path / "printed").write_text(done.stdout)
    return path


def test_it_ends_with_scores_and_paths(workdir):
    printed = (workdir / "printed").read_text()
    for part in (
        "mean log-condition",
        "quotient",
        str(workdir / "saved_model"),
        "-m tensorboard.main --logdir",
        "conditioning",
    ):
        assert part in printed


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(workdir, tmp_path):
    """SIGKILL once step 2's checkpoint is there; the same command then goes on and ends with the same records."""
    path = tmp_path / "killed"
    arguments = command("--gin_file=gin/digits_jc.gin", f"--workdir={path}", *BINDINGS)
    # Endless, so that the kill falls inside training.
    endless = [*arguments, "--gin_bindings=train_and_evaluate.steps = 1000000"]
    with subprocess.Popen(endless, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (path / "checkpoints" / "ckpt-2.index").exists():
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = without_time(records.RunDirectory(path))
    expected = without_time(records.RunDirectory(workdir))
    assert rows[: len(expected)] == expected
    assert int(re.search(r"going on from step (\d+)", done.stdout)[1]) >= 2
