"""The Helmholtz decomposition of a planar field: ξ = ∇φ + rot ψ + h on a rectangle.

With rot ψ = (∂ψ/∂y, −∂ψ/∂x), div ξ = Δφ and curl ξ = ∂ξ_y/∂x − ∂ξ_x/∂y = −Δψ. Both potentials are 0 on the boundary, so
the three parts are unique and orthogonal. The harmonic part h has neither divergence nor curl (Hodge-Morrey-Friedrichs;
Bhatia et al. 2013). h is both a gradient and a rotation: ∇φ + h is the projection of ξ on all gradients, rot ψ + h the
projection on all rotations.

This decomposition differs from the split of J = ∂ξ/∂θ into (J + Jᵀ)/2 and (J − Jᵀ)/2 of symplectic gradient adjustment
(Balduzzi et al. 2018). That split is local, and its parts are in general not Jacobians of fields. ∇φ at a point depends
on ξ in the whole rectangle, and on the rectangle.

The grid is staggered: φ is given at nodes, ξ_x and ξ_y at the centres of horizontal and vertical edges, ψ in cells. On
this grid div rot = 0, curl grad = 0 and all statements above hold to rounding.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
import scipy.fft
import scipy.interpolate
from numpy.typing import ArrayLike

from tfjc.support import checks


@dataclasses.dataclass(frozen=True)
class Staggered:
    """A planar field on a staggered grid of nodes (x_i, y_j) with equal spacing in each direction.

    Attributes:
      x, y: coordinates of the nodes, [n_x] and [n_y].
      horizontal: ξ_x at the centres of the edges along x, [n_x − 1, n_y].
      vertical: ξ_y at the centres of the edges along y, [n_x, n_y − 1].
    """

    x: np.ndarray
    y: np.ndarray
    horizontal: np.ndarray
    vertical: np.ndarray

    @property
    def spacing(self) -> tuple[float, float]:
        """The distances (h_x, h_y) between nodes."""
        return float(self.x[1] - self.x[0]), float(self.y[1] - self.y[0])

    @property
    def divergence(self) -> np.ndarray:
        """∂ξ_x/∂x + ∂ξ_y/∂y at the interior nodes, [n_x − 2, n_y − 2]."""
        h_x, h_y = self.spacing
        return np.diff(self.horizontal[:, 1:-1], axis=0) / h_x + np.diff(self.vertical[1:-1], axis=1) / h_y

    @property
    def curl(self) -> np.ndarray:
        """∂ξ_y/∂x − ∂ξ_x/∂y in the cells, [n_x − 1, n_y − 1]."""
        h_x, h_y = self.spacing
        return np.diff(self.vertical, axis=0) / h_x - np.diff(self.horizontal, axis=1) / h_y

    @property
    def centres(self) -> tuple[np.ndarray, np.ndarray]:
        """The coordinates of the cells' centres, [n_x − 1] and [n_y − 1]."""
        return (self.x[1:] + self.x[:-1]) / 2.0, (self.y[1:] + self.y[:-1]) / 2.0

    @property
    def at_centres(self) -> np.ndarray:
        """The field at the cells' centres, [n_x − 1, n_y − 1, 2]: the means of the two opposite edges."""
        along_x = (self.horizontal[:, 1:] + self.horizontal[:, :-1]) / 2.0
        return np.stack([along_x, (self.vertical[1:] + self.vertical[:-1]) / 2.0], axis=-1)

    @property
    def norm(self) -> float:
        """√(h_x·h_y·Σ ξ_e²) over all edges e. The parts are orthogonal: their squared norms add up to the field's."""
        squares = np.sum(np.square(self.horizontal)) + np.sum(np.square(self.vertical))
        return float(np.sqrt(np.prod(self.spacing) * squares))

    def plus(self, other: "Staggered") -> "Staggered":
        """The sum with another field on the same grid."""
        return Staggered(self.x, self.y, self.horizontal + other.horizontal, self.vertical + other.vertical)

    def minus(self, other: "Staggered") -> "Staggered":
        """The difference from another field on the same grid."""
        return Staggered(self.x, self.y, self.horizontal - other.horizontal, self.vertical - other.vertical)


@dataclasses.dataclass(frozen=True)
class Decomposition:
    """ξ = gradient + rotational + harmonic, each a `Staggered` field.

    Attributes:
      field: ξ itself.
      gradient: ∇φ, with φ = 0 on the boundary.
      rotational: rot ψ, with ψ = 0 on the boundary.
      harmonic: h, without divergence or curl.
      potential: φ at the nodes, [n_x, n_y].
      stream: ψ in the cells, [n_x − 1, n_y − 1].
    """

    field: Staggered
    gradient: Staggered
    rotational: Staggered
    harmonic: Staggered
    potential: np.ndarray
    stream: np.ndarray

    @property
    def curl_free(self) -> Staggered:
        """∇φ + h: the projection of ξ on all gradients. The remainder rot ψ is parallel to the boundary there."""
        return self.gradient.plus(self.harmonic)

    @property
    def divergence_free(self) -> Staggered:
        """rot ψ + h: the projection of ξ on all rotations. The remainder ∇φ is normal to the boundary there."""
        return self.rotational.plus(self.harmonic)


