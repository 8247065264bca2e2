"""Generators that TensorFlow cannot differentiate in the fast way, or at all, and what is said of them."""

import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc.geometry import Frozen, _engine, _generator, _gradients, inspect, jacobian, metric_tensor, operator, quotients
from tfjc.geometry._spectrum import spectrum
from tfjc.support.xla import choose_xla

Z = tf.random.stateless_normal([3, 8], [1, 1])


def crop(z):
    """Linear, by an operation whose gradient TensorFlow knows but not the gradient of that."""
    whole = tf.tile([[0.0, 0.0, 1.0, 1.0]], [tf.shape(z)[0], 1])
    return tf.image.crop_and_resize(tf.reshape(z, [-1, 2, 2, 2]), whole, tf.range(tf.shape(z)[0]), [5, 5])


def exact(linear, z):
    """The Jacobian of a linear map, from what it makes of the unit vectors."""
    columns = tf.reshape(linear(tf.eye(z.shape[1], dtype=z.dtype)), [z.shape[1], -1])
    return np.broadcast_to(tf.transpose(columns), [len(z), columns.shape[1], z.shape[1]])


@pytest.mark.parametrize("chunk", [None, 3])
def test_without_a_second_derivative_the_reference_is_taken_and_named(chunk):
    with pytest.warns(RuntimeWarning, match="'batch_jacobian'.*no derivative of the operation CropAndResizeGradImage"):
        found = jacobian(crop, Z, chunk=chunk)
    np.testing.assert_allclose(found, exact(crop, Z), atol=1e-6)


class Cropped(Frozen):
    def __call__(self, z):
        return crop(z)


def test_a_model_is_warned_about_once_and_its_method_kept(monkeypatch):
    model = Cropped()
    tried = []
    by = _engine._Differentiation._by
    monkeypatch.setattr(_engine._Differentiation, "_by", lambda *a: tried.append(a[1]) or by(*a))
    with pytest.warns(RuntimeWarning) as caught:
        first = spectrum(model, Z)
    assert len([w for w in caught if "slower method" in str(w.message)]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = spectrum(model, Z)
    np.testing.assert_array_equal(first.singular_values, second.singular_values)
    assert tried == ["pullback", "batch_jacobian", "batch_jacobian"]


def test_forward_is_the_last_resort(monkeypatch):
    """Where pfor refuses both, the columns come from forward accumulation."""

    def refuse(*arguments):
        raise ValueError("No pfor vectorization defined for Frobnicate")

    monkeypatch.setitem(_engine.METHODS, "pullback", refuse)
    monkeypatch.setitem(_engine.METHODS, "batch_jacobian", refuse)
    with pytest.warns(RuntimeWarning, match="'forward'.*pullback: no derivative of the operation Frobnicate; batch_j"):
        found = jacobian(tf.square, Z)
    np.testing.assert_allclose(found, tf.linalg.diag(2.0 * Z), rtol=1e-6)


def test_where_nothing_works_every_reason_is_given():
    def area(z):
        return tf.image.resize(tf.reshape(z, [-1, 2, 2, 2]), [5, 5], method="area")

    message = "pullback: no derivative of the operation ResizeArea; batch_jacobian: .*ResizeArea; forward: .*ResizeArea"
    with pytest.raises(ValueError, match=message):
        jacobian(area, Z)


def test_a_derivative_that_is_missing_on_one_path_of_two_is_noticed(monkeypatch):
    """TensorFlow takes the gradient of bilinear resizing for constant: J would be that of the other path alone."""

    def two_paths(z):
        x = tf.reshape(z, [-1, 2, 2, 2])
        return tf.image.resize(x, [4, 4]) + tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)

    monkeypatch.setattr(_gradients, "_GRADIENTS", {})
    with pytest.warns(RuntimeWarning, match="'batch_jacobian'.*a second derivative is missing: J disagrees"):
        found = jacobian(two_paths, Z)
    np.testing.assert_allclose(found, exact(two_paths, Z), atol=1e-6)
    with pytest.raises(ValueError, match="Jv is not the adjoint of Jᵀu"):
        operator(two_paths, Z)


@tf.custom_gradient
def doubled(x):
    """2x, with a gradient whose dependence on u TensorFlow cannot see."""
    return 2.0 * x, lambda u: tf.stop_gradient(2.0 * u)


