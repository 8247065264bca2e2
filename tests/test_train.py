"""The command line, as a user starts it."""

import pathlib
import random
import re

import forks
import train_kills
from short_runs import DIGITS

from tfjc.support.run_directory import RunDirectory


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(finished_run, tmp_path, capsys, monkeypatch):
    """SIGKILL while a checkpoint is written, then between a line of the records and its checkpoint: no bit differs.

    The last session prints scores and paths.
    """
    monkeypatch.setattr(train_kills, "subprocess", forks.in_place_of_subprocess())
    killed, bindings = RunDirectory(tmp_path / "killed"), dict(binding.split(" = ") for binding in DIGITS)
    aims = ["checkpoint, being written", "line of records"]
    ended = train_kills.disturbed(killed, random.Random(0), aims, bindings, lines=1)
    printed = pathlib.Path(f"{killed.path}.log").read_text()
    assert ended == 0, printed
    assert re.search(r"\| 1 \| checkpoint, being written \|.* ckpt-\d_temp \|", capsys.readouterr().out)
    assert len(killed.read_run()["sessions"]) == 3
    assert not train_kills.differences(finished_run, killed)
    for part in (
        "mean log-condition",
        "quotient",
        str(killed.saved_model),
        "tensorboard.main --logdir",
        "conditioning",
    ):
        assert part in printed
