"""Phase portraits: their settings, their computation, and their records."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import tfjc
from tfjc.dynamics import planes
from tfjc.dynamics._field import Field
from tfjc.support import checks


@dataclasses.dataclass(frozen=True)
class Portrait:
    """The settings of one phase portrait.

    Args:
      field: a field with two parameters; the first is the horizontal axis, the second the vertical one.
      title: title of the picture.
      low, high: the corners of the plane.
      cells: number of grid cells along each axis.
      starts: the starts of trajectories, [K, 2].
      time: the time limit of a trajectory.

    Raises:
      ValueError: `field` is not a planar field, or an argument is out of range.
    """

    field: Field
    title: str = ""
    low: Sequence[float] = (-4.0, -4.0)
    high: Sequence[float] = (4.0, 4.0)
    cells: int = 200
    starts: Sequence[Sequence[float]] = ()
    time: float = 50.0

    def __post_init__(self) -> None:
        if not (callable(self.field) and hasattr(self.field, "jacobian") and hasattr(self.field, "names")):
            raise ValueError(f"field must be a field such as @OneParameterGAN(), found {self.field!r}")
        low, high = planes.corners(self.field, self.low, self.high)
        checks.fits(f"cells = {self.cells}", 16 * checks.integer("cells", self.cells, minimum=2) ** 2)
        checks.real("time", self.time, above=0.0)
        starts = np.asarray(self.starts, dtype=object)
        if starts.size and (starts.ndim != 2 or starts.shape[1] != 2):
            raise ValueError(f"starts must be points of two numbers, found {self.starts!r}")
        if not all(np.all((low <= start) & (start <= high)) for start in starts.astype(np.float64)):
            raise ValueError(f"starts must lie between {list(self.low)} and {list(self.high)}, found {self.starts!r}")


@dataclasses.dataclass(frozen=True)
class Figure:
    """Portraits side by side, `columns` in a row, under a common `title`. Raises ValueError without portraits."""

    panels: Sequence[Portrait]
    title: str = ""
    columns: int = 3

    def __post_init__(self) -> None:
        if not self.panels or not all(isinstance(panel, Portrait) for panel in self.panels):
            raise ValueError(f"Figure.panels must be portraits such as [@Portrait()], found {self.panels!r}")
        checks.integer("columns", self.columns, minimum=1)


@dataclasses.dataclass(frozen=True)
class Solved:
    """A `Portrait` with its results.

    Attributes:
      portrait: the settings.
      plane: the field on the grid.
      fixed_points: the fixed points, sorted by position.
      trajectories: one for each of the portrait's starts.
      plane_seconds: seconds that the grid took.
      seconds: seconds that everything took.
    """

    portrait: Portrait
    plane: planes.Plane
    fixed_points: list[planes.FixedPoint]
    trajectories: list[planes.Trajectory]
    plane_seconds: float
    seconds: float


def solve(portrait: Portrait) -> Solved:
    """Samples the field of a portrait, finds the fixed points and follows the trajectories."""
    began = time.monotonic()
    field, low, high = portrait.field, portrait.low, portrait.high
    plane = planes.sample(field, low, high, portrait.cells)
    sampled = time.monotonic()
    points = planes.fixed_points(field, plane, low, high)
    stable = [point.position for point in points if point.kind.startswith("stable")]
    followed = [
        planes.trajectory(field, start, low, high, time=portrait.time, targets=stable) for start in portrait.starts
    ]
    return Solved(portrait, plane, points, followed, sampled - began, time.monotonic() - began)


def record(figure: Figure, solved: Sequence[Solved]) -> dict[str, Any]:
    """The content of portrait.json: the version, and settings, fixed points and ends of trajectories of each panel."""
    return {"tfjc": tfjc.__version__, "title": figure.title, "panels": [_panel(one) for one in solved]}


def _panel(solved):
    field, plane = solved.portrait.field, solved.plane
    found = {
        **_settings(solved.portrait),
        "names": list(field.names),
        "median_speed": float(np.median(plane.speed)),
        "fixed_points": [
            {
                "position": point.position.tolist(),
                "eigenvalues": [[value.real, value.imag] for value in map(complex, point.eigenvalues)],
                "class": point.kind,
            }
            for point in solved.fixed_points
        ],
        "trajectories": [
            {
                "start": list(map(float, path.points[0])),
                "end": list(map(float, path.points[-1])),
                "time": float(path.times[-1]),
                "ending": path.ending,
            }
            for path in solved.trajectories
        ],
        "plane_seconds": round(solved.plane_seconds, 2),
        "seconds": round(solved.seconds, 2),
    }
    if hasattr(field, "out_of_plane"):
        spread = np.stack(np.meshgrid(plane.x[::4], plane.y[::4]), axis=-1)
        found["out_of_plane"] = np.median(field.out_of_plane(spread), axis=(0, 1)).tolist()
    return found


def _settings(instance):
    """The arguments of a dataclass as JSON values. A nested dataclass becomes an object with its class name."""
    values = {entry.name: getattr(instance, entry.name) for entry in dataclasses.fields(instance)}
    return {
        name: {"class": type(value).__name__, **_settings(value)} if dataclasses.is_dataclass(value) else value
        for name, value in values.items()
    }


def table(solved: Solved) -> str:
    """The results of a portrait as text: title, fixed points by class, endings of the trajectories."""
    lines = [f"{solved.portrait.title or 'portrait'}: {solved.seconds:.1f} s"]
    kinds = [point.kind for point in solved.fixed_points]
    for kind in sorted(set(kinds)):
        where = [point for point in solved.fixed_points if point.kind == kind]
        shown = "; ".join(_point(point) for point in where[:4]) + ("; ..." if len(where) > 4 else "")
        lines.append(f"  {len(where)} × {kind}: {shown}")
    if not kinds:
        lines.append("  no fixed point found")
    endings = [path.ending for path in solved.trajectories]
    if endings:
        lines.append("  trajectories: " + ", ".join(f"{endings.count(e)} × {e}" for e in sorted(set(endings))))
    return "\n".join(lines)


def _point(point):
    position = ", ".join(f"{value + 0.0:.4g}" for value in np.round(point.position, 9))
    eigenvalues = ", ".join(f"{value:.3g}" if value.imag else f"{value.real:.3g}" for value in point.eigenvalues)
    return f"({position}) λ = {eigenvalues}"
