"""The Helmholtz decomposition: identities that hold to rounding, fields with known parts, and where ∇φ leads."""

import numpy as np
import pytest
import scipy.integrate
from dynamics.fields import GaussianBiases, bilinear
from PIL import Image

from tfjc.dynamics import drawing_helmholtz, helmholtz

X, Y = np.linspace(-2.0, 3.0, 41), np.linspace(-1.0, 2.0, 31)
RANDOM = np.random.default_rng(0)
POTENTIAL = np.pad(RANDOM.standard_normal([39, 29]), 1)  # 0 on the boundary
STREAM = RANDOM.standard_normal([40, 30])
GRADIENT, ROTATION = helmholtz.gradient(X, Y, POTENTIAL), helmholtz.rotation(X, Y, STREAM)


def saddle(theta):
    """∇(x² − y² + x) = rot(2xy + y): harmonic."""
    return np.stack([2 * theta[..., 0] + 1, -2 * theta[..., 1]], axis=-1)


def assert_equal(found, expected, atol=1e-11):
    np.testing.assert_allclose(found.horizontal, expected.horizontal, atol=atol)
    np.testing.assert_allclose(found.vertical, expected.vertical, atol=atol)


def assert_zero(found, atol=1e-11):
    assert_equal(found, found.minus(found), atol)


def inner(one, other):
    return np.sum(one.horizontal * other.horizontal) + np.sum(one.vertical * other.vertical)


def test_a_gradient_a_rotation_a_harmonic_field_and_their_sum_are_recovered():
    harmonic = helmholtz.sample(saddle, X, Y)
    for one, parts in (
        (GRADIENT, (GRADIENT, None, None)),
        (ROTATION, (None, ROTATION, None)),
        (harmonic, (None, None, harmonic)),
        (GRADIENT.plus(ROTATION), (GRADIENT, ROTATION, None)),
        (GRADIENT.plus(ROTATION).plus(harmonic), (GRADIENT, ROTATION, harmonic)),
    ):
        found = helmholtz.decompose(one)
        for part, expected in zip((found.gradient, found.rotational, found.harmonic), parts, strict=True):
            assert_equal(part, expected or part.minus(part))
    np.testing.assert_allclose(found.potential, POTENTIAL, atol=1e-11)
    np.testing.assert_allclose(found.stream, STREAM, atol=1e-11)


def test_what_the_parts_of_any_field_are():
    """Sum, orthogonality, Pythagoras, no curl, no divergence: on random numbers."""
    field = helmholtz.Staggered(X, Y, RANDOM.standard_normal([40, 31]), RANDOM.standard_normal([41, 30]))
    found = helmholtz.decompose(field)
    parts = (found.gradient, found.rotational, found.harmonic)
    assert_equal(parts[0].plus(parts[1]).plus(parts[2]), field)
    assert all(part.norm > 0.1 for part in parts)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert abs(inner(parts[one], parts[other])) < 1e-9
    assert sum(part.norm**2 for part in parts) == pytest.approx(field.norm**2)
    for vanishing in (found.gradient.curl, found.rotational.divergence, found.harmonic.curl, found.harmonic.divergence):
        assert np.abs(vanishing).max() < 1e-10
    np.testing.assert_allclose(found.gradient.divergence, field.divergence, atol=1e-10)
    np.testing.assert_allclose(found.rotational.curl, field.curl, atol=1e-10)


def test_any_gradient_has_no_rotational_part_and_any_rotation_no_gradient_part():
    """Whatever their potentials are on the boundary; the projections then give them back whole."""
    gradient = helmholtz.gradient(X, Y, RANDOM.standard_normal([41, 31]))
    found = helmholtz.decompose(gradient)
    assert_zero(found.rotational)
    assert_equal(found.curl_free, gradient)
    stream = RANDOM.standard_normal([42, 32])  # cells outside of the rectangle as well
    rotation = helmholtz.Staggered(
        X, Y, np.diff(stream[1:-1], axis=1) / (Y[1] - Y[0]), -np.diff(stream[:, 1:-1], axis=0) / (X[1] - X[0])
    )
    found = helmholtz.decompose(rotation)
    assert_zero(found.gradient)
    assert_equal(found.divergence_free, rotation)


def localised(centre):
    """∇exp(−r²) + rot exp(−r²) about `centre`, in closed form."""

    def field(theta):
        x, y = np.moveaxis(theta - centre, -1, 0)
        bell = -2.0 * np.exp(-(x**2) - y**2)
        return np.stack([bell * (x + y), bell * (y - x)], axis=-1)

    return field


def test_localised_fields_converge_to_their_closed_forms():
    """φ = ψ = exp(−r²), 1e-7 at the boundary: the error falls with h² until there."""
    errors = []
    for nodes in (41, 81):
        line = np.linspace(-4.5, 4.5, nodes)
        found = helmholtz.decompose(helmholtz.sample(localised(np.array([0.4, -0.3])), line, line))
        x, y = np.meshgrid(line, line, indexing="ij")
        exact = np.exp(-((x - 0.4) ** 2) - (y + 0.3) ** 2)
        errors.append(np.abs(found.potential - exact).max())
    assert errors[0] < 0.02
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)


