"""Grids, fixed points with their kinds, trajectories: on linear fields, on games with known answers, on an MLP GAN."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from scipy import special

from tfjc.dynamics import drawing, expectations, planes, portraits
from tfjc.dynamics.games import Averaged, BilinearGame, Clamped, DiracGAN, OneParameterGAN
from tfjc.dynamics.mlp import MLPGAN, RandomCut

LOW, HIGH = (-4.0, -4.0), (4.0, 4.0)


@dataclasses.dataclass(frozen=True)
class Linear:
    """dθ/dt = A(θ − centre)."""

    matrix: tuple
    centre: tuple = (0.3, -0.7)

    names = ("a", "b")

    def __call__(self, theta):
        return (np.asarray(theta) - self.centre) @ np.array(self.matrix).T

    def jacobian(self, theta):
        return np.broadcast_to(np.array(self.matrix), [*np.shape(theta), 2])


def find(field, low=LOW, high=HIGH, cells=60):
    return planes.fixed_points(field, planes.sample(field, low, high, cells), low, high)


@pytest.mark.parametrize(
    "matrix, kind",
    [
        (((-1.0, 0.0), (0.0, -3.0)), "stable node"),
        (((2.0, 1.0), (0.0, 3.0)), "unstable node"),
        (((-1.0, 2.0), (-2.0, -1.0)), "stable focus"),
        (((0.5, 2.0), (-2.0, 0.5)), "unstable focus"),
        (((1.0, 0.0), (0.0, -1.0)), "saddle"),
        (((0.0, 1.0), (-4.0, 0.0)), "centre"),
        (((1e-9, 1.0), (-4.0, 0.0)), "centre"),
        (((-1.0, 2.0), (-2.0, -1.0 + 1e-3)), "stable focus"),
    ],
)
def test_a_linear_fields_only_fixed_point(matrix, kind):
    (found,) = find(Linear(matrix))
    assert found.kind == kind
    np.testing.assert_allclose(found.position, [0.3, -0.7], atol=1e-9)
    np.testing.assert_allclose(np.sort_complex(found.eigenvalues), np.sort_complex(np.linalg.eigvals(matrix)))


@pytest.mark.parametrize(
    "eigenvalues, kind",
    [
        ([0.0, -1.0], "degenerate"),
        ([1e-9, 5.0], "degenerate"),
        ([-1.0, -1 + 1j, -1 - 1j], "stable focus"),
        ([-1.0, 1j, -1j], "centre"),
        ([-1.0, 1j, -1j, 1.0], "saddle"),
        ([1e6, 1e6 + 1e-3j], "unstable node"),
    ],
)
def test_classes_of_eigenvalues(eigenvalues, kind):
    assert planes.classify(eigenvalues) == kind


def test_the_grid_has_the_field_at_its_cells_centres():
    plane = planes.sample(BilinearGame(), (-1.0, 0.0), (1.0, 3.0), cells=4)
    assert plane.x.tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert plane.y.tolist() == [0.375, 1.125, 1.875, 2.625]
    np.testing.assert_array_equal(plane.vectors[3, 0], [-2.625, -0.75])  # (−y, x)
    assert plane.speed[3, 0] == pytest.approx(np.hypot(2.625, 0.75))


def test_a_grid_of_many_samples_is_that_of_each_point():
    """Blocks of cells leave no seam: 50 × 50 cells of 2,500 samples are 48 blocks."""
    game = OneParameterGAN(samples=2500)
    plane = planes.sample(game, LOW, HIGH, cells=50)
    for row, column in [(0, 0), (0, 49), (49, 49), (17, 31)]:
        np.testing.assert_allclose(plane.vectors[row, column], game([plane.x[column], plane.y[row]]), rtol=1e-10)


def test_the_sigmoid_plane_has_no_fixed_point():
    """db_g/dt = W_d·E σ(u) > 0 everywhere."""
    assert find(OneParameterGAN("sigmoid")) == []
    path = planes.trajectory(OneParameterGAN("sigmoid"), (0.0, 0.0), (-20, -20), (1e4, 1e4), time=1000.0)
    assert path.ending == "time"
    b_d, b_g = path.points[-1]
    assert b_g == pytest.approx(1000.0, rel=0.01)  # db_g/dt → 1
    assert b_d == pytest.approx(-np.log(1000.0) - 0.5, abs=0.05)  # db_d/dt → −E exp(x + b_d) = −exp(b_d + ½)


def test_the_gaussian_plane_winds_into_its_only_fixed_point():
    (found,) = find(OneParameterGAN())
    assert found.kind == "stable focus"
    path = planes.trajectory(OneParameterGAN(), (3.0, -1.0), LOW, HIGH, targets=[found.position])
    assert path.ending == "fixed point"
    assert path.points[0] == pytest.approx([3.0, -1.0])
    assert np.linalg.norm(path.points[-1]) < 1e-3
    assert np.any(path.points[:, 0] < -0.01)  # it passes the fixed point before it comes back


def test_a_critic_of_half_the_weight_makes_the_gaussian_plane_cycle():
    """trace J = −2 + κ(1 − W_d²) is positive at W_d = ½: an unstable focus, and all come to one cycle round it."""
    game = OneParameterGAN(W_d=0.5)
    (found,) = find(game)
    assert found.kind == "unstable focus"
    tails = []
    for start in [(0.3, 0.0), (3.0, 3.0)]:
        path = planes.trajectory(game, start, LOW, HIGH, time=30.0)
        assert path.ending == "time"
        tails.append(path.points[path.times > 20.0])
    extent = [np.max(np.abs(tail), axis=0) for tail in tails]
    np.testing.assert_allclose(extent[0], extent[1], rtol=1e-2)
    assert 1.0 < extent[0][0] < 1.5


@pytest.mark.parametrize("samples", [2, 5])
def test_a_sampled_gaussian_critic_has_n_minus_1_saddles_and_nothing_else(samples):
    """C(m) = mean c'(z_k + m) rises from −∞ to ∞ between two poles: n − 1 zeros, at b_d = −mean x, all with C' > 0.

    There det J = −2·C' < 0.
    """
    found = find(OneParameterGAN(samples=samples, seed=3), (-8, -8), (8, 8), cells=200)
    assert [point.kind for point in found] == ["saddle"] * (samples - 1)
    x, z = (np.sort(expectations.draws(samples, 3, stream)[0]) for stream in expectations.DATA_AND_LATENTS)
    np.testing.assert_allclose([point.position[0] for point in found], -x.mean(), rtol=1e-9)
    at = np.sort([-point.position.sum() for point in found])  # where u = z − at changes sign
    assert np.all((z[:-1] < at) & (at < z[1:]))


def test_the_weight_plane_collapses_in_finite_time():
    """d(W_g²)/dt = −4S with 0 < S < 1: no fixed point, and W_g = 0 before W_g²/(4·S) for the least S on the way."""
    game = OneParameterGAN(free=("W_d", "W_g"))
    assert find(game, (-3, -3), (3, 3)) == []
    path = planes.trajectory(game, (1.0, 1.0), (-3, -3), (3, 3))
    assert path.ending == "singular"
    assert abs(path.points[-1][1]) < 1e-3
    assert 0.25 < path.times[-1] < 0.25 / 0.6  # S(1) = 0.689 at the start, about 1 at the end


def test_a_strong_clamp_stops_the_collapse_and_a_weak_one_does_not():
    """Fixed points have W_d² = S and λ_min = W_g + S/W_g, S(W_d·W_g): none below the least, 1.7425."""

    def bose(w):
        return special.zeta(1.5, 1.0 + 1.0 / (2.0 * w**2)) / (2.0 * np.sqrt(2.0) * np.abs(w))

    game, low, high = OneParameterGAN(free=("W_d", "W_g")), (0.05, 0.05), (3.0, 3.0)
    assert find(Clamped(game, 1.74), low, high) == []
    for lambda_min in (1.75, 2.0):
        found = find(Clamped(game, lambda_min), low, high)
        assert [point.kind for point in found] == ["stable node", "saddle"]
        for W_d, W_g in (point.position for point in found):
            assert W_d**2 == pytest.approx(bose(W_d * W_g), rel=1e-6)
            assert W_g + bose(W_d * W_g) / W_g == pytest.approx(lambda_min, rel=1e-6)


def test_parameter_noise_turns_the_focus_of_samples_into_a_milder_one():
    """Of seeds 0 to 7 one has no focus; at the others the winding falls to 0.28 to 0.83 of what it was."""
    game = OneParameterGAN(samples=100, epsilon=0.01)
    plain, averaged = find(game, cells=30), find(Averaged(game, draws=10), cells=30)
    assert len(averaged) < len(plain)

    def winding(points):
        centre = min(points, key=lambda point: np.linalg.norm(point.position))
        return np.max(np.abs(centre.eigenvalues.imag / centre.eigenvalues.real))

    assert winding(averaged) < 0.9 * winding(plain)


def test_kinds_of_the_dirac_gan():
    """A centre without penalty, a stable focus with γ < 1 (Mescheder et al. 2018, lemma 2.3 and theorem 4.1)."""
    assert [point.kind for point in find(DiracGAN())] == ["centre"]
    assert [point.kind for point in find(DiracGAN(gamma=0.5))] == ["stable focus"]
    assert [point.kind for point in find(DiracGAN(gamma=2.0))] == ["stable node"]
    assert [point.kind for point in find(DiracGAN(sigma=1.0))] == ["stable focus"]


def test_a_trajectory_leaves_or_circles():
    path = planes.trajectory(Linear(((1.0, 0.0), (0.0, -1.0))), (1.3, 1.0), LOW, HIGH)
    assert path.ending == "left"
    assert path.points[-1] == pytest.approx([4.0, -0.7 + 1.7 / 3.7], abs=1e-6)  # (θ_1 − 0.3)(θ_2 + 0.7) is kept
    circle = planes.trajectory(BilinearGame(), (1.0, 2.0), LOW, HIGH, time=2.0 * np.pi)
    assert circle.ending == "time"
    assert circle.points[-1] == pytest.approx([1.0, 2.0], abs=1e-5)


SMALL = MLPGAN(width=3, samples=6, seed=1)


def losses(game, theta):
    """(L_d, L_g) of an `MLPGAN` as its docstring writes them."""
    values = dict(zip(game.names, theta, strict=True))
    h = range(game.width)

    def network(net, x):
        first = np.tanh([[x_k * values[f"{net}.W1[0, {j}]"] + values[f"{net}.b1[{j}]"] for j in h] for x_k in x])
        weights = np.array([[values[f"{net}.W2[{i}, {j}]"] for j in h] for i in h])
        second = np.tanh(first @ weights + [values[f"{net}.b2[{j}]"] for j in h])
        return second @ [values[f"{net}.W3[{j}, 0]"] for j in h] + values[f"{net}.b3[0]"]

    x, z = (expectations.draws(game.samples, game.seed, stream)[0] for stream in expectations.DATA_AND_LATENTS)
    real, fake = (1.0 / (1.0 + np.exp(-network("D", sample))) for sample in (x, network("G", z)))
    return np.mean(-np.log(real)) - np.mean(np.log(1.0 - fake)), np.mean(np.log(1.0 - fake))


def test_backpropagation_by_finite_differences_of_the_losses():
    theta = SMALL.initial() + 0.3 * np.random.default_rng(0).standard_normal(len(SMALL.names))
    steps = 1e-6 * np.eye(len(theta))
    slopes = np.array([np.subtract(losses(SMALL, theta + s), losses(SMALL, theta - s)) / 2e-6 for s in steps])
    expected = -np.where([name[0] == "D" for name in SMALL.names], slopes[:, 0], slopes[:, 1])
    np.testing.assert_allclose(SMALL(theta), expected, atol=1e-8)
    many = np.stack([theta, SMALL.initial()])[:, None]
    np.testing.assert_allclose(SMALL(many)[0, 0], SMALL(theta), rtol=1e-12)


def test_the_jacobian_of_an_mlp_gan_has_two_hessians_on_its_diagonal():
    """∂ξ_G/∂θ_G and ∂ξ_D/∂θ_D are minus Hessians, so symmetric; L_g = −L_d's fake part makes the rest antisymmetric."""
    jacobian = SMALL.jacobian(SMALL.initial() + 0.1)
    half = len(SMALL.names) // 2
    G, D = slice(None, half), slice(half, None)
    for block in (jacobian[G, G], jacobian[D, D]):
        np.testing.assert_allclose(block, block.T, atol=1e-9)
    np.testing.assert_allclose(jacobian[G, D], -jacobian[D, G].T, atol=1e-9)
    assert np.abs(jacobian[G, D]).max() > 1e-2


