"""Update rules for games, and how fast each leaves or reaches a fixed point.

All formulas are in the direction of motion ξ = −(∂L_i/∂θ_i) with J = ∂ξ/∂θ. Where the papers have the gradients
g = −ξ, the game's Jacobian H = −J and θ ← θ − η(g + γHᵀg), the adjustment changes its sign here, since Hᵀg = Jᵀξ.
"""

import dataclasses

import numpy as np

from tfjc.support import checks


@dataclasses.dataclass(frozen=True)
class _Rule:
    """A field followed in steps of learning rate η; the state is θ [..., n] itself."""

    field: object
    rate: float

    def __post_init__(self):
        checks.real("rate", self.rate, above=0.0)

    def start(self, theta):
        """The state to start from at θ [..., n]."""
        return np.array(theta, np.float64)

    def _identity(self, theta):
        return np.eye(theta.shape[-1])


@dataclasses.dataclass(frozen=True)
class Simultaneous(_Rule):
    """Both players at once: θ ← θ + ηξ(θ)."""

    def step(self, state):
        """The next state, [..., n]."""
        return state + self.rate * self.field(state)

    def jacobian(self, state):
        """∂step/∂state = I + ηJ, [..., n, n]."""
        return self._identity(state) + self.rate * self.field.jacobian(state)


@dataclasses.dataclass(frozen=True)
class Alternating(_Rule):
    """One player after the other, each at the parameters that the one before has left.

    Args:
      players: for each player the indices of its parameters, in the order in which they move.

    Raises:
      ValueError: a parameter belongs to no player or to several (when the rule is first used).
    """

    players: tuple = ((0,), (1,))

    def step(self, state):
        """The next state, [..., n]."""
        for mask in self._masks(state.shape[-1]):
            state = state + self.rate * mask * self.field(state)
        return state

    def jacobian(self, state):
        """∂step/∂state = Π(I + η·P_k·J(θ_k)), P_k the projection on player k's parameters, [..., n, n]."""
        total = self._identity(state)
        for mask in self._masks(state.shape[-1]):
            total = (self._identity(state) + self.rate * mask[:, None] * self.field.jacobian(state)) @ total
            state = state + self.rate * mask * self.field(state)
        return total

    def _masks(self, n):
        if sorted(index for player in self.players for index in player) != list(range(n)):
            raise ValueError(f"players must share out the parameters 0 to {n - 1}, found {self.players}")
        return [np.isin(np.arange(n), player).astype(np.float64) for player in self.players]


@dataclasses.dataclass(frozen=True)
class Extragradient(_Rule):
    """θ ← θ + ηξ(θ + ηξ(θ)) (Korpelevich 1976)."""

    def step(self, state):
        """The next state, [..., n]."""
        return state + self.rate * self.field(state + self.rate * self.field(state))

    def jacobian(self, state):
        """∂step/∂state = I + ηJ(θ + ηξ)(I + ηJ(θ)), [..., n, n]."""
        identity = self._identity(state)
        ahead = self.field.jacobian(state + self.rate * self.field(state))
        return identity + self.rate * ahead @ (identity + self.rate * self.field.jacobian(state))


@dataclasses.dataclass(frozen=True)
class Optimistic(_Rule):
    """θ_{t+1} = θ_t + 2ηξ(θ_t) − ηξ(θ_{t−1}) (Daskalakis et al. 2018); the state is (θ_t, θ_{t−1}), [..., 2n]."""

    def start(self, theta):
        """(θ, θ): as if the step before had not moved."""
        return np.concatenate([theta, theta], axis=-1, dtype=np.float64)

    def step(self, state):
        """The next state, [..., 2n]."""
        now, before = np.split(state, 2, axis=-1)
        moved = now + self.rate * (2.0 * self.field(now) - self.field(before))
        return np.concatenate([moved, now], axis=-1)

    def jacobian(self, state):
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

    def step(self, state):
        """The next state, [..., n]."""
        xi = self.field(state)
        return state + self.rate * (xi - self.weight * _transposed_product(self._matrix(state), xi))

    def jacobian(self, state):
        """∂step/∂state = I + η(J − w·MᵀJ − w·Σ_k ξ_k ∂M_k/∂θ), [..., n, n].

        The last term, which is 0 at a fixed point, is taken by central differences of the field's Jacobian.
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
    """Consensus optimisation: θ ← θ + η(ξ − γJᵀξ), descent also on ½‖ξ‖² (Mescheder et al. 2017, section 4)."""

    def _matrix(self, theta):
        return self.field.jacobian(theta)


@dataclasses.dataclass(frozen=True)
class Symplectic(_Adjusted):
    """Symplectic gradient adjustment: θ ← θ + η(ξ − λAᵀξ) with A = (J − Jᵀ)/2 (Balduzzi et al. 2018, algorithm 1).

    λ is constant: the algorithm without alignment.
    """

    def _matrix(self, theta):
        jacobian = self.field.jacobian(theta)
        return (jacobian - np.swapaxes(jacobian, -1, -2)) / 2.0


def _transposed_product(matrix, vector):
    """Mᵀv, [..., n, n] and [..., n] → [..., n]."""
    return np.einsum("...ki,...k->...i", matrix, vector)


def rules(field, rate, *, weight=1.0, players=((0,), (1,))):
    """The six update rules on a field by name; `weight` is γ and λ, `players` as in `Alternating`."""
    return {
        "simultaneous": Simultaneous(field, rate),
        "alternating": Alternating(field, rate, players),
        "extragradient": Extragradient(field, rate),
        "optimistic": Optimistic(field, rate),
        "consensus": Consensus(field, rate, weight),
        "symplectic": Symplectic(field, rate, weight),
    }


def spectral_radius(rule, theta):
    """The largest |eigenvalue| of a rule's step linearised at a fixed point θ [..., n] → [...].

    Below 1 each step from nearby brings back to θ by this factor, above 1 it leads away.

    Raises ValueError where θ is not fixed.
    """
    state = rule.start(theta)
    moved = np.abs(rule.step(state) - state).max()
    if not moved <= 1e-6 * max(1.0, np.abs(state).max()):
        raise ValueError(f"theta must be a fixed point of the field, found a step of {moved:.3g} from it")
    return np.abs(np.linalg.eigvals(rule.jacobian(state))).max(axis=-1)


def radii(field, theta, rate, *, weight=1.0, players=((0,), (1,))):
    """The table of all six rules: {name: `spectral_radius`} at a fixed point θ; arguments as in `rules`."""
    chosen = rules(field, rate, weight=weight, players=players)
    return {name: spectral_radius(rule, theta) for name, rule in chosen.items()}
