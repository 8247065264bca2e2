"""Small games as fields: one-parameter GANs, the bilinear game and the Dirac GAN; and fields made of other fields."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tfjc.dynamics import critics, expectations
from tfjc.dynamics._field import Field
from tfjc.support import checks, noise

PARAMETERS = ("W_d", "b_d", "W_g", "b_g")


def parameters(theta: ArrayLike, count: int) -> np.ndarray:
    """θ as float64 [..., count]. Raises ValueError where the last axis has another length."""
    theta = np.asarray(theta, dtype=np.float64)
    if theta.ndim == 0 or theta.shape[-1] != count:
        raise ValueError(f"theta must have shape [..., {count}], found {list(theta.shape)}")
    return theta


@dataclasses.dataclass(frozen=True)
class OneParameterGAN:
    """The GAN with generator g(z) = W_g·z + b_g and critic d of W_d·x + b_d, on data N(0, 1) and latents z ~ N(0, 1).

    L_d = E_x[−ln d(x)] + E_z[−ln(1 − d(g(z)))] and L_g = E_z[ln(1 − d(g(z)))]. The field is minus the gradients:
    −∂L_d for W_d and b_d, −∂L_g for W_g and b_g. The expectations are exact, or means over samples of data and latents.

    With the Gaussian critic, L_d is infinite where d(g(z)) = 1. Its expectation is finite, since ln u² is integrable,
    and the exact field is the gradient of the expectation. The pole is computed in closed form (Cauchy's principal
    value, by Dawson's function). The smooth remainder is computed by Gauss–Hermite quadrature, with an error of 1e-6
    for |W_d·W_g| up to 10. With n samples the field has one pole of weight 1/n for each sample (see
    `critics.Gaussian`).

    Source: Guttenberg 2016, "The Really Simple GAN".

    Args:
      critic: "gaussian", d = exp(−(W_d·x + b_d)²), or "sigmoid", d = σ(W_d·x + b_d).
      free: the names, of W_d, b_d, W_g and b_g, that are the parameters θ, in this order.
      W_d, b_d, W_g, b_g: values of the parameters that are not free.
      samples: number of data, and number of latents, drawn once; None for the exact expectation.
      seed: seed of the samples. A smaller sample is the beginning of a larger one.
      epsilon: ε of −ln(1 + ε − d) in the Gaussian critic's loss; needs samples.

    Raises:
      ValueError: a name is unknown, a value is out of range, or ε > 0 without samples or without the Gaussian critic.
    """

    critic: str = "gaussian"
    free: Sequence[str] = ("b_d", "b_g")
    W_d: float = 1.0
    b_d: float = 0.0
    W_g: float = 1.0
    b_g: float = 0.0
    samples: int | None = None
    seed: int = 0
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        checks.one_of("critic", self.critic, ("gaussian", "sigmoid"))
        for name in self.free:
            checks.one_of("parameter", name, PARAMETERS)
        if not self.free or len(set(self.free)) < len(self.free):
            raise ValueError(f"free must name one or more different parameters, found {self.free!r}")
        for name in (*PARAMETERS, "epsilon"):
            checks.real(name, getattr(self, name), minimum=0.0 if name == "epsilon" else None)
        if self.samples is not None:
            checks.integer("samples", self.samples, minimum=1)
        checks.integer("seed", self.seed, minimum=0)
        if self.epsilon and (self.samples is None or self.critic != "gaussian"):
            raise ValueError(
                "epsilon needs the Gaussian critic and samples: the exact expectation is finite without epsilon"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the free parameters."""
        return tuple(self.free)

    def __call__(self, theta: ArrayLike) -> np.ndarray:
        """dθ/dt, [..., n] → [..., n]."""
        W_d, b_d, W_g, b_g = self._all(theta)
        real = expectations.moments(self._critic.real_slope, W_d, b_d, *self._nodes(0), 1)
        slope_m, slope_w = np.moveaxis(self._fake_slopes(W_d * W_g, W_d * b_g + b_d), -1, 0)
        field = {
            "W_d": -real[..., 1] - slope_w * W_g - slope_m * b_g,
            "b_d": -real[..., 0] - slope_m,
            "W_g": slope_w * W_d,
            "b_g": slope_m * W_d,
        }
        return np.stack([field[name] for name in self.free], axis=-1)

    def jacobian(self, theta: ArrayLike) -> np.ndarray:
        """∂ξ_i/∂θ_j, [..., n] → [..., n, n], analytic.

        The Hessian of Φ(w, m) = E[c(wz + m)], with w = W_d·W_g and m = W_d·b_g + b_d, gives it by the chain rule.
        """
        W_d, b_d, W_g, b_g = self._all(theta)
        real = expectations.moments(self._critic.real_curvature, W_d, b_d, *self._nodes(0), 2)
        m = W_d * b_g + b_d
        slope_m, slope_w = np.moveaxis(self._fake_slopes(W_d * W_g, m), -1, 0)
        mm, mw, ww = (part[..., None, None] for part in np.moveaxis(self._fake_curvatures(W_d * W_g, m), -1, 0))
        zero, one = np.zeros_like(W_d), np.ones_like(W_d)
        to_w, to_m = np.stack([W_g, zero, W_d, zero], -1), np.stack([b_g, one, zero, W_d], -1)
        cross = to_w[..., :, None] * to_m[..., None, :]
        hessian = ww * _outer(to_w) + mw * (cross + np.swapaxes(cross, -1, -2)) + mm * _outer(to_m)
        for (i, j), value in {(0, 2): slope_w, (0, 3): slope_m}.items():  # ∂²w/∂W_d∂W_g = 1, ∂²m/∂W_d∂b_g = 1
            hessian[..., i, j] += value
            hessian[..., j, i] += value
        jacobian = hessian * np.array([-1.0, -1.0, 1.0, 1.0])[:, None]
        jacobian[..., :2, :2] -= np.stack([real[..., [2, 1]], real[..., [1, 0]]], axis=-2)
        chosen = [PARAMETERS.index(name) for name in self.free]
        return jacobian[..., chosen, :][..., chosen]

    def _all(self, theta):
        """All four parameters, [...] each."""
        theta = parameters(theta, len(self.free))
        fixed = (np.full(theta.shape[:-1], float(getattr(self, name))) for name in PARAMETERS)
        return tuple(
            theta[..., self.free.index(name)] if name in self.free else value
            for name, value in zip(PARAMETERS, fixed, strict=True)
        )

    @functools.cached_property
    def _critic(self):
        return critics.Gaussian(self.epsilon) if self.critic == "gaussian" else critics.Sigmoid()

    def _nodes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Nodes and weights of the expectation over data (index 0) or latents (index 1)."""
        if self.samples is None:
            return expectations.gauss_hermite()
        return expectations.draws(self.samples, self.seed, expectations.DATA_AND_LATENTS[index])

    @property
    def _principal(self):
        """Whether the pole of the expectation is computed separately."""
        return self.samples is None and self._critic.has_pole

    def _fake_slopes(self, w, m):
        """(Φ_m, Φ_w), [..., 2]."""
        if not self._principal:
            return expectations.moments(self._critic.fake_slope, w, m, *self._nodes(1), 1)
        p = expectations.pole(w, m)
        regular = expectations.moments(self._critic.regular_slope, w, m, *self._nodes(1), 1)
        return regular - 2.0 * np.stack([p[..., 0], w * p[..., 1]], axis=-1)

    def _fake_curvatures(self, w, m):
        """(Φ_mm, Φ_mw, Φ_ww), [..., 3]. The pole's part uses Φ_w = w·Φ_mm, which holds for Gaussian z."""
        if not self._principal:
            return expectations.moments(self._critic.fake_curvature, w, m, *self._nodes(1), 2)
        _, first, second, third = np.moveaxis(expectations.pole(w, m), -1, 0)
        regular = expectations.moments(self._critic.regular_curvature, w, m, *self._nodes(1), 2)
        return regular - 2.0 * np.stack([first, w * second, first + w**2 * third], axis=-1)


def _outer(vector):
    return vector[..., :, None] * vector[..., None, :]


@dataclasses.dataclass(frozen=True)
class Clamped:
    """A `OneParameterGAN` whose generator is trained with Jacobian Clamping, in closed form.

    g(z) = W_g·z + b_g has the Jacobian W_g, and every quotient is Q = |W_g|. L_g gets the penalty
    max(0, Q − λ_max)² + max(0, λ_min − Q)². The field of W_g gets −2·max(0, Q − λ_max)·sign W_g
    + 2·max(0, λ_min − Q)·sign W_g, which is 0 at W_g = 0. Source: Odena et al. 2018, algorithm 1.

    Args:
      game: the GAN; its W_g must be free.
      lambda_min, lambda_max: the target interval of Q, 0 ≤ λ_min ≤ λ_max.

    Raises:
      ValueError: W_g is not free, or not 0 ≤ λ_min ≤ λ_max.
    """

    game: OneParameterGAN
    lambda_min: float = 1.0
    lambda_max: float = 20.0

    def __post_init__(self) -> None:
        if "W_g" not in self.game.names:
            raise ValueError(f"the clamp acts on W_g, which must be free, found {', '.join(self.game.names)}")
        checks.real("lambda_min", self.lambda_min, minimum=0.0)
        checks.real("lambda_max", self.lambda_max, minimum=self.lambda_min)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the game's parameters."""
        return self.game.names

    def __call__(self, theta: ArrayLike) -> np.ndarray:
        """dθ/dt, [..., n] → [..., n]."""
        field, index = self.game(theta), self.names.index("W_g")
        W_g = np.asarray(theta, np.float64)[..., index]
        below, above = np.maximum(0.0, self.lambda_min - np.abs(W_g)), np.maximum(0.0, np.abs(W_g) - self.lambda_max)
        field[..., index] += 2.0 * (below - above) * np.sign(W_g)
        return field

    def jacobian(self, theta: ArrayLike) -> np.ndarray:
        """∂ξ_i/∂θ_j, [..., n] → [..., n, n]: the game's Jacobian, minus 2 at (W_g, W_g) where the clamp acts.

        The entry (W_g, W_g) is inf at W_g = 0 for λ_min > 0, where the clamp jumps from −2λ_min to 2λ_min.
        """
        jacobian, index = self.game.jacobian(theta), self.names.index("W_g")
        Q = np.abs(np.asarray(theta, np.float64)[..., index])
        jacobian[..., index, index] -= 2.0 * (np.clip(Q, self.lambda_min, self.lambda_max) != Q)
        jacobian[..., index, index] = np.where((Q == 0) & (self.lambda_min > 0), np.inf, jacobian[..., index, index])
        return jacobian


@dataclasses.dataclass(frozen=True)
class Averaged:
    """The mean of a field over Gaussian noise in its parameters: (1/K)·Σ_k ξ(θ + σ·n_k), n_k ~ N(0, I).

    The noise depends only on `seed`, so the mean is a field. Guttenberg 2016, "Data Dependency", has K = 30 and
    σ = 0.2.

    Args:
      field: ξ.
      draws: K, ≥ 1.
      sigma: σ, ≥ 0.
      seed: seed of the noise.

    Raises:
      ValueError: an argument is out of range.
    """

    field: Field
    draws: int = 30
    sigma: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        checks.integer("draws", self.draws, minimum=1)
        checks.real("sigma", self.sigma, minimum=0.0)
        checks.integer("seed", self.seed, minimum=0)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the field's parameters."""
        return self.field.names

    def __call__(self, theta: ArrayLike) -> np.ndarray:
        """dθ/dt, [..., n] → [..., n]."""
        return self._mean(self.field, theta)

    def jacobian(self, theta: ArrayLike) -> np.ndarray:
        """The mean of the field's Jacobians, [..., n] → [..., n, n]."""
        return self._mean(self.field.jacobian, theta)

    def _mean(self, function, theta):
        theta = parameters(theta, len(self.names))
        rng = noise.rng(self.seed, noise.Stream.GAME_NOISE)
        shifts = self.sigma * rng.standard_normal([self.draws, len(self.names)])
        return sum(function(theta + shift) for shift in shifts) / self.draws


@dataclasses.dataclass(frozen=True)
class BilinearGame:
    """The minimum over x and maximum over y of x·y: dx/dt = −y, dy/dt = x, which circles (0, 0) forever.

    The papers' ξ is the gradients (∂L_1/∂x, ∂L_2/∂y) = (y, −x) with L_1 = xy = −L_2. Fields of `tfjc.dynamics` are
    minus the gradients. Source: Balduzzi et al. 2018, example 1.
    """

    names = ("x", "y")

    def __call__(self, theta: ArrayLike) -> np.ndarray:
        """dθ/dt, [..., 2] → [..., 2]."""
        x, y = np.moveaxis(parameters(theta, 2), -1, 0)
        return np.stack([-y, x], axis=-1)

    def jacobian(self, theta: ArrayLike) -> np.ndarray:
        """∂ξ_i/∂θ_j, [..., 2] → [..., 2, 2]: constant."""
        theta = parameters(theta, 2)
        return np.broadcast_to(np.array([[0.0, -1.0], [1.0, 0.0]]), [*theta.shape, 2]).copy()


@dataclasses.dataclass(frozen=True)
class DiracGAN:
    """The Dirac GAN: the generator's distribution is a point mass at θ, the data are 0, the critic is D(x) = ψx.

    L(θ, ψ) = E f(ψ(θ + σn)) + E f(−ψσn') with f(t) = −ln(1 + e⁻ᵗ), n and n' ~ N(0, 1). The generator descends L and
    the critic ascends L − (γ/2)·ψ²: dθ/dt = −∂L/∂θ, dψ/dt = ∂L/∂ψ − γψ. For σ = 0 this is dθ/dt = −ψ·f'(ψθ),
    dψ/dt = θ·f'(ψθ) − γψ, with eigenvalues −γ/2 ± √(γ²/4 − 1/4) at (0, 0).
    Source: Mescheder et al. 2018, sections 2 and 3.

    Args:
      gamma: γ, weight of the gradient penalty centred at 0, ≥ 0. R1 and R2 are equal in this game.
      sigma: σ, standard deviation of instance noise, ≥ 0. Expectations are computed by Gauss–Hermite quadrature.

    Raises:
      ValueError: an argument is negative.
    """

    gamma: float = 0.0
    sigma: float = 0.0

    names = ("θ", "ψ")

    def __post_init__(self) -> None:
        checks.real("gamma", self.gamma, minimum=0.0)
        checks.real("sigma", self.sigma, minimum=0.0)

    def __call__(self, theta: ArrayLike) -> np.ndarray:
        """d(θ, ψ)/dt, [..., 2] → [..., 2]."""
        position, psi = np.moveaxis(parameters(theta, 2), -1, 0)
        at_fake = self._moments(special.expit, -psi * self.sigma, -psi * position)  # f'(t) = σ(−t)
        at_real = self._moments(special.expit, psi * self.sigma, np.zeros_like(psi))
        ascent = position * at_fake[..., 0] + self.sigma * (at_fake[..., 1] - at_real[..., 1])
        return np.stack([-psi * at_fake[..., 0], ascent - self.gamma * psi], axis=-1)

    def jacobian(self, theta: ArrayLike) -> np.ndarray:
        """∂ξ_i/∂(θ, ψ)_j, [..., 2] → [..., 2, 2], analytic."""
        position, psi = np.moveaxis(parameters(theta, 2), -1, 0)
        slope = self._moments(special.expit, -psi * self.sigma, -psi * position)[..., 0]
        bend, bend_z, bend_zz = np.moveaxis(self._moments(_bend, psi * self.sigma, psi * position), -1, 0)
        at_real = self._moments(_bend, psi * self.sigma, np.zeros_like(psi))[..., 2]
        mixed = slope + psi * (position * bend + self.sigma * bend_z)
        curvature = position**2 * bend + 2.0 * position * self.sigma * bend_z + self.sigma**2 * (bend_zz + at_real)
        rows = [[-(psi**2) * bend, -mixed], [mixed, curvature - self.gamma]]
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)

    def _moments(self, function, w, m):
        nodes, weights = expectations.gauss_hermite() if self.sigma else (np.zeros(1), np.ones(1))
        return expectations.moments(function, w, m, nodes, weights, 2)


def _bend(t):
    """f''(t) = −σ(t)·σ(−t)."""
    return -special.expit(t) * special.expit(-t)