def follow(field, start, time):
    return scipy.integrate.solve_ivp(lambda _, t: field(t), (0.0, time), start, rtol=1e-8, atol=1e-10).y[:, -1]


def test_the_gradient_part_reaches_what_the_bilinear_game_circles():
    """ξ = (y, −x) − 0.01·θ: in two turns θ shrinks by exp(−0.04π) = 0.88; along ∇φ it goes straight to (0, 0)."""
    line = np.linspace(-3.0, 3.0, 61)
    game = bilinear(damping=0.01)
    parts = helmholtz.decompose(helmholtz.sample(game, line, line))
    gradient = helmholtz.potential_field(parts.gradient)
    start = np.array([1.5, 1.0])
    turned = follow(game, start, 4.0 * np.pi)
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(start) * np.exp(-0.04 * np.pi), rel=1e-6)
    np.testing.assert_allclose(follow(gradient, start, 2000.0), 0.0, atol=1e-6)
    angle = np.array([np.arctan2(*follow(gradient, start, time)) for time in (0.0, 100.0, 300.0)])
    assert np.ptp(angle) < 0.1  # where the field itself has turned by 300
    pure = helmholtz.decompose(helmholtz.sample(bilinear(), line, line))
    assert_zero(pure.gradient)  # without a potential there is nothing to follow


def test_the_gradient_part_of_the_gaussian_critic_leads_to_the_middle_of_the_rectangle():
    """div ξ = −2 everywhere, so ∇φ knows the rectangle only: its middle is the fixed point if that lies there."""
    y = np.linspace(-4.0, 4.0, 81)
    for low, high in ((-4.0, 4.0), (-3.0, 5.0)):
        parts = helmholtz.decompose(helmholtz.sample(GaussianBiases(), np.linspace(low, high, 81), y))
        np.testing.assert_allclose(parts.field.divergence, -2.0, atol=1e-9)
        reached = follow(helmholtz.potential_field(parts.gradient), np.array([1.5, 1.5]), 40.0)
        np.testing.assert_allclose(reached, [(low + high) / 2.0, 0.0], atol=1e-6)


def test_a_localised_potential_is_found_wherever_it_lies():
    """Where φ and ψ vanish on the boundary, the gradient part does not depend on the rectangle."""
    centre = np.array([0.9, -0.7])
    line = np.linspace(-5.0, 5.0, 101)
    parts = helmholtz.decompose(helmholtz.sample(localised(centre), line, line))
    gradient = helmholtz.potential_field(parts.gradient)
    np.testing.assert_allclose(follow(gradient, np.array([0.0, 0.0]), 20.0), centre, atol=2e-3)


def test_an_interpolated_potential():
    """A quadratic one is exact: φ = x² − xy + y/2 gives (2x − y, −x + ½) and its Hessian, edges included."""
    x, y = np.meshgrid(X, Y, indexing="ij")
    found = helmholtz.potential_field(helmholtz.gradient(X, Y, x**2 - x * y + y / 2), names=("a", "b"))
    theta = np.array([[[-2.0, 2.0], [0.3, 0.1], [3.0, -1.0]]])
    np.testing.assert_allclose(found(theta), np.stack([2 * theta[..., 0] - theta[..., 1], 0.5 - theta[..., 0]], -1))
    expected = np.broadcast_to([[2.0, -1.0], [-1.0, 0.0]], [1, 3, 2, 2])
    np.testing.assert_allclose(found.jacobian(theta), expected, atol=1e-10)
    np.testing.assert_array_equal(found(np.array([9.0, 9.0])), found(np.array([3.0, 2.0])))
    assert found.names == ("a", "b")


def test_the_parts_are_drawn(tmp_path):
    path = tmp_path / "parts.png"
    bump = np.outer(np.sin(np.linspace(0, np.pi, 41)), np.sin(np.linspace(0, np.pi, 31)))
    parts = helmholtz.decompose(helmholtz.gradient(X, Y, bump))  # of which two are 0
    drawing_helmholtz.decomposition(parts, path, ("b_d", "b_g"))
    assert Image.open(path).size == (2040, 528)
    assert [p.name for p in tmp_path.iterdir()] == ["parts.png"]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: helmholtz.sample(saddle, X**3, Y), "x must be at least 4 ascending coordinates with equal steps"),
        (lambda: helmholtz.sample(saddle, X, Y[::-1]), "y must be at least 4 ascending"),
        (lambda: helmholtz.sample(saddle, X, np.ones([4, 4])), r"y must have shape \[n_y\], found \[4, 4\]"),
        (lambda: helmholtz.potential_field(ROTATION), "only a field without curl has a potential"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
