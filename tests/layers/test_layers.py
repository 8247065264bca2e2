"""Normalised weights against SVDs, finite differences and the published table, and in anybody's Keras model."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc import geometry
from tfjc.layers import Preconditioning, SpectralNormalization, kernel_matrix, modified_condition_number, polynomial

TABLE = {  # s → g(s) of levels 1 to 4 (FACTS 7)
    0.1: (0.150, 0.207, 0.286, 0.353),
    0.5: (0.690, 0.854, 0.989, 1.020),
}
X = tf.random.stateless_normal([3, 6, 6, 2], [1, 2])


def conv(filters=4, **options):
    return keras.layers.Conv2D(filters, 3, padding="same", **options)


def transposed(filters=3, **options):
    return keras.layers.Conv2DTranspose(filters, 4, 2, padding="same", **options)


LAYERS = {
    "dense": lambda: SpectralNormalization(keras.layers.Dense(5)),
    "conv": lambda: SpectralNormalization(conv()),
    "transposed": lambda: SpectralNormalization(transposed()),
    "precondition": lambda: Preconditioning(conv(), 3),
    "precondition_transposed": lambda: Preconditioning(transposed(), 2),
    "adaptive": lambda: Preconditioning(conv(), "adaptive"),
}


def built(name, inputs=X):
    keras.utils.set_random_seed(1)
    layer = LAYERS[name]()
    layer(inputs)
    return layer


def singular_values(matrix):
    return np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)


def settle(layer):
    """Brings u to where power iterations end: the left singular vector."""
    layer.u.assign(np.linalg.svd(np.asarray(kernel_matrix(layer), np.float64))[0][:, 0])


def effective(layer):
    """The singular values of `normalised_kernel`, which is asserted to be what a call uses."""
    raw = layer.layer.kernel.numpy().copy()
    kernel = layer.normalised_kernel().numpy()
    outputs = layer(X)
    layer.layer.kernel.assign(kernel)
    np.testing.assert_allclose(layer.layer(X), outputs, rtol=1e-5, atol=1e-6)
    matrix = kernel_matrix(layer)
    layer.layer.kernel.assign(raw)
    return singular_values(matrix)


@pytest.mark.parametrize("name", LAYERS)
def test_the_kernel_matrix_has_output_channels_as_rows(name):
    """Row c of [C_out, k·k·C_in] holds, in any order, exactly the weights that output channel c depends on."""
    layer = built(name)
    matrix = kernel_matrix(layer).numpy()
    kernel, channels = layer.layer.kernel, layer(X).shape[-1]
    assert matrix.shape == (channels, np.prod(kernel.shape) // channels)
    for channel in range(channels):
        with tf.GradientTape() as tape:
            output = tf.reduce_sum(layer.layer(X)[..., channel])
        used = tf.boolean_mask(kernel.value, tape.gradient(output, kernel.value) != 0).numpy()
        np.testing.assert_array_equal(np.sort(used), np.sort(matrix[channel]))


@pytest.mark.parametrize("name", ["dense", "conv", "transposed"])
def test_iterations_bring_the_largest_singular_value_to_one(name):
    layer = built(name)
    raw = layer.layer.kernel.numpy().copy()
    assert effective(layer)[0] == pytest.approx(1, abs=0.03)  # from the first call on; 1.023 is the farthest
    for _ in range(100):
        layer.normalised_kernel(training=True)
    assert effective(layer)[0] == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(layer.layer.kernel.numpy(), raw)
    expected = singular_values(kernel_matrix(layer))
    np.testing.assert_allclose(effective(layer), expected / expected[0], atol=1e-5)


def test_a_training_call_makes_one_power_iteration():
    layer = built("conv")
    u0 = np.random.default_rng(0).normal(size=4)
    layer.u.assign(u0 / np.linalg.norm(u0))
    matrix = kernel_matrix(layer).numpy().astype(float)
    v = matrix.T @ u0
    u = matrix @ (v / np.linalg.norm(v))
    layer(X, training=True)
    np.testing.assert_allclose(layer.u, u / np.linalg.norm(u), rtol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_inference_changes_nothing(name):
    layer = built(name)
    before = [np.array(v) for v in layer.weights]
    first = layer(X)
    for _ in range(3):
        np.testing.assert_array_equal(layer(X, training=False), first)
    for variable, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_the_raw_kernel_is_what_is_trained():
    layer = built("adaptive")
    assert [v.name for v in layer.trainable_variables] == ["kernel", "bias"]
    assert sorted(v.name for v in layer.non_trainable_variables) == ["level", "recent", "u"]
    assert layer.trainable_variables[0] is layer.layer.kernel
    assert Preconditioning(conv(), trainable=False).trainable is False


@pytest.mark.parametrize("name", [name for name in LAYERS if "transposed" not in name])
@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_those_of_finite_differences(name, training):
    """In float64, of Σ c·layer(x) by the raw kernel, against central differences of a kernel normalised by its SVD.

    u is the singular vector here. That u and v are held makes no difference then: σ is stationary in them.
    """
    keras.config.set_dtype_policy("float64")
    try:
        layer, x = built(name, tf.cast(X, "float64")), tf.cast(X, "float64")
    finally:
        keras.config.set_dtype_policy("float32")
    if name == "adaptive":
        layer.chosen_level.assign(4)
    settle(layer)
    weights = tf.random.stateless_normal(layer(x).shape, [3, 3], dtype=tf.float64)
    raw = layer.layer.kernel.numpy().copy()

    def value(kernel):
        """Σ c·layer(x) with the kernel normalised by its SVD."""
        matrix = np.moveaxis(kernel, -1, 0).reshape(kernel.shape[-1], -1)
        left, s, right = np.linalg.svd(matrix, full_matrices=False)
        level = layer.current_level if isinstance(layer, Preconditioning) else 0
        matrix = left * polynomial(s / s[0], level) @ right
        layer.layer.kernel.assign(np.moveaxis(matrix.reshape(-1, *kernel.shape[:-1]), 0, -1))
        return float(tf.reduce_sum(weights * layer.layer(x)))

    with tf.GradientTape() as tape:
        objective = tf.reduce_sum(weights * layer(x, training=training))
    found = tape.gradient(objective, layer.layer.kernel.value).numpy()
    assert value(raw) == pytest.approx(float(objective), rel=1e-9)
    for index in np.random.default_rng(0).integers(0, raw.size, 8):
        step = np.zeros(raw.size)
        step[index] = 1e-5
        step = step.reshape(raw.shape)
        expected = (value(raw + step) - value(raw - step)) / 2e-5
        assert found.flat[index] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_no_gradient_flows_through_u_and_v():
    """Away from the singular vectors: ∂(uᵀWv)/∂W = uvᵀ exactly, so d(W/σ) = dW/σ − W·⟨uvᵀ, dW⟩/σ²."""
    layer = built("dense")
    layer.u.assign([0.6, 0.8, 0, 0, 0])
    matrix = kernel_matrix(layer).numpy()
    u = layer.u.numpy()
    v = matrix.T @ u / np.linalg.norm(matrix.T @ u)
    sigma, c = u @ matrix @ v, np.random.default_rng(0).normal(size=matrix.shape)
    with tf.GradientTape() as tape:
        objective = tf.reduce_sum(tf.constant(c.T, tf.float32) * layer.normalised_kernel())
    expected = c / sigma - np.sum(c * matrix) / sigma**2 * np.outer(u, v)
    np.testing.assert_allclose(tape.gradient(objective, layer.layer.kernel.value), expected.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("level", range(5))
@pytest.mark.parametrize("make", [lambda: conv(4), lambda: conv(30), lambda: transposed(3), lambda: transposed(40)])
def test_the_polynomial_acts_on_the_singular_values(make, level):
    """g(A) has the singular values g(s) of A and its singular vectors, on whichever side the Gram matrix is taken."""
    for fixed in (level, "adaptive"):
        keras.utils.set_random_seed(2)
        layer = Preconditioning(make(), fixed)
        layer(X)
        if layer.adaptive:
            layer.chosen_level.assign(level)
        settle(layer)
        raw = layer.layer.kernel.numpy()
        axis = -1 if isinstance(layer.layer, keras.layers.Conv2D) else -2
        matrix = np.moveaxis(raw, axis, 0).reshape(raw.shape[axis], -1).astype(np.float64)
        left, s, right = np.linalg.svd(matrix, full_matrices=False)
        expected = left * polynomial(s / s[0], level) @ right
        kernel = layer.normalised_kernel().numpy()
        found = np.moveaxis(kernel, axis, 0).reshape(matrix.shape)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(np.sort(singular_values(found)), np.sort(polynomial(s / s[0], level)), atol=1e-5)


def test_the_published_values_of_the_polynomials():
    """FACTS 7: g(1) = 1, g(0.1), g(0.5), and maxima on [0, 1] of 1.0000, 1.0101, 1.0190, 1.0205."""
    for s, values in TABLE.items():
        assert [round(float(polynomial(s, level)), 3) for level in (1, 2, 3, 4)] == list(values)
    grid = np.linspace(0, 1, 100_001)
    assert [round(polynomial(grid, level).max(), 4) for level in (1, 2, 3, 4)] == [1.0, 1.0101, 1.0190, 1.0205]
    for level in range(5):
        assert polynomial(1.0, level) == pytest.approx(1, abs=1e-12)
        assert polynomial(0.0, level) == 0
    np.testing.assert_array_equal(polynomial(grid, 0), grid)


def test_the_modified_condition_number():
    """σ₁ over the mean of the smallest max(1, ⌊10 %⌋): of 25 values the two smallest, of 9 the smallest."""
    assert modified_condition_number(np.arange(1, 26)) == 25 / 1.5
    assert modified_condition_number(np.arange(9, 0, -1)) == 9
    assert modified_condition_number([2.0, 0.0]) == np.inf


def test_adaptive_levels_follow_the_mean_of_five():
    layer = built("adaptive")
    assert layer.current_level == 0
    seen = [layer.update_level(value) for value in (5, 15, 10.3, 40, 80, 100, 1, 1, 1, 1)]
    means = [5, 10, 10.1, 17.575, 30.06, 49.06, 46.26, 44.4, 36.6, 20.8]
    assert seen == [0, 1, 2, 2, 4, 4, 4, 4, 4, 3]
    assert seen == [sum(mean > limit for limit in (5, 10, 20, 30)) for mean in means]
    assert layer.update_level(np.inf) == 4
    with pytest.raises(ValueError, match=r"only an adaptive level can be updated; .* has level 3"):
        built("precondition").update_level(7)


def test_a_compiled_graph_follows_the_level():
    layer = built("adaptive")
    step = tf.function(layer)
    outputs = []
    for level in (0, 4, 0):
        layer.chosen_level.assign(level)
        outputs.append(step(X).numpy())
        np.testing.assert_allclose(outputs[-1], layer(X), rtol=1e-5, atol=1e-6)
    assert step.experimental_get_tracing_count() == 1
    np.testing.assert_array_equal(outputs[0], outputs[2])
    assert np.abs(outputs[1] - outputs[0]).max() > 0.1


def test_level_0_is_spectral_normalisation():
    plain, zero, adaptive = SpectralNormalization(conv()), Preconditioning(conv(), 0), built("adaptive")
    for layer in (plain, zero):
        layer(X)
        layer.set_weights([adaptive.u, *adaptive.layer.get_weights()])
    np.testing.assert_array_equal(plain(X), zero(X))
    np.testing.assert_allclose(plain(X), adaptive(X), rtol=1e-5, atol=1e-6)


def network():
    """A functional model within another, with each kind of layer."""
    keras.utils.set_random_seed(3)
    inner_input = keras.Input([6, 6, 2])
    x = Preconditioning(conv(activation="relu"), 2, name="first")(inner_input)
    inner = keras.Model(inner_input, Preconditioning(conv(), "adaptive", name="second")(x), name="inner")
    images = keras.Input([6, 6, 2])
    x = SpectralNormalization(transposed(), name="up")(inner(images))
    x = SpectralNormalization(keras.layers.Dense(1), name="out")(keras.layers.Flatten()(x))
    return keras.Model(images, x)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_training_compiled_is_training_eager(jit_compile):
    """Keras's `fit` in a graph, with and without XLA, leaves the weights that eager steps leave."""
    results = []
    for eager in (True, False):
        keras.utils.set_random_seed(3)
        wrapped = Preconditioning(conv(activation="relu"), "adaptive")
        top = SpectralNormalization(keras.layers.Dense(2))
        model = keras.Sequential([keras.Input([6, 6, 2]), wrapped, keras.layers.Flatten(), top])
        model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=eager, jit_compile=jit_compile and not eager)
        wrapped.chosen_level.assign(4)
        fresh = model.get_weights()
        model.fit(X, np.ones([3, 2]), batch_size=3, epochs=2, verbose=0)
        results.append(model.get_weights())
    for a, b, first in zip(*results, fresh, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
        assert np.abs(a - first).max() > 0 or first.shape == (5,) or first.shape == ()  # all but `recent` and level


def test_a_layer_built_within_a_graph_begins_with_the_same_u():
    """As in subclassed models, which are built by their first step."""
    layer = LAYERS["conv"]()
    model = keras.Sequential([layer])
    tf.function(lambda: model(X))()
    u = layer.u.numpy()
    np.testing.assert_allclose(layer._first_u([4]), u, rtol=1e-5)
    assert effective(layer)[0] == pytest.approx(1, abs=0.02)


def test_the_gradient_penalty_goes_through():
    """∂/∂W of ‖∂D/∂x‖², a tape in a tape: for D(x) = ⟨w/‖w‖, x⟩ it is 1 whatever w is, its gradient 0; for a deeper
    critic it is that of finite differences (in float64)."""
    linear = SpectralNormalization(keras.layers.Dense(1))
    x = tf.reshape(X, [3, -1])

    def penalty(critic, x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = critic(x, training=False)
        return tf.reduce_sum(tape.gradient(logits, x) ** 2)

    linear(x)
    with tf.GradientTape() as tape:
        value = penalty(linear, x)
    assert float(value) == pytest.approx(3, rel=1e-5)
    np.testing.assert_allclose(tape.gradient(value, linear.layer.kernel.value), 0, atol=1e-5)
    wide, x = geometry.in_float64(network()), tf.cast(X, "float64")
    kernel = wide.get_layer("inner").get_layer("first").layer.kernel
    with tf.GradientTape() as tape:
        value = tf.function(penalty)(wide, x)
    found, raw = tape.gradient(value, kernel.value).numpy(), kernel.numpy().copy()
    for index in [(0, 0, 0, 0), (1, 1, 1, 2), (2, 0, 1, 3)]:
        values = []
        for sign in (1, -1):
            moved = raw.copy()
            moved[index] += sign * 1e-6
            kernel.assign(moved)
            values.append(float(penalty(wide, x)))
        assert found[index] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-3, abs=1e-6)


def test_the_pullback_and_batch_jacobian_agree_through_wrapped_layers():
    z = keras.Input([4])
    x = keras.layers.Reshape([3, 3, 2])(SpectralNormalization(keras.layers.Dense(18))(z))
    generator = keras.Model(z, Preconditioning(transposed(activation="tanh"), 2)(x))
    latents = tf.random.stateless_normal([5, 4], [1, 1])
    reference = geometry.jacobian(generator, latents, method="batch_jacobian")
    np.testing.assert_allclose(geometry.jacobian(generator, latents), reference, atol=1e-5)
    wide = geometry.jacobian(geometry.in_float64(generator), tf.cast(latents, tf.float64))
    np.testing.assert_allclose(wide, reference, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_sixteen_bits_compute_with_weights_normalised_in_float32(policy):
    layer = built("precondition")
    keras.config.set_dtype_policy(policy)
    try:
        images = keras.Input([6, 6, 2])
        narrow = Preconditioning(conv(), 3)
        model = keras.Model(images, narrow(images))
    finally:
        keras.config.set_dtype_policy("float32")
    narrow.set_weights(layer.get_weights())
    assert model.output.dtype == model(X).dtype == policy.removeprefix("mixed_")
    assert narrow.layer.kernel.dtype == narrow.u.dtype == "float32"
    np.testing.assert_array_equal(narrow.normalised_kernel(), layer.normalised_kernel())
    np.testing.assert_allclose(tf.cast(model(X), tf.float32), layer(X), atol=0.05)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(tf.cast(model(X, training=True), tf.float32))
    assert tape.gradient(value, narrow.layer.kernel.value).dtype == tf.float32


def test_a_keras_file_brings_everything_back(tmp_path):
    model = network()
    model.compile("adam", "mse")
    model.fit(X, np.ones([3, 1]), verbose=0)
    second = model.get_layer("inner").get_layer("second")
    second.update_level(17)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(X), model(X))
    found = again.get_layer("inner").get_layer("second")
    assert (found.current_level, found.recent[-1]) == (2, 17)
    assert again.get_layer("inner").get_layer("first").level == 2
    assert json.loads(again.to_json()) == json.loads(model.to_json())


def test_a_saved_model_gives_the_same(tmp_path):
    model = network()
    for _ in range(2):
        model(X, training=True)
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.serve(X), model(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_configurations_make_the_same_layer(name):
    layer = built(name)
    again = type(layer).from_config(layer.get_config())
    again(X)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(X), layer(X))
    assert again.get_config() == layer.get_config()


def test_a_stateless_call_gives_the_new_u_and_uses_the_given_bias():
    layer = built("conv")
    trainable = [tf.identity(v.value) for v in layer.trainable_variables]
    trainable[1] += 1.0
    before = layer.u.numpy()
    fixed = [tf.constant([0.6, 0.8, 0.0, 0.0])]
    outputs, (u,) = layer.stateless_call(trainable, fixed, X, training=True)
    np.testing.assert_array_equal(layer.u, before)
    layer.u.assign(fixed[0])
    np.testing.assert_allclose(outputs, layer(X, training=True) + 1.0, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(u, layer.u, rtol=1e-5)


def test_a_kernel_of_zeros_stays_and_can_be_left():
    layer = SpectralNormalization(keras.layers.Dense(2, kernel_initializer="zeros", use_bias=False))
    x = tf.constant([[1.0, 2.0, 3.0]])
    with tf.GradientTape() as tape:
        outputs = layer(x, training=True)
    np.testing.assert_array_equal(outputs, [[0, 0]])
    np.testing.assert_array_equal(tape.gradient(outputs, layer.layer.kernel.value), [[1, 1], [2, 2], [3, 3]])
    layer.layer.kernel.assign(np.eye(3, 2) * 5)
    for _ in range(3):
        layer(x, training=True)
    assert np.isfinite(layer(x)).all()


def test_losses_of_the_layer_are_kept():
    layer = SpectralNormalization(keras.layers.Dense(2, activity_regularizer="l2", kernel_regularizer="l2"))
    plain = keras.layers.Dense(2, activity_regularizer="l2", kernel_regularizer="l2")
    x = tf.ones([1, 3])
    layer(x), plain(x)
    plain.set_weights([layer.normalised_kernel(), layer.layer.bias])
    plain(x)
    activity, weights = float(plain.losses[0]), float(tf.reduce_sum(layer.layer.kernel**2)) * 0.01
    assert sorted(map(float, layer.losses)) == pytest.approx(sorted([activity, weights]), rel=1e-5)
