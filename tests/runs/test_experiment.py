"""A run from beginning to end: its directory, its resumption, its refusals."""

import contextlib
import json
import math
import shutil
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from short_runs import train, without_exports, without_graphs, without_time

from tfjc import architectures, datasets, geometry, models
from tfjc.models import _model
from tfjc.runs import experiment, saver, sessions
from tfjc.saving import checkpoints, export
from tfjc.support.run_directory import RunDirectory

# Networks of three layers, for what does not depend on the architecture.
MLP = ("train_and_evaluate.architecture = @mlp", "mlp.n_z = 2", "mlp.width = 4", "mlp.depth = 1")


@pytest.fixture(scope="module")
def small_run(made_once):
    """The directory of a short run of such networks, for what does the same with `unexported` and `untraced`."""
    with pytest.MonkeyPatch.context() as patched:
        without_exports(patched)
        without_graphs(patched)
        return made_once("small_run", lambda path: train(path, *MLP))


def weights(run):
    """Everything in the newest checkpoint of a run, by name."""
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(run.checkpoints)))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if name != "save_counter"}


def assert_same_weights(first, second):
    first, second = weights(first), weights(second)
    assert first.keys() == second.keys()
    for name in first:
        if "CHECKPOINTABLE_OBJECT_GRAPH" not in name and "save_counter" not in name:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_steps_without_python_between_them_give_the_same_numbers(tmp_path, unexported, monkeypatch):
    """Under XLA: two intervals of two steps by two calls; records and weights bit for bit."""
    monkeypatch.setattr(_model, "use_xla", lambda: True)
    taken, fit = [], models.GAN.fit
    monkeypatch.setattr(
        models.GAN, "fit", lambda gan, *a, **o: taken.append(gan.steps_per_execution) or fit(gan, *a, **o)
    )
    bindings = (*MLP, "train_and_evaluate.steps = 4", "GAN.generator_penalties = []")
    one, several = (train(tmp_path / str(k), *bindings, steps_per_execution=k) for k in (1, "auto"))
    assert taken == [1, 2]
    assert without_time(one) == without_time(several)
    assert_same_weights(one, several)


def test_steps_at_once():
    model = models.GAN(*architectures.mlp((4, 4, 1), n_z=2, width=2, depth=1)[:2])
    for jit_compile, expected in ((False, 1), (True, 100)):
        model.compile(jit_compile=jit_compile)
        assert experiment._steps_at_once("auto", model) == expected
    assert experiment._steps_at_once(7, model) == 7
    model.replicas = 2
    assert experiment._steps_at_once("auto", model) == 1
    with pytest.raises(ValueError, match="2 replicas take one step at a time, found steps_per_execution = 7"):
        experiment._steps_at_once(7, model)


def test_a_run_directory_holds_all_that_the_design_names(finished_run):
    run = finished_run
    for path in (run.config, run.operative_config, run.run, run.metrics, run.figure):
        assert path.is_file(), path
    assert sorted(p.name for p in run.samples.iterdir()) == [f"step_{s:08d}.png" for s in (0, 2, 4, 6)]
    assert (run.saved_model / "saved_model.pb").exists()
    assert list(run.tensorboard.glob("events*"))
    assert not [p for p in run.path.rglob("*.tmp*") if "checkpoint" not in p.name]


def test_run_json_says_what_was_run(finished_run):
    found = finished_run.read_run()
    assert (found["status"], found["seed"]) == ("finished", 0)
    assert found["wall_clock_seconds"] > 0
    (session,) = found["sessions"]
    assert (session["tensorflow"], session["keras"]) == (tf.__version__, keras.__version__)
    assert {"device", "commit", "started"} <= session.keys()


def test_the_configuration_is_resolved(finished_run):
    assert "JacobianClamping.lambda_max = 20.0" in finished_run.config.read_text()
    assert "dataset.name = 'digits'" in finished_run.config.read_text()
    assert finished_run.read_run()["bindings"]["GAN.generator_penalties"] == ["JacobianClamping"]
    assert "dcgan.batch_norm = True" in finished_run.operative_config.read_text()  # a default that was used


