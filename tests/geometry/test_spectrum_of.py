"""Spectra of Jacobians that another framework has computed."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.sparse.linalg import aslinearoperator

from tfjc.geometry import jacobian, spectrum, spectrum_of

RANDOM = np.random.default_rng(0)


def given(values, rows=30, batch=3):
    """Different matrices [batch, rows, n] with the same singular values."""

    def orthonormal(rows, columns):
        return np.linalg.qr(RANDOM.normal(size=(batch, rows, columns)))[0]

    n = len(values)
    return orthonormal(rows, n) * np.asarray(values) @ orthonormal(n, n).swapaxes(1, 2)


class Tanh:
    """A generator without a framework: x = W₂·tanh(W₁z), so that J = W₂·diag(1 − tanh²(W₁z))·W₁."""

    first, last = RANDOM.normal(size=(12, 5)), RANDOM.normal(size=(20, 12))

    def jacobian(self, z):
        return np.einsum("xh,bh,hz->bxz", self.last, 1.0 - np.tanh(z @ self.first.T) ** 2, self.first)

    def __call__(self, z):
        first, last = (tf.constant(weight, z.dtype) for weight in (self.first, self.last))
        return tf.tanh(z @ tf.transpose(first)) @ tf.transpose(last)


@pytest.mark.parametrize("dtype, rtol", [("float64", 1e-10), ("float32", 1e-3)])
def test_the_spectrum_is_that_of_the_same_generator_in_tensorflow(dtype, rtol):
    z = RANDOM.normal(size=(7, 5))
    found, expected = spectrum_of(Tanh().jacobian(z).astype(dtype), vectors=True), spectrum(Tanh(), tf.cast(z, dtype))
    np.testing.assert_allclose(found.singular_values, expected.singular_values, rtol=rtol)
    np.testing.assert_allclose(found.average_jacobian, expected.average_jacobian, rtol=rtol)
    np.testing.assert_allclose(found.average_metric_tensor, expected.average_metric_tensor, rtol=rtol, atol=rtol)
    assert found.epsilon == expected.epsilon == np.finfo(dtype).eps
    images = np.einsum("bxz,bzk->bxk", Tanh().jacobian(z), found.vectors)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), found.singular_values, rtol=rtol)


def test_it_is_the_engines_spectrum_bit_for_bit():
    z = tf.random.stateless_normal([4, 5], [0, 1])
    found, expected = spectrum_of(jacobian(Tanh(), z)), spectrum(Tanh(), z)
    np.testing.assert_array_equal(found.singular_values, expected.singular_values)
    assert found.summary() == expected.summary()


@pytest.mark.parametrize(
    "dtype, epsilon",
    [("float64", 2**-52), ("float32", 2**-23), ("float16", 2**-10), (tf.bfloat16.as_numpy_dtype, 2**-7)],
)
def test_rounding_follows_the_type(dtype, epsilon):
    """σ = (2, 1, ε/2): rounding J to its type blurs the last one, which is below the floor 4·ε·‖J‖_F."""
    found = spectrum_of(given([2.0, 1.0, epsilon / 2]).astype(dtype))
    assert found.epsilon == epsilon
    np.testing.assert_allclose(found.singular_values[:, :2], [[2.0, 1.0]] * 3, rtol=4 * epsilon)
    np.testing.assert_allclose(found.floor, 4 * epsilon * np.sqrt(5.0), rtol=4 * epsilon)
    assert not found.resolved.any()
    np.testing.assert_array_equal(found.rank, 2)


def test_float64_resolves_what_a_gram_matrix_cannot():
    """σ from 1 to 1e-11: JᵀJ in float64 would not hold 1e-22 beside 1."""
    values = np.geomspace(1.0, 1e-11, 5)
    found = spectrum_of(given(values))
    np.testing.assert_allclose(found.singular_values, np.tile(values, [3, 1]), rtol=1e-3)
    assert found.resolved.all()


def test_a_coarser_epsilon_raises_the_floor():
    """J of a network in bfloat16, kept as float32; the log-condition number stays, its resolution does not."""
    j = given([1.0, 0.1, 0.01]).astype(np.float32)
    fine, coarse = spectrum_of(j), spectrum_of(j, epsilon=2**-7)
    np.testing.assert_allclose(coarse.floor / fine.floor, 2.0**16)
    assert (fine.resolved.all(), coarse.resolved.any()) == (True, False)
    np.testing.assert_array_equal(coarse.log_condition, fine.log_condition)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fewer_outputs_than_latents(dtype):
    found = spectrum_of(given([3.0, 2.0], rows=5).swapaxes(1, 2).astype(dtype), vectors=True)
    np.testing.assert_allclose(found.singular_values, [[3.0, 2.0, 0.0, 0.0, 0.0]] * 3, rtol=1e-6)
    np.testing.assert_array_equal(found.log_condition, np.inf)
    np.testing.assert_array_equal(found.rank, 2)
    np.testing.assert_allclose(found.nonzero_log_condition, 2 * np.log(1.5), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_jacobian_that_is_not_finite_gives_nan_at_its_latent_alone(dtype, value):
    j = given([2.0, 1.0]).astype(dtype)
    j[1, 4, 0] = value
    found = spectrum_of(j)
    np.testing.assert_array_equal(np.isnan(found.log_condition), [False, True, False])
    np.testing.assert_allclose(found.log_condition[::2], 2 * np.log(2.0), rtol=1e-5)


def test_blocks_change_nothing(monkeypatch):
    j = given([3.0, 2.0, 1.0], batch=7)
    whole = spectrum_of(j)
    monkeypatch.setattr("tfjc.geometry._spectrum._TOGETHER", 2 * 30 * 30)
    np.testing.assert_allclose(spectrum_of(j).singular_values, whole.singular_values, rtol=1e-12)
    np.testing.assert_allclose(spectrum_of(j).average_jacobian, whole.average_jacobian, rtol=1e-12)


def test_the_summary_is_of_plain_numbers():
    found = spectrum_of(given([4.0, 2.0, 1.0]))
    summary = found.summary()
    assert summary["mean_log_condition"] == pytest.approx(2 * np.log(4.0))
    assert summary["log_determinant"] == pytest.approx(2 * np.log(8.0))
    assert summary["stable_rank"] == pytest.approx(21 / 16)
    assert summary["log_condition_quantiles"]["0.5"] == pytest.approx(2 * np.log(4.0))
    assert len(summary["log_condition"]) == 3


class Attached:
    """As a tensor of PyTorch that requires gradients."""

    def __array__(self, *arguments, **options):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")


@pytest.mark.parametrize(
    "j, message",
    [
        (np.ones([5, 3]), r"must have shape \[B, n_x, n_z\], found \[5, 3\]; for one latent pass jacobian\[None\]"),
        (np.ones([2, 4, 4, 1, 3]), r"found \[2, 4, 4, 1, 3\]; flatten the outputs .*jacobian.reshape\(B, n_x, n_z\)"),
        (np.float64(1.0), r"must have shape \[B, n_x, n_z\], found \[\]$"),
        (np.ones([0, 5, 3]), r"no axis of 0, found \[0, 5, 3\]"),
        (np.ones([2, 5, 3], np.int64), "must be float16, bfloat16, float32 or float64, found int64"),
        (np.ones([2, 5, 3], np.complex64), "found complex64"),
        ([[[1.0], [2.0, 3.0]]], "NumPy cannot read the jacobian, a builtins list: .*inhomogeneous"),
        (Attached(), r"NumPy cannot read the jacobian, .* Attached: .* Use tensor.detach\(\)"),
        (aslinearoperator(np.ones([5, 3])), r"found a LinearOperator \[5, 3\]: tfjc.geometry.partial_spectrum"),
    ],
)
def test_what_is_no_batch_of_jacobians_is_named(j, message):
    with pytest.raises(ValueError, match=message):
        spectrum_of(j)


@pytest.mark.parametrize("epsilon", [1e-9, 0.0, 1.0, np.nan, "0.1"])
def test_epsilon_is_no_finer_than_the_type(epsilon):
    with pytest.raises(ValueError, match="epsilon must be"):
        spectrum_of(given([1.0]).astype(np.float32), epsilon=epsilon)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_numbers_whose_squares_float64_does_not_hold(scale):
    """σ = (2, 1): ‖J‖_F² = 5, so that ln(tr M/n_z) = ln(5/2) and the stable rank is 5/4, on any scale."""
    found = spectrum_of(scale * given([2.0, 1.0]))
    np.testing.assert_array_equal(found.rank, 2)
    np.testing.assert_allclose(found.log_scale, np.log(2.5) + 2.0 * np.log(scale), rtol=1e-12)
    np.testing.assert_allclose(found.stable_rank, 1.25, rtol=1e-12)
