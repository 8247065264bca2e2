"""Partial spectra against closed forms and full spectra; what their bounds and errors promise."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from tfjc import architectures
from tfjc.geometry import _memory, _partial, extremes, operator, partial_spectrum, spectrum


def orthonormal(rows, columns, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(rows, columns)))[0]


def with_singular_values(values, rows=60, dtype="float64"):
    """A linear map [rows, n] with the given singular values, as a SciPy operator."""
    values = np.asarray(values)
    matrix = orthonormal(rows, len(values), 0) * values @ orthonormal(len(values), len(values), 1).T
    return aslinearoperator(matrix.astype(dtype))


MILD, STEEP = np.geomspace(4.0, 1.0, 40), np.geomspace(10.0, 1e-3, 40)


@pytest.mark.parametrize("dtype, rtol", [("float64", 1e-9), ("float32", 1e-3)])
@pytest.mark.parametrize("values", [MILD, STEEP], ids=["mild", "steep"])
def test_all_steps_find_the_whole_spectrum(values, dtype, rtol):
    """n_z − k steps: each probe's nodes are the other singular values, and the bounds of ln det M coincide."""
    found = partial_spectrum(with_singular_values(values, dtype=dtype), 3, probes=4, steps=99)
    np.testing.assert_allclose(found.largest[0], values[:3], rtol=1e-6)
    np.testing.assert_allclose(found.gauss.nodes[0], np.tile(values[3:], [4, 1]), rtol=rtol)
    np.testing.assert_allclose(found.gauss.weights.sum(axis=2), 1.0, rtol=1e-6)
    np.testing.assert_allclose(found.radau.nodes[0, :, :-1], found.gauss.nodes[0], rtol=1e-6)
    np.testing.assert_allclose(found.radau.weights[0, :, -1], 0.0, atol=1e-12)
    lower, upper = found.log_determinant_bounds[0]
    assert upper - lower < 1e-6 * abs(upper)
    assert found.why_no_log_determinant() == [None]


