"""Generators from files: ours and foreign, and what is said of files that hold none."""

import contextlib
import pathlib
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc.geometry import jacobian, spectrum
from tfjc.saving import export, loading

Z = tf.random.stateless_normal([3, 4], [1, 1])


def small(shape=(4,)):
    z = keras.Input(shape, name="z")
    x = keras.layers.Dense(12, activation="tanh")(keras.layers.Flatten()(z))
    return keras.Model(z, keras.layers.Reshape([2, 2, 3])(x))


def conditional(one_hot=False):
    z = keras.Input([4], name="z")
    label = keras.Input([3], name="label") if one_hot else keras.Input([], name="label", dtype="int32")
    code = keras.layers.Dense(4)(label) if one_hot else keras.layers.Embedding(3, 4)(label)
    return keras.Model([z, label], keras.layers.Dense(8)(keras.layers.Multiply()([z, code])))


def saved(tmp_path, model, kind):
    """A Keras model as somebody else would have saved it."""
    path = tmp_path / ("g.keras" if kind == "keras" else "g")
    if kind == "keras":
        model.save(path)
    elif kind == "export":
        model.export(path, verbose=False)
    else:
        export.export_generator(model, path)
    return path


@pytest.mark.parametrize("kind", ["keras", "export", "ours"])
def test_a_saved_model_is_the_model(tmp_path, kind):
    model = small()
    found = loading.load_any(saved(tmp_path, model, kind))
    assert (found.latent_shape, found.n_z, found.labels) == ((4,), 4, None)
    np.testing.assert_allclose(found.generate(Z), model(Z), rtol=1e-6)
    np.testing.assert_allclose(jacobian(found.generate, Z), jacobian(model, Z), rtol=1e-5, atol=1e-6)
    assert (found.model is not None) == (kind == "keras")


@pytest.mark.parametrize("kind", ["keras", "export"])
def test_latents_with_more_axes_are_flattened(tmp_path, kind):
    model = small((1, 2, 2))
    found = loading.load_any(saved(tmp_path, model, kind))
    assert (found.latent_shape, found.n_z) == ((1, 2, 2), 4)
    np.testing.assert_allclose(found.generate(Z), model(tf.reshape(Z, [3, 1, 2, 2])), rtol=1e-6)


@pytest.mark.parametrize("kind", ["keras", "export"])
@pytest.mark.parametrize("one_hot_first", [False, True])
def test_the_order_of_latents_and_one_hot_labels_does_not_matter(tmp_path, kind, one_hot_first):
    """[z 3, one-hot 3] → (3z₁, z₂, z₃/2) + 100·label: the singular values are 3, 1, 1/2, whichever comes first."""
    z, label = keras.Input([3], name="noise"), keras.Input([3], name="label_input")
    x = keras.layers.Add()([_scaled(z, [3.0, 1.0, 0.5]), _scaled(label, [100.0] * 3)])
    found = loading.load_any(saved(tmp_path, keras.Model([label, z] if one_hot_first else [z, label], x), kind))
    assert (found.labels.name, found.n_z, loading.num_classes(found)) == ("label_input", 3, 3)
    labels = loading.draw_labels(found, 3)
    values = spectrum(found.generate, Z[:, :3], labels=labels).singular_values
    np.testing.assert_allclose(values, np.tile([3.0, 1.0, 0.5], [3, 1]), rtol=1e-6)
    with pytest.raises(ValueError, match="that label_input is the latent, noise labels; name both"):
        loading.load_any(tmp_path / ("g.keras" if kind == "keras" else "g"), latent="label_input")
    with pytest.raises(ValueError, match=r"has 3 classes \(label_input float32 \[B, 3\]\), found num_classes = 2"):
        loading.draw_labels(found, 3, classes=2)


def _scaled(x, factors):
    layer = keras.layers.Dense(3, use_bias=False)
    layer.build([None, 3])
    layer.set_weights([np.diag(factors)])
    return layer(x)


