"""Penalties on the spectrum against singular vectors of linear generators, finite differences and invariances."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from penalties.linear import derivatives, network

from tfjc import geometry
from tfjc.penalties import ConditionNumber, Isometry, JacobianClamping, QuotientFloor, SpectralSpread

SEED = [3, 4]
A = np.random.default_rng(0).normal(size=(12, 5))
Z = tf.random.stateless_normal([3, 5], [1, 1], dtype=tf.float64)
all_penalties = pytest.mark.parametrize(
    "penalty",
    [ConditionNumber(0.5), SpectralSpread(), Isometry()],
    ids=["ConditionNumber", "SpectralSpread", "Isometry"],
)
LOG_CONDITION = 2 * np.log(np.linalg.cond(A))


def linear(a):
    """x = Az and its weight Aᵀ, a variable."""
    weight = tf.Variable(np.asarray(a).T)
    return lambda z, training=None: z @ weight, weight


def gradient(penalty, a):
    """(the penalty at three latents [3], its mean's gradient by A)."""
    generate, weight = linear(a)
    with tf.GradientTape() as tape:
        found = penalty(generate, Z, SEED)
        mean = tf.reduce_mean(found)
    return found.numpy(), tape.gradient(mean, weight).numpy().T


def test_the_condition_number_of_a_linear_map():
    """2(1 − √κ_T·σ_n/σ_1) and its derivative by A, from uᵀ(∂A)v for both singular values."""
    u, s, vt = np.linalg.svd(A, full_matrices=False)
    found, by_a = gradient(ConditionNumber(1.0, weight=3.0), A)
    root = np.exp(0.5)
    np.testing.assert_allclose(found, 3.0 * 2 * (1 - root * s[-1] / s[0]), rtol=1e-9)
    expected = -6 * root * (np.outer(u[:, -1], vt[-1]) / s[0] - s[-1] / s[0] ** 2 * np.outer(u[:, 0], vt[0]))
    np.testing.assert_allclose(by_a, expected, rtol=1e-7, atol=1e-9)


def test_near_the_target_the_penalty_is_the_log_condition_number_above_it():
    """Value u + O(u²), and the gradient of ln κ(M) = 2(ln σ_1 − ln σ_n): 2(u_1v_1ᵀ/σ_1 − u_nv_nᵀ/σ_n)."""
    u, s, vt = np.linalg.svd(A, full_matrices=False)
    found, by_a = gradient(ConditionNumber(LOG_CONDITION - 1e-4, weight=1.0), A)
    np.testing.assert_allclose(found, 1e-4, rtol=1e-4)
    expected = 2 * (np.outer(u[:, 0], vt[0]) / s[0] - np.outer(u[:, -1], vt[-1]) / s[-1])
    np.testing.assert_allclose(by_a, expected, rtol=1e-3, atol=1e-6)


def test_below_the_target_nothing_is_penalised():
    found, by_a = gradient(ConditionNumber(LOG_CONDITION + 1e-6), A)
    assert not found.any()
    assert not by_a.any()


@pytest.mark.parametrize("exponent", [-1, -3, -6, -12])
def test_the_gradient_stays_bounded_where_the_smallest_singular_value_vanishes(exponent):
    """‖∂P/∂A‖ ≤ 2√κ_T/σ_1·√(1 + (σ_n/σ_1)²): that of ln κ would be 2/σ_n."""
    u, _, vt = np.linalg.svd(A, full_matrices=False)
    s = np.array([2.0, 1.5, 1.0, 0.5, 10.0**exponent])
    _, by_a = gradient(ConditionNumber(2.0, weight=1.0), u * s @ vt)
    ratio = s[-1] / s[0]
    expected = 2 * np.exp(1.0) / s[0] * np.sqrt(1 + ratio**2)
    assert np.linalg.norm(by_a) == pytest.approx(expected, rel=1e-6)


DEGENERATE = {
    "constant": np.zeros([12, 5]),
    "rank one": np.outer(np.arange(12.0), np.ones(5)),
    "isometry": np.eye(12)[:, :5],
    "repeated": np.eye(12)[:, :5] * [3.0, 3.0, 1.0, 0.1, 0.1],
    "tiny": 1e-12 * A,
    "large": 1e12 * A,
}


@pytest.mark.parametrize(
    "penalty", [ConditionNumber(1.0), SpectralSpread(), Isometry()], ids=lambda p: type(p).__name__
)
@pytest.mark.parametrize("a", DEGENERATE.values(), ids=DEGENERATE)
def test_degenerate_maps_have_finite_gradients(penalty, a):
    found, by_a = gradient(penalty, a)
    assert np.isfinite(found).all()
    assert np.isfinite(by_a).all()


@pytest.mark.parametrize(
    "penalty", [ConditionNumber(1.0), SpectralSpread(), Isometry()], ids=lambda p: type(p).__name__
)
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_penalties_do_not_see_the_scale_of_the_images(penalty, factor):
    found, by_a = gradient(penalty, A)
    scaled, by_scaled = gradient(penalty, factor * A)
    np.testing.assert_allclose(scaled, found, rtol=1e-9)
    np.testing.assert_allclose(by_scaled * factor, by_a, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(np.sum(by_a * A), 0.0, atol=1e-9)  # so no gradient along the scale


@pytest.mark.parametrize(
    "penalty", [ConditionNumber(0.5), SpectralSpread(), Isometry()], ids=lambda p: type(p).__name__
)
def test_the_gradient_by_a_networks_weights(penalty):
    generate, weights = network(5, 6, 12)
    found, expected = derivatives(lambda: tf.reduce_mean(penalty(generate, Z, SEED)), weights)
    assert abs(expected) > 1e-3
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_spread_of_a_linear_map():
    """The variance of ln(λ_i + 1e-4·mean λ), divisor n."""
    values = np.linalg.svd(A, compute_uv=False) ** 2
    found, _ = gradient(SpectralSpread(weight=2.0), A)
    np.testing.assert_allclose(found, 2 * np.var(np.log(values + 1e-4 * values.mean())), rtol=1e-9)


@pytest.mark.parametrize("penalty", [SpectralSpread(), Isometry()], ids=["SpectralSpread", "Isometry"])
def test_conformal_maps_cost_nothing(penalty):
    found, by_a = gradient(penalty, 7.0 * np.linalg.qr(A)[0])
    np.testing.assert_allclose(found, 0.0, atol=1e-12)
    np.testing.assert_allclose(by_a, 0.0, atol=1e-12)


def test_isometry_of_a_linear_map():
    """n·tr M²/(tr M)² − 1; five standard errors of 20,000 directions."""
    m = A.T @ A
    generate, _ = linear(A)
    found = Isometry(weight=1.0)(generate, tf.zeros([20_000, 5], tf.float64), SEED).numpy()
    expected = 5 * np.trace(m @ m) / np.trace(m) ** 2 - 1
    assert found.mean() == pytest.approx(expected, abs=5 * found.std() / np.sqrt(20_000))
    assert found.std() / np.sqrt(20_000) < 0.02 * expected


def test_an_isometry_has_the_same_scale_at_all_latents():
    """x = z_1·z for z_1 = 1 and 3: conformal in the other coordinates, but M = I and 9I: 2·(1 + 81)/(1 + 9)² − 1."""

    def generate(z, training=None):
        return tf.stop_gradient(z[:, :1]) * z

    z = tf.constant([[1.0, 0.0], [3.0, 0.0]], tf.float64)
    found = Isometry(weight=1.0)(generate, z, SEED)
    assert float(tf.reduce_mean(found)) == pytest.approx(2 * 82 / 100 - 1)


def test_ends_of_a_spectrum_with_close_values():
    """Eigenvalues 1 % apart at either end, κ(M) = 1e14: both ends to 1e-6 of ln κ."""
    values = np.array([1.0, 0.99, 1e-7, 1e-12, 1.01e-14, 1e-14])
    q = np.linalg.qr(np.random.default_rng(1).normal(size=(12, 6)))[0]
    r = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0]
    generate, _ = linear(q * np.sqrt(values) @ r.T)
    penalty = ConditionNumber(1.0)
    penalty(generate, tf.zeros([1, 6], tf.float64), SEED)
    assert float(penalty.measured) == pytest.approx(np.log(1e14), abs=2e-3)


def test_a_controlled_weight_integrates_the_error():
    """ln w ← ln w + gain·clip(ln κ − target, −1, 1); the weight of a call is that before it."""
    penalty = ConditionNumber(LOG_CONDITION - 0.25, weight=0.5, gain=0.1)
    generate, _ = linear(A)
    first, second = (penalty(generate, Z, SEED).numpy() for _ in range(2))
    np.testing.assert_allclose(second / first, np.exp(0.1 * 0.25), rtol=1e-5)
    found = penalty.measure(generate, Z, SEED)
    assert float(found["condition_weight"]) == pytest.approx(0.5 * np.exp(2 * 0.1 * 0.25), rel=1e-5)
    assert float(found["penalised_log_condition"]) == pytest.approx(LOG_CONDITION, rel=1e-6)
    penalty.target = 60.0
    penalty(generate, Z, SEED)
    assert float(penalty.measure(generate, Z, SEED)["condition_weight"]) == pytest.approx(0.5, rel=1e-5)  # the least


def test_a_controller_holds_the_log_condition_number_at_its_target():
    """Gradient descent on P + a pull towards an ill-conditioned A: ln κ settles at the target, whatever the weight."""
    u, _, vt = np.linalg.svd(A, full_matrices=False)
    pulled = tf.constant((u * [3.0, 2.0, 1.0, 1.0, 0.01] @ vt).T)
    penalty, found = ConditionNumber(4.0, weight=0.01, gain=0.05), []
    generate, weight = linear(A)
    optimiser = tf.keras.optimizers.SGD(0.05)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(penalty(generate, Z, SEED)) + tf.reduce_sum(tf.square(weight - pulled))
        optimiser.apply([tape.gradient(loss, weight)], [weight])

    for _ in range(600):
        step()
        found.append(float(penalty.measured))
    assert np.mean(found[-200:]) == pytest.approx(4.0, abs=0.05)


def test_a_floor_is_the_lower_half_of_the_clamp():
    q = tf.constant([0.0, 0.3, 1.0, 5.0, 1e6])
    floor, clamp = QuotientFloor(2.0), JacobianClamping(2.0, 3.0)
    np.testing.assert_allclose(floor.penalty(q), [4.0, 1.7**2, 1.0, 0.0, 0.0], rtol=1e-6)
    np.testing.assert_array_equal(floor.penalty(q[:3]), clamp.penalty(q[:3]))
    assert float(floor.clamped(q)["clamped_high"]) == 0.0
    np.testing.assert_array_equal(floor.perturb(Z, SEED), clamp.perturb(Z, SEED))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConditionNumber(-1.0), "target must be at least 0"),
        (lambda: ConditionNumber(1.0, weight=-1.0), "weight must be at least 0"),
        (lambda: ConditionNumber(1.0, weight=0.0, gain=0.1), "a controlled weight starts above 0"),
        (lambda: ConditionNumber(1.0, samples=0), "samples must be at least 1"),
        (lambda: SpectralSpread(every=0), "every must be at least 1"),
        (lambda: Isometry(samples=1), "samples must be at least 2"),
        (lambda: QuotientFloor(-1.0), "lambda_min must be at least 0"),
    ],
)
def test_arguments_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_penalised_is_what_is_measured():
    """ln κ of the penalty is that of `geometry.spectrum`, which the Conditioning callback measures."""
    generate, _ = network(5, 6, 12)
    penalty = ConditionNumber(1.0)
    penalty(generate, Z, SEED)
    expected = geometry.spectrum(generate, Z).log_condition.mean()
    assert float(penalty.measured) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("policy, bound", [("mixed_bfloat16", 0.05), ("mixed_float16", 0.01)])
