"""Spectra against closed forms, invariances, and the cases in which there is no finite answer."""

import numpy as np
import pytest
import tensorflow as tf
from generators import CASES, latents

from tfjc.jacobian import jacobian
from tfjc.spectrum import Spectrum, singular_values, spectrum


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
    generator, z = case.make(), latents(case, count=5)
    found = spectrum(generator, z, chunk=chunk)
    j = jacobian(generator, z).numpy().astype(np.float64)
    expected = np.linalg.svd(j, compute_uv=False)
    np.testing.assert_allclose(found.singular_values, expected, rtol=1e-6, atol=1e-7 * expected.max())
    np.testing.assert_allclose(found.log_condition, 2 * np.log(expected[:, 0] / expected[:, -1]), rtol=1e-5)
    np.testing.assert_allclose(found.average_jacobian, np.linalg.svd(j.mean(0), compute_uv=False), rtol=1e-4)
    assert found.mean_log_condition == pytest.approx(found.log_condition.mean())


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
