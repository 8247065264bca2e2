"""The analysis of one generator, on a map of which everything is known, and what it writes."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfjc.evaluators import analysis
from tfjc.saving import loading

STRETCH = np.zeros([64, 3], np.float32)
STRETCH[0, 0], STRETCH[1, 1], STRETCH[2, 2] = 0.2, 0.1, 0.02


def stretch(z):
    """Images 8×8×1 with σ = (0.2, 0.1, 0.02) everywhere, on a background of −0.5."""
    return tf.reshape(z @ STRETCH.T - 0.5, [-1, 8, 8, 1])


def test_a_linear_stretch_is_described(tmp_path, unrendered):
    """ln κ = 2 ln 10; ln det M = 2 ln(0.2·0.1·0.02); p = (10, 5, 1)/16; stable rank (100 + 25 + 1)/100."""
    z = loading.draw_latents("normal", [20, 3], seed=0)
    done = []
    found = analysis.analyze(stretch, z, tmp_path, about={"model": "stretch"}, progress=done.append)
    assert sum(done) == 20
    assert found == json.loads((tmp_path / "analysis.json").read_text())
    assert (found["model"], found["samples"], found["n_z"], found["output_shape"]) == ("stretch", 20, 3, [8, 8, 1])
    assert found["mean_log_condition"] == pytest.approx(2 * np.log(10), rel=1e-5)
    assert found["average_jacobian_log_condition"] == pytest.approx(2 * np.log(10), rel=1e-5)
    assert found["log_determinant"] == pytest.approx(2 * np.log(0.2 * 0.1 * 0.02), rel=1e-5)
    p = np.array([10, 5, 1]) / 16
    assert found["effective_rank"] == pytest.approx(np.prod(p**-p), rel=1e-5)
    assert found["stable_rank"] == pytest.approx(1.26, rel=1e-5)
    assert found["finite_differences"] < 1e-4
    assert 0.02 <= found["quotient_quantiles"]["0.0"] <= found["quotient_quantiles"]["1.0"] <= 0.2


@pytest.mark.parametrize("activation, scale", [("tanh", [-1.0, 1.0]), ("sigmoid", [0.0, 1.0])])
def test_the_papers_interval_is_for_images_from_minus_one_to_one(tmp_path, activation, scale, unrendered):
    """Shares of quotients outside [1, 20] say nothing of a generator on another scale: they are left out there."""
    layers = [keras.Input([3]), keras.layers.Dense(64, activation=activation), keras.layers.Reshape([8, 8, 1])]
    found = analysis.analyze(keras.Sequential(layers), loading.draw_latents("normal", [6, 3], seed=0), tmp_path)
    assert found["scale"] == scale
    assert ({"clamped_low", "clamped_high"} <= found.keys()) is (activation == "tanh")


def test_what_is_written_can_be_read_again(tmp_path):
    z = loading.draw_latents("uniform", [6, 3], seed=1)
    analysis.analyze(stretch, z, tmp_path / "a" / "b")
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == [
        "analysis.json",
        "spectra.npz",
        "spectra.png",
        "walks.png",
    ]
    with np.load(tmp_path / "a" / "b" / "spectra.npz") as saved:
        np.testing.assert_array_equal(saved["z"], z)
        np.testing.assert_allclose(saved["singular_values"], np.tile([0.2, 0.1, 0.02], [6, 1]), rtol=1e-5)
        np.testing.assert_allclose(saved["average_metric_tensor"], np.diag([0.04, 0.01, 0.0004]), atol=1e-8)
        np.testing.assert_allclose(np.abs(saved["average_vectors"]), np.eye(3), atol=1e-6)
        np.testing.assert_allclose(np.abs(saved["most"]), np.tile(np.eye(3), [6, 1, 1]), atol=1e-6)
        np.testing.assert_allclose(np.abs(saved["least"]), np.tile(np.eye(3)[:, ::-1], [6, 1, 1]), atol=1e-6)
    assert Image.open(tmp_path / "a" / "b" / "spectra.png").size == (1800, 504)


def test_walks_follow_the_directions(tmp_path, monkeypatch, unrendered):
    """Along ±v₁ only the first pixel moves, by 0.2 a unit in z: 0.1 on the picture's scale; along v₃ by a tenth."""
    drawn = []
    monkeypatch.setattr(analysis.figures, "walks", lambda rows, *arguments: drawn.append(rows))
    analysis.analyze(stretch, tf.zeros([5, 3]), tmp_path)
    rows = drawn[0]
    assert rows.shape == (2 * analysis.WALKS, analysis.STEPS, 8, 8, 1)
    offsets = np.linspace(-analysis.REACH, analysis.REACH, analysis.STEPS)
    most = rows[0, :, 0, 0, 0] - 0.25
    np.testing.assert_allclose(np.abs(most), np.abs(0.1 * offsets), atol=1e-5)
    np.testing.assert_allclose(rows[0, :, 1:], 0.25, atol=1e-5)
    assert np.abs(rows[1] - 0.25).max() == pytest.approx(0.02, rel=1e-4)


