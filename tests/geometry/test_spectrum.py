"""Spectra against closed forms, invariances, and the cases in which there is no finite answer."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from generators import CASES, latents

from tfjc.geometry import Spectrum, eigenvectors, in_float64, jacobian, metric_tensor, singular_values, spectrum


def orthonormal(rows, columns, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(rows, columns)))[0]


def linear(matrix):
    return lambda z: tf.matmul(z, tf.constant(matrix, z.dtype), transpose_b=True)


def with_singular_values(values, rows=40, seed=0):
    """A matrix [rows, n] with the given singular values."""
    values = np.asarray(values)
    return orthonormal(rows, len(values), seed) * values @ orthonormal(len(values), len(values), seed + 1).T


Z = tf.random.stateless_normal([3, 6], [1, 1])


@pytest.mark.parametrize("c", [0.01, 1.0, 50.0])
def test_a_scaled_isometry_has_condition_one(c):
    """G(z) = c·Qz with orthonormal Q: all σ = c, ln κ = 0."""
    found = spectrum(linear(c * orthonormal(40, 6)), Z)
    np.testing.assert_allclose(found.singular_values, c, rtol=1e-6)
    np.testing.assert_allclose(found.log_condition, 0.0, atol=1e-5)
    np.testing.assert_allclose(found.average_jacobian, c, rtol=1e-6)
    assert found.resolved.all()


@pytest.mark.parametrize("condition", [1e1, 1e2, 1e3, 1e4])
def test_known_spectra_are_found(condition):
    """σ geometric from 3 to 3/condition: ln κ(M) = 2·ln(condition), natural."""
    values = 3.0 * np.geomspace(1.0, 1.0 / condition, 6)
    found = spectrum(linear(with_singular_values(values)), Z)
    np.testing.assert_allclose(found.singular_values, np.tile(values, [3, 1]), rtol=1e-3)
    assert found.mean_log_condition == pytest.approx(2 * np.log(condition), rel=1e-3)
    assert found.resolved.all()


def test_a_resolved_value_is_never_taken_for_zero():
    """STL-10's shape: σ down to 1e-6·σ_max stand above float32 rounding, however many pixels there are."""
    values = np.geomspace(1.0, 1e-6, 100)
    matrix = tf.constant(with_singular_values(values, rows=6912)[None])
    found = singular_values(matrix)[0]
    np.testing.assert_allclose(found, values, rtol=1e-3)
    assert Spectrum(found[None], found).resolved.all()


def test_a_jacobian_that_is_not_finite_gives_nan_for_its_latent_alone():
    found = spectrum(lambda z: z / tf.nn.relu(z[:, :1]), tf.constant([[1.0, 2.0], [-1.0, 2.0], [0.5, 1.0]]))
    np.testing.assert_array_equal(np.isnan(found.log_condition), [False, True, False])
    np.testing.assert_array_equal(found.resolved, [False, False, False])  # x₀/x₀ is constant: rank one where finite
    assert np.isnan(found.average_jacobian).all()


def test_a_spectrum_below_float32_is_flagged():
    found = spectrum(linear(with_singular_values([1.0, 1.0, 1.0, 1.0, 1.0, 1e-8])), Z)
    assert not found.resolved.any()
    assert not np.isnan(found.log_condition).any()


@pytest.mark.parametrize(
    "generator",
    [
        lambda z: tf.zeros([tf.shape(z)[0], 9]),
        lambda z: tf.concat([z[:, :3], z[:, :3]], axis=1),
        lambda z: z[:, :2],  # fewer outputs than latents
        linear(np.outer(np.arange(9.0), np.ones(6))),
    ],
    ids=["zero", "three of six latents used", "two outputs", "rank one"],
)
def test_rank_deficient_jacobians_give_inf(generator):
    found = spectrum(generator, Z)
    assert found.singular_values.shape == (3, 6)
    np.testing.assert_array_equal(found.log_condition, np.inf)
    assert found.mean_log_condition == np.inf
    assert not found.resolved.any()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("chunk", [None, 4])
def test_equals_the_singular_value_decomposition(case, chunk):
    generator, z = case.shared(), latents(case)
    found = spectrum(generator, z, chunk=chunk)
    j = jacobian(generator, z).numpy().astype(np.float64)
    expected = np.linalg.svd(j, compute_uv=False)
    np.testing.assert_allclose(found.singular_values, expected, rtol=1e-6, atol=1e-7 * expected.max())
    np.testing.assert_allclose(found.log_condition, 2 * np.log(expected[:, 0] / expected[:, -1]), rtol=1e-5)
    np.testing.assert_allclose(found.average_jacobian, np.linalg.svd(j.mean(0), compute_uv=False), rtol=1e-4)
    assert found.mean_log_condition == pytest.approx(found.log_condition.mean())


