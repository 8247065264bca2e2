"""Fields against finite differences of the losses as the papers write them, closed forms, and quadrature by SciPy."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import integrate, special

from tfjc.dynamics import critics, expectations
from tfjc.dynamics.games import PARAMETERS, Averaged, BilinearGame, Clamped, DiracGAN, OneParameterGAN

RANDOM = np.random.default_rng(0)
PLANES = list(itertools.combinations(PARAMETERS, 2))


def losses(game, theta, clamp=None):
    """(L_d, L_g) of a `OneParameterGAN` on its samples, as the post writes them, at one θ."""
    value = {name: getattr(game, name) for name in PARAMETERS} | dict(zip(game.names, theta, strict=True))
    x, z = (expectations.draws(game.samples, game.seed, stream)[0] for stream in expectations.DATA_AND_LATENTS)

    def d(sample):
        u = value["W_d"] * sample + value["b_d"]
        return np.exp(-(u**2)) if game.critic == "gaussian" else 1.0 / (1.0 + np.exp(-u))

    fake = d(value["W_g"] * z + value["b_g"])
    against = np.mean(np.log(1.0 + game.epsilon - fake))
    return np.mean(-np.log(d(x))) - against, against


def central_differences(function, theta, h=1e-5):
    """∂f/∂θ_j for f: [n] → [...], in the last axis."""
    steps = h * np.eye(len(theta))
    return np.stack([(function(theta + step) - function(theta - step)) / (2.0 * h) for step in steps], axis=-1)


@pytest.mark.parametrize("critic, epsilon", [("sigmoid", 0.0), ("gaussian", 0.0), ("gaussian", 0.01)])
@pytest.mark.parametrize("free", [*PLANES, PARAMETERS], ids="".join)
def test_the_field_is_minus_the_gradients_of_the_losses(critic, epsilon, free):
    fixed = {"W_d": 0.8, "b_d": 0.3, "W_g": -1.2, "b_g": 0.5}
    game = OneParameterGAN(critic=critic, free=free, samples=7, seed=3, epsilon=epsilon, **fixed)
    theta = RANDOM.uniform(-2, 2, [5, len(free)])
    for row, found in zip(theta, game(theta), strict=True):
        gradients = central_differences(lambda t: np.array(losses(game, t)), row, 1e-6)
        expected = [-gradients[int(name.endswith("g")), k] for k, name in enumerate(free)]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


FIELDS = [
    OneParameterGAN("sigmoid", PARAMETERS, samples=9, seed=1),
    OneParameterGAN("sigmoid", PARAMETERS),
    OneParameterGAN("gaussian", PARAMETERS, samples=9, seed=1),
    OneParameterGAN("gaussian", PARAMETERS, samples=9, seed=1, epsilon=0.1),
    OneParameterGAN("gaussian", PARAMETERS),
    OneParameterGAN("gaussian", ("b_g", "W_d"), b_d=0.4),
    Clamped(OneParameterGAN(free=("W_d", "W_g")), 0.7, 1.3),
    Averaged(OneParameterGAN("sigmoid", samples=5), draws=4),
    BilinearGame(),
    DiracGAN(),
    DiracGAN(gamma=0.3),
    DiracGAN(gamma=0.3, sigma=0.8),
]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"{type(field).__name__}")
def test_jacobians_are_the_fields_central_differences(field):
    n = len(field.names)
    theta = np.random.default_rng(5).uniform(-2, 2, [8, n])
    expected = np.stack([central_differences(field, row) for row in theta])
    scale = np.max(np.abs(expected), axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(field.jacobian(theta) / scale, expected / scale, atol=2e-7)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"{type(field).__name__}")
def test_fields_are_vectorised_and_leave_their_argument(field):
    theta = RANDOM.uniform(-2, 2, [2, 3, len(field.names)])
    kept = theta.copy()
    vectors, jacobians = field(theta), field.jacobian(theta)
    assert (vectors.shape, jacobians.shape) == (theta.shape, (*theta.shape, theta.shape[-1]))
    np.testing.assert_allclose(vectors[1, 2], field(theta[1, 2]), rtol=1e-12)
    np.testing.assert_allclose(jacobians[0, 1], field.jacobian(theta[0, 1]), rtol=1e-12)
    vectors += 1.0
    jacobians += 1.0
    np.testing.assert_array_equal(theta, kept)
    assert np.array_equal(field(theta) + 1.0, vectors)


@pytest.mark.parametrize("w, m", [(1.0, 0.3), (-2.0, -1.0), (0.5, 4.0), (0.1, 1.5), (3.0, 0.0), (0.3, 0.01)])
def test_the_pole_is_cauchys_principal_value(w, m):
    """PV E[1/(wz + m)] by QUADPACK's rule for it; its derivatives from differences of that."""

    def reference(shift):
        weight = integrate.quad(_density, -14, 14, weight="cauchy", wvar=-(m + shift) / w, epsabs=1e-13)[0]
        return weight / w

    found = expectations.pole(w, m)
    assert found[0] == pytest.approx(reference(0.0), abs=1e-10)
    h = 0.01 * abs(w)
    assert found[1] == pytest.approx((reference(h) - reference(-h)) / (2 * h), rel=2e-3, abs=1e-3)