@pytest.mark.parametrize("kind", ["keras", "export"])
def test_one_hot_labels_among_the_latents(tmp_path, kind):
    """G = (3z₁, 100y₁, 100y₂, z₂) with the labels y in places 1 and 2: J by z alone has σ = 3, 1."""
    dense = keras.layers.Dense(4, use_bias=False)
    model = keras.Sequential([keras.Input([4], name="both"), dense])
    dense.set_weights([np.diag([3.0, 100.0, 100.0, 1.0])])
    found = loading.with_labels_at(loading.load_any(saved(tmp_path, model, kind)), 1, 3)
    assert (found.n_z, found.latent_shape, found.labels_at, loading.num_classes(found)) == (2, (2,), (1, 3), 2)
    labels, z = loading.draw_labels(found, 3, label=1), Z[:, :2]
    np.testing.assert_array_equal(labels, [[0.0, 1.0]] * 3)
    expected = np.stack([3.0 * z[:, 0], np.zeros(3), np.full(3, 100.0), z[:, 1]], axis=1)
    np.testing.assert_allclose(found.generate(z, labels), expected, rtol=1e-6)
    found_spectrum = spectrum(found.generate, z, labels=labels)
    np.testing.assert_allclose(found_spectrum.singular_values, np.tile([3.0, 1.0], [3, 1]), rtol=1e-6)
    if kind == "keras":
        wide = spectrum(loading.in_float64(found), tf.cast(z, tf.float64), labels=labels)
        np.testing.assert_allclose(wide.singular_values, np.tile([3.0, 1.0], [3, 1]), rtol=1e-12)
    with pytest.raises(ValueError, match=r"has 2 classes .* found num_classes = 10"):
        loading.draw_labels(found, 3, classes=10)
    with pytest.raises(ValueError, match="takes numbers 1 to 2 float32"):
        loading.with_labels_at(found, 0, 1)


@pytest.mark.parametrize("start, stop", [(-1, 2), (0, 4), (2, 5), (2, 2), (3, 2), (2, 3)])
def test_labels_at_is_a_part_that_leaves_a_latent(tmp_path, start, stop):
    found = loading.Loaded(small(), (4,), None, None, "m")
    with pytest.raises(ValueError, match=f"START:STOP with 0 ≤ START, STOP ≤ 4, .* found {start}:{stop}"):
        loading.with_labels_at(found, start, stop)
    with pytest.raises(ValueError, match=r"latents of one axis, and m takes \[2, 2\]"):
        loading.with_labels_at(found._replace(latent_shape=(2, 2)), 0, 2)


@pytest.mark.parametrize("kind", ["keras", "export"])
@pytest.mark.parametrize("policy", ["float64", "float16", "mixed_bfloat16"])
def test_models_of_other_precision_and_lists_of_one_output(tmp_path, kind, policy):
    """σ = 3, 1, 1/2, 0 of a diagonal map, whatever the type it computes in."""
    with _policy(policy):
        dense = keras.layers.Dense(4, use_bias=False)
        z = keras.Input([4], name="z", dtype="float32")
        model = keras.Model(z, [dense(z)])
    dense.set_weights([np.diag([3.0, 1.0, 0.5, 0.0])])
    found = loading.load_any(saved(tmp_path, model, kind))
    assert found.generate(Z).dtype == ("float64" if policy == "float64" else policy.removeprefix("mixed_"))
    values = spectrum(found.generate, Z).singular_values
    np.testing.assert_allclose(values, np.tile([3.0, 1.0, 0.5, 0.0], [3, 1]), rtol=1e-6)


@contextlib.contextmanager
def _policy(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("kind", ["keras", "export"])
@pytest.mark.parametrize("one_hot", [False, True])
def test_a_conditional_model_is_called_with_labels(tmp_path, kind, one_hot):
    model = conditional(one_hot)
    path = saved(tmp_path, model, kind)
    found = loading.load_any(path, latent="z") if one_hot else loading.load_any(path)
    assert found.labels.name == "label"
    labels = loading.draw_labels(found, 3, label=2, classes=None if one_hot else 3)
    expected = tf.one_hot([2, 2, 2], 3) if one_hot else tf.fill([3], 2)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_allclose(found.generate(Z, labels), model([Z, expected]), rtol=1e-6)
    drawn = loading.draw_labels(found, 300, classes=3, seed=1)
    counts = np.bincount(np.argmax(drawn, axis=1) if one_hot else drawn.numpy(), minlength=3)
    assert counts.sum() == 300
    assert counts.min() > 70  # 100 each, standard deviation 8


def test_a_plain_tensorflow_module_with_a_signature(tmp_path):
    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable(tf.ones([4, 6]))

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="noise")])
        def generate(self, noise):
            return tf.tanh(noise @ self.w)

    module = Module()
    tf.saved_model.save(module, tmp_path / "m", signatures={"generate": module.generate})
    found = loading.load_any(tmp_path / "m")
    np.testing.assert_allclose(found.generate(Z), module.generate(Z), rtol=1e-6)
    with pytest.raises(ValueError, match="unknown signature 'generat'; nearest: generate"):
        loading.load_any(tmp_path / "m", signature="generat")