def test_probes_are_unbiased():
    """The mean of 500 probes' weights is 1/(n_z − k) for each direction, within 5 standard errors; so is ln det M."""
    values = np.array([9.0, 4.0, 3.0, 2.0, 1.0, 0.5])
    found = partial_spectrum(with_singular_values(values), 1, probes=500, steps=5)
    weights = found.gauss.weights[0]
    error = weights.std(axis=0) / np.sqrt(500)
    assert (np.abs(weights.mean(axis=0) - 0.2) < 5 * error).all()
    for estimate, expected in (
        (found.trace, np.sum(values**2)),
        (found.log_determinant, 2 * np.sum(np.log(values))),
        (found.participation_ratio, np.sum(values**2) ** 2 / np.sum(values**4)),
        (found.stable_rank, np.sum(values**2) / 81.0),
        (found.log_scale, np.log(np.mean(values**2))),
    ):
        assert 0 < estimate.error[0] < 0.1 * abs(expected)
        assert abs(estimate.value[0] - expected) < 5 * estimate.error[0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_an_isometry_is_exact_with_any_probes(dtype):
    """J = 3Q: the first step ends the recursion; tr M = 9n, ln det M = 2n·ln 3, all n directions participate."""
    found = partial_spectrum(with_singular_values(np.full(50, 3.0), dtype=dtype), 2, probes=2, steps=20)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    for estimate, expected in (
        (found.trace, 450.0),
        (found.log_determinant, 100 * np.log(3.0)),
        (found.participation_ratio, 50.0),
        (found.stable_rank, 50.0),
    ):
        np.testing.assert_allclose(estimate.value, expected, rtol=rtol)
        np.testing.assert_allclose(estimate.error, 0.0, atol=rtol * expected)
    assert found.unresolved_share[0] < 1e-12


def test_two_values_take_two_steps():
    found = partial_spectrum(with_singular_values(np.repeat([5.0, 2.0, 0.5], [2, 20, 18])), 2, probes=3, steps=2)
    np.testing.assert_allclose(found.largest, [[5.0, 5.0]], rtol=1e-9)
    np.testing.assert_allclose(found.gauss.nodes, np.tile([2.0, 0.5], [1, 3, 1]), rtol=1e-9)


def test_few_steps_give_exact_traces_and_bounds_of_the_logarithm():
    """The same probes with all steps are exact: 2 steps have the same tr M and tr M²; 8 steps enclose ln det M."""
    few, some, all_ = (partial_spectrum(with_singular_values(STEEP), 3, steps=steps) for steps in (2, 8, 99))
    np.testing.assert_allclose(few.trace, all_.trace, rtol=1e-9)
    np.testing.assert_allclose(few.participation_ratio, all_.participation_ratio, rtol=1e-6)
    exact = all_._log_sums()[0]
    previous = None
    for found in (few, some):
        lower, upper = found._log_sums()
        assert (lower < exact).all()
        assert (exact < upper).all()
        assert previous is None or (upper - lower < previous).all()
        previous = upper - lower


def test_a_log_determinant_that_is_not_resolved_is_not_given():
    found = partial_spectrum(with_singular_values(STEEP), 3, steps=8)
    assert np.isnan(found.log_determinant).all()
    (reason,) = found.why_no_log_determinant()
    assert "8 Lanczos steps leave up to" in reason
    assert f"at most {found.log_determinant_bounds[0, 1]:.4g}" in reason
    assert found.unresolved_share[0] > 0.1


@pytest.mark.parametrize(
    "operator, steps, share, reason",
    [
        (with_singular_values([*MILD, 0.0]), 99, 1 / 41, "σ_min is at most .*, below the rounding"),
        (with_singular_values([*MILD, 1e-8], dtype="float32"), 99, 1 / 41, "σ_min is at most .*, below the rounding"),
        (with_singular_values([*MILD, 0.0]), 5, 1 / 41, "Lanczos steps leave up to"),
        (aslinearoperator(orthonormal(40, 30, 0).T), 99, 10 / 40, "singular: n_x = 30 is less than n_z = 40"),
        (aslinearoperator(np.zeros([50, 40])), 99, 1.0, "σ_min is at most 0, below the rounding"),
    ],
    ids=["rank", "rounding", "rank, few steps", "shape", "zero"],
)
def test_why_there_is_no_log_determinant(operator, steps, share, reason):
    """And how many directions may have σ = 0, by 100 probes."""
    found = partial_spectrum(operator, 2, steps=steps, probes=100)
    assert found.unresolved_share[0] == pytest.approx(share, rel=0.5)
    assert np.isnan(found.log_determinant).all()
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.why_no_log_determinant()[0])


def test_scale_and_rotation():
    """c·QJ: σ times c, ln det M + 2n·ln c; ranks and weights stay."""
    matrix = with_singular_values(MILD) @ np.eye(40)
    found, moved = (
        partial_spectrum(aslinearoperator(m), 3, steps=20) for m in (matrix, 7.0 * orthonormal(60, 60, 5) @ matrix)
    )
    np.testing.assert_allclose(moved.largest, 7.0 * found.largest, rtol=1e-9)
    np.testing.assert_allclose(moved.gauss.nodes[..., :5], 7.0 * found.gauss.nodes[..., :5], rtol=1e-6)
    np.testing.assert_allclose(moved.participation_ratio, found.participation_ratio, rtol=1e-6)
    shift = moved.log_determinant.value - found.log_determinant.value
    np.testing.assert_allclose(shift, 80 * np.log(7.0), rtol=1e-4)