def _density(z):
    return np.exp(-(z**2) / 2.0) / np.sqrt(2.0 * np.pi)


def test_the_poles_two_branches_agree_and_follow_from_each_other():
    """Both sides of |m| = 7√2·|w|: each derivative is the one before differentiated."""
    w, m = 0.2, 7.0 * np.sqrt(2.0) * 0.2 + np.linspace(-1e-2, 1e-2, 41)
    found = expectations.pole(w, m)
    for k in range(3):
        np.testing.assert_allclose(np.gradient(found[:, k], m)[2:-2], found[2:-2, k + 1], rtol=2e-6)
    assert expectations.pole(0.0, 2.0) == pytest.approx([0.5, -0.25, 0.25, -0.375])  # 1/m and its derivatives
    assert expectations.pole(0.0, 0.0).tolist() == [0.0] * 4


def test_the_exact_gaussian_field_is_the_gradient_of_the_expected_loss():
    """∂/∂b_g of E[ln(1 − exp(−(z + b_g + b_d)²))]: by Stein's lemma E[z·ln(1 − exp(−u²))], which is integrable."""

    def integrand(z, m):
        return z * np.log(-np.expm1(-((z + m) ** 2))) * _density(z)

    game = OneParameterGAN()
    for b_d, b_g in [(0.3, 0.5), (-1.0, 0.2), (2.0, 1.0)]:
        m = b_d + b_g
        expected = sum(integrate.quad(integrand, *ends, args=(m,), epsabs=1e-12)[0] for ends in [(-12, -m), (-m, 12)])
        assert game([b_d, b_g])[1] == pytest.approx(-expected, rel=1e-7)


def bose(w):
    """S(w) = E[u²/(exp(u²) − 1)], u = wz: Σ_k E[u²·exp(−ku²)] = Σ_k w²·(1 + 2kw²)^(−3/2), a Hurwitz zeta function."""
    return special.zeta(1.5, 1.0 + 1.0 / (2.0 * w**2)) / (2.0 * np.sqrt(2.0) * np.abs(w))


