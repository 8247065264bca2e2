"""Draws phase portraits: stream lines over the speed, fixed points by class, trajectories."""

import os
import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tfjc.dynamics.portraits import Solved
from tfjc.support.files import replacing

# {class of fixed points: (colour, marker, whether the marker is filled)}
_MARKERS = {
    "stable node": ("tab:green", "s", True),
    "stable focus": ("tab:green", "o", True),
    "unstable node": ("tab:red", "s", False),
    "unstable focus": ("tab:red", "o", False),
    "saddle": ("tab:purple", "X", True),
    "centre": ("tab:blue", "D", False),
    "degenerate": ("black", "P", False),
}
# {ending of a trajectory: (marker, text of the legend)}. Other endings have no marker.
_ENDINGS = {"time": ("|", "… still moving at the end"), "singular": ("x", "… into a singularity")}
_TRACK = "tab:orange"
_MANY = 12  # with more fixed points than this, markers are small


def figure(solved: Sequence[Solved], path: str | os.PathLike, *, title: str = "", columns: int = 3) -> None:
    """Draws portraits in rows of `columns` as one picture (PNG, 120 dpi) at `path`, with one legend below."""
    columns = min(columns, len(solved))
    lines = -(-len(solved) // columns)
    picture = Figure(figsize=(max(6.4, 0.4 + 4.3 * columns), 0.8 + 3.7 * lines), layout="constrained")
    grid = picture.subplots(lines, columns, squeeze=False).flat
    for one, axes in zip(solved, grid, strict=False):
        portrait(axes, one)
    for axes in list(grid)[len(solved) :]:
        axes.set_axis_off()
    picture.suptitle(_formulas(title))
    picture.legend(handles=_legend(solved), loc="outside lower center", ncols=3 if columns > 1 else 2, frameon=False)
    with replacing(path) as temporary:
        picture.savefig(os.fspath(temporary), format="png", dpi=120)


def portrait(axes: Axes, solved: Solved) -> Axes:
    """Draws one portrait on `axes` and returns the axes. Dark shading means a fast field (log scale)."""
    plane, low, high = solved.plane, solved.portrait.low, solved.portrait.high
    with np.errstate(divide="ignore"):
        speed = np.log10(plane.speed)
    slowest, fastest = np.percentile(speed[np.isfinite(speed)], [2, 98])
    fastest = max(fastest, slowest + 1e-3)
    box = (low[0], high[0], low[1], high[1])
    shades = {"cmap": "Blues", "vmin": slowest, "vmax": fastest, "alpha": 0.5, "interpolation": "bilinear"}
    image = axes.imshow(speed, origin="lower", extent=box, aspect="auto", **shades)
    axes.figure.colorbar(image, ax=axes, label="log₁₀ ‖dθ/dt‖", shrink=0.9)
    u, v = np.moveaxis(plane.vectors, -1, 0)
    axes.streamplot(plane.x, plane.y, u, v, color="0.35", linewidth=0.6, arrowsize=0.7, density=1.3)
    for path in solved.trajectories:
        axes.plot(*path.points.T, color=_TRACK, linewidth=1.6, zorder=4)
        axes.plot(*path.points[0], color=_TRACK, marker="o", markersize=5, zorder=4)
        if path.ending in _ENDINGS:
            axes.plot(*path.points[-1], zorder=5, **_end(path.ending))
    for point in solved.fixed_points:
        axes.plot(*point.position, linestyle="", zorder=6, **_style(point.kind, len(solved.fixed_points) > _MANY))
    right, up = map(_formulas, solved.portrait.field.names)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel=right, ylabel=up)
    axes.set_box_aspect(1)
    axes.set_title(_formulas(solved.portrait.title))
    return axes


def _formulas(text):
    """`text` with names such as W_d as formulas ($W_d$)."""
    return re.sub(r"\b(\w_\w)\b", r"$\1$", text)


def _style(kind, small=False):
    colour, marker, filled = _MARKERS[kind]
    size = (11 if marker in "XP" else 9) / (2 if small else 1)
    face, edge = (colour, "white") if filled else ("white", colour)
    return {
        "marker": marker,
        "markersize": size,
        "markerfacecolor": face,
        "markeredgecolor": edge,
        "markeredgewidth": 0.5 if small else 1.2,
    }


def _end(ending):
    marker = _ENDINGS[ending][0]
    return {"linestyle": "", "color": "tab:brown", "marker": marker, "markersize": 8, "markeredgewidth": 2}


def _legend(solved):
    handles = {}
    for one in solved:
        for point in one.fixed_points:
            handles[point.kind] = Line2D([], [], linestyle="", **_style(point.kind))
    handles = {kind: handles[kind] for kind in _MARKERS if kind in handles}
    endings = {path.ending for one in solved for path in one.trajectories}
    if endings:
        handles["trajectory, from its dot"] = Line2D([], [], color=_TRACK, marker="o", markersize=5)
    for ending in sorted(_ENDINGS.keys() & endings):
        handles[_ENDINGS[ending][1]] = Line2D([], [], **_end(ending))
    handles["field"] = Line2D([], [], color="0.35", linewidth=0.8)
    for label, handle in handles.items():
        handle.set_label(label)
    return list(handles.values())