@pytest.mark.parametrize(
    "penalty", [ConditionNumber(0.5, 1.0), SpectralSpread(1.0), Isometry(1.0)], ids=lambda p: type(p).__name__
)
def test_gradients_in_16_bits_are_near_those_in_32(penalty, policy, bound):
    """Of the same weights; bfloat16 has 8 bits of mantissa, float16 11."""
    z, found = tf.random.stateless_normal([8, 4], [3, 4]), []
    for used in ("float32", policy):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(16, "tanh", dtype=used), keras.layers.Dense(12, dtype=used)]
        network = keras.Sequential([keras.Input([4]), *layers])
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(penalty(network, z, SEED))
        weights = [layer.kernel for layer in layers]
        gradient = np.concatenate([np.ravel(part) for part in tape.gradient(value, weights)])
        found.append((value, gradient))
    (exact, expected), (value, gradient) = found
    assert value.dtype == tf.float32 and abs(value / exact - 1.0) < bound
    assert 1e-6 < np.linalg.norm(gradient - expected) / np.linalg.norm(expected) < 3 * bound


def test_isometry_says_nothing_of_scale():
    """The penalty of J = scale·diag(1, 2, 3) does not depend on the scale, and is 0 for J = 0, as for an isometry."""
    z = tf.random.stateless_normal([16, 3], [0, 1])
    one, small, none = (
        Isometry(weight=1.0)(lambda z, training, scale=scale: scale * z * [1.0, 2.0, 3.0], z, [0, 2]).numpy()
        for scale in (1.0, 1e-12, 0.0)
    )
    np.testing.assert_allclose(small, one, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(none, 0.0)
