"""Fields that the tests of the dynamics share; ξ is the direction of motion."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Linear:
    """ξ(θ) = M(θ − c)."""

    matrix: np.ndarray
    centre: np.ndarray | float = 0.0
    names = ("x", "y")

    def __call__(self, theta):
        return (theta - self.centre) @ self.matrix.T

    def jacobian(self, theta):
        return np.broadcast_to(self.matrix, [*theta.shape, theta.shape[-1]])


def bilinear(damping=0.0, centre=0.0):
    """The bilinear game L_x = −xy, L_y = xy, so ξ = (y, −x), plus the potential −damping·‖θ‖²/2."""
    return Linear(np.array([[-damping, 1.0], [-1.0, -damping]]), centre)


@dataclasses.dataclass(frozen=True)
class Lorenz:
    """x' = σ(y − x), y' = x(ρ − z) − y, z' = xy − βz (Lorenz 1963)."""

    sigma: float = 10.0
    rho: float = 28.0
    beta: float = 8.0 / 3.0

    def __call__(self, theta):
        x, y, z = np.moveaxis(theta, -1, 0)
        return np.stack([self.sigma * (y - x), x * (self.rho - z) - y, x * y - self.beta * z], axis=-1)

    def jacobian(self, theta):
        x, y, z = np.moveaxis(theta, -1, 0)
        one, zero = np.ones_like(x), np.zeros_like(x)
        rows = [
            [-self.sigma * one, self.sigma * one, zero],
            [self.rho - z, -one, -x],
            [y, x, -self.beta * one],
        ]
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


class GaussianBiases:
    """The Gaussian-critic GAN in its biases (b_d, b_g), W_d = W_g = 1, data N(0, 1), by quadrature.

    With s = z + b_g + b_d and L_d = E(x + b_d)² − E ln(1 − exp(−s²)), L_g = E ln(1 − exp(−s²)): ξ = (−2b_d + F, −F),
    F(b_d + b_g) = E[2s/(exp(s²) − 1)], a principal value at s = 0, here folded onto s > 0 where it is smooth.
    """

    names = ("b_d", "b_g")

    def __init__(self):
        nodes, weights = np.polynomial.legendre.leggauss(80)
        self._s = 4.0 * (nodes + 1.0)  # beyond s = 8 the integrand is below 1e-20 for |c| < 8
        slope = 2.0 * self._s / np.expm1(self._s**2)
        self._weights = 4.0 * weights * slope * 2.0 / np.sqrt(2.0 * np.pi)

    def _push(self, c):
        """F(c) and F'(c)."""
        s, c = self._s, c[..., None]
        bell = self._weights * np.exp(-(s**2 + c**2) / 2.0)
        push = bell * np.sinh(s * c)
        return push.sum(axis=-1), (bell * s * np.cosh(s * c) - c * push).sum(axis=-1)

    def __call__(self, theta):
        push = self._push(theta.sum(axis=-1))[0]
        return np.stack([-2.0 * theta[..., 0] + push, -push], axis=-1)

    def jacobian(self, theta):
        slope = self._push(theta.sum(axis=-1))[1]
        return np.stack([np.stack([slope - 2.0, slope], -1), np.stack([-slope, -slope], -1)], axis=-2)
