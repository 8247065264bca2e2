"""Exported generators against the generators they came from."""

import sys

import forks
import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from generators import with_statistics

from tfjc import architectures, geometry
from tfjc.geometry import _engine, _gradients
from tfjc.saving import export
from tfjc.support import noise
from tfjc.support.images import to_uint8
from tfjc.support.xla import choose_xla


@pytest.fixture(scope="module")
def networks():
    networks = architectures.dcgan((8, 8, 1), n_z=3, channels=4)
    with_statistics(networks.generator)
    return networks


@pytest.fixture(scope="module")
def exported(networks, tmp_path_factory):
    return export.export_generator(networks.generator, tmp_path_factory.mktemp("export") / "saved_model")


Z = tf.random.stateless_normal([5, 3], [1, 1])


def test_serve_gives_the_same_images(networks, exported):
    np.testing.assert_allclose(export.load_generator(exported)(Z), networks.generator(Z), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_the_types_of_an_export_are_those_of_a_network_in_float32(tmp_path, policy):
    """The float64 clone is the referee: 16 bits keep M to 1 %, float64 weights keep it to float32's rounding."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        z = keras.Input([3], name="z")
        generator = keras.Model(z, [keras.layers.Dense(6, activation="tanh")(z)])
    finally:
        keras.config.set_dtype_policy(before)
    loaded = tf.saved_model.load(str(export.export_generator(generator, tmp_path / "m")))
    types = [loaded.serve(Z).dtype, loaded.sample(2, 1).dtype, loaded.metric_tensor(Z).dtype]
    assert types == [tf.float32, tf.uint8, tf.float64]
    wide, z = geometry.in_float64(generator), tf.cast(Z, tf.float64)
    error = 1e-5 if policy == "float64" else 0.02
    np.testing.assert_allclose(loaded.serve(Z), wide(z), atol=error)
    expected = geometry.metric_tensor(wide, z)
    assert np.linalg.norm(loaded.metric_tensor(Z) - expected) < error * np.linalg.norm(expected)


def test_an_export_of_labels_before_latents(tmp_path):
    labels, z = keras.Input([], name="labels", dtype="int32"), keras.Input([3], name="z")
    code = keras.layers.Embedding(2, 3)(labels)
    generator = keras.Model([labels, z], keras.layers.Multiply()([z, code]))
    loaded = export.load_generator(export.export_generator(generator, tmp_path / "m", num_classes=2))
    np.testing.assert_allclose(loaded(Z, [0, 1, 0, 1, 1]), generator([tf.constant([0, 1, 0, 1, 1]), Z]), rtol=1e-6)
    assert loaded.sample(3, 1).shape == (3, 3)


def test_sample_draws_from_the_prior(networks, exported):
    loaded = export.load_generator(exported)
    expected = networks.generator(networks.prior.sample(6, seed=noise.seed(9, noise.Stream.SERVED_LATENTS)))
    np.testing.assert_array_equal(loaded.sample(6, 9), to_uint8(expected))
    assert loaded.sample(6, 9).dtype == tf.uint8
    assert np.any(loaded.sample(6, 10) != loaded.sample(6, 9))


def test_metric_tensor_is_the_generators(networks, exported):
    expected = geometry.metric_tensor(networks.generator, Z)
    found = export.load_generator(exported).metric_tensor(Z)
    assert found.dtype == tf.float64
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_the_engine_runs_on_a_loaded_generator(networks, exported):
    found = geometry.jacobian(export.load_generator(exported), Z)
    np.testing.assert_allclose(found, geometry.jacobian(networks.generator, Z), rtol=1e-4, atol=1e-6)


def test_the_export_needs_none_of_our_code(exported, tmp_path):
    code = (
        "import sys, tensorflow as tf\n"
        "archive = tf.saved_model.load(sys.argv[1])\n"
        "print(archive.serve(tf.zeros([2, 3])).shape, archive.sample(2, 1).dtype.name,"
        " archive.metric_tensor(tf.zeros([2, 3])).shape, sorted(archive.signatures), 'tfjc' in sys.modules)"
    )
    done = forks.run([sys.executable, "-c", code, exported], cwd=tmp_path)
    expected = "(2, 8, 8, 1) uint8 (2, 3, 3) ['metric_tensor', 'sample', 'serve', 'serving_default'] False"
    assert done.stdout.strip() == expected, done.stderr


def test_another_prior(networks, tmp_path):
    prior = tfp.distributions.Sample(tfp.distributions.Uniform(-1.0, 1.0), 3)
    path = export.export_generator(networks.generator, tmp_path / "m", prior=prior)
    expected = networks.generator(prior.sample(4, seed=noise.seed(2, noise.Stream.SERVED_LATENTS)))
    np.testing.assert_array_equal(export.load_generator(path).sample(4, 2), to_uint8(expected))


def test_an_export_holds_what_its_functions_read(tmp_path):
    """A table, a variable that is no weight of Keras, and a variable of the prior."""

    class Doubled(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.factor = tf.Variable(2.0)

        def call(self, x):
            return self.factor * x

    labels, z = keras.Input([], name="labels", dtype="int32"), keras.Input([3], name="z")
    code = keras.layers.Embedding(5, 3)(keras.layers.IntegerLookup(vocabulary=[0, 1, 2])(labels))
    generator = keras.Model([labels, z], Doubled()(keras.layers.Multiply()([z, code])))
    prior = tfp.distributions.MultivariateNormalDiag(loc=tf.Variable([1.0, 2.0, 3.0]))
    loaded = export.load_generator(export.export_generator(generator, tmp_path / "m", prior=prior, num_classes=3))
    classes = tf.constant([0, 1, 2, 0, 1])
    np.testing.assert_allclose(loaded(Z, classes), generator([classes, Z]), rtol=1e-6)
    assert loaded.sample(2, 1).shape == (2, 3)


def test_an_export_computes_j_only_where_its_method_is_not_known(tmp_path, monkeypatch):
    """One trace is that of the export's function; before it, the method is looked for."""
    measured, fresh = (keras.Sequential([keras.Input([3]), keras.layers.Dense(4)]) for _ in range(2))
    geometry.jacobian(measured, Z)
    traced, pullback = [], _engine.METHODS["pullback"]
    monkeypatch.setitem(_engine.METHODS, "pullback", lambda *a: traced.append(1) or pullback(*a))
    for generator, expected in ((measured, 1), (fresh, 2)):
        traced.clear()
        export.export_generator(generator, tmp_path / "m")
        assert len(traced) == expected


def test_an_older_export_is_replaced(networks, tmp_path):
    path = tmp_path / "m"
    for _ in range(2):
        export.export_generator(networks.generator, path)
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize(
    "act, message",
    [
        (lambda path: export.load_generator(path), "is not a SavedModel directory"),
        (lambda path: export.export_generator(keras.layers.Dense(2), path), "needs a Keras generator that is built"),
        (lambda path: export.export_generator(architectures.dcgan((8, 8, 1)).generator, path.parent), "not replaced"),
        (
            lambda path: export.export_generator(architectures.dcgan((8, 8, 1)).critic, path),
            r"must take latents \[B, n_z\], found \[B, 8, 8, 1\]",
        ),
    ],
)
def test_mistakes_are_named(act, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        (tmp_path / "something").write_text("precious")
        act(tmp_path / "nothing")


def test_a_subclassed_generator_is_exported(tmp_path):
    class Generator(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(4)

        def call(self, z):
            return self.dense(z)

    generator = Generator()
    images = generator(Z)
    path = export.export_generator(generator, tmp_path / "m", prior=architectures.standard_normal(3))
    np.testing.assert_allclose(export.load_generator(path)(Z.numpy().astype(np.float64)), images, rtol=1e-6)


def test_an_export_leaves_xla_to_its_user(networks, tmp_path):
    """Made where XLA is on (a GPU), it must not force XLA where it is loaded (a CPU)."""
    choose_xla("on")
    try:
        export.export_generator(networks.generator, tmp_path / "m")
    finally:
        choose_xla("auto")
    assert b"_XlaMustCompile" not in (tmp_path / "m" / "saved_model.pb").read_bytes()


def test_a_foreign_saved_model_is_named(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "foreign"))
    with pytest.raises(ValueError, match="lacks serve, sample, metric_tensor"):
        export.load_generator(tmp_path / "foreign")


def test_latents_of_another_shape_are_named(exported):
    with pytest.raises(ValueError, match=r"z must have shape \[B, n_z\], found \[3\]"):
        export.load_generator(exported)(tf.zeros([3]))


def test_the_exported_metric_tensor_is_whole_where_tensorflow_lacks_a_second_derivative(tmp_path, monkeypatch):
    """Bilinear resizing beside another path, without the engine's own gradients: the trace must take the reference."""
    z = keras.Input([8])
    x = keras.layers.Reshape([2, 2, 2])(z)
    both = keras.layers.Add()([keras.layers.UpSampling2D(interpolation="bilinear")(x), keras.layers.UpSampling2D()(x)])
    generator = keras.Model(z, both)
    j = tf.reshape(generator(tf.eye(8)), [8, -1]).numpy().astype(np.float64)  # linear: row k is J·e_k
    monkeypatch.setattr(_gradients, "_GRADIENTS", {})
    with pytest.warns(RuntimeWarning, match="a second derivative is missing"):
        path = export.export_generator(generator, tmp_path / "g")
    found = export.load_generator(path).metric_tensor(tf.ones([2, 8]))
    np.testing.assert_allclose(found, np.broadcast_to(j @ j.T, [2, 8, 8]), rtol=1e-5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda g: g(Z[:, :-1]), r"z must have shape \[B, \d+\], found \["),
        (lambda g: g.metric_tensor(Z[:, :-1]), r"z must have shape \[B, \d+\], found \["),
        (lambda g: g("z"), r"z must have shape \[B, n_z\], found \[\]"),
        (lambda g: g(Z, [0]), "takes z alone, found 2 arguments"),
        (lambda g: g.sample(-1), "n must be at least 0, found -1"),
        (lambda g: g.sample(1.5), r"n must be a whole number, found 1\.5"),
        (lambda g: g.sample(1, seed=2**40), "seed must be at most 2147483647"),
    ],
)
def test_calls_that_do_not_fit_an_export_are_refused(exported, call, message):
    with pytest.raises(ValueError, match=message):
        call(export.load_generator(exported))