def two_ways(z):
    return z[:, :4] + doubled(z[:, 4:])


def rounded(z):
    return tf.round(5.0 * z)


MISSING = [
    pytest.param(two_ways, "pullback", "a second derivative is missing", id="second derivative"),
    pytest.param(rounded, "pullback", "operations without derivatives", id="first derivative"),
    pytest.param(rounded, "forward", "operations without derivatives", id="first derivative, forward"),
]


@pytest.mark.parametrize("generator, method, message", MISSING)
def test_a_graph_never_gives_a_wrong_jacobian(generator, method, message):
    """A graph cannot fall back when it runs: it raises. XLA drops assertions: there J is nan."""
    traced = tf.function(lambda z: jacobian(generator, z, method=method))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        traced(Z)
    compiled = tf.function(lambda z: metric_tensor(generator, z, method=method), jit_compile=True)
    assert np.all(np.isnan(compiled(Z)))


@pytest.mark.parametrize("compile_", [False, True])
def test_a_graph_gives_what_the_reference_gives(compile_):
    """J = [I, 2I] by the method that the assertion names; the pullback itself for what has all derivatives, or none."""
    names = {
        "batch_jacobian": (two_ways, tf.concat([tf.eye(4), 2.0 * tf.eye(4)], axis=1)),
        "pullback": (lambda z: 3.0 * z, 3.0 * tf.eye(8)),
        "forward": (lambda z: tf.ones([tf.shape(z)[0], 7]), tf.zeros([7, 8])),
    }
    for method, (generator, expected) in names.items():

        @tf.function(input_signature=[tf.TensorSpec([None, 8])], jit_compile=compile_)
        def traced(z, generator=generator, method=method):
            return jacobian(generator, z, method=method)

        found = traced(Z)
        np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-6)


def test_the_graph_of_a_model_that_was_checked_is_not_checked_again():
    """So an exported metric tensor is made of the operations that it needs."""
    model = keras.Sequential([keras.Input([8]), keras.layers.Dense(4, "tanh")])

    def is_checked():
        graph = tf.function(lambda z: metric_tensor(model, z)).get_concrete_function(Z).graph
        return "second derivative is missing" in str(graph.as_graph_def())

    assert is_checked()
    metric_tensor(model, Z)
    assert not is_checked()


def scan(z):
    return tf.transpose(tf.scan(lambda a, x: tf.tanh(a + x), tf.transpose(z)))


RNN = keras.Sequential([keras.layers.Reshape([2, 4]), keras.layers.SimpleRNN(2)])

RECURRENT = {"scan": scan, "RNN in a function": lambda z: RNN(z), "map_fn": lambda z: tf.map_fn(tf.tanh, z)}


@pytest.mark.parametrize("name", RECURRENT)
def test_loops_are_measured_without_a_flood_of_log_lines(name, caplog, monkeypatch):
    """TensorFlow cannot vectorise the loop's gradient: one warning names it, and J equals central differences."""
    monkeypatch.setattr(tf.get_logger(), "propagate", True)
    generator, h = RECURRENT[name], 1e-2
    with pytest.warns(RuntimeWarning) as caught:
        found = jacobian(generator, Z)
    assert len(caught) == 1 and not caplog.records
    assert re.search("'batch_jacobian'.*vectorise the operation .*While.*each call traces", str(caught[0].message))
    steps = h * tf.concat([tf.eye(8), -tf.eye(8)], axis=0)
    moved = np.reshape(generator(tf.reshape(Z + steps[:, None], [-1, 8])), [2, 8, len(Z), -1])
    np.testing.assert_allclose(found, np.transpose(moved[0] - moved[1], [1, 2, 0]) / (2 * h), atol=1e-3)


def test_other_lines_of_the_log_are_kept(caplog, monkeypatch):
    monkeypatch.setattr(tf.get_logger(), "propagate", True)

    def noisy(z):
        tf.get_logger().error("something else")
        return 2.0 * z

    jacobian(noisy, Z)
    assert {record.getMessage() for record in caplog.records} == {"something else"}
    assert not tf.get_logger().filters


