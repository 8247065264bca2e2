"""Callbacks in our `fit` and in anybody's."""

import shutil
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfjc import architectures, callbacks, evaluators, models
from tfjc.callbacks.samples import draw, grid
from tfjc.runs import saver
from tfjc.saving import checkpoints

IMAGES = np.random.default_rng(0).integers(0, 256, size=(32, 8, 8, 1)).astype(np.uint8)
Z = tf.random.stateless_normal([5, 3], [1, 1])


def events(directory):
    """{tag: [(step, kind)]} of the TensorBoard files in `directory`."""
    found = {}
    for path in sorted(directory.glob("events*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.metadata.plugin_data.plugin_name))
    return found


def test_conditioning_in_a_foreign_fit(tmp_path, capsys):
    """A plain Keras autoencoder whose decoder is watched: nothing of ours but the callback."""
    decoder = keras.Sequential([keras.Input([3]), keras.layers.Dense(16, activation="tanh"), keras.layers.Dense(64)])
    encoder = keras.Sequential([keras.Input([64]), keras.layers.Dense(3)])
    model = keras.Sequential([encoder, decoder])
    model.compile("adam", "mse")
    watch = callbacks.Conditioning(decoder, Z, every=2, log_dir=tmp_path)
    x = IMAGES.reshape(32, 64) / 255.0
    history = model.fit(x, x, batch_size=8, epochs=2, verbose=2, callbacks=[watch]).history
    assert history["mean_log_condition"] == [
        watch.history[2]["mean_log_condition"],
        watch.history[4]["mean_log_condition"],
    ]
    assert [row["step"] for row in watch.history] == [0, 2, 4, 6, 8]
    assert watch.history[-1]["mean_log_condition"] == pytest.approx(watch.spectrum.mean_log_condition)
    assert len({row["mean_log_condition"] for row in watch.history}) == 5
    assert "mean_log_condition" in capsys.readouterr().out
    written = events(tmp_path)
    assert written["conditioning/mean_log_condition"] == [(step, "scalars") for step in (0, 2, 4, 6, 8)]
    assert written["conditioning/log_singular_values"][0] == (0, "histograms")
    for tag in ("conditioning/clamped_low", "quotient_quantiles/0.5", "log_condition_quantiles/1.0"):
        assert len(written[tag]) == 5


def test_a_removed_log_directory_is_written_again(tmp_path):
    """As in a notebook, between two calls of `fit`; and callbacks of one directory share one event file."""

    class Counting(callbacks._periodic.Periodic):
        def act(self, step, logs):
            tf.summary.scalar("counted", step)

    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(4)])
    model.compile("sgd", "mse")
    counting = [Counting(2, tmp_path / "logs"), Counting(2, tmp_path / "logs")]
    for steps in ([0, 0, 2, 2, 4, 4], [6, 6, 8, 8]):
        model.fit(np.zeros([4, 3]), np.zeros([4, 4]), batch_size=1, verbose=0, callbacks=counting)
        assert [step for step, _ in events(tmp_path / "logs")["counted"]] == steps
        assert len(list((tmp_path / "logs").iterdir())) == 1
        shutil.rmtree(tmp_path / "logs")


@pytest.mark.parametrize(
    "measuring, training, warned", [(12.0, 5.0, [4]), (12.0, 13.0, []), (9.0, 1.0, []), (30.0, 20.0, [4])]
)
def test_a_measurement_longer_than_the_steps_before_it_is_warned_of_once(
    caplog, monkeypatch, measuring, training, warned
):
    """Never at the first one, which also traces, and of which it is said after two latents of five how long the others
    take; never below ten seconds.
    """
    clock = [0.0]

    def measure(generator, progress):
        for count in (2, 3) if progress else ():
            clock[0] += measuring * count / 5
            progress(count)
        clock[0] += 0.0 if progress else measuring
        return measured

    watch = callbacks.Conditioning(lambda z: 2.0 * z, Z)
    measured = watch.evaluator.measure(watch.generator)
    monkeypatch.setattr(watch.evaluator, "measure", measure)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    for step in (0, 4, 8):
        watch.act(step, {})
        clock[0] += training
    found = [
        record.getMessage() for record in caplog.records if "a measurement of 5 latents takes" in record.getMessage()
    ]
    assert [int(message.split()[1].rstrip(":")) for message in found] == warned
    expected = ["step 0: 2 of 5 latents are measured, and the others take about 18 s"] if measuring == 30.0 else []
    assert [message for record in caplog.records if "2 of 5" in (message := record.getMessage())] == expected
    assert all(f"takes {measuring:.0f} s, and the steps since the one before took {training:.0f} s" in m for m in found)