def test_priors():
    shape = [20000, 2]
    normal, uniform, cut = (
        np.asarray(loading.draw_latents(n, shape, 3)) for n in ("normal", "uniform", "truncated_normal")
    )
    assert normal.std() == pytest.approx(1.0, abs=0.02)
    assert np.abs(normal).max() > 3
    assert (uniform.min() >= -1, uniform.max() <= 1) == (True, True)
    assert uniform.std() == pytest.approx(np.sqrt(1 / 3), abs=0.01)
    assert np.abs(cut).max() <= 2
    assert cut.std() == pytest.approx(0.8796, abs=0.01)  # of N(0, 1) cut at ±2
    np.testing.assert_array_equal(normal, loading.draw_latents("normal", shape, 3))
    assert not np.array_equal(normal, loading.draw_latents("normal", shape, 4))
    with pytest.raises(ValueError, match="unknown prior 'gaussian'"):
        loading.draw_latents("gaussian", shape, 0)


@pytest.mark.parametrize(
    "shape, expected",
    [
        ([2, 8, 9, 3], (2, 8, 9, 3)),
        ([2, 8, 9], (2, 8, 9, 1)),
        ([2, 3, 8, 9], (2, 8, 9, 3)),
        ([2, 1, 8, 8], (2, 8, 8, 1)),
        ([2, 10], None),
        ([2, 8, 8, 5], None),
        ([2, 2, 2, 3], None),
    ],
)
def test_outputs_are_pictures_where_they_are_images(shape, expected):
    found = analysis.as_pictures(np.zeros(shape, np.float32))
    assert (None if found is None else found.shape) == expected


@pytest.mark.parametrize("low, high, grey", [(-1.0, 1.0, 0.5), (0.0, 1.0, 0.0), (0.0, 255.0, 0.0), (-0.2, 0.4, 0.5)])
def test_pictures_are_scaled_by_the_range_that_holds_them(low, high, grey):
    x = np.zeros([1, 4, 4, 1], np.float32)
    x[0, 0, 0], x[0, 0, 1] = low, high
    found = analysis.as_pictures(x)
    assert found[0, 3, 3, 0] == pytest.approx(grey)
    if high in (1.0, 255.0):
        assert (found.min(), found.max()) == (0.0, 1.0)


@pytest.mark.parametrize(
    "generator, remark",
    [
        (lambda z: tf.reshape(127.5 * (z @ STRETCH.T + 1.0), [-1, 8, 8, 1]), "not over"),
        (lambda z: z[:, :2] @ np.ones([2, 5], np.float32), "rank-deficient"),
        (lambda z: z * tf.constant([1.0, 1.0, 1e-7]), "below the rounding"),
        (lambda z: 0.0 * z, "does not depend on z"),
        (lambda z: 1e-4 * tf.tanh(z) - tf.constant([1.0, 0.0, 1.0]) * tf.constant([0.9, 1.0, -0.9]), "looks collapsed"),
        (lambda z: z + 10.0 * tf.stop_gradient(z), "% off: the generator is not smooth"),
    ],
    ids=["range", "rank", "rounding", "constant", "collapse", "wrong gradient"],
)
def test_what_a_reader_should_know_is_remarked(tmp_path, generator, remark, unrendered):
    found = analysis.analyze(generator, loading.draw_latents("normal", [8, 3], 0), tmp_path)
    assert any(remark in sentence for sentence in analysis.remarks(found))
    assert "mean log-condition" in analysis.table(found)


def test_the_median_of_the_table_is_that_of_the_two_middle_latents(tmp_path, unrendered):
    """J of z + z³/3 is diag(1 + z²)."""
    z = tf.constant([[0.0, 1.0], [0.0, 3.0]])
    found = analysis.analyze(lambda z: z + z**3 / 3, z, tmp_path)
    expected = (2 * np.log(2.0) + 2 * np.log(10.0)) / 2
    assert f"median, 5 to 95 %       {expected:.2f}, " in analysis.table(found)


def test_a_sound_generator_gets_no_remark(tmp_path, unrendered):
    found = analysis.analyze(lambda z: tf.tanh(4.0 * z), loading.draw_latents("normal", [8, 3], 0), tmp_path)
    assert list(analysis.remarks(found)) == []


def test_labels_are_used_throughout(tmp_path, unrendered):
    found = analysis.analyze(
        lambda z, c: stretch(z) * tf.cast(c, tf.float32)[:, None, None, None],
        loading.draw_latents("normal", [4, 3], 0),
        tmp_path,
        labels=tf.constant([1, 2, 3, 4]),
    )
    assert found["sigma_max"] == pytest.approx(0.2 * 2.5, rel=1e-5)
    assert found["finite_differences"] < 1e-4
    assert (tmp_path / "walks.png").exists()


def test_more_latents_than_outputs_are_no_generator(tmp_path):
    classifier = keras.Sequential([keras.Input([20]), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="n_x ≥ n_z, found n_z = 20 and n_x = 3"):
        analysis.analyze(classifier, tf.zeros([2, 20]), tmp_path / "a")
    assert not (tmp_path / "a").exists()