def of(values, epsilon=2.0**-23):
    """The `Spectrum` with these singular values [B, n_z]."""
    values = np.asarray(values, np.float64)
    return Spectrum(values, values[0], epsilon=epsilon)


def test_summaries_in_closed_form():
    """λ = (16, 4, 0): r = 2, ln λ₁/λ₂ = ln 4, ln(20/3), (16 + 4)²/(16² + 4²); all equal: r = 3, 0, ln 9, 3."""
    found = of([[4.0, 2.0, 0.0], [3.0, 3.0, 3.0]])
    np.testing.assert_array_equal(found.rank, [2, 3])
    np.testing.assert_allclose(found.nonzero_log_condition, [np.log(4.0), 0.0])
    np.testing.assert_allclose(found.log_scale, [np.log(20.0 / 3.0), np.log(9.0)])
    np.testing.assert_allclose(found.participation_ratio, [400.0 / 272.0, 3.0])
    assert (found.mean_log_condition, found.median_log_condition, found.infinite_latents) == (np.inf, np.inf, 0.5)


@pytest.mark.parametrize("infinite, median", [(0, 2.0), (1, 2.0), (2, np.inf), (3, np.inf), (4, np.inf)])
def test_the_median_is_infinite_where_half_the_latents_are(infinite, median):
    found = of([[np.e, 0.0]] * infinite + [[np.e, 1.0]] * (4 - infinite))
    assert found.median_log_condition == pytest.approx(median)
    assert found.infinite_latents == infinite / 4


def test_a_jacobian_of_zeros_or_of_nan():
    """0 has rank 0, no direction to compare and an infinite condition number; what is not finite gives nan."""
    found = of([[0.0, 0.0], [np.nan, np.nan], [1.0, 1.0]])
    np.testing.assert_array_equal(found.rank, [0, np.nan, 2])
    np.testing.assert_array_equal(found.nonzero_log_condition, [np.inf, np.nan, 0])
    np.testing.assert_array_equal(found.log_scale, [-np.inf, np.nan, 0])
    np.testing.assert_array_equal(found.participation_ratio, [np.nan, np.nan, 2])
    assert found.infinite_latents == pytest.approx(1 / 3)


@pytest.mark.parametrize("epsilon", [2.0**-52, 2.0**-23, 2.0**-10, 2.0**-7], ids=["64", "32", "float16", "bfloat16"])
def test_the_rank_is_cut_at_the_generators_rounding(epsilon):
    """At 4·ε·‖J‖_F: twice as much counts, half as much does not, in whatever type the generator computes."""
    for factor, rank in ((0.5, 2), (2.0, 3)):
        found = of([[1.0, 1.0, factor * 4.0 * epsilon * np.sqrt(2.0)]], epsilon)
        assert (found.rank[0], found.resolved[0]) == (rank, rank == 3)
        expected = found.log_condition[0] if rank == 3 else 0.0
        assert found.nonzero_log_condition[0] == expected


def test_where_all_is_resolved_nothing_is_cut():
    found = spectrum(linear(with_singular_values(np.geomspace(3.0, 3e-4, 6))), Z)
    np.testing.assert_array_equal(found.rank, 6)
    np.testing.assert_array_equal(found.nonzero_log_condition, found.log_condition)
    assert found.median_log_condition == np.median(found.log_condition)


def tangential(a, z):
    """Singular values of A(I − zzᵀ/‖z‖²)/‖z‖, the Jacobian of A z/‖z‖, in float64: the last is 0."""
    z = z / np.linalg.norm(z)
    return np.linalg.svd(a @ (np.eye(len(z)) - np.outer(z, z)), compute_uv=False)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("norm", ["unit length", "pixel norm"])
def test_a_generator_that_normalises_z_has_one_null_direction(dtype, norm):
    """Rank 63 of 64, and the log-condition number of A on the other 63; bfloat16 resolves σ of the same size alone."""
    a = with_singular_values(np.geomspace(1.0, 0.7 if dtype == "bfloat16" else 1e-3, 64), rows=200)
    z = tf.random.stateless_normal([3, 64], [3, 3], dtype=tf.float64)

    def generator(z):
        computed = tf.cast(z, dtype)
        mean = tf.reduce_mean(tf.square(computed), axis=1, keepdims=True)
        unit = computed / tf.sqrt(mean + tf.cast(1e-8 if norm == "pixel norm" else 0.0, dtype))
        return tf.cast(tf.matmul(unit, tf.constant(a, dtype), transpose_b=True), z.dtype)

    found = spectrum(generator, z if dtype == "float64" and norm == "unit length" else tf.cast(z, tf.float32))
    np.testing.assert_array_equal(found.rank, 63)
    assert not found.resolved.any()
    expected = [tangential(a, row) for row in z.numpy()]
    tolerance = 0.2 if dtype == "bfloat16" else 1e-3
    np.testing.assert_allclose(
        found.nonzero_log_condition, [2 * np.log(s[0] / s[-2]) for s in expected], atol=tolerance
    )