def test_conditioning_measures_the_last_step_too():
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(4)])
    model.compile("sgd", "mse")
    watch = callbacks.Conditioning(model, Z, every=4)
    model.fit(np.zeros([6, 3]), np.zeros([6, 4]), batch_size=1, verbose=0, callbacks=[watch])
    assert [row["step"] for row in watch.history] == [0, 4, 6]


def test_several_steps_in_one_execution_are_counted():
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(4)])
    model.compile("sgd", "mse", steps_per_execution=4, jit_compile=False)
    watch = callbacks.Conditioning(model, Z, every=4)
    model.fit(np.zeros([24, 3]), np.zeros([24, 4]), batch_size=2, epochs=2, verbose=0, callbacks=[watch])
    assert [row["step"] for row in watch.history] == [0, 4, 8, 12, 16, 20, 24]


def test_a_second_fit_goes_on_counting():
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(4)])
    model.compile("sgd", "mse")
    watch = callbacks.Conditioning(model, Z, every=3)
    for _ in range(2):
        model.fit(np.zeros([6, 3]), np.zeros([6, 4]), batch_size=1, verbose=0, callbacks=[watch])
    assert [row["step"] for row in watch.history] == [0, 3, 6, 9, 12]


def test_watching_changes_nothing():
    """Weights after training with and without the callback are bit for bit the same."""
    results = []
    for watched in (False, True):
        networks = architectures.dcgan((8, 8, 1), n_z=3, channels=4)
        model = models.GAN(networks.generator, networks.critic)
        watch = [callbacks.Conditioning(networks.generator, Z, every=1)] if watched else []
        model.fit(IMAGES, batch_size=8, verbose=0, callbacks=watch)
        results.append([np.array(v) for v in networks.generator.variables])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_grid_places_images_row_by_row():
    """Five grey 2×2 images in rows of three, a grey pixel about each, the sixth place empty."""
    levels = np.linspace(-1, 1, 5)
    found = grid(np.broadcast_to(levels[:, None, None, None], [5, 2, 2, 1]))
    assert (found.shape, found.dtype) == ((8, 12), np.uint8)
    centres = [found[1 + 4 * row, 1 + 4 * column] for row in range(2) for column in range(3)]
    assert centres == [0, 64, 128, 191, 255, 128]
    assert (found[0] == 128).all()
    assert grid(np.zeros([4, 2, 2, 3])).shape == (8, 8, 3)


def test_samples_are_written_as_pictures(tmp_path):
    networks = architectures.dcgan((8, 8, 1), n_z=3, channels=4)
    model = models.GAN(networks.generator, networks.critic)
    samples = callbacks.Samples(networks.generator, Z, tmp_path / "s", every=2, log_dir=tmp_path / "tb")
    model.fit(IMAGES, batch_size=8, verbose=0, callbacks=[samples])
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == [f"step_{s:08d}.png" for s in (0, 2, 4)]
    picture = np.asarray(Image.open(tmp_path / "s" / "step_00000004.png"))
    np.testing.assert_array_equal(picture, grid(networks.generator(Z)))
    assert events(tmp_path / "tb")["samples"] == [(0, "images"), (2, "images"), (4, "images")]


