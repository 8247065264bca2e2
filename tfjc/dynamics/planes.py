"""The phase plane of a planar field: the field on a grid, fixed points with their class, trajectories."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import integrate, optimize

from tfjc.dynamics._field import Field
from tfjc.support import checks

_TOLERANCE = 1e-6  # relative size of an eigenvalue that counts as 0, and distance of fixed points that count as one
_SETTLED = 1e-4  # distance to a stable fixed point, in units of the plane, at which a trajectory ends there
_FAST = 1e5  # speed, in planes per unit of time, at which a trajectory ends in a singularity
_COARSE, _STARTS, _CALLS = 6, 100, 60  # root finding: coarse starts along an axis, other starts, calls per start


@dataclasses.dataclass(frozen=True)
class Plane:
    """A field sampled at the centres of a grid's cells.

    Attributes:
      x, y: coordinates of the centres along the first and second parameter, [columns] and [rows].
      vectors: the field, [rows, columns, 2].
    """

    x: np.ndarray
    y: np.ndarray
    vectors: np.ndarray

    @property
    def speed(self) -> np.ndarray:
        """‖ξ‖, [rows, columns]."""
        return np.linalg.norm(self.vectors, axis=-1)


@dataclasses.dataclass(frozen=True)
class FixedPoint:
    """A zero of a field.

    Attributes:
      position: θ with ξ(θ) = 0, [n].
      eigenvalues: eigenvalues of the Jacobian at the position, [n] complex, by ascending real part.
    """

    position: np.ndarray
    eigenvalues: np.ndarray

    @property
    def kind(self) -> str:
        """The class of the fixed point (see `classify`)."""
        return classify(self.eigenvalues)


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """A solution of dθ/dt = ξ(θ).

    Attributes:
      times: [T], from 0.
      points: θ at these times, [T, n].
      ending: "fixed point" (reached a stable fixed point), "left" (left the plane), "singular" (reached a singularity
        of the field) or "time" (reached the time limit).
    """

    times: np.ndarray
    points: np.ndarray
    ending: str


def classify(eigenvalues: ArrayLike) -> str:
    """The class of a fixed point from the eigenvalues λ [n] of the Jacobian of ξ = dθ/dt. The first match counts.

    - "degenerate": some λ = 0, so the linear part does not decide.
    - "saddle": Re λ has both signs.
    - "centre": some Re λ = 0 with Im λ ≠ 0; to first order trajectories cycle (an elliptic point).
    - "stable node" or "unstable node": all Re λ < 0, or all Re λ > 0; "stable focus" or "unstable focus" where some
      Im λ ≠ 0.

    Real and imaginary parts below 1e-6 of the largest |λ| count as 0. Source: Strogatz 2015, section 5.2.
    """
    eigenvalues = np.asarray(eigenvalues, dtype=np.complex128)
    scale = _TOLERANCE * np.max(np.abs(eigenvalues))
    growth, turning = eigenvalues.real, np.abs(eigenvalues.imag) > scale
    if np.any(np.abs(eigenvalues) <= scale):
        return "degenerate"
    if np.any(growth > scale) and np.any(growth < -scale):
        return "saddle"
    if np.any(np.abs(growth) <= scale):
        return "centre"
    return f"{'stable' if np.all(growth < 0) else 'unstable'} {'focus' if np.any(turning) else 'node'}"


def sample(field: Field, low: ArrayLike, high: ArrayLike, cells: int = 200) -> Plane:
    """A planar field at the centres of a grid of cells × cells cells between the corners `low` and `high`.

    Raises ValueError for a field that is not planar, corners without low < high, or fewer than 2 cells.
    """
    low, high = corners(field, low, high)
    cells = checks.integer("cells", cells, minimum=2)
    centres = (np.arange(cells) + 0.5) / cells
    x, y = (low[k] + (high[k] - low[k]) * centres for k in (0, 1))
    return Plane(x, y, field(np.stack(np.meshgrid(x, y), axis=-1)))


def corners(field: Field, low: ArrayLike, high: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The corners of a plane as float64 [2] each.

    Raises ValueError where the field does not have two parameters, or the corners are not two points with low < high.
    """
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    if len(field.names) != 2:
        raise ValueError(f"a plane needs a field of 2 parameters, found {len(field.names)}: {', '.join(field.names)}")
    if low.shape != (2,) or high.shape != (2,) or not np.all(low < high) or not np.isfinite(high - low).all():
        raise ValueError(f"corners must be two points with low < high, found {low.tolist()} and {high.tolist()}")
    return low, high


