"""Callbacks of a user's own module in a run, by gin."""

import importlib
import json
import os
import sys
import types

import forks
import gin
import keras
import pytest
from conftest import ROOT
from short_runs import without_exports, without_graphs, without_time

from tfjc.runs import configuration, foreign
from tfjc.saving import checkpoints
from tfjc.support.files import is_score
from tfjc.support.run_directory import RunDirectory

MODULE = """
import gin
import keras

seen = []


@gin.configurable
class Log(keras.callbacks.Callback):
    def __init__(self, fails_at=None, stops_at=None):
        super().__init__()
        self.fails_at, self.stops_at = fails_at, stops_at

    def on_train_begin(self, logs=None):
        seen.append(("begin", int(self.model.step.numpy()), dict(logs)))

    def on_train_batch_end(self, batch, logs=None):
        step = int(self.model.step.numpy())
        seen.append(("batch", step, dict(logs)))
        if step == self.fails_at:
            raise ValueError("the server\\nis away")
        if step == self.stops_at:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        seen.append(("epoch", int(self.model.step.numpy()), dict(logs)))


@gin.configurable
def broken():
    raise KeyError("no account")
"""
GIN = """
import my_callbacks
include 'gaussian_ring.gin'
train_and_evaluate.callbacks = [@Log()]
train_and_evaluate.steps = 4
train_and_evaluate.eval_every = 2
train_and_evaluate.score_samples = 20
train_and_evaluate.scores = [(@MissingModes, 2)]
train_and_evaluate.eval_latents = 3
train_and_evaluate.batch_size = 8
mlp.width = 4
mlp.depth = 1
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The path of a gin file that imports the module."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_callbacks.py").write_text(MODULE)
    (folder / "own.gin").write_text(GIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder / "own.gin"
    gin.clear_config()


@pytest.fixture(scope="module")
def run_of(own):
    """A function (workdir, bindings) that trains, and returns the run and what the callback saw."""
    seen = importlib.import_module("my_callbacks").seen

    def run(workdir, *bindings):
        configuration.parse([str(own)], bindings)
        seen.clear()
        configuration.train_and_evaluate(workdir=workdir)
        return RunDirectory(workdir), list(seen)

    with pytest.MonkeyPatch.context() as patch:
        without_exports(patch)
        without_graphs(patch)
        yield run


@pytest.fixture(scope="module")
def whole(run_of, tmp_path_factory):
    """A run of four steps, and what the callback saw."""
    return run_of(tmp_path_factory.mktemp("runs") / "whole")


def numbers(row):
    return {name: value for name, value in row.items() if isinstance(value, (int, float))}


def test_it_sees_what_was_recorded_before_the_checkpoint(whole):
    """Step 0, and steps 2 and 4 with their scores; between them, Keras's logs alone."""
    run, seen = whole
    rows = {row["step"]: numbers(row) for row in run.read_metrics()}
    assert any(map(is_score, rows[4])) and "modes_covered" in rows[4]
    order = [("begin", 0), ("batch", 1), ("batch", 2), ("epoch", 2), ("batch", 3), ("batch", 4), ("epoch", 4)]
    assert [(hook, step) for hook, step, _ in seen] == order
    for hook, step, logs in seen:
        told = rows.get(step, {"critic_loss": logs.get("critic_loss"), "generator_loss": logs.get("generator_loss")})
        assert logs == pytest.approx(told), (hook, step)


def test_the_run_goes_on_by_its_own_file_with_or_without(whole, run_of, tmp_path):
    """Callbacks do not count as another configuration, and do not change the numbers."""
    run_of(tmp_path / "cut", "train_and_evaluate.steps = 2", "train_and_evaluate.callbacks = []")
    cut, seen = run_of(tmp_path / "cut")
    assert [(hook, step) for hook, step, _ in seen] == [("begin", 2), ("batch", 3), ("batch", 4), ("epoch", 4)]
    assert without_time(cut) == without_time(whole[0])