def test_a_random_cut_is_the_field_seen_in_a_plane_of_biases():
    cut, where = RandomCut(SMALL, seed=4), np.array([[0.5, -1.0], [2.0, 0.3]])
    np.testing.assert_allclose(cut.basis @ cut.basis.T, np.eye(2), atol=1e-12)
    assert not np.delete(cut.basis, SMALL.biases, axis=1).any()
    full = SMALL(SMALL.initial() + where @ cut.basis)
    np.testing.assert_allclose(cut(where), full @ cut.basis.T, rtol=1e-12)
    whole = SMALL.jacobian(SMALL.initial() + where[0] @ cut.basis)
    np.testing.assert_allclose(cut.jacobian(where)[0], cut.basis @ whole @ cut.basis.T, atol=1e-8)
    rest = full - full @ cut.basis.T @ cut.basis
    expected = np.linalg.norm(rest, axis=1) / np.linalg.norm(full, axis=1)
    np.testing.assert_allclose(cut.out_of_plane(where)[:, 1], expected, rtol=1e-9)
    of_biases = np.linalg.norm(rest[:, SMALL.biases], axis=1) / np.linalg.norm(full[:, SMALL.biases], axis=1)
    np.testing.assert_allclose(cut.out_of_plane(where)[:, 0], of_biases, rtol=1e-9)