def test_runs_are_loaded_at_any_step_that_they_keep(finished_run):
    newest, before = loading.load_any(finished_run.path), loading.load_any(finished_run.path, step=4)
    exported = export.load_generator(finished_run.saved_model)
    z = tf.random.stateless_normal([2, 8], [1, 1])
    np.testing.assert_allclose(newest.generate(z), exported(z), rtol=1e-5, atol=1e-6)
    assert newest.source.endswith("at step 6")
    assert not np.allclose(newest.generate(z), before.generate(z), atol=1e-6)
    with pytest.raises(ValueError, match="holds no checkpoint of step 5; it has 2, 4, 6"):
        loading.load_any(finished_run.path, step=5)
    wide = loading.in_float64(newest)
    np.testing.assert_allclose(wide(tf.cast(z, tf.float64)), newest.generate(z), atol=1e-5)


@pytest.mark.parametrize("step", [None, 4])
def test_a_run_without_its_networks_names_its_export(step, finished_run, tmp_path):
    shutil.copytree(finished_run.path, tmp_path / "old")
    (tmp_path / "old" / "generator.json").unlink()
    with pytest.raises(ValueError, match=r"has no generator\.json: .*; --model=.*saved_model measures its export"):
        loading.load_any(tmp_path / "old", step=step)


def test_a_subclassed_model_needs_its_latents_shape_only_where_it_is_open(tmp_path):
    @keras.saving.register_keras_serializable()
    class Bare(keras.Model):
        def __init__(self, **options):
            super().__init__(**options)
            self.dense = keras.layers.Dense(5)

        def call(self, z):
            return self.dense(z)

    model = Bare()
    expected = model(Z)
    model.save(tmp_path / "b.keras")
    try:
        found = loading.load_any(tmp_path / "b.keras")
    except ValueError as error:
        assert "--latent_shape" in str(error)
        found = loading.load_any(tmp_path / "b.keras", latent_shape=[4])
    assert found.latent_shape == (4,)
    np.testing.assert_allclose(found.generate(Z), expected, rtol=1e-6)


def _text(tmp_path):
    (tmp_path / "notes.txt").write_text("no model")
    return tmp_path / "notes.txt", {}


def _missing(tmp_path):
    saved(tmp_path, small(), "keras")
    return tmp_path / "h.keras", {}


def _empty(tmp_path):
    return tmp_path, {}


def _truncated_keras(tmp_path):
    path = saved(tmp_path, small(), "keras")
    path.write_bytes(path.read_bytes()[:500])
    return path, {}


def _truncated_saved_model(tmp_path):
    path = saved(tmp_path, small(), "export")
    graph = path / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:200])
    return path, {}


def _saved_model_without_variables(tmp_path):
    path = saved(tmp_path, small(), "export")
    shutil.rmtree(path / "variables")
    return path, {}


def _lambda(tmp_path):
    model = keras.Sequential([keras.Input([4]), keras.layers.Lambda(lambda z: 2.0 * z)])
    return saved(tmp_path, model, "keras"), {}


def _two_latents(tmp_path):
    a, b = keras.Input([4], name="a"), keras.Input([4], name="b")
    return saved(tmp_path, keras.Model([a, b], keras.layers.Add()([a, b])), "export"), {}


def _three_inputs(tmp_path):
    z, a, b = keras.Input([4], name="z"), keras.Input([], name="a"), keras.Input([1], name="b", dtype="int32")
    total = keras.layers.Lambda(lambda x: x[0] + x[1][:, None] + tf.cast(x[2], tf.float32))([z, a, b])
    return saved(tmp_path, keras.Model([z, a, b], total), "export"), {"latent": "z"}


