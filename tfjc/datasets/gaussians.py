"""Mixtures of Gaussians in the plane, the usual test of mode coverage (Metz et al. 2017; Srivastava et al. 2017)."""

import numpy as np

from tfjc.support import noise

STANDARD_DEVIATION = 0.02
_SAMPLES = 10_000


def ring_centres(modes: int = 8) -> np.ndarray:
    """The centres of the ring: `modes` points on the circle of radius 0.8, [modes, 2]."""
    angle = 2.0 * np.pi * np.arange(modes) / modes
    return 0.8 * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def grid_centres(side: int = 5) -> np.ndarray:
    """The centres of the grid: side × side points on [−0.8, 0.8]², [side², 2]."""
    line = np.linspace(-0.8, 0.8, side)
    return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """10,000 points of equally likely modes with standard deviation 0.02, the same at every call.

    Args:
      name: "gaussian_ring" or "gaussian_grid".

    Returns:
      (points float32 [10000, 2], the mode of each point, int64 [10000]).
    """
    centres = ring_centres() if name == "gaussian_ring" else grid_centres()
    rng = noise.rng(0, noise.Stream.GAUSSIANS)
    modes = rng.integers(len(centres), size=_SAMPLES)
    points = centres[modes] + STANDARD_DEVIATION * rng.standard_normal((_SAMPLES, 2))
    return points.astype(np.float32), modes
