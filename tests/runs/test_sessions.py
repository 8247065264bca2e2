"""What may be done in a run directory, and how a session's end is told."""

import errno
import os
import shutil
import signal
import types

import keras
import pytest
import tensorflow as tf

from tfjc.runs import sessions
from tfjc.support import interrupts, run_directory
from tfjc.support.run_directory import RunDirectory

CONFIG = {"config.gin": "Adam.learning_rate = 0.1\ntrain_and_evaluate.steps = 5\n"}
BINDINGS = {"Adam.learning_rate": 0.1, "train_and_evaluate.steps": 5, "GAN.generator_penalties": ["JacobianClamping"]}
OTHER = BINDINGS | {"Adam.learning_rate": 0.2, "train_and_evaluate.steps": 7}


def row(step, seconds):
    return {"step": step, "seconds": seconds, "mean_log_condition": 1.0, "log_condition": [1.0]}


def session(run, **about):
    return sessions.session(run, 0, lambda: CONFIG, BINDINGS, **about)


@pytest.fixture
def run(tmp_path):
    """A run that has begun."""
    run = RunDirectory(tmp_path / "run").create()
    with session(run):
        run.append_metrics(row(0, 1.5))
    return run


def changed(run, bindings=BINDINGS, seed=0, resume=True, force=False):
    return sessions.changed(run, seed, bindings, resume, force)


def test_the_same_configuration_goes_on(run, tmp_path):
    assert changed(run) == changed(RunDirectory(tmp_path / "new")) == []
    assert changed(run, BINDINGS | {"train_and_evaluate.steps": 9}) == []  # more steps are the same run
    run.config.unlink()  # run.json has what is compared
    assert changed(run, BINDINGS | {"train_and_evaluate.chunk": 3}) == []
    assert changed(run, None) == []  # a call from Python has no bindings


def test_another_configuration_needs_force(run):
    run.config.unlink()
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
    run.append_metrics(row(500, 2.0))
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


@pytest.mark.parametrize("error", [tf.errors.UnknownError(None, None, "KeyboardInterrupt: "), ValueError, SystemError])
def test_a_session_that_was_asked_to_end_is_interrupted_whatever_tensorflow_raises(run, error, monkeypatch):
    monkeypatch.setattr(interrupts, "received", lambda: signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), session(run):
        raise error
    assert run.read_run()["status"] == "interrupted"


def test_a_signal_that_was_swallowed_ends_the_training_after_the_step(run, monkeypatch):
    watch = sessions.Watch(run)
    watch.on_train_batch_end(0)
    monkeypatch.setattr(interrupts, "received", lambda: signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        watch.on_train_batch_end(1)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_directory_that_is_taken_away_ends_the_run(run, replaced):
    """Under its new name it is a run that was killed; what stands under its old name is left alone."""
    renamed = run.path.with_name("renamed")
    message = r"run was removed, renamed .* with its new name \(--workdir\)"
    with pytest.raises(sessions.DirectoryLost, match=message), sessions.entered(run) as own, session(own):
        sessions.Watch(own).on_train_batch_end(0)
        run.path.rename(renamed)
        if replaced:
            run.path.mkdir()
            run.run.write_text("{}")
        sessions.Watch(own).on_train_batch_end(1)
    assert RunDirectory(renamed).read_run()["status"] == "running"
    assert run.run.exists() == replaced and (not replaced or run.run.read_text() == "{}")


def test_a_write_that_fails_since_the_directory_is_gone_says_so(run):
    with pytest.raises(sessions.DirectoryLost), sessions.entered(run) as own, session(own):
        shutil.rmtree(run.path)
        own.append_metrics(row(2, 3.0))
    assert not run.path.exists()


def test_a_full_disk_is_that_of_the_file(run, monkeypatch):
    """A cache or a temporary folder may lie elsewhere."""
    free = {run.path: 1, run.path.parent: 7}
    monkeypatch.setattr(shutil, "disk_usage", lambda place: types.SimpleNamespace(free=free[place] * 2**20))
    with pytest.raises(sessions.DiskFull, match=rf"7\.0 MiB are free on the disk of {run.path.parent}\)"), session(run):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(run.path.parent / "no" / "such" / "file"))
    with pytest.raises(sessions.DiskFull, match=rf"1\.0 MiB are free on the disk of {run.path}\)"), session(run):
        raise full("tensorflow")


@pytest.mark.parametrize(
    "name, kind",
    [
        ("tensorboard", "directory"),
        ("saved_model", "directory"),
        ("samples", "directory"),
        ("metrics.jsonl", "file"),
        ("scores.png", "file"),
        ("config.gin", "file"),
    ],
)
def test_what_is_in_the_way_is_found_before_training(run, name, kind):
    path = run.path / name
    path.unlink(missing_ok=True)
    path.write_text("") if kind == "directory" else path.mkdir()
    with pytest.raises(ValueError, match=rf"run/{name} must be a {kind}, and is none: remove it"):
        changed(run)
    path.unlink() if kind == "directory" else path.rmdir()
    os.mkfifo(path)  # reading one would wait for ever
    with pytest.raises(ValueError, match=rf"run/{name} must be a {kind}"):
        changed(run)


def test_a_folder_of_other_files_is_no_export(run):
    run.saved_model.mkdir()
    assert changed(run) == []
    (run.saved_model / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="saved_model holds other files than an exported generator"):
        changed(run)
