"""Lyapunov exponents: the rates at which neighbouring trajectories separate.

The method is Benettin's, with QR factorisations (Benettin et al. 1980). The linearised motion carries an orthonormal
frame Q along a trajectory, Y = J·Q. After each interval Y is factorised, Y = QR, and Q is the next frame. The exponents
are the means of ln|R_ii| over time. They are in descending order once the frame has aligned. All functions take any
number of trajectories at once, state [..., n].
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.integrate
from numpy.typing import ArrayLike

from tfjc.dynamics._field import Field
from tfjc.support import checks, noise

Function = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Exponents:
    """Lyapunov exponents in natural logarithms per unit of time (per step, for maps).

    Attributes:
      growth: ln|R_ii| of each interval, float64 [T, ..., k]; −inf where a singular Jacobian removes a direction, nan
        from the time when a trajectory is not finite.
      interval: the time between two factorisations.
      state: the last states of the trajectories, [..., n].
    """

    growth: np.ndarray
    interval: float
    state: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The exponents, [..., k]: means over the trajectory."""
        return self.growth.mean(axis=0) / self.interval

    @property
    def local(self) -> np.ndarray:
        """The finite-time exponents of each interval, [T, ..., k]."""
        return self.growth / self.interval

    @property
    def running(self) -> np.ndarray:
        """The mean up to each interval, [T, ..., k]. It shows the convergence of `values`."""
        count = np.arange(1, len(self.growth) + 1).reshape([-1] + [1] * (self.growth.ndim - 1))
        return np.cumsum(self.growth, axis=0) / (count * self.interval)


def of_map(
    step: Function,
    jacobian: Function,
    state: ArrayLike,
    steps: int,
    *,
    transient: int = 0,
    count: int | None = None,
    seed: int = 0,
) -> Exponents:
    """`Exponents` of a map from its Jacobian.

    Args:
      step: callable state [..., n] → the next state.
      jacobian: callable state [..., n] → ∂step/∂state, [..., n, n].
      state: the first state, [..., n].
      steps: number of steps to average over.
      transient: number of steps before the average, in which trajectory and frame settle.
      count: k, the number of leading exponents; n by default.
      seed: seed of the first frame.

    Raises:
      ValueError: a number is out of range.
    """

    def carry(state, frame):
        return step(state), jacobian(state) @ frame

    return _benettin(carry, state, steps, transient, 1.0, count, seed)


def of_flow(
    field: Field,
    theta: ArrayLike,
    duration: float,
    *,
    interval: float = 1.0,
    transient: float = 0.0,
    count: int | None = None,
    seed: int = 0,
    tolerance: float = 1e-8,
) -> Exponents:
    """`Exponents` of a flow θ' = ξ(θ). SciPy's DOP853 integrates θ and the variational equation Q' = J(θ)Q together.

    Args:
      field: ξ.
      theta: the first parameters, [..., n].
      duration: time to average over, rounded to a multiple of `interval`.
      interval: time between two factorisations.
      transient: time before the average, rounded to a multiple of `interval`.
      count: k, the number of leading exponents; n by default.
      seed: seed of the first frame.
      tolerance: relative and absolute tolerance of the integrator.

    Raises:
      ValueError: a number is out of range.
    """
    interval = checks.real("interval", interval, above=0.0)
    steps, settling = (round(time / interval) for time in (duration, transient))

    def carry(theta, frame):
        def slope(_, flat):
            theta, frame = flat[: shape[0]].reshape(shape[1]), flat[shape[0] :].reshape(shape[2])
            return np.concatenate([field(theta).ravel(), (field.jacobian(theta) @ frame).ravel()])

        shape = theta.size, theta.shape, frame.shape
        flat = _integrate(slope, np.concatenate([theta.ravel(), frame.ravel()]), interval, tolerance)
        return flat[: shape[0]].reshape(shape[1]), flat[shape[0] :].reshape(shape[2])

    return _benettin(carry, theta, steps, settling, interval, count, seed)


def of_cluster(
    step: Function,
    state: ArrayLike,
    steps: int,
    *,
    distance: float = 1e-6,
    transient: int = 0,
    count: int | None = None,
    seed: int = 0,
    interval: float = 1.0,
) -> Exponents:
    """`Exponents` without derivatives, from k copies of the state that start at `distance` and move along with it.

    After each step the differences of the copies are orthonormalised (`renormalise`). This is Benettin's method with
    J·Q from finite differences, as a cluster of nearby networks gives it.

    Args:
      step: a map, which takes [..., k + 1, n]; for a flow the result of `flow_map`.
      distance: the distance of the copies from the state, > 0.
      interval: the time of one step: 1 for a map, the interval of `flow_map` for a flow.
      state, steps, transient, count, seed: as in `of_map`.

    Raises:
      ValueError: a number is out of range.
    """
    distance = checks.real("distance", distance, above=0.0)

    def carry(state, frame):
        copies = state[..., None, :] + distance * np.swapaxes(frame, -1, -2)
        moved = step(np.concatenate([state[..., None, :], copies], axis=-2))
        differences = moved[..., 1:, :] - moved[..., :1, :]
        return moved[..., 0, :], np.swapaxes(differences, -1, -2) / distance

    return _benettin(carry, state, steps, transient, interval, count, seed)


def flow_map(field: Function, interval: float, *, tolerance: float = 1e-8) -> Function:
    """The map θ(0) → θ(interval) of the flow θ' = ξ(θ), [..., n] → [..., n], by SciPy's DOP853."""

    def step(theta):
        def slope(_, flat):
            return field(flat.reshape(theta.shape)).ravel()

        return _integrate(slope, theta.ravel(), interval, tolerance).reshape(theta.shape)

    return step


def renormalise(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """QR of differences between copies and original, [..., n, k] → (ln|R_ii| [..., k], orthonormal Q [..., n, k]).

    ln|R_ii| is −inf for a difference that is 0 or lies in the span of the differences before it.
    """
    frame, upper = np.linalg.qr(differences)
    with np.errstate(divide="ignore"):
        return np.log(np.abs(np.diagonal(upper, axis1=-2, axis2=-1))), frame


def _integrate(slope, flat, interval, tolerance):
    """The solution after `interval`; nan where the integrator fails, for example on a trajectory to infinity."""
    with np.errstate(over="ignore", invalid="ignore"):
        solution = scipy.integrate.solve_ivp(
            slope, (0.0, interval), flat, method="DOP853", t_eval=[interval], rtol=tolerance, atol=tolerance
        )
    return solution.y[:, -1] if solution.success else np.full_like(flat, np.nan)


def _benettin(carry, state, steps, transient, interval, count, seed):
    """The exponents of a motion `carry`: (state [..., n], frame [..., n, k]) → both after one interval."""
    state = np.array(state, np.float64)
    steps, transient = checks.integer("steps", steps, minimum=1), checks.integer("transient", transient, minimum=0)
    n = state.shape[-1]
    count = n if count is None else checks.integer("count", count, minimum=1)
    if count > n:
        raise ValueError(f"count must be at most the state's size, {n}, found {count}")
    frame = np.linalg.qr(noise.rng(seed, noise.Stream.LYAPUNOV).standard_normal([*state.shape[:-1], n, count]))[0]
    growth = np.empty([steps, *state.shape[:-1], count])
    for t in range(-transient, steps):
        state, carried = carry(state, frame)
        logarithms, frame = renormalise(carried)
        if t >= 0:
            growth[t] = logarithms
    return Exponents(growth, float(interval), state)