def test_the_exact_weight_plane_in_closed_form():
    """With b = 0: dW_g/dt = −2S/W_g and dW_d/dt = −2W_d + 2S/W_d, S as in `bose`, w = W_d·W_g."""
    game = OneParameterGAN(free=("W_d", "W_g"))
    W_d, W_g = np.moveaxis(RANDOM.uniform(0.05, 2.5, [200, 2]) * RANDOM.choice([-1, 1], [200, 2]), -1, 0)
    expected = np.stack([-2.0 * W_d + 2.0 * bose(W_d * W_g) / W_d, -2.0 * bose(W_d * W_g) / W_g], axis=-1)
    np.testing.assert_allclose(game(np.stack([W_d, W_g], -1)), expected, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("W_d", [0.5, 1.0, 2.0])
def test_eigenvalues_at_the_gaussian_bias_planes_centre(W_d):
    """J = [[−2 + κ, W_d·κ], [−W_d·κ, −W_d²·κ]] with κ = −E c'' = 2S(W_d)/W_d².

    At W_d = 1 κ = 2[(1 − 2^(−3/2))·ζ(3/2) − 1] = 1.37752 and λ = −1 ± i·√(2κ − 1).
    """
    kappa = 2.0 * bose(W_d) / W_d**2
    expected = np.array([[-2.0 + kappa, W_d * kappa], [-W_d * kappa, -(W_d**2) * kappa]])
    game = OneParameterGAN(W_d=W_d)
    np.testing.assert_allclose(game([0.0, 0.0]), 0.0, atol=1e-12)
    np.testing.assert_allclose(game.jacobian([0.0, 0.0]), expected, rtol=1e-10)
    if W_d == 1.0:
        assert kappa == pytest.approx(2.0 * ((1.0 - 2.0**-1.5) * special.zeta(1.5) - 1.0), rel=1e-12)
        found = np.linalg.eigvals(game.jacobian([0.0, 0.0]))
        np.testing.assert_allclose(np.sort_complex(found), [-1 - 1.324781j, -1 + 1.324781j], rtol=1e-6)


def test_many_samples_approach_the_exact_field():
    """A sigmoid critic has no pole: the error is of order 1/√n, at most 0.5·4/√n here; n = 10⁶."""
    theta = RANDOM.uniform(-3, 3, [6, 4])
    sampled = OneParameterGAN("sigmoid", PARAMETERS, samples=1_000_000)
    np.testing.assert_allclose(sampled(theta), OneParameterGAN("sigmoid", PARAMETERS)(theta), atol=0.01)


def test_with_gaussian_critic_more_samples_do_not_make_the_field_more_exact():
    """Means of n terms 2/u, u of density φ(m) at 0, follow Cauchy's law of width 2π·φ(m) for every n.

    Its quartiles are ± the width, so half of the errors are larger. Over 400 seeds the median of |error| lies within
    20 % of that (three standard errors, each π/2/√400 = 8 %, would be 24 %).
    """
    exact = OneParameterGAN()([0.0, 0.5])[1]
    width = 2.0 * np.pi * _density(0.5)
    for count in (100, 2500):
        errors = [OneParameterGAN(samples=count, seed=seed)([0.0, 0.5])[1] - exact for seed in range(400)]
        assert np.median(np.abs(errors)) == pytest.approx(width, rel=0.2)


def test_a_smaller_sample_is_the_beginning_of_a_larger():
    for stream in expectations.DATA_AND_LATENTS:
        few, many = (expectations.draws(count, 4, stream)[0] for count in (5, 100))
        np.testing.assert_array_equal(few, many[:5])
    data, latents = (expectations.draws(9, 4, stream)[0] for stream in expectations.DATA_AND_LATENTS)
    assert not np.any(data == latents)


@pytest.mark.parametrize("game", [OneParameterGAN(), OneParameterGAN(samples=4), OneParameterGAN("sigmoid")])
def test_large_parameters_and_poles_are_finite(game):
    """1e3 to either side; and a θ on a sample's pole, u = 0: there the pole's part is left out."""
    game = dataclasses.replace(game, free=PARAMETERS)
    with np.errstate(all="raise", under="ignore"):
        theta = np.array([*itertools.product([-1e3, 0.0, 1e3], repeat=4)])
        assert np.isfinite(game(theta)).all()
        assert np.isfinite(game.jacobian(theta)).all()


def test_on_a_pole_the_field_is_the_mean_of_its_two_sides():
    game, z = OneParameterGAN(samples=3, seed=2), expectations.draws(3, 2, expectations.DATA_AND_LATENTS[1])[0]
    at, h = np.array([0.0, -z[0]]), 1e-7
    sides = [game(at + np.array([0.0, shift])) for shift in (-h, h)]
    assert min(np.abs(side[1]) for side in sides) > 1e6
    np.testing.assert_allclose(game(at), np.mean(sides, axis=0), rtol=1e-5)
    finite_part = game.jacobian(at)[1, 1]
    around = np.mean([game.jacobian(at + np.array([0.0, shift]))[1, 1] for shift in (-1e-3, 1e-3)]) - 2.0 / 1e-6 / 3.0
    assert finite_part == pytest.approx(around, rel=1e-3)


def test_the_regular_part_is_the_slope_without_its_pole():
    critic, u = critics.Gaussian(), np.concatenate([-np.geomspace(1e-2, 15, 60), np.geomspace(1e-2, 15, 60)])
    np.testing.assert_allclose(critic.regular_slope(u), critic.fake_slope(u) + 2.0 / u, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(critic.regular_curvature(u), critic.fake_curvature(u) - 2.0 / u**2, atol=1e-9)
    assert critic.regular_slope(np.array([1e-9]))[0] == pytest.approx(1e-9)  # r(u) = u − u³/6 + …


def test_the_clamp_is_the_gradient_of_its_penalty():
    game = OneParameterGAN(free=("W_d", "W_g"))
    clamped = Clamped(game, lambda_min=0.8, lambda_max=1.5)
    W_g = np.array([-2.0, -1.0, -0.3, 0.3, 1.0, 2.0])
    theta = np.stack([np.full(6, 0.7), W_g], -1)

    def penalty(w):
        return np.maximum(0.0, np.abs(w) - 1.5) ** 2 + np.maximum(0.0, 0.8 - np.abs(w)) ** 2

    expected = -(penalty(W_g + 1e-6) - penalty(W_g - 1e-6)) / 2e-6
    added = clamped(theta) - game(theta)
    np.testing.assert_allclose(added[:, 1], expected, rtol=1e-8, atol=1e-8)
    assert not added[:, 0].any()
    assert clamped.jacobian([0.7, 0.0])[1, 1] == np.inf  # the push jumps from −2·0.8 to 2·0.8 there


def test_the_closed_clamp_is_the_projects_own():
    """`tfjc.penalties.JacobianClamping` on g(z) = W_g·z + b_g, whatever z and z'."""
    import tensorflow as tf

    from tfjc import penalties

    z, other = (tf.constant(RANDOM.standard_normal([4, 1])) for _ in range(2))
    W_g = tf.Variable(0.4, dtype=tf.float64)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(penalties.JacobianClamping(0.9, 2.0)(z, other, W_g * z + 1.0, W_g * other + 1.0))
    game = OneParameterGAN(free=("W_d", "W_g"))
    added = Clamped(game, 0.9, 2.0)([1.0, 0.4]) - game([1.0, 0.4])
    assert added[1] == pytest.approx(-float(tape.gradient(loss, W_g)), rel=1e-6)


def test_averaging_a_linear_field_moves_it_by_the_mean_noise():
    averaged = Averaged(BilinearGame(), draws=30, sigma=0.2, seed=1)
    theta = RANDOM.standard_normal([4, 2])
    shift = averaged(theta) - BilinearGame()(theta)
    np.testing.assert_allclose(shift, np.broadcast_to(shift[:1], shift.shape), atol=1e-12)
    assert 0.0 < np.linalg.norm(shift[0]) < 4.0 * 0.2 / np.sqrt(30) * np.sqrt(2)
    still = Averaged(OneParameterGAN("sigmoid"), sigma=0.0)
    np.testing.assert_allclose(still(theta), OneParameterGAN("sigmoid")(theta), rtol=1e-12)


def test_the_bilinear_game_keeps_the_radius():
    theta = RANDOM.standard_normal([20, 2])
    assert np.abs(np.sum(theta * BilinearGame()(theta), axis=-1)).max() < 1e-15
    assert np.sort_complex(np.linalg.eigvals(BilinearGame().jacobian([3.0, 4.0]))).tolist() == [-1j, 1j]


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_eigenvalues_of_the_dirac_gan(gamma):
    """−γ/2 ± √(γ²/4 − f'(0)²), f'(0) = 1/2 (Mescheder et al. 2018, lemma 2.3 and section 3)."""
    root = np.sqrt(gamma**2 / 4.0 - 0.25 + 0j)
    found = np.linalg.eigvals(DiracGAN(gamma=gamma).jacobian([0.0, 0.0]))
    np.testing.assert_allclose(np.sort_complex(found), np.sort_complex([-gamma / 2 - root, -gamma / 2 + root]))


def test_eigenvalues_of_the_dirac_gan_with_instance_noise():
    """f''(0)σ² ± √(f''(0)²σ⁴ − f'(0)²), f''(0) = −1/4 (Mescheder et al. 2018, lemma 3.2)."""
    sigma = 0.9
    root = np.sqrt(sigma**4 / 16.0 - 0.25 + 0j)
    expected = np.array([-(sigma**2) / 4.0 - root, -(sigma**2) / 4.0 + root])
    found = np.linalg.eigvals(DiracGAN(sigma=sigma).jacobian([0.0, 0.0]))
    np.testing.assert_allclose(np.sort_complex(found), np.sort_complex(expected), rtol=1e-10)


def test_the_unregularised_dirac_gan_circles():
    """dθ/dt·θ + dψ/dt·ψ = −θψf' + ψθf' = 0 (Mescheder et al. 2018, lemma 2.3)."""
    theta = RANDOM.standard_normal([20, 2])
    assert np.abs(np.sum(theta * DiracGAN()(theta), axis=-1)).max() < 1e-15


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: OneParameterGAN("gausian"), "unknown critic 'gausian'; nearest: gaussian"),
        (lambda: OneParameterGAN(free=("b_d", "b_f")), "unknown parameter 'b_f'; nearest: b_g, b_d"),
        (lambda: OneParameterGAN(free=("b_d", "b_d")), "one or more different parameters"),
        (lambda: OneParameterGAN(samples=0), "samples must be at least 1, found 0"),
        (lambda: OneParameterGAN(W_d="1"), "W_d must be a finite number, found '1'"),
        (lambda: OneParameterGAN(epsilon=0.1), "epsilon needs the Gaussian critic and samples"),
        (lambda: OneParameterGAN()([1.0, 2.0, 3.0]), r"theta must have shape \[..., 2\], found \[3\]"),
        (lambda: Clamped(OneParameterGAN()), "acts on W_g, which must be free, found b_d, b_g"),
        (lambda: Clamped(OneParameterGAN(free=("W_g",)), 2.0, 1.0), "lambda_max must be at least 2.0, found 1.0"),
        (lambda: Averaged(BilinearGame(), draws=0), "draws must be at least 1"),
        (lambda: Averaged(BilinearGame(), sigma=-1.0), "sigma must be at least 0"),
        (lambda: DiracGAN(gamma=-1.0), "gamma must be at least 0"),
    ],
)
def test_mistakes_say_what_was_found(make, message):
    with pytest.raises(ValueError, match=message):
        make()
