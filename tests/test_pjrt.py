"""Modules of tools/pjrt: what they hold, and that JAX's client computes with them what TensorFlow does.

Skipped where JAX is missing, as it is after `tools/run`: `pip install .[bench]` brings it.
"""

import pathlib
import re
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc import architectures, datasets, evaluators, models, penalties
from tfjc.callbacks import samples
from tfjc.support import noise

pytest.importorskip("jax")

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "tools" / "pjrt"), str(HERE.parent / "tools" / "benchmarks")]

import _bundle  # noqa: E402
import _philox  # noqa: E402
import _pjrt  # noqa: E402
import _records  # noqa: E402
import _trace  # noqa: E402
import export  # noqa: E402

BATCH, UPDATES = 4, 3


@pytest.mark.parametrize("shape", [[7], [3, 5, 2], [64, 33]])
def test_random_numbers_are_tensorflows(shape):
    key = _trace.key_of([5, -3])
    uniform = tf.random.stateless_uniform(shape, [5, -3]).numpy()
    np.testing.assert_array_equal(_philox.uniform(key["key"], key["counter"], shape), uniform)
    normal = tf.random.stateless_normal(shape, [5, -3]).numpy()
    np.testing.assert_allclose(_philox.normal(key["key"], key["counter"], shape), normal, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("images", [1000, 70_000])
def test_the_order_of_the_data_is_that_of_the_batches(images):
    array, batch = np.arange(images, dtype=np.float32)[:, None] / images, 300
    keys = np.stack([export._epoch_key(7, epoch) for epoch in range(3)])
    start = images // batch - 1  # the second batch goes on into the next epoch
    taken = [next(iter(datasets.batches(array, batch, seed=7, start=start + i))).numpy() for i in range(2)]
    np.testing.assert_array_equal(array[_bundle.order(keys, batch, start, 2, images)], taken)


def _gan():
    networks = architectures.dcgan((8, 8, 1), n_z=3, channels=2, seed=1)
    clamp = penalties.JacobianClamping()
    gan = models.GAN(*networks[:2], prior=networks.prior, generator_penalties=[clamp], seed=5)
    gan.compile(keras.optimizers.SGD(2e-3), keras.optimizers.Adam(2e-3, 0.5))
    return gan


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A clamped GAN: its update, three in one module, its measurements; TensorFlow's numbers of single updates."""
    writer = export.Writer(tmp_path_factory.mktemp("bundle"))
    gan, names = export._with_seed(_gan())
    images = np.random.default_rng(0).integers(0, 256, [8, 8, 8, 1], np.uint8)
    index = np.random.default_rng(1).integers(0, 8, [UPDATES, BATCH]).astype(np.int32)
    writer.state("gan", names, [gan.generator, gan.critic])
    batch = tf.TensorSpec([BATCH, 8, 8, 1], tf.uint8)
    one = tf.function(lambda x: export._one(gan, x), jit_compile=True, autograph=False)
    writer.module("one", one, {"images": batch}, names)
    inputs = {"images": tf.TensorSpec(images.shape, tf.uint8), "index": tf.TensorSpec(index.shape, tf.int32)}
    writer.module("many", lambda *arrays: export.many(gan, UPDATES, *arrays), inputs, names)
    z = tf.random.stateless_normal([4, 3], [0, 0])
    latents = {name: tf.TensorSpec(z.shape) for name in ("z", "z_perturbed")}
    gan.generator(z, training=True)  # so that normalisation is not the identity
    writer.state("measured", names)
    writer.module("conditioning", lambda *pair: export.measure(gan.generator, *pair), latents, names)
    evaluator = evaluators.ConditioningEvaluator(z, seed=3)
    row = evaluator(gan.generator)
    z_perturbed = penalties.JacobianClamping().perturb(z, noise.seed(3, noise.Stream.DIRECTIONS))
    writer.write()
    found = _bundle.Bundle(writer.folder)
    for name, variable in names.values():
        variable.assign(found.state("gan")[name])
    losses = [one(images[order]) for order in index]
    expected = {name: variable.numpy() for name, variable in names.values()}
    measured = {"z": z.numpy(), "z_perturbed": z_perturbed.numpy(), "row": row}
    return found, images, index, expected, losses[-1], measured


def test_results_are_the_outputs_and_every_variable_that_a_step_changes(bundle):
    found, *_, expected, _, _ = bundle
    before = found.state("gan")
    changed = {name for name, value in expected.items() if not np.array_equal(value, before[name])}
    for module in ("one", "many"):
        entry = found.manifest["modules"][module]
        replaced = {r["name"] for r in entry["results"] if "parameter" in r}
        assert changed <= replaced
        assert {"gan/2/seed", *(n for n in before if n.endswith("rate"))} & replaced == set()
        assert {p["name"] for p in entry["parameters"] if p["kind"] == "variable"} >= {"gan/0/gan/step", "gan/2/seed"}


def test_all_products_have_the_precision_that_is_asked_for(bundle):
    text = _pjrt._text(_pjrt.mlir.hlo_to_stablehlo(bundle[0].hlo("one")))
    products = len(re.findall(r"stablehlo\.(?:convolution|dot)", text))
    for precision, mark in (("float32", "HIGHEST"), ("tf32", "DEFAULT")):
        marked = _pjrt.marked(_pjrt.marked(text, "float32"), precision)
        pairs = marked.count(f"precision = [{mark}, {mark}]") + marked.count(f"<precision {mark}>") / 2
        assert pairs == products > 0


def test_updates_in_one_module_in_jax_end_with_tensorflows_weights(bundle):
    found, images, index, expected, losses, _ = bundle
    many = _pjrt.Module(found, "many")
    measured, state = many(_pjrt.device_state(found.state("gan")), images=images, index=index)
    for name, value in expected.items():
        if "critic_optimizer" not in name:
            np.testing.assert_allclose(state[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    for name, value in losses.items():
        np.testing.assert_allclose(measured[name], value, rtol=1e-4, err_msg=name)


def test_records_from_jax_are_those_of_the_evaluator(bundle):
    found, *_, about = bundle
    module = _pjrt.Module(found, "conditioning")
    state = _pjrt.device_state(found.state("measured"))
    measured, _ = module(state, z=about["z"], z_perturbed=about["z_perturbed"])
    measured = {name: np.asarray(value) for name, value in measured.items()}
    spectrum = _records.spectrum(measured["metric_tensor"], measured["average"], float(np.finfo(np.float32).eps))
    row = _records.conditioning(spectrum, measured["quotient"], 1.0, 20.0)
    assert row.keys() == about["row"].keys()
    for name, value in about["row"].items():
        flat = value.values() if isinstance(value, dict) else np.ravel(value)
        mine = row[name].values() if isinstance(value, dict) else np.ravel(row[name])
        np.testing.assert_allclose([*mine], [*flat], rtol=1e-4, atol=1e-5, err_msg=name)


def test_scores_are_those_of_the_evaluator():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, [40, 8, 8, 1], np.uint8), np.arange(40) % 3
    data = datasets.Dataset("mine", images, labels)
    weights = rng.standard_normal([64, 7]).astype(np.float32)

    def classify(batch):
        found = np.reshape(batch, [len(batch), -1]) @ weights
        return found[:, :3], found[:, 3:]

    evaluator = evaluators.ClassifierEvaluator(rng.standard_normal([40, 2]), data, classifier=classify)
    samples = rng.integers(0, 256, [40, 8, 8, 1], np.uint8)
    expected = evaluator.score(samples, fast=True)
    logits, features = classify(samples / np.float32(127.5) - 1)
    row = _records.scored(logits, features, evaluator._real, "given", "given/features")
    assert set(expected) == {name for name in row if "/" in name}
    for name, value in expected.items():
        np.testing.assert_allclose(row[name], value, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_those_of_the_callback(channels):
    images = np.random.default_rng(0).uniform(-1, 1, [5, 4, 6, channels]).astype(np.float32)
    np.testing.assert_array_equal(_records.picture(images), samples.grid(images))