def test_images_without_channels_volumes_and_other_channels_are_drawn():
    """Grey images as with one channel; the slices of a volume, and channels that are no colours, side by side."""
    values = np.random.default_rng(0).uniform(-1, 1, [4, 2, 3, 5, 2])
    grey = values[:, 0, :, :, 0]
    np.testing.assert_array_equal(draw(grey), grid(grey[..., None]))
    volume = values[..., :1]
    np.testing.assert_array_equal(draw(volume), grid(np.concatenate([volume[:, 0], volume[:, 1]], axis=2)))
    pairs = values[:, 0]
    np.testing.assert_array_equal(draw(pairs), grid(np.concatenate([pairs[..., :1], pairs[..., 1:]], axis=2)))
    with pytest.raises(ValueError, match=r"points, images or volumes to be drawn, found \[1, 2, 3, 4, 5, 6\]"):
        draw(np.zeros([1, 2, 3, 4, 5, 6]))


@pytest.mark.parametrize("shape", [[7], [7, 1], [7, 5]])
def test_points_of_any_size_are_drawn_as_a_scatter_plot(shape):
    """All points lie at 0, in the middle of the axes, as points of the plane do."""
    np.testing.assert_array_equal(draw(np.zeros(shape)), draw(np.zeros([7, 2])))


def test_points_are_drawn_as_a_scatter_plot():
    assert draw(np.zeros([7, 2])).size == (400, 400)


