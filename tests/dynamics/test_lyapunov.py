"""Lyapunov exponents of maps and flows whose exponents are known."""

import numpy as np
import pytest
from dynamics.fields import GaussianBiases, Linear, Lorenz, bilinear

from tfjc.dynamics import damping, lyapunov


def henon(state):
    x, y = np.moveaxis(state, -1, 0)
    return np.stack([1.0 - 1.4 * x * x + y, 0.3 * x], axis=-1)


def henon_jacobian(state):
    x = state[..., 0]
    one = np.ones_like(x)
    return np.stack([np.stack([-2.8 * x, one], axis=-1), np.stack([0.3 * one, 0.0 * one], axis=-1)], axis=-2)


NEAR_HENON = np.array([0.1, 0.1]) + 1e-3 * np.arange(30)[:, None]


def test_henon_map():
    """0.4197 and −1.6237 to 1 % (Sprott 2003, appendix A); the sum is ln|det J| = ln 0.3 at every step."""
    found = lyapunov.of_map(henon, henon_jacobian, NEAR_HENON, 3000, transient=100)
    assert found.values.mean(axis=0) == pytest.approx([0.4197, -1.6237], rel=0.01)
    np.testing.assert_allclose(found.growth.sum(axis=-1), np.log(0.3), rtol=1e-12)
    np.testing.assert_allclose(found.running[-1], found.values, rtol=1e-12)


def test_a_cluster_of_copies_agrees_with_the_jacobian():
    exact = lyapunov.of_map(henon, henon_jacobian, NEAR_HENON, 300, transient=100)
    cluster = lyapunov.of_cluster(henon, NEAR_HENON, 300, transient=100)
    np.testing.assert_array_equal(cluster.state, exact.state)  # the copies do not disturb their original
    np.testing.assert_allclose(cluster.values, exact.values, atol=1e-4)
    leading = lyapunov.of_cluster(henon, NEAR_HENON, 300, transient=100, count=1)
    np.testing.assert_allclose(leading.values, exact.values[:, :1], atol=1e-2)  # another frame to start with


def test_logistic_map():
    """x ↦ 4x(1 − x) is conjugate to the tent map, whose slope is ±2: ln 2."""
    start = np.linspace(0.1, 0.3, 20)[:, None]
    found = lyapunov.of_map(lambda x: 4 * x * (1 - x), lambda x: (4 - 8 * x)[..., None], start, 2000, transient=50)
    assert found.values.mean() == pytest.approx(np.log(2), rel=0.01)


def test_a_superstable_cycle_has_the_exponent_minus_infinity():
    """x ↦ 2x(1 − x) has slope 0 at its fixed point ½."""
    found = lyapunov.of_map(lambda x: 2 * x * (1 - x), lambda x: (2 - 4 * x)[..., None], [0.5], 10)
    assert found.values.tolist() == [-np.inf]


STABLE = np.array([[-1.0, 3.0, 0.0], [0.0, -0.2, 1.0], [0.0, -1.0, -0.2]])  # eigenvalues −1, −0.2 ± i


@pytest.mark.parametrize("matrix", [STABLE, -STABLE, np.diag([0.5, -0.1, -2.0])])
def test_a_linear_flow_has_the_real_parts_of_its_eigenvalues(matrix):
    """Over 20 whole turns of the complex pair, after the frame has turned into place; by both methods."""
    turns = {"interval": np.pi / 2, "transient": 20 * np.pi}
    exact = lyapunov.of_flow(Linear(matrix), np.ones(3), 40 * np.pi, **turns)
    expected = np.sort(np.linalg.eigvals(matrix).real)[::-1]
    np.testing.assert_allclose(exact.values, expected, atol=2e-7)
    step = lyapunov.flow_map(Linear(matrix), np.pi / 2, tolerance=1e-11)
    cluster = lyapunov.of_cluster(step, np.zeros(3), 80, transient=40, interval=np.pi / 2)
    np.testing.assert_allclose(cluster.values, expected, atol=1e-5)


