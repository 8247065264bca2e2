"""The analysis from products alone, on a linear map of which everything is known."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfjc.evaluators import partial_analysis
from tfjc.saving import loading

VALUES = np.geomspace(0.2, 0.02, 20)
MATRIX = np.zeros([64, 20], np.float32)
np.fill_diagonal(MATRIX, VALUES)
Z = loading.draw_latents("normal", [2, 20], seed=0)


def stretch(z):
    """Images 8×8×1 with σ from 0.2 to 0.02 everywhere, on a background of −0.5."""
    return tf.reshape(z @ MATRIX.T - 0.5, [-1, 8, 8, 1])


def test_a_linear_stretch_is_described(tmp_path):
    said, done = [], []
    found = partial_analysis.analyze(
        stretch, Z, tmp_path, about={"model": "stretch"}, announce=said.append, progress=done.append
    )
    assert found == json.loads((tmp_path / "analysis.json").read_text())
    assert (found["model"], found["samples"], found["n_z"], found["output_shape"]) == ("stretch", 2, 20, [8, 8, 1])
    assert (sum(done), found["lanczos_steps"], found["probes"]) == (2 * 4, 4, 8)  # n_z − 16 steps are all
    np.testing.assert_allclose(found["largest"], VALUES[:16], rtol=1e-5)
    for name, expected in (
        ("trace", np.sum(VALUES**2)),
        ("log_determinant", 2 * np.sum(np.log(VALUES))),
        ("participation_ratio", np.sum(VALUES**2) ** 2 / np.sum(VALUES**4)),
    ):
        assert abs(found[name] - expected) < 5 * found[f"{name}_error"] + 1e-6 * abs(expected)
    assert found["finite_differences"] < 1e-4
    assert len(said) == 2
    assert said[0].startswith("memory: ")
    with np.load(tmp_path / "spectra.npz") as saved:
        np.testing.assert_array_equal(saved["z"], Z)
        np.testing.assert_allclose(np.abs(saved["vectors"]), [np.eye(20)[:, :16]] * 2, atol=1e-3)
        np.testing.assert_allclose(saved["gauss_weights"].sum(axis=2), 1.0, rtol=1e-6)
        integral = np.trapezoid(saved["density"], saved["log_eigenvalues"], axis=1)
        np.testing.assert_allclose(integral, 1.0, rtol=1e-3)
    assert Image.open(tmp_path / "spectra.png").size == (1200, 504)
    table = partial_analysis.table(found)
    assert f"σ_1 to σ_16          0.2 to {VALUES[15]:.4g}" in table
    assert "standard errors over 8 probes of 4 Lanczos steps" in table
    assert list(partial_analysis.remarks(found)) == []


@pytest.mark.parametrize(
    "generator, remark",
    [
        (lambda z: 0.0 * z, "J_z is 0"),
        (lambda z: tf.tanh(tf.concat([z[:, :19], z[:, :1]], axis=1)), "no ln det M_z: σ_min is at most"),
    ],
    ids=["constant", "rank"],
)
def test_what_a_reader_should_know_is_remarked(tmp_path, generator, remark, unrendered):
    found = partial_analysis.analyze(generator, Z, tmp_path)
    assert any(remark in sentence for sentence in partial_analysis.remarks(found))
    assert "ln det M_z           none, see below" in partial_analysis.table(found)
    assert "log_determinant" not in found


def test_a_classifier_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a generator, with n_x ≥ n_z, found n_z = 20 and n_x = 5"):
        partial_analysis.analyze(lambda z: z[:, :5], Z, tmp_path)