def test_its_configuration_needs_trust(whole):
    with pytest.raises(configuration.ConfigError, match=r"holds 'import my_callbacks', which can run code.*--trust"):
        configuration.refuse_code(whole[0].config)
    configuration.parse([str(whole[0].config)], [])  # as with --trust
    assert configuration.bindings()["train_and_evaluate.callbacks"] == ["Log"]


def test_an_error_ends_the_run_and_names_the_callback(run_of, tmp_path):
    message = (
        r"callback my_callbacks\.Log\.on_train_batch_end failed \(.*my_callbacks\.py, line 21\): ValueError: the ser"
    )
    with pytest.raises(foreign.CallbackFailed, match=message):
        run_of(tmp_path / "run", "Log.fails_at = 4")
    run = RunDirectory(tmp_path / "run")
    assert run.read_run()["status"] == "failed"
    assert [row["step"] for row in run.read_metrics()] == [0, 2, 4]
    assert checkpoints.find(run.checkpoints)[0] == 2


def test_a_callback_may_end_the_run(run_of, tmp_path):
    run, _ = run_of(tmp_path / "run", "Log.stops_at = 3")
    assert run.read_run()["status"] == "finished"
    assert [row["step"] for row in run.read_metrics()] == [0, 2, 3] and checkpoints.find(run.checkpoints)[0] == 3


@pytest.mark.parametrize(
    "binding, message",
    [
        ("[@broken]", r"broken in train_and_evaluate.callbacks failed \(.*line 31\): KeyError: 'no account'"),
        ("[@Adam]", "Adam in train_and_evaluate.callbacks must make a Keras callback, found a Adam"),
        ("[3]", r"must be Keras callbacks, or functions that make them, found 3 \(int\)"),
        ("@Log", "must be a list such as"),
    ],
)
def test_what_is_no_callback_is_refused(run_of, tmp_path, binding, message):
    with pytest.raises(ValueError, match=message):
        run_of(tmp_path / "run", f"train_and_evaluate.callbacks = {binding}")
    assert not (tmp_path / "run" / "run.json").exists()


def test_instances_classes_and_functions_are_taken():
    instance = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(seen=logs["fid"]))
    entries = [instance, lambda: instance, keras.callbacks.TerminateOnNaN]
    foreign.check(entries)
    first, second, third = foreign.made(entries, types.SimpleNamespace(recorded={"fid": 3.0}))
    assert first.callback is second.callback is instance
    assert isinstance(third.callback, keras.callbacks.TerminateOnNaN)
    logs = {"loss": 1.0}
    first.on_epoch_end(0, logs)
    assert logs == {"loss": 1.0}  # what the callback was given is a copy


def test_the_command_line_ends_with_a_status_for_each(own, tmp_path):
    """1 and one line for a callback's error; 3 for a collapse."""
    fails = [f"--gin_file={own}", f"--workdir={tmp_path / 'fails'}", "--gin_bindings=Log.fails_at = 1"]
    ends = [f"--gin_file={own}", f"--workdir={tmp_path / 'ends'}", "--stop_on_collapse"]
    ends += ["--gin_bindings=train_and_evaluate.alarm_quotient = 0.45"]  # Q falls from 0.58 to 0.30
    ends += ["--gin_bindings=Adam.learning_rate = 0.1", "--gin_bindings=train_and_evaluate.callbacks = []"]
    program = [sys.executable, ROOT / "tests/command_cases.py", "train", json.dumps([fails, ends]), "600"]
    done = forks.run(program, cwd=tmp_path, env={**os.environ, "PYTHONPATH": f"{ROOT}:{own.parent}"})
    assert done.returncode == 0, done.stderr[-3000:]
    (failed, said), (collapsed, told) = json.loads(done.stdout.splitlines()[-1])
    line = said[said.index("tfjc.train: ") :]
    assert failed == 1 and line.count("\n") == 1 and "my_callbacks.Log.on_train_batch_end failed" in line
    assert "Traceback" not in said
    assert collapsed == 3 and "the generator has collapsed: at step 2 the median quotient is 0.2" in told
