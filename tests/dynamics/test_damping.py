"""Update rules against closed forms, and their Jacobians against differences of their steps."""

import numpy as np
import pytest
from dynamics.fields import GaussianBiases, Linear, bilinear

from tfjc.dynamics import damping

ETA = 0.1


def test_radii_on_the_bilinear_game_are_the_closed_forms():
    """J has eigenvalues ±i.

    Simultaneous |1 + iη|; alternating has determinant 1 and complex eigenvalues; extragradient |1 + iη − η²|;
    optimistic the larger root of μ² − (1 + 2iη)μ + iη, |μ|² = (1 + √(1 − 4η²))/2; adjusted |1 + iη − η|.
    """
    expected = {
        "simultaneous": np.sqrt(1 + ETA**2),
        "alternating": 1.0,
        "extragradient": np.sqrt(1 - ETA**2 + ETA**4),
        "optimistic": np.sqrt((1 + np.sqrt(1 - 4 * ETA**2)) / 2),
        "consensus": np.sqrt((1 - ETA) ** 2 + ETA**2),
        "symplectic": np.sqrt((1 - ETA) ** 2 + ETA**2),
    }
    found = damping.radii(bilinear(), np.zeros(2), ETA)
    assert found == pytest.approx(expected, abs=1e-14)
    digits = [found[name] for name in ("extragradient", "optimistic", "consensus")]
    assert digits == pytest.approx([0.9950377, 0.9949362, 0.9055385], abs=1e-7)


@pytest.mark.parametrize("weight", [0.25, 3.0])
def test_consensus_and_symplectic_adjustment_differ_by_the_symmetric_part(weight):
    """J = −a·I + R with R a quarter turn, eigenvalues −a ± i: JᵀJ = (1 + a²)I, AᵀJ = I + aR, so
    1 + η(−a − γ(1 + a²) ± i) and 1 + η(−a − λ ± i(1 − λa)).
    """
    a = 0.5
    found = damping.radii(bilinear(a), np.zeros(2), ETA, weight=weight)
    assert found["consensus"] == pytest.approx(abs(1 + ETA * (-a - weight * (1 + a * a) + 1j)), abs=1e-14)
    assert found["symplectic"] == pytest.approx(abs(1 + ETA * (-a - weight + 1j * (1 - weight * a))), abs=1e-14)


def test_symplectic_adjustment_leaves_potential_games_alone():
    potential = Linear(np.array([[-1.0, 0.3], [0.3, 0.2]]))
    theta = np.array([0.7, -0.4])
    plain = damping.Simultaneous(potential, ETA).step(theta)
    np.testing.assert_array_equal(damping.Symplectic(potential, ETA).step(theta), plain)
    assert np.abs(damping.Consensus(potential, ETA).step(theta) - plain).max() > 1e-3


def test_steps_written_out():
    """From (1, 2) on ξ = (y, −x) with η = 0.1: by hand."""
    rules = damping.rules(bilinear(), ETA)
    theta = np.array([1.0, 2.0])
    steps = {name: rule.step(rule.start(theta))[:2] for name, rule in rules.items()}
    np.testing.assert_allclose(steps["simultaneous"], [1.2, 1.9])
    np.testing.assert_allclose(steps["alternating"], [1.2, 2.0 - 0.12])
    np.testing.assert_allclose(steps["extragradient"], [1.0 + 0.19, 2.0 - 0.12])
    np.testing.assert_allclose(steps["optimistic"], [1.2, 1.9])
    np.testing.assert_allclose(steps["consensus"], [1.2 - 0.1, 1.9 - 0.2])
    np.testing.assert_allclose(steps["symplectic"], [1.2 - 0.1, 1.9 - 0.2])
    second = rules["optimistic"].step(rules["optimistic"].step(rules["optimistic"].start(theta)))
    np.testing.assert_allclose(second[:2], [1.2 + 0.2 * 1.9 - 0.1 * 2.0, 1.9 - 0.2 * 1.2 + 0.1 * 1.0])
    np.testing.assert_array_equal(second[2:], steps["optimistic"])


@pytest.mark.parametrize("name", damping.rules(None, ETA))
def test_the_jacobian_of_a_step_away_from_fixed_points(name):
    """Against central differences, on a field with second derivatives and over leading axes."""
    rule = damping.rules(GaussianBiases(), 0.3, weight=0.7)[name]
    start = np.array([[[0.3, 0.4], [1.0, -2.0], [-1.5, 1.0]]])
    state = rule.step(rule.start(start))
    before = state.copy()
    h = 1e-5
    shifts = h * np.eye(state.shape[-1])
    columns = [(rule.step(state + e) - rule.step(state - e)) / (2 * h) for e in shifts]
    np.testing.assert_allclose(rule.jacobian(state), np.stack(columns, axis=-1), atol=1e-8)
    np.testing.assert_array_equal(state, before)


def test_players_may_have_several_parameters_each():
    """L = xᵀBy with x, y in R²: a block matrix whose alternating step has determinant 1, whoever moves first."""
    coupling = np.array([[1.0, 0.5], [0.0, 2.0]])
    field = Linear(np.block([[np.zeros([2, 2]), coupling], [-coupling.T, np.zeros([2, 2])]]))
    for players in (((0, 1), (2, 3)), ((2, 3), (0, 1))):
        rule = damping.Alternating(field, ETA, players)
        assert np.linalg.det(rule.jacobian(np.zeros(4))) == pytest.approx(1.0, abs=1e-14)
        assert damping.spectral_radius(rule, np.zeros(4)) == pytest.approx(1.0, abs=1e-14)


def test_the_radius_is_the_rate_of_approach():
    """Long after the start, each step shrinks the distance to (0, 0) by the radius, on average over the turns."""
    field = GaussianBiases()
    for name, rule in damping.rules(field, ETA).items():
        state, distances = rule.start([1e-3, 0.0]), []
        for _ in range(200):
            state = rule.step(state)
            distances.append(np.linalg.norm(state))
        rate = np.exp(np.polyfit(np.arange(100, 200), np.log(distances[100:]), 1)[0])
        assert rate == pytest.approx(damping.spectral_radius(rule, np.zeros(2)), abs=2e-3), name


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: damping.Simultaneous(bilinear(), 0.0), "rate must be greater than 0"),
        (lambda: damping.radii(bilinear(), np.ones(2), ETA), "must be a fixed point .*, found a step of length 0.1"),
        (
            lambda: damping.Alternating(bilinear(), ETA, ((0,), (0,))).step(np.ones(2)),
            r"each of the parameters 0 to 1 must belong to one player, found \(\(0,\), \(0,\)\)",
        ),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
