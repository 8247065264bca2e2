"""What may be done in a run directory, and how a session's end is told."""

import errno
import os

import keras
import pytest
import tensorflow as tf

from tfjc.runs import sessions
from tfjc.support import run_directory
from tfjc.support.run_directory import RunDirectory

CONFIG = {"config.gin": "# a comment\nAdam.learning_rate = 0.1\ntrain_and_evaluate.steps = 5\n"}
OTHER = {"config.gin": "Adam.learning_rate = 0.2\ntrain_and_evaluate.steps = 7\n"}


def session(run, **about):
    return sessions.session(run, 0, lambda: CONFIG, **about)


@pytest.fixture
def run(tmp_path):
    """A run that has begun."""
    run = RunDirectory(tmp_path / "run").create()
    with session(run):
        run.append_metrics({"step": 0, "seconds": 1.5})
    return run


def changed(run, config=CONFIG, seed=0, resume=True, force=False):
    return sessions.changed(run, seed, config, resume, force)


def test_the_same_configuration_goes_on(run, tmp_path):
    assert changed(run) == changed(RunDirectory(tmp_path / "new")) == []
    assert changed(run, {"config.gin": CONFIG["config.gin"].replace("5", "9")}) == []  # more steps are the same run


def test_another_configuration_needs_force(run):
    expected = ["was  Adam.learning_rate = 0.1", "now  Adam.learning_rate = 0.2"]
    with pytest.raises(ValueError, match=r"another conf.*\(--force\)\n  was  Adam.*0\.1\n  now  Adam.*0\.2$"):
        changed(run, OTHER)
    assert changed(run, OTHER, force=True) == expected
    with session(run, changed=expected, step=3):
        assert run.read_run()["status"] == "running"
    assert [entry.get("changed") for entry in run.read_run()["sessions"]] == [None, expected]
    assert run.read_run()["sessions"][1]["step"] == 3


def test_another_precision_needs_force(run):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with pytest.raises(ValueError, match=r"was  --precision=float32\n  now  --precision=mixed_bfloat16$"):
            changed(run)
        assert changed(run, force=True) == ["was  --precision=float32", "now  --precision=mixed_bfloat16"]
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("force", [False, True])
def test_another_seed_is_refused_whatever_is_forced(run, force):
    with pytest.raises(ValueError, match="holds a run with seed 0, found 1"):
        changed(run, seed=1, force=force)
    with pytest.raises(ValueError, match="leave out --noresume"):
        changed(run, resume=False, force=force)


def test_a_directory_of_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match=r"holds no run, but other files \(thesis\.tex\); choose another --workdir"):
        changed(RunDirectory(tmp_path))
    (tmp_path / "thesis.tex").rename(tmp_path / ".lock")  # what a process leaves that is killed at once
    assert changed(RunDirectory(tmp_path)) == []


class Saver:
    def __init__(self, path):
        self.restore = lambda directory, missing: path


def test_lost_checkpoints_are_no_new_beginning(run, capsys):
    sessions.restore(run, Saver(None))  # killed between the first line and the first checkpoint
    run.append_metrics({"step": 500, "seconds": 2.0})
    with pytest.raises(
        ValueError, match=r"records up to step 500 and no checkpoint to go on from; restore checkpoints/"
    ):
        sessions.restore(run, Saver(None))
    sessions.restore(run, Saver("x/ckpt-500"))
    assert "going on from step 500" in capsys.readouterr().out


def full(kind):
    if kind == "python":
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "samples/a.png")
    return tf.errors.ResourceExhaustedError(None, None, "checkpoints/ckpt-5; No space left on device")


@pytest.mark.parametrize("kind, file", [("python", r"samples/a\.png"), ("tensorflow", "ckpt-5")])
def test_a_full_disk_is_told_with_what_to_do(run, kind, file):
    with (
        pytest.raises(
            sessions.DiskFull, match=rf"could not write: .*{file}.*MiB are free.*no checkpoint yet: free some"
        ),
        session(run),
    ):
        raise full(kind)
    assert run.read_run()["status"] == "failed"


def test_a_disk_too_full_for_the_outcome_hides_nothing(run, monkeypatch):
    def write(path, text):
        raise full("python")

    with pytest.raises(FloatingPointError, match="diverged"), session(run):
        monkeypatch.setattr(run_directory, "write_text", write)
        monkeypatch.setattr(sessions, "write_text", write)
        raise FloatingPointError("diverged")
    assert run.read_run()["status"] == "running"


@pytest.mark.parametrize(
    "error, status", [(KeyboardInterrupt, "interrupted"), (FloatingPointError, "diverged"), (MemoryError, "failed")]
)
def test_what_ends_a_session_is_its_status(run, error, status):
    with pytest.raises(error), session(run):
        raise error
    assert run.read_run()["status"] == status
    assert run.read_run()["wall_clock_seconds"] == 1.5