def test_a_portrait_is_drawn_and_recorded(tmp_path):
    panels = (
        portraits.Portrait(DiracGAN(gamma=0.5), "Dirac", LOW, HIGH, cells=30, starts=((1.0, 1.0),)),
        portraits.Portrait(RandomCut(SMALL), cells=8),
    )
    figure = portraits.Figure(panels, "two", columns=2)
    solved = [portraits.solve(panel) for panel in panels]
    record = portraits.record(figure, solved)
    dirac, cut = record["panels"]
    assert dirac["field"] == {"class": "DiracGAN", "gamma": 0.5, "sigma": 0.0}
    (found,) = dirac["fixed_points"]
    assert found["class"] == "stable focus"
    np.testing.assert_allclose(found["eigenvalues"], [[-0.25, s * np.sqrt(3) / 4] for s in (1, -1)], atol=1e-8)
    assert dirac["trajectories"][0]["ending"] == "fixed point"
    assert cut["field"]["game"]["width"] == 3
    assert all(0.0 < share <= 1.0 for share in cut["out_of_plane"])
    assert "1 × stable focus: (0, 0)" in portraits.table(solved[0])
    drawing.figure(solved, tmp_path / "p.png", title=figure.title, columns=figure.columns)
    picture = np.asarray(Image.open(tmp_path / "p.png").convert("RGB")).astype(int)
    left, right = np.split(picture, [picture.shape[1] // 2], axis=1)
    orange = [((half - [255, 127, 14])[:-100] ** 2).sum(axis=-1) < 100 for half in (left, right)]
    assert orange[0].sum() > 100 and not orange[1].any()  # a trajectory, in the first panel only


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: planes.sample(BilinearGame(), (0, 0), (1, 0)), "two points with low < high"),
        (lambda: planes.sample(BilinearGame(), (0,), (1,)), "two points with low < high"),
        (lambda: planes.sample(SMALL, LOW, HIGH), "a plane needs a field of 2 parameters, found 44"),
        (lambda: planes.sample(BilinearGame(), LOW, HIGH, cells=1), "cells must be at least 2"),
        (lambda: portraits.Portrait("BilinearGame"), "field must be a field such as @OneParameterGAN"),
        (lambda: portraits.Portrait(BilinearGame(), starts=((1, 2, 3),)), "starts must be points of two numbers"),
        (lambda: portraits.Portrait(BilinearGame(), starts=((9, 0),)), "starts must lie between"),
        (lambda: portraits.Portrait(BilinearGame(), time=0.0), "time must be greater than 0"),
        (lambda: portraits.Figure(()), r"Figure.panels must be portraits such as \[@Portrait\(\)\]"),
        (lambda: portraits.Figure((BilinearGame(),)), "Figure.panels must be portraits"),
        (lambda: MLPGAN(width=0), "width must be at least 1"),
        (lambda: SMALL([1.0]), r"theta must have shape \[..., 44\], found \[1\]"),
        (lambda: RandomCut(SMALL, seed=-1), "seed must be at least 0"),
    ],
)
def test_mistakes_say_what_was_found(call, message):
    with pytest.raises(ValueError, match=message):
        call()