def test_checkpoints_bring_everything_back(tmp_path):
    def make():
        networks = architectures.dcgan((8, 8, 1), n_z=3, channels=4)
        return models.GAN(networks.generator, networks.critic)

    def state(model):
        optimizers = model.generator_optimizer.variables + model.critic_optimizer.variables
        return [np.array(v) for v in [*model.variables, *optimizers]]

    model = make()
    keeper = saver.Checkpoints(model, tmp_path, every=1, keep=2)
    assert keeper.restore() is None
    model.fit(IMAGES, batch_size=8, verbose=0, callbacks=[keeper])
    assert len(list(tmp_path.glob("*.index"))) == 2
    other = make()
    assert saver.Checkpoints(other, tmp_path).restore().endswith("-4")
    assert int(other.step) == 4
    for a, b in zip(state(model), state(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_must_be_a_whole_number():
    with pytest.raises(ValueError, match="every must be at least 1, found 0"):
        callbacks.Conditioning(tf.identity, Z, every=0)


class Shrinking(keras.Model):
    """z ↦ diag(c, 1)·z with c set step by step: quotient and condition number are what a test wants them to be."""

    def __init__(self, scales):
        super().__init__()
        self.scales, self.seen = tf.constant(scales), self.add_weight(shape=(), initializer="zeros", name="seen")

    def call(self, z):
        return z * tf.gather(self.scales, tf.cast(self.seen, tf.int32))

    def train_step(self, data):
        self.seen.assign_add(1.0)
        return {"seen": self.seen}


def watched(scales, **options):
    """The callback after a `fit` whose steps set the scales one after another."""
    model = Shrinking(scales)
    model.compile(jit_compile=False)
    model.built = True
    watch = callbacks.Conditioning(model, tf.random.stateless_normal([8, 2], [1, 1]), every=1, **options)
    model.fit(np.zeros([len(scales) - 1, 1]), batch_size=1, verbose=0, callbacks=[watch])
    return watch


class Told:
    """An evaluator whose quotients and log-condition numbers are told beforehand."""

    def __init__(self, quotients, log_conditions):
        self.told = iter(zip(quotients, log_conditions, strict=True))

    def measure(self, generate, progress=None):
        return None, np.zeros(1)

    def summary(self, spectrum, q):
        quotient, log_condition = next(self.told)
        return {"quotient_quantiles": {"0.5": quotient}, "mean_log_condition": log_condition}


def told(quotients, log_conditions=None, **options):
    """A callback that measures these numbers, one at each step."""
    watch = callbacks.Conditioning(tf.identity, Z, **options)
    watch.evaluator = Told(quotients, log_conditions or [3.0] * len(quotients))
    watch.set_model(types.SimpleNamespace(stop_training=False))
    return watch


def warnings_of(caplog, *numbers, **thresholds):
    watch = told(*numbers, **thresholds)
    caplog.clear()
    with caplog.at_level("WARNING", logger="tfjc"):
        for step in range(len(numbers[0])):
            watch.act(step, {})
    return [record.getMessage() for record in caplog.records if record.name == "tfjc"]


def test_a_collapse_is_warned_of_when_it_happens_and_again_after_recovery(caplog):
    found = warnings_of(caplog, [0.001, 1.0, 0.01, 0.001, 1.0, 0.04])  # too small at the start: nothing fell there
    assert [line.split(":")[0] for line in found] == ["step 2", "step 5"]
    assert "fell to 0.01, below 0.05" in found[0]
    assert "JacobianClamping" in found[0]


def test_a_log_condition_that_passes_its_threshold_is_warned_of(caplog):
    numbers = [1.0] * 4, [4.6, 13.8, 4.6, np.inf]
    found = warnings_of(caplog, *numbers, alarm_log_condition=10, alarm_quotient=None)
    assert [line.split(":")[0] for line in found] == ["step 1", "step 3"]
    assert "rose to 13.8, above 10" in found[0]
    assert "rose to inf, above 10" in found[1]
    (found,) = warnings_of(caplog, *numbers)  # an infinite one is warned of without a threshold
    assert found.startswith("step 3") and "rose to inf: some" in found


def test_alarms_are_data():
    """On from the step at which the value leaves its interval to the step at which it is back."""
    watch = told([0.01, 1.0, 0.01, 0.02, 1.0, np.nan], [3.0, 3.0, 3.0, np.inf, np.inf, 3.0])
    for step in range(6):
        watch.act(step, {})
    both = ["quotient", "log_condition"]
    assert [row["alarms"] for row in watch.history] == [[], [], ["quotient"], both, ["log_condition"], ["quotient"]]


def test_alarms_of_a_resumed_training_go_on_as_they_were():
    """Cut at any step, the second part lists what one training lists."""
    quotients, expected = [1.0, 0.01, 0.01, 1.0, 0.01], [[], ["quotient"], ["quotient"], [], ["quotient"]]
    rows = []
    for cut in range(6):
        watch = told(quotients[cut:])
        if rows:
            watch.resume(rows[cut - 1])
        for step in range(cut, 5):
            watch.act(step, {})
        rows = rows or watch.history
        assert [row["alarms"] for row in watch.history] == expected[cut:]


@pytest.mark.parametrize(
    "quotients, log_conditions, options, reason",
    [
        ([1.0, 0.01], None, {}, "the median quotient is 0.01, below 0.05"),
        ([1.0, 0.01], None, {"alarm_quotient": 0.001}, None),
        ([1.0, 0.01], None, {"alarm_quotient": None}, None),
        ([0.01, 0.01], None, {}, None),  # small from the beginning: nothing fell
        ([1.0, 1.0], [3.0, np.inf], {}, None),  # a null direction is no collapse
        ([1.0, 1.0], [3.0, np.inf], {"alarm_log_condition": 30}, "the mean log-condition number is inf, above 30"),
        ([1.0, np.nan], None, {}, None),
    ],
)
def test_what_is_a_collapse(quotients, log_conditions, options, reason):
    for stop in (True, False):
        watch = told(quotients, log_conditions, stop_on_collapse=stop, **options)
        watch.act(0, {})
        watch.act(1, {})
        assert watch.collapse(watch.latest) == (reason if stop else None)
        assert watch.model.stop_training == (stop and reason is not None)


def test_a_collapse_ends_a_fit_and_is_told_to_tensorboard(tmp_path):
    scales = [[1.0, 1.0], [0.01, 0.01], [0.01, 0.01]]
    watch = watched(scales, stop_on_collapse=True, log_dir=tmp_path)
    assert [(row["step"], row["alarms"]) for row in watch.history] == [(0, []), (1, ["quotient"])]
    assert events(tmp_path)["conditioning/alarm/quotient"] == [(1, "text")]


def test_weights_that_diverge_are_not_taken_for_a_collapse(caplog):
    with caplog.at_level("WARNING", logger="tfjc"):
        watch = watched([[1.0, 1.0], [np.nan, 1.0], [1.0, 1.0]], stop_on_collapse=True)
    found = [record.getMessage() for record in caplog.records if record.name == "tfjc"]
    assert [line.split(":")[0] for line in found] == ["step 1", "step 1"]
    assert all("are not finite" in line and "collapse" not in line for line in found)
    assert len(watch.history) == 3


def test_a_conditional_generator_is_measured_with_its_labels():
    """G(z, c) = (c + 1)·z: σ_max averages the labels' scales, and so do the quotients."""
    watch = callbacks.Conditioning(lambda z, c: z * (c[:, None] + 1.0), Z, labels=[0.0, 1.0, 2.0, 3.0, 4.0])
    watch.act(0, {})
    assert watch.latest["sigma_max"] == pytest.approx(3.0)
    assert watch.latest["quotient_quantiles"]["1.0"] == pytest.approx(5.0, rel=1e-5)
    with pytest.raises(ValueError, match=r"labels must be \[5, ...\], one for each latent, found \(3,\)"):
        callbacks.Conditioning(tf.identity, Z, labels=[0, 1, 2])


class Counting:
    """An evaluator that gives how often it was called, in two protocols."""

    def __init__(self, error=None):
        self.calls, self.error = 0, error

    def prepare(self, progress=None):
        pass

    def __call__(self, generate, *, fast=False, progress=None):
        assert fast
        self.calls += 1
        if self.error:
            raise self.error
        return {"score/mine/360": float(self.calls), "score/mine/9": 0.5, "histogram/mine/9": [1, 2]}


def test_scores_in_a_foreign_fit(tmp_path):
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(4)])
    model.compile("sgd", "mse")
    scores = callbacks.Scores(model, Counting(), every=4, log_dir=tmp_path)
    model.fit(np.zeros([10, 3]), np.zeros([10, 4]), batch_size=1, verbose=0, callbacks=[scores])
    assert [row["step"] for row in scores.history] == [0, 4, 8, 10]
    first = {"score": 1.0, "histogram": [1, 2], "score/mine/360": 1.0, "score/mine/9": 0.5, "histogram/mine/9": [1, 2]}
    assert scores.history[0] == {"step": 0, **first}
    assert scores.at(10)["score"] == 4.0
    assert scores.at(8) == scores.at(9) == {}
    written = events(tmp_path)
    assert written["scores/score/mine/360"] == [(step, "scalars") for step in (0, 4, 8, 10)]
    assert "scores/histogram/mine/9" not in written