def test_a_projection_has_the_rank_of_its_image():
    """x = Pz onto k of 6 dimensions: rank k, ln κ of these 0, participation ratio k, tr M/n = k/6."""
    for k in (1, 3, 5):
        basis = orthonormal(6, k)
        found = spectrum(linear(np.concatenate([basis @ basis.T, np.zeros([3, 6])])), Z)
        np.testing.assert_array_equal(found.rank, k)
        np.testing.assert_allclose(found.nonzero_log_condition, 0.0, atol=1e-5)
        np.testing.assert_allclose(found.participation_ratio, k, rtol=1e-5)
        np.testing.assert_allclose(found.log_scale, np.log(k / 6), rtol=1e-5)
        assert found.infinite_latents == 1.0 or not found.resolved.any()


def test_the_condition_number_ignores_the_range_of_the_output():
    """FACTS: rescaling the output leaves ln κ as it is and rescales σ."""
    case = CASES[1]
    generator, z = case.make(), latents(case)
    once, scaled = spectrum(generator, z), spectrum(lambda z: 127.5 * generator(z), z)
    np.testing.assert_allclose(scaled.log_condition, once.log_condition, rtol=1e-5)
    np.testing.assert_allclose(scaled.singular_values, 127.5 * once.singular_values, rtol=1e-5)


def test_the_average_jacobian_is_not_the_average_spectrum():
    """J(z) = ±1 averages to 0 for x = |z| at z = ±1, though each σ is 1."""
    found = spectrum(tf.abs, tf.constant([[1.0], [-1.0]]))
    np.testing.assert_allclose(found.singular_values, 1.0)
    np.testing.assert_allclose(found.average_jacobian, 0.0)


def test_singular_values_are_descending_and_absolute():
    found = singular_values(tf.constant([[[-2.0, 0.0], [0.0, 5.0]]]))
    np.testing.assert_allclose(found, [[5.0, 2.0]])


def test_plot_shows_every_latent_and_the_average():
    import matplotlib

    matplotlib.use("agg")
    axes = Spectrum(np.array([[3.0, 1.0], [2.0, 1.0]]), np.array([2.0, 1.0])).plot()
    assert len(axes.lines) == 3
    assert axes.get_yscale() == "log"


class Curved:
    """G(z) = U·diag(s)·sinh(Vᵀz) with orthonormal U, V, in Keras layers: σ_k(z) are s_k·cosh(v_kᵀz), sorted.

    Known at every z, and reached through rounding in two dense layers and a nonlinearity.
    """

    def __init__(self, s, rows=60, dtype="float32"):
        self.s, n = np.asarray(s, np.float64), len(s)
        self.left, self.right = orthonormal(rows, n, 3), orthonormal(n, n, 4)
        first, last = (keras.layers.Dense(units, use_bias=False, dtype=dtype) for units in (n, rows))
        sinh = keras.layers.Activation(keras.ops.sinh, dtype=dtype)
        self.model = keras.Sequential([keras.Input([n], dtype=dtype), first, sinh, last])
        first.set_weights([self.right])
        last.set_weights([(self.left * self.s).T])

    def singular_values(self, z):
        return -np.sort(-self.s * np.cosh(np.asarray(z, np.float64) @ self.right), axis=1)

    def log_condition(self, z):
        values = self.singular_values(z)
        return 2.0 * np.log(values[:, 0] / values[:, -1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4, 1e6])
def test_a_known_spectrum_through_layers_is_right_to_one_percent_where_resolved(condition, dtype):
    generator = Curved(np.geomspace(1.0, 1.0 / condition, 12), dtype=dtype)
    z = tf.cast(0.5 * tf.random.stateless_normal([20, 12], [1, 1]), dtype)
    found, expected = spectrum(generator.model, z), generator.log_condition(z)
    assert found.resolved.mean() >= (1.0 if condition <= 1e4 or dtype == "float64" else 0.3)
    resolved = found.resolved
    np.testing.assert_allclose(found.log_condition[resolved], expected[resolved], rtol=0.01)
    np.testing.assert_allclose(found.sigma_max, generator.singular_values(z)[:, 0], rtol=1e-5)
    assert (found.sigma_min[~resolved] < found.floor[~resolved]).all()