def _labels_only(tmp_path):
    label = keras.Input([1], name="label", dtype="int32")
    return saved(tmp_path, keras.Model(label, keras.layers.Embedding(3, 4)(label)), "export"), {}


def _two_outputs(tmp_path):
    z = keras.Input([4], name="z")
    return saved(tmp_path, keras.Model(z, {"images": z, "mask": keras.layers.ReLU()(z)}), "export"), {}


def _two_keras_outputs(tmp_path):
    z = keras.Input([4], name="z")
    return saved(tmp_path, keras.Model(z, [z, keras.layers.ReLU()(z)]), "keras"), {}


def _open_shape(tmp_path):
    z = keras.Input([None, 4], name="z")
    return saved(tmp_path, keras.Model(z, keras.layers.Dense(3)(z)), "export"), {}


def _other_shape(tmp_path):
    return saved(tmp_path, small(), "export"), {"latent_shape": [5]}


def _step_of_a_file(tmp_path):
    return saved(tmp_path, small(), "keras"), {"step": 3}


def _signature_of_a_file(tmp_path):
    return saved(tmp_path, small(), "keras"), {"signature": "serve"}


def _signature_of_a_run(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    return tmp_path, {"signature": "serve"}


def _run_without_checkpoint(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    return tmp_path, {}


@pytest.mark.parametrize(
    "make, message",
    [
        (_text, "is no model: expected a SavedModel directory .* found a file of another kind"),
        (_missing, r"does not exist; nearest: g\.keras"),
        (_empty, "is no model: .* found a directory without these"),
        (_truncated_keras, "cannot be loaded: "),
        (_truncated_saved_model, "cannot be loaded: "),
        (_saved_model_without_variables, "cannot be loaded: "),
        (_lambda, "holds Python code in a Lambda layer.*--trust"),
        (_two_latents, r"takes a float32 \[B, 4\], b float32 \[B, 4\].*name both \(--latent, --labels\)"),
        (_three_inputs, "one latent and at most one input of labels, found a float32"),
        (_labels_only, r"one latent of floating type, found none; its inputs: label int32 \[B, 1\]"),
        (_two_outputs, "must return one tensor of images, found images, mask"),
        (_two_keras_outputs, r"must return one tensor of images, found .* \[None, 4\], .* \[None, 4\]"),
        (_open_shape, r"leaves the shape of its latent open \(z float32 \[B, None, 4\]\): name it \(--latent_shape\)"),
        (_other_shape, r"takes latents of shape \[4\], found latent_shape \[5\]"),
        (_step_of_a_file, "step is for run directories"),
        (_signature_of_a_file, "signature is for SavedModels"),
        (_signature_of_a_run, "signature is for SavedModels"),
        (_run_without_checkpoint, "holds no checkpoint yet"),
    ],
)
def test_files_that_hold_no_generator_are_named(tmp_path, make, message):
    path, options = make(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        loading.load_any(path, **options)
    assert "\n" not in str(caught.value)
    assert pathlib.Path(path).name in str(caught.value)


def test_trust_loads_python_code(tmp_path):
    path, _ = _lambda(tmp_path)
    np.testing.assert_array_equal(loading.load_any(path, trust=True).generate(Z), 2.0 * Z)


def test_an_open_shape_can_be_named(tmp_path):
    path, _ = _open_shape(tmp_path)
    found = loading.load_any(path, latent_shape=[2, 4])
    assert found.n_z == 8
    assert jacobian(found.generate, tf.ones([1, 8])).shape == (1, 6, 8)


def test_mistakes_with_labels_are_named(tmp_path):
    plain = loading.load_any(saved(tmp_path, small(), "keras"))
    with pytest.raises(ValueError, match="takes no labels, but they were asked for"):
        loading.draw_labels(plain, 3, label=1)
    assert loading.draw_labels(plain, 3) is None
    found = loading.load_any(saved(tmp_path / "c", conditional(), "export"))
    with pytest.raises(ValueError, match=re.escape("takes labels (label int32 [B]): say --num_classes or --label")):
        loading.draw_labels(found, 3)
    with pytest.raises(ValueError, match="label must be less than 3, found 3"):
        loading.draw_labels(found, 3, classes=3, label=3)
    with pytest.raises(ValueError, match="only Keras models whose only input is z"):
        loading.in_float64(found)