def test_samples_that_are_not_finite_are_not_scored(caplog):
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(4)])
    model.compile("sgd", "mse")
    scores = callbacks.Scores(model, Counting(evaluators.NotFinite("images must be finite")), every=4)
    model.fit(np.zeros([4, 3]), np.zeros([4, 4]), batch_size=1, verbose=0, callbacks=[scores])
    assert scores.history == []
    assert [r.getMessage() for r in caplog.records] == [f"no scores at step {s}: images must be finite" for s in (0, 4)]


@pytest.mark.parametrize("evaluator", [evaluators.ClassifierEvaluator, len, "fid"])
def test_scores_need_an_evaluator(evaluator):
    with pytest.raises(ValueError, match="scores need an evaluator such as ClassifierEvaluator"):
        callbacks.Scores(lambda z: z, evaluator)


def test_tensorboard_tells_runs_apart_by_their_configuration(finished_run):
    """The HParams page's record holds the seed and every binding."""
    from tensorboard.plugins.hparams import metadata

    for path in finished_run.tensorboard.glob("events*"):
        for record in tf.data.TFRecordDataset(str(path)):
            for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value:
                if value.tag == metadata.SESSION_START_INFO_TAG:
                    found = metadata.parse_session_start_info_plugin_data(value.metadata.plugin_data.content).hparams
    assert found["seed"].number_value == 0
    assert found["JacobianClamping.lambda_max"].number_value == 20.0
    assert found["train_and_evaluate.architecture"].string_value == "dcgan"


@pytest.mark.parametrize("keep", [1, 3, 5])
def test_the_newest_checkpoints_are_kept_and_no_fewer(tmp_path, keep):
    networks = architectures.dcgan((8, 8, 1), n_z=3, channels=2)
    keeper = saver.Checkpoints(models.GAN(*networks[:2]), tmp_path, every=1, keep=keep)
    for step in range(9):
        keeper.act(step, {})
    assert checkpoints.steps(tmp_path) == list(range(9))[-keep:]
