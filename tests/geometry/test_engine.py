"""The Jacobian engine against central differences, the direct batch Jacobian and closed forms."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from generators import CASES, latents

from tfjc import geometry as engine
from tfjc.geometry import jacobian, metric_tensor, operator
from tfjc.geometry._spectrum import spectrum
from tfjc.support.xla import choose_xla

pytestmark = pytest.mark.usefixtures("grappler")

CHUNKED = ("linear", "dcgan with batch normalisation", "conditional")
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def central_differences(generator, z, step=1e-6):
    """J column by column from (G(z + he_j) − G(z − he_j)) / 2h, in float64: error of order h² and eps/h."""
    columns = [
        (generator(z + step * e) - generator(z - step * e)).numpy().reshape(len(z), -1) / (2 * step)
        for e in tf.eye(z.shape[1], dtype=tf.float64)
    ]
    return np.stack(columns, axis=-1)


@each_case
def test_float64_equals_central_differences(case):
    generator, z = case.shared("float64"), latents(case, dtype="float64")
    found, expected = jacobian(generator, z), central_differences(generator, z)
    assert found.dtype == tf.float64
    np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("case", [case for case in CASES if case.exact], ids=lambda case: case.name)
@pytest.mark.parametrize("method", ["pullback", "batch_jacobian", "forward"])
def test_equals_the_closed_form(case, method):
    generator, z = case.shared(), latents(case)
    found = jacobian(generator, z, method=method)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, case.exact(generator, z), rtol=1e-5, atol=1e-6)


@each_case
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_pullback_equals_the_direct_batch_jacobian(case, policy):
    generator, z = case.shared(policy), latents(case)
    pulled, direct = jacobian(generator, z), jacobian(generator, z, method="batch_jacobian")
    # Both are exact but for rounding: eps is 1.2e-7, 9.8e-4 and 7.8e-3, over a few layers.
    bound = {"float32": 1e-6, "mixed_float16": 5e-3, "mixed_bfloat16": 4e-2}[policy]
    assert pulled.dtype == direct.dtype == tf.float32
    np.testing.assert_allclose(pulled, direct, atol=bound * np.abs(direct).max())


@functools.cache
def jacobian_of_a_seed(case, policy):
    """J of a generator whose initial weights do not depend on the policy."""
    keras.utils.set_random_seed(1)
    return jacobian(case.make(policy), latents(case)).numpy()


@each_case
@pytest.mark.parametrize("policy, bound", [("mixed_float16", 1e-2), ("mixed_bfloat16", 0.2)])
def test_sixteen_bits_stay_near_float32(case, policy, bound):
    """‖ΔJ‖_F ≤ bound·‖J‖_F; single entries may differ more, where a ReLU falls on its other side."""
    reference = jacobian_of_a_seed(case, "float32")
    error = np.linalg.norm(jacobian_of_a_seed(case, policy) - reference, axis=(1, 2))
    assert np.all(error <= bound * np.linalg.norm(reference, axis=(1, 2)))


@pytest.mark.parametrize("case", [case for case in CASES if case.name in CHUNKED], ids=lambda case: case.name)
@pytest.mark.parametrize("method", ["pullback", "batch_jacobian", "forward"])
def test_chunks_change_nothing(case, method):
    """One sample at once by parts of its passes, several with all passes, and a last block that is smaller."""
    generator, z = case.shared(), latents(case, count=30)
    whole = jacobian(generator, z, method=method)
    more = [(1, 2), (10, 4)] if case.exact else []
    for chunk, count in [*more, (3, 2), (100, 30)]:
        rows = list(engine.blocks(generator, z[:count], method=method, chunk=chunk))
        assert len(rows) > 1
        np.testing.assert_allclose(tf.concat(rows, axis=0), whole[:count], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(jacobian(generator, z, method=method, chunk=chunk), tf.concat(rows, axis=0))


@each_case
def test_a_sample_does_not_depend_on_the_rest_of_the_batch(case):
    generator, z = case.shared(), latents(case, count=4)
    np.testing.assert_allclose(jacobian(generator, z)[2:3], jacobian(generator, z[2:3]), rtol=1e-4, atol=1e-6)


@each_case
def test_metric_tensor_is_the_float64_gram_matrix(case):
    generator, z = case.shared(), latents(case)
    found, j = metric_tensor(generator, z), jacobian(generator, z).numpy().astype(np.float64)
    assert found.dtype == tf.float64
    np.testing.assert_allclose(found, np.einsum("bxi,bxj->bij", j, j), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found, tf.linalg.matrix_transpose(found), rtol=1e-9, atol=1e-15)
    assert np.linalg.eigvalsh(found).min() > -1e-12


@each_case
def test_steps_along_eigenvectors_move_the_image_by_the_root_of_the_eigenvalue(case):
    """Eq. 5 of the paper: ‖G(z) − G(z + εv_k)‖ / ‖εv_k‖ → √λ_k."""
    generator, z, epsilon = case.shared("float64"), latents(case, dtype="float64"), 1e-6
    eigenvalues, vectors = np.linalg.eigh(metric_tensor(generator, z))
    for k in range(case.n_z):
        step = epsilon * vectors[:, :, k]
        moved = np.asarray(generator(z)) - np.asarray(generator(z + step))
        quotient = np.linalg.norm(moved.reshape(len(z), -1), axis=1) / epsilon
        np.testing.assert_allclose(quotient, np.sqrt(eigenvalues[:, k]), rtol=1e-5)


def test_batch_normalisation_is_in_inference_mode():
    """For x = γ(z − μ)/√(v + ε) + β the Jacobian is diag(γ/√(v + ε)), whatever the batch."""
    layer = keras.layers.BatchNormalization(epsilon=1e-3)
    generator = keras.Sequential([keras.Input([3]), layer])
    gamma, variance = np.array([1.0, 2.0, 3.0]), np.array([4.0, 0.5, 9.0])
    layer.set_weights([gamma, np.zeros(3), np.ones(3), variance])
    found = jacobian(generator, tf.random.stateless_normal([4, 3], [1, 1]))
    np.testing.assert_allclose(found, np.tile(np.diag(gamma / np.sqrt(variance + 1e-3)), [4, 1, 1]), rtol=1e-6)


@pytest.mark.parametrize(
    "case, chunk", [*((case, None) for case in CASES), (CASES[3], 4)], ids=lambda value: getattr(value, "name", value)
)
def test_xla_gives_the_same_numbers(case, chunk):
    """GPUs and TPUs compile the engine by default, so every kind of generator must compile."""
    generator, z = case.shared(), latents(case)
    expected = jacobian(generator, z).numpy()
    choose_xla("on")
    try:
        found = jacobian(generator, z, chunk=chunk)
    finally:
        choose_xla("auto")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def test_new_weights_are_seen():
    case = CASES[0]
    generator, z = case.make(), latents(case)
    before = jacobian(generator, z)
    generator.set_weights([3.0 * w for w in generator.get_weights()])
    np.testing.assert_allclose(jacobian(generator, z), 3.0 * before, rtol=1e-6)


@pytest.mark.parametrize(
    "unbuilt",
    [keras.layers.Dense(4), keras.Sequential([keras.layers.Dense(4)]), keras.Sequential([keras.layers.Lambda(tf.sin)])],
)
def test_an_unbuilt_generator_is_built(unbuilt):
    assert jacobian(unbuilt, tf.ones([2, 3])).shape[::2] == (2, 3)


def test_python_state_of_a_plain_callable_is_seen():
    @dataclasses.dataclass
    class Scale:
        by: float

        def __call__(self, z):
            return self.by * z

    generator = Scale(1.0)
    before = jacobian(generator, tf.ones([1, 2]))
    generator.by = 5.0
    np.testing.assert_allclose(jacobian(generator, tf.ones([1, 2])), 5.0 * before)


def test_models_are_traced_at_their_first_use_alone(monkeypatch):
    case = CASES[1]
    generator, calls = case.make(), []
    call = type(generator).call
    monkeypatch.setattr(type(generator), "call", lambda self, *a, **k: calls.append(1) or call(self, *a, **k))
    jacobian(generator, latents(case))
    once = len(calls)
    for _ in range(3):
        jacobian(generator, latents(case))
    assert len(calls) == once


def test_outputs_of_any_rank_are_flattened():
    assert jacobian(lambda z: tf.reduce_sum(z**2, axis=1), tf.ones([2, 3])).shape == (2, 1, 3)
    assert jacobian(lambda z: z[:, None, None, :, None], tf.ones([2, 3])).shape == (2, 3, 3)


def test_it_works_inside_a_function_with_an_unknown_batch():
    generator = CASES[1].make()
    traced = tf.function(lambda z: metric_tensor(generator, z), input_signature=[tf.TensorSpec([None, 4])])
    z = latents(CASES[1])
    np.testing.assert_allclose(traced(z), metric_tensor(generator, z), rtol=1e-5)


def test_a_generator_is_not_kept_alive():
    import gc
    import weakref

    generator = CASES[1].make()
    jacobian(generator, latents(CASES[1]))
    dead = weakref.ref(generator)
    del generator
    keras.backend.clear_session()
    gc.collect()
    assert dead() is None


def pix2pix():
    """A model whose latents are images."""
    return keras.Sequential([keras.Input([1, 1, 3]), keras.layers.Conv2DTranspose(1, 2)])


def test_latents_of_more_axes_are_measured_by_the_way_that_the_message_names():
    model = pix2pix()
    expected = tf.reshape(model(tf.reshape(tf.eye(3), [3, 1, 1, 3])) - model(tf.zeros([1, 1, 1, 3])), [3, -1])
    found = jacobian(lambda z: model(tf.reshape(z, [-1, 1, 1, 3])), tf.ones([2, 3]))
    np.testing.assert_allclose(found, np.broadcast_to(tf.transpose(expected), found.shape), atol=1e-6)


def test_what_needs_numbers_is_refused_inside_a_function():
    with pytest.raises(ValueError, match=r"spectrum .*cannot run inside a tf.function.*tfjc.geometry.metric_tensor"):
        tf.function(lambda z: spectrum(tf.tanh, z).sigma_max)(tf.ones([2, 3]))
    with pytest.raises(ValueError, match=r"operator .*cannot be made inside a tf.function"):
        tf.function(lambda z: operator(tf.tanh, z).matvec(z))(tf.ones([2, 3]))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"z": tf.zeros([3])}, r"z must have shape \[B, n_z\], found \[3\]"),
        (
            {"z": tf.zeros([2, 1, 1, 3])},
            r"found \[2, 1, 1, 3\]: pass flat .* generator\(tf.reshape\(z, \[-1, 1, 1, 3\]\)\)",
        ),
        ({"generator": pix2pix()}, r"takes latents \[B, 1, 1, 3\], found z \[2, 3\]: pass flat latents"),
        ({"z": tf.zeros([2, 3], tf.int32)}, "z must be of floating type, found int32"),
        ({"z": tf.zeros([0, 3])}, "z must hold at least one latent"),
        ({"generator": "model.keras"}, "the generator must be callable, .* found 'model.keras'"),
        ({"generator": CASES[0].make()}, r"the generator takes latents \[B, 5\], found z \[2, 3\]"),
        ({"method": "pulback"}, "unknown method 'pulback'; nearest: pullback"),
        ({"chunk": 0}, "chunk must be at least 1, found 0"),
        ({"generator": lambda z: tf.cast(z, tf.uint8)}, "floating type to be differentiated, found uint8"),
        ({"generator": lambda z: z[0]}, r"must return \[B, ...\] for z \[2, 3\]"),
    ],
)
def test_mistakes_are_named(arguments, message):
    arguments = {"generator": lambda z: z, "z": tf.zeros([2, 3]), **arguments}
    with pytest.raises(ValueError, match=message):
        engine.jacobian(arguments.pop("generator"), arguments.pop("z"), **arguments)
