"""The interface of a field."""

from typing import Protocol

import numpy as np


class Field(Protocol):
    """A vector field ξ: parameters θ [..., n] → dθ/dt [..., n], with its Jacobian and the names of the parameters."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the n parameters."""
        ...

    def __call__(self, theta: np.ndarray, /) -> np.ndarray:
        """dθ/dt = ξ(θ), [..., n] → [..., n]."""
        ...

    def jacobian(self, theta: np.ndarray, /) -> np.ndarray:
        """∂ξ_i/∂θ_j, [..., n] → [..., n, n]."""
        ...