def test_many_latent_numbers():
    """n_z = 20,000 with ln λ uniform on [0, 4], and three values above: in a fraction of the steps and the memory."""
    values = np.exp(np.append(np.random.default_rng(0).uniform(0.0, 2.0, 19_997), [4.0, 4.5, 5.0]))
    large = LinearOperator(
        (20_000, 20_000), matvec=lambda v: np.ravel(v) * values, rmatvec=lambda v: np.ravel(v) * values, dtype=float
    )
    found = partial_spectrum(large, 3, probes=4, steps=24)
    np.testing.assert_allclose(found.largest, [np.exp([5.0, 4.5, 4.0])], rtol=1e-9)
    for estimate, expected in (
        (found.trace, np.sum(values**2)),
        (found.participation_ratio, np.sum(values**2) ** 2 / np.sum(values**4)),
        (found.log_determinant, 2 * np.sum(np.log(values))),
    ):
        assert 0 < estimate.error[0] < 0.01 * expected
        assert abs(estimate.value[0] - expected) < 5 * estimate.error[0]
    low, high = found.log_determinant_bounds[0]
    assert 0 < high - low < 40.0  # 0.001 nats on either side, for each of the 20,000 directions
    value, _ = found.density(np.linspace(1.0, 3.0, 5), 0.3)
    np.testing.assert_allclose(value, 0.25, rtol=0.1)


def test_the_density_is_that_of_known_eigenvalues():
    """All steps: the mean over probes of Gaussians at ln λ; its integral is 1; 1,000 probes come close to the truth."""
    values = np.array([5.0, 3.0, 3.0, 1.0, 0.2])
    found = partial_spectrum(with_singular_values(values), 1, probes=1000, steps=4)
    points = np.linspace(-8.0, 8.0, 400)
    value, error = found.density(points, 0.5)
    away = (points[:, None] - 2 * np.log(values)) / 0.5
    expected = np.mean(np.exp(-(away**2) / 2), axis=1) / (0.5 * np.sqrt(2 * np.pi))
    assert value.shape == error.shape == (1, 400)
    np.testing.assert_allclose(np.trapezoid(value[0], points), 1.0, rtol=1e-6)
    assert (np.abs(value[0] - expected) <= 5 * error[0] + 1e-9).all()
    assert error.max() < 0.05 * value.max()
    with pytest.raises(ValueError, match="width must be greater than 0"):
        found.density(points, 0.0)


def test_a_jackknife_of_the_mean_is_its_standard_error():
    samples = np.random.default_rng(0).normal(size=(3, 9))
    found = _partial._jackknife(lambda mean: mean, samples)
    np.testing.assert_allclose(found.error, samples.std(axis=1, ddof=1) / 3.0)
    np.testing.assert_allclose(found.value, samples.mean(axis=1))


@functools.cache
def dcgan():
    return architectures.dcgan((8, 8, 2), n_z=16, channels=4).generator


def test_a_dcgan_as_its_full_spectrum_says():
    z = tf.random.stateless_normal([2, 16], [0, 1])
    maps, done = operator(dcgan(), z), []
    found = partial_spectrum(maps, 4, steps=12, progress=done.append)
    expected = spectrum(dcgan(), z)
    assert found.shape == (2, 128, 16)
    assert sum(done) == 2 * 12
    np.testing.assert_allclose(found.largest, expected.singular_values[:, :4], rtol=1e-4)
    assert found.largest_residuals.max() < 1e-4 * found.sigma_max.max()
    pushed = maps.matvec(found.vectors[:, :, 0])
    np.testing.assert_allclose(np.linalg.norm(pushed, axis=1), expected.sigma_max, rtol=1e-4)
    np.testing.assert_allclose(found.floor, expected.floor, rtol=0.2)
    trace = np.sum(expected.singular_values**2, axis=1)
    for estimate, truth in (
        (found.trace, trace),
        (found.participation_ratio, expected.participation_ratio),
        (found.stable_rank, expected.stable_rank),
        (found.log_determinant, expected.log_determinant),
    ):
        assert (np.abs(estimate.value - truth) < 5 * estimate.error).all()
    assert not np.array_equal(found.gauss.weights[0], found.gauss.weights[1])  # each latent has its own probes


def test_a_coarser_generator_has_a_higher_floor():
    one = with_singular_values(MILD, dtype="float32")
    fine, coarse = partial_spectrum(one, 3), partial_spectrum(one, 3, epsilon=2**-7)
    np.testing.assert_allclose(coarse.floor / fine.floor, 2.0**16)


