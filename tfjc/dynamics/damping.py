"""Update rules for games, and the rates at which they leave or reach a fixed point.

All formulas use the direction of motion ξ = −(∂L_i/∂θ_i) and J = ∂ξ/∂θ. The papers use the gradients g = −ξ, the game's
Jacobian H = −J and θ ← θ − η(g + γHᵀg). Since Hᵀg = Jᵀξ, the adjustment has the opposite sign here.
"""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from tfjc.dynamics._field import Field
from tfjc.support import checks


class Rule(Protocol):
    """An update rule as a map of states."""

    def start(self, theta: ArrayLike) -> np.ndarray:
        """The first state at parameters θ [..., n]."""
        ...

    def step(self, state: np.ndarray) -> np.ndarray:
        """The next state, in the shape of `state`."""
        ...

    def jacobian(self, state: np.ndarray) -> np.ndarray:
        """∂step/∂state, [..., m, m] for states [..., m]."""
        ...


@dataclasses.dataclass(frozen=True)
class _Rule:
    """Follows a field in steps of learning rate η. The state is θ [..., n]."""

    field: Field
    rate: float

    def __post_init__(self) -> None:
        checks.real("rate", self.rate, above=0.0)

    def start(self, theta: ArrayLike) -> np.ndarray:
        """The first state at θ [..., n]."""
        return np.array(theta, np.float64)

    def _identity(self, theta):
        return np.eye(theta.shape[-1])


@dataclasses.dataclass(frozen=True)
class Simultaneous(_Rule):
    """All players move at once: θ ← θ + ηξ(θ)."""

    def step(self, state: np.ndarray) -> np.ndarray:
        """The next state, [..., n]."""
        return state + self.rate * self.field(state)

    def jacobian(self, state: np.ndarray) -> np.ndarray:
        """∂step/∂state = I + ηJ, [..., n, n]."""
        return self._identity(state) + self.rate * self.field.jacobian(state)


@dataclasses.dataclass(frozen=True)
class Alternating(_Rule):
    """One player moves after the other. Each player sees the parameters that the previous player has updated.

    Args:
      players: for each player the indices of its parameters. Players move in this order.

    Raises:
      ValueError: a parameter belongs to no player or to several. `step` and `jacobian` raise it.
    """

    players: Sequence[Sequence[int]] = ((0,), (1,))

    def step(self, state: np.ndarray) -> np.ndarray:
        """The next state, [..., n]."""
        for mask in self._masks(state.shape[-1]):
            state = state + self.rate * mask * self.field(state)
        return state

    def jacobian(self, state: np.ndarray) -> np.ndarray:
        """∂step/∂state = Π_k(I + η·P_k·J(θ_k)), [..., n, n]; P_k is the projection on player k's parameters."""
        total = self._identity(state)
        for mask in self._masks(state.shape[-1]):
            total = (self._identity(state) + self.rate * mask[:, None] * self.field.jacobian(state)) @ total
            state = state + self.rate * mask * self.field(state)
        return total

    def _masks(self, n):
        if sorted(index for player in self.players for index in player) != list(range(n)):
            raise ValueError(f"each of the parameters 0 to {n - 1} must belong to one player, found {self.players}")
        return [np.isin(np.arange(n), player).astype(np.float64) for player in self.players]


@dataclasses.dataclass(frozen=True)
class Extragradient(_Rule):
    """θ ← θ + ηξ(θ + ηξ(θ)) (Korpelevich 1976)."""

    def step(self, state: np.ndarray) -> np.ndarray:
        """The next state, [..., n]."""
        return state + self.rate * self.field(state + self.rate * self.field(state))

    def jacobian(self, state: np.ndarray) -> np.ndarray:
        """∂step/∂state = I + ηJ(θ + ηξ)(I + ηJ(θ)), [..., n, n]."""
        identity = self._identity(state)
        ahead = self.field.jacobian(state + self.rate * self.field(state))
        return identity + self.rate * ahead @ (identity + self.rate * self.field.jacobian(state))


@dataclasses.dataclass(frozen=True)
class Optimistic(_Rule):
    """θ_{t+1} = θ_t + 2ηξ(θ_t) − ηξ(θ_{t−1}) (Daskalakis et al. 2018). The state is (θ_t, θ_{t−1}), [..., 2n]."""

    def start(self, theta: ArrayLike) -> np.ndarray:
        """The first state (θ, θ), [..., 2n]."""
        return np.concatenate([theta, theta], axis=-1, dtype=np.float64)

    def step(self, state: np.ndarray) -> np.ndarray:
        """The next state, [..., 2n]."""
        now, before = np.split(state, 2, axis=-1)
        moved = now + self.rate * (2.0 * self.field(now) - self.field(before))
        return np.concatenate([moved, now], axis=-1)

    def jacobian(self, state: np.ndarray) -> np.ndarray:
        """∂step/∂state = [[I + 2ηJ(θ_t), −ηJ(θ_{t−1})], [I, 0]], [..., 2n, 2n]."""
        now, before = np.split(state, 2, axis=-1)
        identity = np.broadcast_to(self._identity(now), [*now.shape, now.shape[-1]])
        above = [identity + 2.0 * self.rate * self.field.jacobian(now), -self.rate * self.field.jacobian(before)]
        below = [identity, np.zeros_like(identity)]
        return np.concatenate([np.concatenate(row, axis=-1) for row in (above, below)], axis=-2)


