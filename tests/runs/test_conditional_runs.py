"""Runs of class-conditional networks: labels from the data to records, pictures, exports and scores."""

import functools
import sys

import forks
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from PIL import Image
from replicas import conditional
from short_runs import train

from tfjc import geometry
from tfjc.saving import export, loading

TINY = [
    "dataset.size = 16",
    "wgangp_resnet.channels = 4",
    "wgangp_resnet.n_z = 8",
    "GAN.d_steps = 1",
    "GAN.ema_decay = 0.5",
]


@pytest.fixture(scope="session")
def run(made_once):
    """A run with few layers, one of each kind that `wgangp_resnet` has."""
    architecture = functools.partial(conditional, n_z=8, channels=4, num_classes=10)
    return made_once(
        "conditional", lambda path: train(path, *TINY, gin_file="digits_wgangp_jc", architecture=architecture)
    )


def test_the_records_say_how_many_classes(run):
    assert run.read_run()["num_classes"] == 10
    last = run.read_metrics()[-1]
    assert {"critic_class_loss", "generator_class_loss", "critic_penalty", "quotient"} <= last.keys()


def test_pictures_have_a_column_for_each_class(run):
    """Four fixed latents have four classes, 16 pixels and a border of 1 on each side."""
    with Image.open(run.samples / "step_00000006.png") as picture:
        assert picture.size == (4 * 18, 18)


def test_the_averaged_generator_is_what_is_restored_and_exported(run):
    """And what was measured: the run's newest spectra are its own."""
    restored, exported = loading.load_any(run.path), export.load_generator(run.saved_model)
    assert restored.num_classes == 10
    spectra = run.read_spectra()
    z, singular_values = tf.constant(spectra["z"]), spectra["singular_values"][-1]
    labels = tf.range(4)
    np.testing.assert_allclose(geometry.run(restored.generate, z, labels), exported(z, labels), atol=1e-6)
    eigenvalues = np.linalg.eigvalsh(exported.metric_tensor(z, labels))[:, ::-1]
    np.testing.assert_allclose(np.sqrt(eigenvalues), singular_values, rtol=1e-3)
    checkpoint = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(run.checkpoints)))
    names = checkpoint.get_variable_to_shape_map()
    assert any(name.startswith("model/averaged_generator/") for name in names)


def test_labels_of_the_runs_own_classes_are_drawn(run):
    labels = loading.draw_labels(loading.load_any(run.path), 1000, seed=0).numpy()
    assert set(labels) == set(range(10))


@pytest.mark.parametrize(
    "bindings, message",
    [
        (
            ["dataset.name = 'gaussian_ring'"],
            r"wgangp_resnet needs images \(height, width, channels\), found \(2,\)",
        ),
        (["wgangp_resnet.num_classes = 5"], r"labels must lie in 0 to 4 \(num_classes = 5\), found 0 to 9"),
        (["train_and_evaluate.architecture = @dcgan"], "generator takes no labels .* class_weights = .*1.0, 0.1"),
        (["train_and_evaluate.model = @VAE"], "makes networks of 10 classes, but VAE takes no labels"),
    ],
)
def test_wrong_combinations_stop_before_anything_is_written(bindings, message, tmp_path):
    if "@dcgan" in bindings[0]:
        bindings = [*bindings, "GAN.class_weights = (1.0, 0.1)"]
    with pytest.raises((ValueError, TypeError), match=message):
        tiny = TINY[1:] if "gaussian" in bindings[0] else TINY  # points have no size
        train(tmp_path / "run", *tiny, *bindings, gin_file="digits_wgangp_jc")
    assert not (tmp_path / "run").exists()


def test_a_run_is_loaded_by_a_process_that_imports_nothing_else(run):
    """Its layers are ours: whoever loads them must know them."""
    code = f"from tfjc.saving import loading; assert loading.load_any({str(run.path)!r}).num_classes == 10"
    done = forks.run([sys.executable, "-c", code], cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_a_decay_over_another_number_of_updates_is_warned_about(tmp_path, caplog):
    train(tmp_path / "run", *TINY, gin_file="digits_wgangp", dry_run=True)
    assert "critic_optimizer decays over 7500 updates, the run makes 6" in caplog.text
