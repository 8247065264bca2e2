"""The command line, as a user starts it."""

import pathlib
import random
import re
import sys

import forks
import pytest
import train_kills
from short_runs import DIGITS

from tfjc.support.run_directory import RunDirectory

ROOT = pathlib.Path(__file__).parents[1]
BINDINGS = [f"--gin_bindings={binding}" for binding in DIGITS]


def command(*arguments):
    return [sys.executable, "-m", "tfjc.train", *arguments]


def run(*arguments):
    return forks.run(command(*arguments), cwd=ROOT)


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


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(workdir, tmp_path, capsys, monkeypatch):
    """SIGKILL while a checkpoint is written, then between a line of the records and its checkpoint: no bit differs."""
    monkeypatch.setattr(train_kills, "subprocess", forks.in_place_of_subprocess())
    killed, bindings = RunDirectory(tmp_path / "killed"), dict(binding.split(" = ") for binding in DIGITS)
    aims = ["checkpoint, being written", "line of records"]
    ended = train_kills.disturbed(killed, random.Random(0), aims, bindings, lines=1)
    assert ended == 0, pathlib.Path(f"{killed.path}.log").read_text()
    assert re.search(r"\| 1 \| checkpoint, being written \|.* ckpt-\d_temp \|", capsys.readouterr().out)
    assert len(killed.read_run()["sessions"]) == 3
    assert not train_kills.differences(RunDirectory(workdir), killed)