@dataclasses.dataclass(frozen=True)
class PotentialField:
    """The field ∇φ of a potential on a grid, interpolated by bicubic splines. Motion along the field climbs φ.

    Outside the rectangle the field has the value of the nearest point inside.

    Attributes:
      x, y: coordinates of the nodes, [n_x] and [n_y].
      potential: φ at the nodes, [n_x, n_y].
      names: names of the parameters.
    """

    x: np.ndarray
    y: np.ndarray
    potential: np.ndarray
    names: tuple[str, ...] = ("x", "y")

    def __call__(self, theta: np.ndarray) -> np.ndarray:
        """∇φ(θ), [..., 2] → [..., 2]."""
        return np.stack([self._derivative(theta, 1, 0), self._derivative(theta, 0, 1)], axis=-1)

    def jacobian(self, theta: np.ndarray) -> np.ndarray:
        """The Hessian of φ, [..., 2] → [..., 2, 2], symmetric."""
        mixed = self._derivative(theta, 1, 1)
        rows = [[self._derivative(theta, 2, 0), mixed], [mixed, self._derivative(theta, 0, 2)]]
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)

    def _derivative(self, theta, order_x, order_y):
        x, y = (np.clip(theta[..., k], line[0], line[-1]) for k, line in enumerate((self.x, self.y)))
        return self._spline.ev(x, y, dx=order_x, dy=order_y)

    @functools.cached_property
    def _spline(self):
        return scipy.interpolate.RectBivariateSpline(self.x, self.y, self.potential)


def sample(field: Callable[[np.ndarray], np.ndarray], x: ArrayLike, y: ArrayLike) -> Staggered:
    """A field ξ: [..., 2] → [..., 2] on the staggered grid with nodes x [n_x], y [n_y].

    Raises ValueError unless x and y each hold at least 4 ascending, equally spaced coordinates.
    """
    x, y = _line("x", x), _line("y", y)
    middle_x, middle_y = (x[1:] + x[:-1]) / 2.0, (y[1:] + y[:-1]) / 2.0
    horizontal = field(np.stack(np.meshgrid(middle_x, y, indexing="ij"), axis=-1))[..., 0]
    vertical = field(np.stack(np.meshgrid(x, middle_y, indexing="ij"), axis=-1))[..., 1]
    return Staggered(x, y, horizontal, vertical)


def gradient(x: np.ndarray, y: np.ndarray, potential: np.ndarray) -> Staggered:
    """∇φ of a potential φ at the nodes, [n_x, n_y]."""
    horizontal = np.diff(potential, axis=0) / (x[1] - x[0])
    return Staggered(x, y, horizontal, np.diff(potential, axis=1) / (y[1] - y[0]))


def rotation(x: np.ndarray, y: np.ndarray, stream: np.ndarray) -> Staggered:
    """rot ψ = (∂ψ/∂y, −∂ψ/∂x) of a stream function ψ in the cells, [n_x − 1, n_y − 1]; ψ is 0 outside."""
    padded = np.pad(stream, 1)
    horizontal = np.diff(padded[1:-1], axis=1) / (y[1] - y[0])
    return Staggered(x, y, horizontal, -np.diff(padded[:, 1:-1], axis=0) / (x[1] - x[0]))


def decompose(field: Staggered) -> Decomposition:
    """The `Decomposition` of a field, exact to rounding.

    φ and ψ solve the five-point Poisson equations Δφ = div ξ and Δψ = −curl ξ with zero boundary values, by SciPy's
    sine transform. Source: Bhatia et al. 2013.
    """
    potential = np.pad(_poisson(field.divergence, field.spacing), 1)
    stream = _poisson(-field.curl, field.spacing)
    along = gradient(field.x, field.y, potential)
    around = rotation(field.x, field.y, stream)
    return Decomposition(field, along, around, field.minus(along).minus(around), potential, stream)


def potential_field(part: Staggered, names: Sequence[str] = ("x", "y")) -> PotentialField:
    """The `PotentialField` of a field without curl, such as `Decomposition.gradient` or `Decomposition.curl_free`.

    φ is 0 at the first node and is summed along the edges. Raises ValueError for a field with a curl.
    """
    h_x, h_y = part.spacing
    curl = np.abs(part.curl).max() * min(h_x, h_y)
    if curl > 1e-8 * max(np.abs(part.horizontal).max(), np.abs(part.vertical).max()):
        raise ValueError(f"only a field without curl has a potential, found a curl of {np.abs(part.curl).max():.3g}")
    first = np.r_[0.0, np.cumsum(part.horizontal[:, 0]) * h_x]
    up = np.pad(np.cumsum(part.vertical, axis=1) * h_y, [(0, 0), (1, 0)])
    return PotentialField(part.x, part.y, first[:, None] + up, tuple(names))


def _poisson(source, spacing):
    """u with Δ_h u = source [m, n] and u = 0 one spacing outside; the sine transform diagonalises Δ_h."""
    eigenvalues = [
        -((2.0 * np.sin(0.5 * np.pi * np.arange(1, m + 1) / (m + 1)) / h) ** 2)
        for m, h in zip(source.shape, spacing, strict=True)
    ]
    return scipy.fft.idstn(scipy.fft.dstn(source, type=1) / np.add.outer(*eigenvalues), type=1)


def _line(name: str, coordinates: ArrayLike) -> np.ndarray:
    line: np.ndarray = checks.rank(name, np.array(coordinates, np.float64), 1, f"[n_{name}]")
    steps = np.diff(line)
    if len(line) < 4 or not np.allclose(steps, steps[0], rtol=1e-6, atol=0.0) or not steps[0] > 0:
        raise ValueError(f"{name} must be at least 4 ascending coordinates with equal steps, found {line}")
    return line