def test_a_gradient_without_a_gradient_does_not_give_zeros():
    """A custom gradient that hides its dependence on u from the tape."""

    @tf.custom_gradient
    def hidden(z):
        return z * z, lambda u: tf.ensure_shape(tf.numpy_function(lambda a, b: 2 * a * b, [z, u], tf.float32), z.shape)

    with pytest.warns(RuntimeWarning, match="'batch_jacobian'.*gradient has itself no gradient"):
        found = jacobian(hidden, Z)
    np.testing.assert_allclose(found, tf.linalg.diag(2.0 * Z), rtol=1e-6)


def test_memory_that_runs_out_is_no_reason_to_take_a_slower_method(monkeypatch):
    def exhausted(*arguments):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setitem(_engine.METHODS, "pullback", exhausted)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        jacobian(tf.identity, Z)


@pytest.mark.parametrize(
    "generator",
    [
        lambda z: tf.ensure_shape(tf.numpy_function(lambda a: a * a, [z], tf.float32), [None, 8]),
        lambda z: tf.round(5.0 * z),
        lambda z: tf.cast(tf.cast(100.0 * z, tf.int32), tf.float32),
        lambda z: tf.stop_gradient(z),
    ],
    ids=["numpy_function", "round", "integers", "stop_gradient"],
)
@pytest.mark.parametrize("method", ["pullback", "batch_jacobian", "forward"])
def test_a_generator_that_is_not_differentiable_does_not_pass_for_a_constant_one(generator, method):
    with pytest.raises(ValueError, match="changes with z, but through operations without derivatives"):
        jacobian(generator, Z, method=method)


@pytest.mark.parametrize("method", ["pullback", "batch_jacobian", "forward"])
def test_a_constant_generator_has_a_zero_jacobian(method):
    found = jacobian(lambda z: tf.ones([tf.shape(z)[0], 7]), tf.zeros([2, 3]), method=method)
    np.testing.assert_array_equal(found, np.zeros([2, 7, 3]))


class Noisy(keras.Model):
    """G(z) = z·(1 + n) with noise n drawn for each sample and pixel at each call, in inference too, as in StyleGAN."""

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(0)

    def call(self, z):
        return z * (1.0 + keras.random.normal(tf.shape(z), seed=self.seeds))


@pytest.mark.parametrize("method", ["pullback", "batch_jacobian"])
@pytest.mark.parametrize("chunk", [None, 3])
def test_noise_is_the_same_draw_for_all_columns(method, chunk):
    """J = diag(1 + n): a column with a draw of its own would still be diagonal, so the sum along z = 1 is compared."""
    z = tf.ones([4, 8])
    stateless = keras.random.SeedGenerator(5)
    model = Noisy()
    model.seeds = stateless
    state = stateless.state.numpy()
    j = jacobian(model, z, method=method, chunk=chunk).numpy()
    diagonal = np.diagonal(j, axis1=1, axis2=2)
    np.testing.assert_array_equal(j, diagonal[:, :, None] * np.eye(8))
    if chunk is None:
        draws = []
        for _ in range(6):  # inspection and tracing advance the state as well: one of the next draws is the one
            stateless.state.assign(state)
            draws.append(model(z).numpy())
            state = stateless.state.numpy()
        assert any(np.allclose(diagonal, draw, rtol=1e-6) for draw in draws)


def test_forward_refuses_noise_and_so_does_the_operator():
    with pytest.raises(ValueError, match="draws random numbers, which differ between the columns of J"):
        jacobian(Noisy(), Z, method="forward")
    with pytest.raises(ValueError, match="draws random numbers"):
        operator(Noisy(), Z)


@pytest.mark.parametrize(
    "generator, message",
    [
        (lambda z: z @ tf.ones([3, 2]), r"does not work on z \[3, 8\]: .*"),
        (lambda z: {"images": z, "mask": z}, r"must return one tensor .*, found a dict of 2 \(images, mask\)"),
        (lambda z: z.nothing, "does not work on z .*nothing"),
        (tf.function(lambda z: z.nothing), "does not work on z .*nothing"),
        (lambda z, labels: z, "does not work on z .*labels"),
    ],
    ids=["other size", "dictionary", "attribute", "attribute in a graph", "labels missing"],
)
def test_a_generator_that_fails_is_quoted(generator, message):
    with pytest.raises(ValueError, match=message):
        inspect(generator, Z)


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"images": x}, lambda x: {"a": [x]}])
def test_the_one_output_of_a_structure_is_the_output(wrap):
    """G(z) = 2z: J = 2I."""
    np.testing.assert_allclose(jacobian(lambda z: wrap(2.0 * z), Z), np.tile(2.0 * np.eye(8), [3, 1, 1]), rtol=1e-6)