def test_every_line_of_metrics_has_the_keys_others_rely_on(finished_run):
    rows = finished_run.read_metrics()
    assert [row["step"] for row in rows] == [0, 2, 4, 6]
    always = {"step", "seconds", "mean_log_condition", "log_condition", "log_condition_quantiles"}
    always |= {"quotient_quantiles", "clamped_low", "clamped_high"}
    for row in rows:
        assert always <= row.keys()
        assert np.mean(row["log_condition"]) == pytest.approx(row["mean_log_condition"])
    for row in rows[1:]:
        assert {"generator_loss", "critic_loss"} <= row.keys()
    assert [row["seconds"] for row in rows] == sorted(row["seconds"] for row in rows)


def test_spectra_belong_to_the_exported_generator(finished_run, grappler):
    """The last spectrum on record is that of the SavedModel at the recorded latents."""
    saved = finished_run.read_spectra()
    assert saved["steps"].tolist() == [0, 2, 4, 6]
    assert (saved["singular_values"].shape, saved["average_jacobian"].shape) == ((4, 4, 8), (4, 8))
    found = geometry.spectrum(export.load_generator(finished_run.saved_model), saved["z"])
    np.testing.assert_allclose(saved["singular_values"][-1], found.singular_values, rtol=1e-4)
    last = finished_run.read_metrics()[-1]["mean_log_condition"]
    assert last == pytest.approx(found.mean_log_condition, rel=1e-4)


def test_pictures_are_pictures(finished_run):
    assert Image.open(finished_run.samples / "step_00000006.png").size == (20, 20)  # 2 × 2 images of 8 + 2 pixels
    assert Image.open(finished_run.figure).size == (1200, 480)


def test_the_same_seed_writes_the_same_records(finished_run, tmp_path, unexported, grappler):
    again = train(tmp_path / "again")
    assert without_time(again) == without_time(finished_run)
    assert_same_weights(again, finished_run)


def test_another_seed_writes_other_records(small_run, tmp_path, unexported, untraced):
    other = train(tmp_path / "other", *MLP, "train_and_evaluate.steps = 2", seed=1)
    for row, first in zip(without_time(other), without_time(small_run), strict=False):
        assert row["step"] == first["step"] and row != first


def test_a_run_made_longer_equals_one_never_stopped(finished_run, tmp_path, capsys, unexported, grappler):
    run = train(tmp_path / "run", "train_and_evaluate.steps = 2")
    first = run.read_run()
    train(tmp_path / "run")
    assert "going on from step 2" in capsys.readouterr().out
    assert without_time(run) == without_time(finished_run)
    assert_same_weights(run, finished_run)
    assert run.spectrum_steps() == [0, 2, 4, 6]
    assert run.read_run()["wall_clock_seconds"] > first["wall_clock_seconds"]
    assert len(run.read_run()["sessions"]) == 2


