"""Draws the parts of a Helmholtz decomposition side by side."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tfjc.dynamics.helmholtz import Decomposition
from tfjc.support.files import replacing

_TITLES = {
    "field": "field ξ",
    "gradient": "gradient ∇φ",
    "rotational": "rotational rot ψ",
    "harmonic": "harmonic h",
}


def decomposition(parts: Decomposition, path: str | os.PathLike, names: Sequence[str] = ("x", "y")) -> None:
    """Draws a `helmholtz.Decomposition` as four stream plots with one scale of |ξ| (PNG, 120 dpi) at `path`.

    Each title has the part's share of the field's squared norm. The shares add up to 100 %. `names` labels the axes.
    """
    figure = Figure(figsize=(17, 4.4), layout="constrained")
    grid = figure.subplots(1, 4, sharex=True, sharey=True)
    norm = Normalize(0.0, np.linalg.norm(parts.field.at_centres, axis=-1).max())
    for axes, (part, title) in zip(grid, _TITLES.items(), strict=True):
        staggered = getattr(parts, part)
        shading = _stream(axes, staggered, norm)
        axes.set_title(f"{title}  ({(staggered.norm / parts.field.norm) ** 2:.1%})")
        axes.set(xlabel=names[0], aspect="equal")
    grid[0].set_ylabel(names[1])
    figure.colorbar(shading, ax=grid, label="length", shrink=0.85)
    with replacing(path) as temporary:
        figure.savefig(os.fspath(temporary), format="png", dpi=120)


def _stream(axes, staggered, norm):
    """Draws one field over its length and returns the shading. A field of zeros has no stream lines."""
    x, y = staggered.centres
    u, v = np.moveaxis(staggered.at_centres, -1, 0)
    length = np.hypot(u, v)
    shading = axes.pcolormesh(staggered.x, staggered.y, length.T, norm=norm, cmap="viridis")
    if length.max() > 1e-9 * norm.vmax:
        axes.streamplot(x, y, u.T, v.T, color="white", linewidth=0.8, arrowsize=0.9, density=1.1)
    axes.set(xlim=(staggered.x[0], staggered.x[-1]), ylim=(staggered.y[0], staggered.y[-1]))
    return shading