def test_the_operator_names_what_it_cannot_differentiate():
    with pytest.raises(ValueError, match=re.escape("CropAndResizeGradImage); tfjc.geometry.jacobian(..., method")):
        operator(crop, Z).matvec(Z)


def test_labels_travel_with_their_latents():
    """G(z, c) = (c + 1)·z: J = (c + 1)·I, whatever the method and the chunk."""
    labels = tf.constant([0, 4, 2])
    model_z, model_c = keras.Input([8]), keras.Input([], dtype="int32")
    scaled = keras.layers.Lambda(lambda x: x[0] * (tf.cast(x[1], tf.float32)[:, None] + 1.0))([model_z, model_c])

    def function(z, c):
        return z * (tf.cast(c, tf.float32)[:, None] + 1.0)

    for generator, chunks in ((function, [3]), (keras.Model([model_z, model_c], scaled), [None, 8, 3])):
        for method in ("pullback", "batch_jacobian", "forward"):
            for chunk in chunks:
                found = jacobian(generator, Z, labels=labels, method=method, chunk=chunk)
                np.testing.assert_allclose(found, np.array([1.0, 5.0, 3.0])[:, None, None] * np.eye(8), rtol=1e-6)
        np.testing.assert_allclose(spectrum(generator, Z, labels=labels).sigma_max, [1.0, 5.0, 3.0], rtol=1e-6)


def test_labels_must_match_the_latents():
    with pytest.raises(ValueError, match=r"labels must be \[B, ...\] with one for each latent, found \(2,\) for z"):
        jacobian(lambda z, c: z, Z, labels=[1, 2])


class Trained(keras.Model):
    """A model whose `call` is in training mode unless told otherwise."""

    def __init__(self):
        super().__init__()
        self.dense, self.norm = keras.layers.Dense(6), keras.layers.BatchNormalization()

    def call(self, z, training=True):
        return self.norm(self.dense(z), training=training)


def test_a_model_that_trains_by_default_is_measured_in_inference_mode():
    """J = Wᵀ/√(1 + ε) with the moving statistics, which stay as they are."""
    model = Trained()
    model(Z, training=False)
    j = jacobian(model, Z)
    expected = model.dense.kernel.numpy().T / np.sqrt(1.0 + model.norm.epsilon)
    np.testing.assert_allclose(j, np.broadcast_to(expected, j.shape), rtol=1e-5)
    np.testing.assert_array_equal(model.norm.moving_mean, np.zeros(6))


def test_python_state_and_new_layers_are_seen():
    class Truncated(tf.Module):
        psi = 1.0

        def __call__(self, z):
            return z * self.psi

    module = Truncated()
    assert jacobian(module, Z)[0, 0, 0] == 1.0
    module.psi = 0.5
    assert jacobian(module, Z)[0, 0, 0] == 0.5
    model = keras.Sequential([keras.Input([8]), keras.layers.Dense(4)])
    assert jacobian(model, Z).shape == (3, 4, 8)
    model.add(keras.layers.Dense(7))
    assert jacobian(model, Z).shape == (3, 7, 8)


@pytest.mark.parametrize("small", [0.04, 0.002])
def test_a_small_derivative_that_is_missing_is_noticed(small):
    """The last direction moves the output by 2·small alone, through a gradient without a gradient."""

    def generator(z):
        return tf.concat([2.0 * z[:, :7], small * doubled(z[:, 7:])], axis=1)

    with pytest.warns(RuntimeWarning, match="a second derivative is missing"):
        found = spectrum(generator, Z)
    np.testing.assert_allclose(found.sigma_min, 2.0 * small, rtol=1e-5)