def test_products_run_in_parts_that_fit(monkeypatch):
    z = tf.random.stateless_normal([5, 16], [0, 1])
    whole = operator(dcgan(), z)
    monkeypatch.setattr(_memory, "pairs", lambda inspection, chunk: 2)
    parts = operator(dcgan(), z)
    v, columns = tf.random.stateless_normal([5, 16], [0, 2]), np.random.default_rng(0).normal(size=(16, 5))
    np.testing.assert_allclose(parts.matvec(v), whole.matvec(v), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(parts[0] @ columns, whole[0] @ columns, rtol=1e-4, atol=1e-6)


def test_more_values_than_outputs():
    """k = 4 of a map to 2 outputs: the others are 0, at both ends."""
    one = aslinearoperator(np.eye(2, 7) * [[3.0], [2.0]])
    found = partial_spectrum(one, 4)
    np.testing.assert_allclose(found.largest, [[3.0, 2.0, 0.0, 0.0]], atol=1e-7)
    ends = extremes(one, k=3)
    np.testing.assert_allclose(ends.largest, [3.0, 2.0, 0.0], atol=1e-7)
    np.testing.assert_allclose(ends.smallest, [0.0, 0.0, 0.0], atol=1e-7)
    np.testing.assert_allclose(ends.smallest_vectors.T @ ends.smallest_vectors, np.eye(3), atol=1e-9)


@pytest.mark.parametrize(
    "operators, options, message",
    [
        (np.eye(9), {}, "operators must be a JacobianOperator .*, found ndarray"),
        ([], {}, "found list"),
        (7, {}, "found int"),
        ([aslinearoperator(np.eye(9)), aslinearoperator(np.eye(8))], {}, r"one shape .*\[\(8, 8\), \(9, 9\)\]"),
        (aslinearoperator(np.eye(9, dtype=int)), {}, "of floating type, found int64"),
        (aslinearoperator(np.eye(9)), {"k": 9}, "k must be less than n_z = 9, found 9; .* gives all 9 values"),
        (aslinearoperator(np.eye(9)), {"probes": 1}, "probes must be at least 2, found 1"),
        (aslinearoperator(np.eye(9)), {"steps": 1}, "steps must be at least 2, found 1"),
        (aslinearoperator(np.eye(9)), {"epsilon": 1e-30}, "epsilon must be at least"),
        (aslinearoperator(np.full([9, 9], np.nan)), {}, "nan or infinite"),
    ],
)
def test_mistakes_are_named(operators, options, message):
    with pytest.raises(ValueError, match=message):
        partial_spectrum(operators, **{"k": 2, **options})


def test_products_that_become_nan_are_no_end_of_the_recursion():
    """The solver for the largest values takes single vectors; the products of several are nan."""
    matrix = with_singular_values(MILD) @ np.eye(40)

    def product(m):
        return lambda v: (m @ v) * (np.nan if v.shape[1] > 3 else 1.0)

    one = LinearOperator(
        matrix.shape,
        matvec=lambda v: matrix @ v,
        rmatvec=lambda u: matrix.T @ u,
        matmat=product(matrix),
        rmatmat=product(matrix.T),
        dtype=float,
    )
    with pytest.raises(ValueError, match="nan or infinite"):
        partial_spectrum(one, 3)


def test_what_does_not_fit_into_memory_is_refused_before_the_start(monkeypatch):
    """8 probes of 64 steps at n_z = 1,000: 8·(64 + 4) + 64 + 2·2 vectors of 8 kB, and 32 of n_x = 3,000."""
    assert _partial.partial_memory((1, 3000, 1000), 2, 8, 64) == 8 * ((8 * 68 + 64 + 4) * 1000 + 32 * 3000)
    monkeypatch.setattr(_memory, "_free_on_host", lambda: 2**20)

    def product(v):
        raise AssertionError("a product was computed")

    large = LinearOperator((3000, 1000), matvec=product, rmatvec=product, dtype=np.float32)
    with pytest.raises(ValueError, match=r"8 probes of 64 .* need .* GiB .* 0.000977 GiB are free; take fewer probes"):
        partial_spectrum(large, 2)