def test_lorenz():
    """0.9056, 0 and −14.572 (Sprott 2003, appendix A); the sum is the divergence −(σ + 1 + β) = −41/3."""
    start = np.random.default_rng(1).normal([0.0, 0.0, 25.0], size=[64, 3])
    found = lyapunov.of_flow(Lorenz(), start, 60, transient=20).values.mean(axis=0)
    assert found[0] == pytest.approx(0.9056, rel=0.01)
    assert found[1] == pytest.approx(0.0, abs=0.01)
    assert found[2] == pytest.approx(-14.572, rel=0.01)
    assert found.sum() == pytest.approx(-41 / 3, abs=1e-6)


def test_lorenz_by_a_cluster():
    """The same start, the same frames: along a chaotic flow only until the two integrations part."""
    start = np.array([[1.0, 2.0, 25.0], [-3.0, 0.5, 20.0]])
    exact = lyapunov.of_flow(Lorenz(), start, 6, interval=0.25, tolerance=1e-10)
    step = lyapunov.flow_map(Lorenz(), 0.25, tolerance=1e-10)
    cluster = lyapunov.of_cluster(step, start, 24, interval=0.25, distance=1e-5)
    np.testing.assert_allclose(cluster.values, exact.values, atol=2e-3)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("simultaneous", 0.5 * np.log(1.01)),  # 0.00497517
        ("alternating", 0.0),
        ("extragradient", 0.5 * np.log(1 - 0.01 + 0.0001)),
        ("optimistic", 0.5 * np.log((1 + np.sqrt(0.96)) / 2)),
        ("consensus", 0.5 * np.log(0.82)),
        ("symplectic", 0.5 * np.log(0.82)),
    ],
)
def test_bilinear_game(name, expected):
    """Both exponents are ln of the spectral radius, since J is normal; alternating turns on an ellipse."""
    rule = damping.rules(bilinear(), 0.1)[name]
    start = rule.start([1.0, 0.5])
    found = lyapunov.of_map(rule.step, rule.jacobian, start, 2000, transient=200).values[:2]
    tolerance = 5e-5 if name == "alternating" else 1e-8  # a remainder of a turn, over 2,000 steps
    assert found == pytest.approx([expected, expected], abs=tolerance)
    cluster = lyapunov.of_cluster(rule.step, start, 2000, transient=200, distance=1e-3).values[:2]
    assert cluster == pytest.approx(found, abs=1e-5)


def test_a_gan_that_approaches_its_fixed_point():
    """Gaussian critic: from far away both exponents end at ln of the spectral radius at (0, 0)."""
    rule = damping.Simultaneous(GaussianBiases(), 0.1)
    found = lyapunov.of_map(rule.step, rule.jacobian, [2.0, -1.0], 2000, transient=300)
    np.testing.assert_allclose(found.state, 0.0, atol=1e-12)
    assert found.values == pytest.approx([np.log(damping.spectral_radius(rule, np.zeros(2)))] * 2, abs=1e-3)
    assert found.growth.sum(axis=-1)[-1] == pytest.approx(np.log(np.linalg.det(rule.jacobian(np.zeros(2)))))


def test_trajectories_that_run_off_are_nan_and_leave_others_alone():
    """x' = x² reaches infinity at t = 1/x(0); by itself, since trajectories integrated together share their steps."""

    class Square:
        def __call__(self, theta):
            return theta**2

        def jacobian(self, theta):
            return 2.0 * theta[..., None]

    escaped = lyapunov.of_flow(Square(), [0.9], 2)
    assert np.isnan(escaped.values).all()
    stays = lyapunov.of_flow(Square(), [-1.0], 2)
    np.testing.assert_allclose(stays.growth.sum(axis=0), -2.0 * np.log(3.0), rtol=1e-6)  # x = 1/(−1 − t), x' ∝ x²
    maps = lyapunov.of_map(lambda x: 2 * x, lambda x: np.where(x < 1, 2.0, np.nan)[..., None], [[1e-9], [1.0]], 5)
    assert np.isnan(maps.values).tolist() == [[False], [True]]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: lyapunov.of_map(henon, henon_jacobian, [0.1, 0.1], 0), "steps must be at least 1, found 0"),
        (
            lambda: lyapunov.of_map(henon, henon_jacobian, [0.1, 0.1], 5, count=3),
            "count must be at most the state's size, 2, found 3",
        ),
        (lambda: lyapunov.of_cluster(henon, [0.1, 0.1], 5, distance=0), "distance must be greater than 0"),
        (lambda: lyapunov.of_flow(Lorenz(), np.ones(3), 5, interval=-1.0), "interval must be greater than 0"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