@dataclasses.dataclass(frozen=True)
class _Adjusted(_Rule):
    """θ ← θ + η(ξ − w·Mᵀξ), where M is a linear function of J."""

    weight: float = 1.0

    def _matrix(self, theta: np.ndarray) -> np.ndarray:
        """M at θ, [..., n, n]."""
        raise NotImplementedError

    def step(self, state: np.ndarray) -> np.ndarray:
        """The next state, [..., n]."""
        xi = self.field(state)
        return state + self.rate * (xi - self.weight * _transposed_product(self._matrix(state), xi))

    def jacobian(self, state: np.ndarray) -> np.ndarray:
        """∂step/∂state = I + η(J − w·MᵀJ − w·Σ_k ξ_k ∂M_k/∂θ), [..., n, n].

        The last term is computed by central differences of the field's Jacobian. It is 0 at a fixed point.
        """
        first, second = self.field.jacobian(state), self._curvature(state)
        adjusted = first - self.weight * (np.swapaxes(self._matrix(state), -1, -2) @ first + second)
        return self._identity(state) + self.rate * adjusted

    def _curvature(self, state):
        """Σ_k ξ_k ∂M_ki/∂θ_j as [..., i, j]."""
        h = np.cbrt(np.finfo(np.float64).eps) * np.maximum(1.0, np.abs(state).max(axis=-1))[..., None, None]
        steps = h * self._identity(state)
        ahead, behind = (self._matrix(state[..., None, :] + sign * steps) for sign in (1.0, -1.0))
        return np.einsum("...jki,...k->...ij", (ahead - behind) / (2.0 * h[..., None]), self.field(state))


@dataclasses.dataclass(frozen=True)
class Consensus(_Adjusted):
    """Consensus optimisation: θ ← θ + η(ξ − γJᵀξ), which also descends on ½‖ξ‖² (Mescheder et al. 2017, section 4)."""

    def _matrix(self, theta):
        return self.field.jacobian(theta)


@dataclasses.dataclass(frozen=True)
class Symplectic(_Adjusted):
    """Symplectic gradient adjustment: θ ← θ + η(ξ − λAᵀξ) with A = (J − Jᵀ)/2 (Balduzzi et al. 2018, algorithm 1).

    λ is constant; this is the algorithm without alignment.
    """

    def _matrix(self, theta):
        jacobian = self.field.jacobian(theta)
        return (jacobian - np.swapaxes(jacobian, -1, -2)) / 2.0


def _transposed_product(matrix, vector):
    """Mᵀv, [..., n, n] and [..., n] → [..., n]."""
    return np.einsum("...ki,...k->...i", matrix, vector)


def rules(
    field: Field, rate: float, *, weight: float = 1.0, players: Sequence[Sequence[int]] = ((0,), (1,))
) -> dict[str, Rule]:
    """The six update rules on a field, by name. `weight` is γ and λ; `players` as in `Alternating`."""
    return {
        "simultaneous": Simultaneous(field, rate),
        "alternating": Alternating(field, rate, players),
        "extragradient": Extragradient(field, rate),
        "optimistic": Optimistic(field, rate),
        "consensus": Consensus(field, rate, weight),
        "symplectic": Symplectic(field, rate, weight),
    }


def spectral_radius(rule: Rule, theta: ArrayLike) -> np.ndarray:
    """The largest |eigenvalue| of a rule's step linearised at a fixed point θ [..., n] → [...].

    Below 1, steps near θ converge to θ at this rate. Above 1, they move away. Raises ValueError where θ is not a fixed
    point.
    """
    state = rule.start(theta)
    moved = np.abs(rule.step(state) - state).max()
    if not moved <= 1e-6 * max(1.0, np.abs(state).max()):
        raise ValueError(f"theta must be a fixed point of the field, found a step of length {moved:.3g} there")
    return np.abs(np.linalg.eigvals(rule.jacobian(state))).max(axis=-1)


def radii(
    field: Field,
    theta: ArrayLike,
    rate: float,
    *,
    weight: float = 1.0,
    players: Sequence[Sequence[int]] = ((0,), (1,)),
) -> dict[str, np.ndarray]:
    """The `spectral_radius` of all six rules at a fixed point θ, by name. Arguments as in `rules`."""
    chosen = rules(field, rate, weight=weight, players=players)
    return {name: spectral_radius(rule, theta) for name, rule in chosen.items()}