def fixed_points(field: Field, plane: Plane, low: ArrayLike, high: ArrayLike) -> list[FixedPoint]:
    """The fixed points between `low` and `high`, sorted by position.

    SciPy's root finder (Powell's hybrid method with the field's Jacobian) starts from a coarse grid, and from up to 100
    cells of the sampled `plane` in which both components change sign. A root is kept if it lies in the plane, is new,
    is a zero to rounding (‖ξ‖ ≤ 1e-8·(median of ‖ξ‖ over the plane)) and is isolated to rounding (the Newton step J⁻¹ξ
    is short; it is long where ξ decays towards infinity). Fixed points that are closer together than the cells may be
    missed. Raises ValueError as `corners`.
    """
    low, high = corners(field, low, high)
    size, enough = high - low, 1e-8 * np.median(plane.speed)
    found: list[FixedPoint] = []
    for start in _starts(plane):
        solution = optimize.root(
            field, start, jac=field.jacobian, method="hybr", options={"xtol": 1e-13, "maxfev": _CALLS}
        )
        inside = np.all((low <= solution.x) & (solution.x <= high))
        if inside and np.linalg.norm(solution.fun) <= enough and _is_new(solution.x / size, found, size):
            jacobian = field.jacobian(solution.x)
            if _is_isolated(jacobian, solution.fun, size):
                eigenvalues = np.linalg.eigvals(jacobian)
                found.append(FixedPoint(solution.x, eigenvalues[np.argsort(eigenvalues.real, kind="stable")]))
    return sorted(found, key=lambda point: tuple(np.round(point.position, 6)))


def _is_new(scaled, found, size):
    return all(np.max(np.abs(scaled - point.position / size)) > _TOLERANCE for point in found)


def _is_isolated(jacobian, vector, size):
    """Whether the Newton step from a numerical zero is short. False for a singular or infinite Jacobian."""
    if not np.isfinite(jacobian).all() or np.linalg.det(jacobian) == 0.0:
        return False
    return np.max(np.abs(np.linalg.solve(jacobian, vector) / size)) <= _TOLERANCE


def _starts(plane):
    """Starts θ [S, 2] of the root finder: cells in which both components change sign, and a coarse grid."""
    corner = [plane.vectors[rows, columns] for rows in _HALVES for columns in _HALVES]
    changes = np.all((np.min(corner, axis=0) <= 0) & (np.max(corner, axis=0) >= 0), axis=-1)
    rows, columns = np.nonzero(changes)
    middle_x, middle_y = (plane.x[1:] + plane.x[:-1]) / 2.0, (plane.y[1:] + plane.y[:-1]) / 2.0
    pointed = np.stack([middle_x[columns], middle_y[rows]], axis=-1)
    chosen = np.unique(np.linspace(0, len(pointed) - 1, _STARTS).astype(int)) if len(pointed) else []
    coarse = [axis[np.linspace(0, len(axis) - 1, _COARSE + 2).astype(int)[1:-1]] for axis in (plane.x, plane.y)]
    return np.concatenate([pointed[chosen], np.stack(np.meshgrid(*coarse), axis=-1).reshape(-1, 2)])


_HALVES = (slice(None, -1), slice(1, None))


def trajectory(
    field: Field,
    start: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    time: float = 50.0,
    targets: ArrayLike | Sequence[np.ndarray] = (),
    steps: int = 1000,
) -> Trajectory:
    """The `Trajectory` from θ = `start`, by SciPy's LSODA (relative tolerance 1e-7) with the field's Jacobian.

    The trajectory ends where it leaves the box between `low` and `high`, comes within 1e-4 box sizes of a target, or
    reaches a singularity (the speed exceeds 1e5 boxes per unit of time, or the solver fails), and at the latest at
    `time`.

    Args:
      field: the field ξ.
      start: the first θ, [n].
      low, high: corners of the box, [n].
      time: the time limit.
      targets: stable fixed points, [K, n].
      steps: number of equidistant times in the result, beside the solver's own.
    """
    low, high, start = (np.asarray(value, np.float64) for value in (low, high, start))
    targets = np.asarray(targets, np.float64).reshape(-1, len(start))
    size = high - low
    events: list[Any] = [
        lambda t, theta: np.min(np.minimum(theta - low, high - theta) / size),
        lambda t, theta: np.min(np.linalg.norm((targets - theta) / size, axis=-1), initial=np.inf) - _SETTLED,
        lambda t, theta: _FAST - np.linalg.norm(field(theta) / size),
    ]
    for event in events:
        event.terminal = True
    solution = integrate.solve_ivp(
        lambda t, theta: field(theta),
        (0.0, time),
        start,
        method="LSODA",
        jac=lambda t, theta: field.jacobian(theta),
        rtol=1e-7,
        atol=1e-9 * float(np.max(size)),
        events=events,
        dense_output=True,
    )
    if solution.status == 1:
        ending = next(
            name
            for name, times in zip(("left", "fixed point", "singular"), solution.t_events, strict=True)
            if len(times)
        )
    else:
        ending = "time" if solution.status == 0 else "singular"
    times = np.union1d(solution.t, np.linspace(0.0, solution.t[-1], steps))
    return Trajectory(times, solution.sol(times).T, ending)