def test_an_interrupted_run_goes_on(small_run, tmp_path, monkeypatch, unexported, untraced):
    """Ctrl-C after the records of step 4 were written and before their checkpoint: step 4 is done again."""
    act = saver.Checkpoints.act

    def interrupted(self, step, logs):
        if step == 4:
            raise KeyboardInterrupt
        act(self, step, logs)

    monkeypatch.setattr(saver.Checkpoints, "act", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", *MLP)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"
    monkeypatch.setattr(saver.Checkpoints, "act", act)
    run = train(tmp_path / "run", *MLP)
    assert without_time(run) == without_time(small_run)
    assert_same_weights(run, small_run)
    assert run.read_run()["status"] == "finished"


def test_a_damaged_newest_checkpoint_costs_its_steps_and_nothing_else(
    small_run, tmp_path, capsys, caplog, unexported, untraced
):
    """A byte of step 6's weights, TensorFlow's note of the newest checkpoint, the end of the records: all lost."""
    run = RunDirectory(shutil.copytree(small_run.path, tmp_path / "run"))
    run.update_run(status="running")
    data = run.checkpoints / "ckpt-6.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    (run.checkpoints / "checkpoint").write_text("model_checkpoint_path: 7")
    run.metrics.write_text(run.metrics.read_text()[:-5])
    train(run.path, *MLP)
    assert "going on from step 4" in capsys.readouterr().out
    assert "ckpt-6: ckpt-6.data-00000-of-00001 does not match its SHA-256" in caplog.text
    assert "ckpt-4" in caplog.text
    assert without_time(run) == without_time(small_run)
    assert_same_weights(run, small_run)
    assert checkpoints.newest(run.checkpoints) == (6, {})


def last_rows(run):
    run.metrics.write_text("".join(run.metrics.read_text().splitlines(True)[:2]))


def last_spectra(run):
    for step in (4, 6):
        (run.spectra / f"step_{step:08d}.npz").unlink()


@pytest.mark.parametrize("lose", [last_rows, last_spectra])
def test_a_run_goes_back_to_where_its_records_are_whole(
    small_run, tmp_path, capsys, caplog, unexported, untraced, lose
):
    """Rows or spectra of steps 4 and 6 are lost: these steps are trained again, from checkpoint 2."""
    run = RunDirectory(shutil.copytree(small_run.path, tmp_path / "run"))
    lose(run)
    train(run.path, *MLP)
    assert "going on from step 2" in capsys.readouterr().out
    assert "lacks step 4" in caplog.text
    assert without_time(run) == without_time(small_run)
    for name, array in small_run.read_spectra().items():
        np.testing.assert_array_equal(run.read_spectra()[name], array)


def test_a_finished_run_is_left_as_it_is(tmp_path, unexported, untraced):
    run = train(tmp_path / "run", *MLP, "train_and_evaluate.steps = 2")
    before = {p: p.stat().st_mtime_ns for p in run.path.rglob("*")}
    train(tmp_path / "run", *MLP, "train_and_evaluate.steps = 2")
    assert {p: p.stat().st_mtime_ns for p in run.path.rglob("*")} == before


def test_steps_need_not_be_a_multiple_of_the_interval(tmp_path, unexported, untraced):
    """7 steps, one evaluation every 3; then 9: the short epochs join up as if they had been one run."""
    bindings = (*MLP, "train_and_evaluate.eval_every = 3", "GAN.generator_penalties = []")
    run = train(tmp_path / "a", *bindings, "train_and_evaluate.steps = 7")
    assert [row["step"] for row in run.read_metrics()] == [0, 3, 6, 7]
    train(tmp_path / "a", *bindings, "train_and_evaluate.steps = 9")
    whole = train(tmp_path / "b", *bindings, "train_and_evaluate.steps = 9")
    assert [row["step"] for row in run.read_metrics()] == [0, 3, 6, 7, 9]
    assert_same_weights(run, whole)


@pytest.mark.parametrize(
    "bindings, options, message",
    [
        (["dcgan.channels = 5"], {}, "holds a run of another configuration"),
        ([], {"seed": 7}, "holds a run with seed 0, found 7"),
        ([], {"resume": False}, "holds a run already"),
    ],
)
def test_another_run_is_never_mixed_in(finished_run, bindings, options, message):
    before = finished_run.metrics.read_bytes()
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        train(finished_run.path, *bindings, **options)
    assert finished_run.metrics.read_bytes() == before
    if bindings:
        assert "was  dcgan.channels = 4" in str(caught.value)
        assert "now  dcgan.channels = 5" in str(caught.value)


def test_force_goes_on_with_another_configuration_and_says_so(small_run, tmp_path, unexported, untraced):
    run = RunDirectory(shutil.copytree(small_run.path, tmp_path / "run"))
    before = {path: path.read_bytes() for path in (run.config, run.run, run.metrics)}
    with pytest.raises(ValueError, match=r"ckpt-6 does not fit these networks and optimisers: .*shape"):
        train(run.path, *MLP, "mlp.width = 5", "train_and_evaluate.steps = 8", force=True)
    assert {path: path.read_bytes() for path in before} == before
    train(run.path, *MLP, "Adam.learning_rate = 0.01", "train_and_evaluate.steps = 8", force=True)
    session = run.read_run()["sessions"][-1]
    assert session["step"] == 6
    assert session["changed"] == ["was  Adam.learning_rate = 0.0002", "now  Adam.learning_rate = 0.01"]
    assert [row["step"] for row in run.read_metrics()] == [0, 2, 4, 6, 8]
    assert "Adam.learning_rate = 0.01" in run.config.read_text()


def test_the_last_step_is_scored_whatever_the_interval(tmp_path, digits_classifier, unexported, untraced):
    """6 is no multiple of 4; of 5 steps, `fit` makes four and then one."""
    scored = ("train_and_evaluate.scores = [(@MissingModes, 4)]", "train_and_evaluate.score_samples = 20")
    for steps, expected in ((6, [0, 4, 6]), (5, [0, 4, 5])):
        run = train(tmp_path / str(steps), *scored, f"train_and_evaluate.steps = {steps}")
        assert [row["step"] for row in run.read_metrics() if "missing_classes" in row] == expected


def test_a_run_scored_with_another_network_than_before_is_warned_about(
    tmp_path, digits_classifier, caplog, unexported, untraced
):
    few = (*SCORED, "train_and_evaluate.score_samples = 20")
    run = train(tmp_path / "run", *few, "train_and_evaluate.steps = 2")
    before = run.read_run()["scores"]
    run.update_run(scores=[{**about, "sha256": "another"} for about in before])
    caplog.clear()
    train(tmp_path / "run", *few, "train_and_evaluate.steps = 4")
    assert "earlier scores were taken with" in caplog.text
    assert run.read_run()["scores"] == before


@pytest.mark.parametrize(
    "binding, message",
    [
        ("train_and_evaluate.steps = 0", "train_and_evaluate.steps must be at least 1, found 0"),
        ("train_and_evaluate.steps = 'many'", "train_and_evaluate.steps must be a whole number, found 'many'"),
        ("train_and_evaluate.dataset = 'digits'", r"must be callable \(in gin: @name\), found a str"),
        ("train_and_evaluate.model = @dcgan", "got an unexpected keyword argument 'prior'"),
        ("train_and_evaluate.architecture = @Adam", "."),
        ("train_and_evaluate.critic_optimizer = @JacobianClamping", "must make Optimizer, found JacobianClamping"),
        ("train_and_evaluate.batch_size = 5000", "a batch takes 5000 images, found 1797"),
        ("dcgan.n_z = 'x'", r"n_z must be a whole number, found 'x'"),
        ("JacobianClamping.lambda_max = 0.5", "lambda_min must not exceed lambda_max"),
        ("dataset.name = 'minst'", "unknown dataset 'minst'; nearest: mnist"),
        ("train_and_evaluate.dataset = @dataset()", r"must be callable \(in gin: @name\), found a Dataset"),
        ("train_and_evaluate.chunk = 0", "train_and_evaluate.chunk must be at least 1, found 0"),
        ("GAN.critic_penalties = [@JacobianClamping()]", "critic_penalties must be penalty objects"),
        ("Adam.learning_rate = 'fast'", "learning_rate"),
    ],
)
def test_mistakes_stop_a_run_before_anything_is_written(tmp_path, binding, message):
    with pytest.raises((ValueError, TypeError), match=message):
        train(tmp_path / "run", binding)
    assert not (tmp_path / "run").exists()


def test_divergence_stops_the_run_at_once_and_is_named(tmp_path, unexported):
    """A critic whose weights are 1e30 after its first update: the generator's loss in the same step is not finite."""
    with pytest.raises(models.Diverged, match=r"training diverged at step 1: generator_loss is not finite") as caught:
        train(tmp_path / "run", "Adam.learning_rate = 1e30")
    run = RunDirectory(tmp_path / "run")
    assert (caught.value.step, caught.value.tensor) == (1, "generator_loss")
    found = run.read_run()
    assert (found["status"], found["diverged"]) == ("diverged", {"step": 1, "tensor": "generator_loss"})
    assert [row["step"] for row in run.read_metrics()] == [0]
    assert checkpoints.find(run.checkpoints)[0] == 0


COLLAPSING = (  # the clamp shrinks the images
    *MLP,
    "train_and_evaluate.steps = 8",
    "train_and_evaluate.eval_every = 4",
    "train_and_evaluate.alarm_quotient = 0.5",
    "JacobianClamping.lambda_min = 0.0",
    "JacobianClamping.lambda_max = 0.001",
    "Adam.learning_rate = 0.1",
)


def test_a_collapse_ends_the_run_and_the_same_command_says_so_again(tmp_path, unexported, untraced, capsys):
    """Without the flag it goes on, and ends with the bytes of a run that never stopped."""
    whole = train(tmp_path / "whole", *COLLAPSING)
    assert ["quotient" in row["alarms"] for row in whole.read_metrics()] == [False, True, True]
    messages = []
    for _ in range(2):
        with pytest.raises(sessions.Collapsed) as caught:
            train(tmp_path / "run", *COLLAPSING, stop_on_collapse=True)
        messages.append(str(caught.value))
        run = RunDirectory(tmp_path / "run")
        found = run.read_run()
        value = run.read_metrics()[-1]["quotient_quantiles"]["0.5"]
        assert found["status"] == "collapsed"
        assert found["collapsed"] == {"step": 4, "reason": f"the median quotient is {value:.3g}, below 0.5"}
        assert [row["step"] for row in run.read_metrics()] == [0, 4]
        assert checkpoints.find(run.checkpoints)[0] == 4 and run.lost() is None
    assert messages[0] == messages[1] and "at step 4 the median quotient is" in messages[0]
    capsys.readouterr()
    run = train(tmp_path / "run", *COLLAPSING)
    assert "the generator had collapsed: the median quotient is" in capsys.readouterr().out
    assert (run.read_run()["status"], "collapsed" in run.read_run()) == ("finished", False)
    assert without_time(run) == without_time(whole)
    assert_same_weights(run, whole)


def test_whether_a_collapse_ends_a_run_may_change(tmp_path, unexported, untraced):
    run = train(tmp_path / "run", *MLP, "train_and_evaluate.steps = 2")
    train(run.path, *MLP, "train_and_evaluate.steps = 4", "train_and_evaluate.stop_on_collapse = True")
    assert run.read_metrics()[-1]["step"] == 4


def test_a_failure_after_the_start_is_not_taken_for_a_mistake_in_the_call(tmp_path, monkeypatch, untraced):
    def full(rows, path):
        raise OSError("out of paper")

    monkeypatch.setattr("tfjc.support.figures.conditioning", full)
    with pytest.raises(sessions.TrainingError, match=r"failed: out of paper"):
        train(tmp_path / "run", *MLP, "train_and_evaluate.steps = 2")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


def test_a_dry_run_describes_and_writes_nothing(tmp_path, capsys):
    train(tmp_path / "run", dry_run=True)
    shown = capsys.readouterr().out
    for part in ("dcgan.channels = 4", "1797 × (8, 8, 1)", 'Model: "generator"', 'Model: "critic"', "Total params"):
        assert part in shown
    assert not (tmp_path / "run").exists()


def test_points_in_the_plane_train_too(tmp_path, unexported, untraced):
    run = train(tmp_path / "run", "train_and_evaluate.steps = 2", gin_file="gaussian_ring")
    assert run.read_spectra()["singular_values"].shape == (2, 4, 2)
    assert Image.open(run.samples / "step_00000002.png").size == (400, 400)


SCORED = (
    "train_and_evaluate.scores = [(@ClassifierEvaluator, 3), (@MissingModes, 6)]",
    "train_and_evaluate.score_samples = 400",
)


def test_scores_are_recorded_and_change_nothing_else(
    finished_run, digits_classifier, tmp_path, capsys, unexported, grappler
):
    """At steps 0, 4 and 6: every 3, rounded up to the evaluations' 2, and at the end."""
    run = train(tmp_path / "scored", *SCORED)
    rows = run.read_metrics()
    assert [row["step"] for row in rows if "classifier_score" in row] == [0, 4, 6]
    last = rows[-1]
    assert last["frechet_distance"] == last["frechet_distance/digits/penultimate/400"]
    assert last["least_sampled_class"] == last["least_sampled_class/digits/360"]
    for row, before in zip(without_time(run), without_time(finished_run), strict=True):
        assert {key: row[key] for key in before} == before
    assert_same_weights(run, finished_run)
    scored = run.read_run()["scores"]
    assert [(about["evaluator"], about["classifier"]) for about in scored] == [
        ("ClassifierEvaluator", "digits"),
        ("MissingModes", "digits"),
    ]
    assert Image.open(run.score_figure).size[0] > 1000
    printed = capsys.readouterr().out
    assert "classifier_score/digits/400" in printed and "scores.png" in printed
    again = train(tmp_path / "scored", *SCORED, "train_and_evaluate.steps = 8")
    assert [row["step"] for row in again.read_metrics() if "classifier_score" in row] == [0, 4, 6, 8]


@pytest.mark.parametrize(
    "binding, message",
    [
        ("scores = [@ClassifierEvaluator]", r"must be pairs of an evaluator and an interval, such as \[\(@Cl"),
        ("scores = [(@ClassifierEvaluator, 0)]", "the interval in train_and_evaluate.scores must be at least 1"),
        ("score_samples = 0", "score_samples must be at least 1"),
    ],
)
def test_scores_that_cannot_be_taken(binding, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(tmp_path / "run", f"train_and_evaluate.{binding}")
    assert not (tmp_path / "run").exists()


def test_a_full_disk_stops_a_run_which_goes_on_when_there_is_room(
    small_run, tmp_path, monkeypatch, unexported, untraced
):
    """A file system of its own that is full from step 4's checkpoint on: TensorFlow itself cannot write it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    act = saver.Checkpoints.act

    def filling(self, step, logs):
        if step == 4:
            with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as filler:
                while filler.write(bytes(1024)):
                    pass
        act(self, step, logs)

    try:
        with monkeypatch.context() as patched:
            patched.setattr(saver.Checkpoints, "act", filling)
            message = (
                r"could not write: .*ckpt-4.*No space left on device.* The checkpoint of step 2 is intact: free some"
            )
            with pytest.raises(sessions.DiskFull, match=message):
                train(disk / "run", *MLP)
        (disk / "filler").unlink()
        run = train(disk / "run", *MLP)
        assert without_time(run) == without_time(small_run)
        assert_same_weights(run, small_run)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def linear(image_shape, seed):
    """x = A z, with a critic that hardly matters."""
    scale = np.geomspace(3.0, 0.1, 4)
    matrix = scale[:, None] * np.linalg.qr(np.random.default_rng(0).normal(size=[math.prod(image_shape), 4]))[0].T
    generator = keras.Sequential(
        [keras.Input([4]), keras.layers.Dense(matrix.shape[1], use_bias=False), keras.layers.Reshape(image_shape)]
    )
    generator.set_weights([matrix])
    critic = keras.Sequential([keras.Input(image_shape), keras.layers.Flatten(), keras.layers.Dense(1)])
    return architectures.Networks(generator, critic, architectures.standard_normal(4))


def test_quotients_in_a_run_are_those_of_directions_of_their_own(tmp_path, unexported, untraced):
    """Q = √(Σ σ_k² δ_k²)/‖δ‖ for δ ~ N(0, I). Along z itself it would have the quantiles of the run's own latents."""
    experiment.train_and_evaluate(
        tmp_path / "run",
        dataset=lambda **where: datasets.load("digits"),
        architecture=linear,
        steps=1,
        batch_size=8,
        eval_latents=2000,
    )
    run = RunDirectory(tmp_path / "run")
    recorded, z = run.read_metrics()[0]["quotient_quantiles"], run.read_spectra()["z"]
    sigma = np.geomspace(3.0, 0.1, 4)

    def quotients(delta):
        return np.linalg.norm(delta * sigma, axis=1) / np.linalg.norm(delta, axis=1)

    exact = np.sort(quotients(np.random.default_rng(1).normal(size=[400_000, 4])))
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        found = np.searchsorted(exact, recorded[str(share)]) / len(exact)
        assert found == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 2000))
    along_z = {str(share): np.quantile(quotients(z), share, method="lower") for share in (0.25, 0.5, 0.75)}
    assert all(abs(recorded[share] - q) > 1e-4 for share, q in along_z.items())