def test_what_xla_cannot_compile_is_measured_without():
    def bicubic(z):
        return tf.image.resize(tf.reshape(z, [-1, 2, 2, 2]), [5, 5], method="bicubic")

    choose_xla("on")
    try:
        with pytest.warns(RuntimeWarning, match="XLA cannot compile the generator"):
            found = jacobian(bicubic, Z)
    finally:
        choose_xla("auto")
    np.testing.assert_allclose(found, exact(bicubic, Z), atol=1e-6)


def test_an_output_whose_shape_is_not_known_is_looked_at():
    def generator(z):
        n = tf.cast(tf.reduce_sum(0.0 * z), tf.int32) + 2
        return tf.reshape(z, tf.stack([tf.shape(z)[0], n, n, n]))

    assert inspect(generator, Z).n_x == 8
    np.testing.assert_array_equal(jacobian(generator, Z), np.broadcast_to(np.eye(8), [3, 8, 8]))


def test_operators_refuse_what_jacobians_refuse():
    with pytest.raises(ValueError, match="changes with z, but through operations without derivatives"):
        operator(lambda z: tf.round(10.0 * z), Z)


def test_labels_for_a_model_that_takes_none_are_refused():
    model = keras.Sequential([keras.Input([8]), keras.layers.Dense(4)])
    with pytest.raises(ValueError, match="takes no labels"):
        jacobian(model, Z, labels=[1, 2, 3])


def normalised(z):
    """Batch normalisation in training mode: each image depends on all latents."""
    mean, variance = tf.nn.moments(z, axes=[0])
    return (z - mean) / tf.sqrt(variance + 1.0)


MIXING = {
    "batch normalisation": normalised,
    "sums from the first sample on": lambda z: z + tf.cumsum(z, axis=0),
    "sums to the last sample": lambda z: z + tf.cumsum(z, axis=0, reverse=True),
    "a mean over the batch": lambda z: tf.concat([z, tf.zeros_like(z) + tf.reduce_mean(z)], axis=1),
    "the batch reversed": lambda z: z + 0.1 * z[::-1],
}


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize("measure", [jacobian, spectrum, operator, lambda g, z: quotients(g, z, z + 0.1)])
def test_a_generator_that_mixes_samples_is_refused(measure, name):
    with pytest.raises(ValueError, match=r"mixes the samples of a batch.*training=False.*one latent at a time"):
        measure(MIXING[name], Z)


def test_one_latent_at_a_time_is_measured_where_samples_mix():
    """J of (z − mean)/√(variance + 1) over the pixels of one image."""

    def instance(z):
        x = tf.reshape(z, [-1, 4, 2])
        mean, variance = tf.nn.moments(x, axes=[0, 1], keepdims=True)
        return (x - mean) / tf.sqrt(variance + 1.0)

    with pytest.raises(ValueError, match="mixes the samples"):
        jacobian(instance, Z)
    h, found = 1e-3, jacobian(instance, Z[:1])[0]
    for k, step in enumerate(h * np.eye(8, dtype=np.float32)):
        difference = np.ravel(instance(Z[:1] + step) - instance(Z[:1] - step)) / (2 * h)
        np.testing.assert_allclose(found[:, k], difference, atol=1e-3)


def test_noise_is_not_taken_for_mixing():
    """Neither noise held for a batch nor noise that changes at every call, nor nan in some images."""
    noise = tf.random.stateless_normal([3, 8], [5, 6])
    np.testing.assert_allclose(jacobian(lambda z: z * noise, Z), tf.linalg.diag(noise), rtol=1e-6)
    assert jacobian(lambda z: z + tf.random.normal(tf.shape(z)), Z).shape == (3, 8, 8)
    assert np.isnan(jacobian(lambda z: tf.sqrt(z), Z)).any()


def test_a_model_whose_traces_are_kept_is_checked_for_mixing_once(monkeypatch):
    compared, close = [], _generator._are_close
    monkeypatch.setattr(_generator, "_are_close", lambda *a: compared.append(a) or close(*a))
    model = keras.Sequential([keras.Input([8]), keras.layers.Dense(9, "tanh")])
    jacobian(model, Z)
    assert len(compared) == 4  # even, odd, early and late latents moved
    quotients(model, Z, Z + 0.1), operator(model, Z), jacobian(model, Z)
    assert len(compared) == 4
