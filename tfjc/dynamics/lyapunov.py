"""Lyapunov exponents: how fast neighbouring trajectories part.

Benettin's method with QR factorisations: an orthonormal frame Q is carried along a trajectory by the linearised motion,
Y = J·Q, and factorised anew, Y = QR, after each interval; the exponents are the means of ln|R_ii| over time, in
descending order once the frame has turned (Benettin et al. 1980). All functions
take any number of trajectories at once, state [..., n].
"""

import dataclasses

import numpy as np
import scipy.integrate

from tfjc.support import checks, noise


@dataclasses.dataclass(frozen=True)
class Exponents:
    """Lyapunov exponents in natural logarithms per unit of time (a step, for maps).

    Attributes:
      growth: ln|R_ii| of each interval, float64 [T, ..., k]; −inf where a direction is lost to a singular Jacobian, nan
        from where a trajectory is no longer finite.
      interval: the time between two factorisations.
      state: where the trajectories ended, [..., n].
    """

    growth: np.ndarray
    interval: float
    state: np.ndarray

    @property
    def values(self):
        """The exponents, [..., k]: means over the trajectory."""
        return self.growth.mean(axis=0) / self.interval

    @property
    def local(self):
        """The finite-time exponents of each interval, [T, ..., k]."""
        return self.growth / self.interval

    @property
    def running(self):
        """The mean up to each interval, [T, ..., k], which shows how far it has settled."""
        count = np.arange(1, len(self.growth) + 1).reshape([-1] + [1] * (self.growth.ndim - 1))
        return np.cumsum(self.growth, axis=0) / (count * self.interval)


def of_map(step, jacobian, state, steps, *, transient=0, count=None, seed=0):
    """`Exponents` of a map from its Jacobian.

    Args:
      step: callable state [..., n] → the next state.
      jacobian: callable state [..., n] → ∂step/∂state, [..., n, n].
      state: where to start, [..., n].
      steps: steps to average over.
      transient: steps before these, in which trajectory and frame settle.
      count: k, how many of the leading exponents; n by default.
      seed: of the frame to start with.

    Raises:
      ValueError: a number is out of range.
    """

    def carry(state, frame):
        return step(state), jacobian(state) @ frame

    return _benettin(carry, state, steps, transient, 1.0, count, seed)


def of_flow(field, theta, duration, *, interval=1.0, transient=0.0, count=None, seed=0, tolerance=1e-8):
    """`Exponents` of a flow θ' = ξ(θ): SciPy's DOP853 integrates it together with the variational equation Q' = J(θ)Q.

    `interval` is the time between two factorisations, of which `duration` and `transient` hold as many as fit;
    `tolerance` is the integrator's, relative and absolute. Other arguments and errors as in `of_map`.
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


def of_cluster(step, state, steps, *, distance=1e-6, transient=0, count=None, seed=0, interval=1.0):
    """`Exponents` without derivatives, from k copies of the state perturbed by `distance` and moved along with it.

    After each step the copies' differences are orthonormalised (`renormalise`): Benettin's method with J·Q in finite
    differences, as a cluster of nearby networks gives it. `step` takes [..., k + 1, n]; it may be a map, or for a flow
    `flow_map`, whose time is then `interval`. Other arguments and errors as in `of_map`.
    """
    distance = checks.real("distance", distance, above=0.0)

    def carry(state, frame):
        copies = state[..., None, :] + distance * np.swapaxes(frame, -1, -2)
        moved = step(np.concatenate([state[..., None, :], copies], axis=-2))
        differences = moved[..., 1:, :] - moved[..., :1, :]
        return moved[..., 0, :], np.swapaxes(differences, -1, -2) / distance

    return _benettin(carry, state, steps, transient, interval, count, seed)


def flow_map(field, interval, *, tolerance=1e-8):
    """The map θ(0) → θ(interval) of the flow θ' = ξ(θ), [..., n] → [..., n], by SciPy's DOP853."""

    def step(theta):
        def slope(_, flat):
            return field(flat.reshape(theta.shape)).ravel()

        return _integrate(slope, theta.ravel(), interval, tolerance).reshape(theta.shape)

    return step


def renormalise(differences):
    """QR of differences between copies and their original, [..., n, k] → ln|R_ii| [..., k], orthonormal [..., n, k].

    ln|R_ii| is −inf for a difference that is 0 or lies in the span of those before it.
    """
    frame, upper = np.linalg.qr(differences)
    with np.errstate(divide="ignore"):
        return np.log(np.abs(np.diagonal(upper, axis1=-2, axis2=-1))), frame


def _integrate(slope, flat, interval, tolerance):
    """The solution after `interval`; nan where the integrator gives up, as where a trajectory runs off to infinity."""
    with np.errstate(over="ignore", invalid="ignore"):
        solution = scipy.integrate.solve_ivp(
            slope, (0.0, interval), flat, method="DOP853", t_eval=[interval], rtol=tolerance, atol=tolerance
        )
    return solution.y[:, -1] if solution.success else np.full_like(flat, np.nan)


def _benettin(carry, state, steps, transient, interval, count, seed):
    """The exponents from `carry`: (state [..., n], frame [..., n, k]) → both after an interval."""
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