@pytest.mark.parametrize("smallest", [1e-7, 1e-9, 0.0])
def test_below_the_floor_it_is_flagged_and_float64_decides(smallest):
    """Condition 1e7 and more, and rank-deficient: flagged in float32; the float64 copy resolves what there is."""
    generator = Curved([1.0, 0.7, 0.5, 0.3, smallest])
    z = 0.5 * tf.random.stateless_normal([8, 5], [1, 1])
    found = spectrum(generator.model, z)
    assert not found.resolved.any()
    referee, wide = in_float64(generator.model), tf.cast(z, tf.float64)
    exact = spectrum(referee, wide)
    if smallest:
        # The copy has the float32 weights, which are those of a generator a rounding error of 1e-7 away.
        weights = [np.asarray(w, np.float64) for w in referee.get_weights()]
        slopes = np.cosh(wide.numpy() @ weights[0])
        values = np.linalg.svd(np.einsum("hx,bh,zh->bxz", weights[1], slopes, weights[0]), compute_uv=False)
        np.testing.assert_allclose(exact.log_condition, 2 * np.log(values[:, 0] / values[:, -1]), rtol=1e-5)
        assert exact.resolved.all()
    else:
        np.testing.assert_array_equal(exact.log_condition, np.inf)
        assert not exact.resolved.any()


def test_quantities_beyond_the_condition_number():
    """σ = (4, 2, 1): ln det M = 2 ln 8; p = (4, 2, 1)/7; ‖J‖_F²/σ_max² = 21/16."""
    found = spectrum(linear(with_singular_values([4.0, 2.0, 1.0])), Z[:, :3])
    np.testing.assert_allclose(found.log_determinant, 2 * np.log(8.0), rtol=1e-6)
    p = np.array([4, 2, 1]) / 7
    np.testing.assert_allclose(found.effective_rank, np.prod(p**-p), rtol=1e-6)
    np.testing.assert_allclose(found.stable_rank, 21 / 16, rtol=1e-6)
    np.testing.assert_allclose((found.sigma_max, found.sigma_min), ([4] * 3, [1] * 3), rtol=1e-6)
    np.testing.assert_allclose(found.floor, 4 * 2.0**-23 * np.sqrt(21.0), rtol=1e-6)


@pytest.mark.parametrize("n, used", [(6, 6), (6, 2)])
def test_ranks_of_an_isometry_count_the_directions_in_use(n, used):
    found = spectrum(lambda z: 5.0 * z[:, :used], Z[:, :n])
    np.testing.assert_allclose(found.effective_rank, used, rtol=1e-6)
    np.testing.assert_allclose(found.stable_rank, used, rtol=1e-6)
    expected = 2 * n * np.log(5.0) if used == n else -np.inf
    np.testing.assert_allclose(found.log_determinant, expected, rtol=1e-6)


def test_a_zero_jacobian_has_no_ranks():
    found = spectrum(lambda z: tf.zeros([tf.shape(z)[0], 9]), Z)
    assert np.isnan(found.effective_rank).all()
    assert np.isnan(found.stable_rank).all()
    np.testing.assert_array_equal(found.log_determinant, -np.inf)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("chunk", [None, 4])
def test_vectors_are_directions_of_that_length(case, chunk):
    """M v_k = σ_k² v_k, VᵀV = I; and without them the values are the same."""
    generator, z = case.shared("float64"), latents(case, dtype="float64")
    found, m = spectrum(generator, z, chunk=chunk, vectors=True), metric_tensor(generator, z).numpy()
    squares = np.square(found.singular_values)
    np.testing.assert_allclose(m @ found.vectors, found.vectors * squares[:, None], atol=1e-10 * squares.max())
    identity = np.broadcast_to(np.eye(case.n_z), m.shape)
    np.testing.assert_allclose(found.vectors.swapaxes(1, 2) @ found.vectors, identity, atol=1e-10)
    bare = spectrum(generator, z, chunk=chunk)
    assert bare.vectors is None
    np.testing.assert_allclose(bare.singular_values, found.singular_values, rtol=1e-9)
    np.testing.assert_allclose(found.average_metric_tensor, m.mean(axis=0), rtol=1e-10, atol=1e-14)


def test_eigenvectors_are_ordered_from_most_to_least():
    """M = diag(1, 9, 4): the image moves most along e₂, then e₃, then e₁."""
    np.testing.assert_allclose(np.abs(eigenvectors(np.diag([1.0, 9.0, 4.0]))), np.eye(3)[[1, 2, 0]].T, atol=1e-12)


def test_sixteen_bits_raise_the_floor():
    case = CASES[1]
    z = latents(case)
    floors = {policy: spectrum(case.make(policy), z).floor for policy in ("float32", "mixed_float16", "mixed_bfloat16")}
    np.testing.assert_allclose(floors["mixed_float16"] / floors["float32"], 2**13, rtol=0.05)
    np.testing.assert_allclose(floors["mixed_bfloat16"] / floors["float32"], 2**16, rtol=0.05)
    wide = spectrum(case.make("float64"), tf.cast(z, tf.float64)).floor
    np.testing.assert_allclose(floors["float32"] / wide, 2**29, rtol=1e-3)
