"""The preconditioning layer (PC-layer; Fang, Schwing and Sun, "Precondition Layer and Its Use for GANs")."""

import bisect
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfjc.layers.spectral import SpectralNormalization, to_kernel, to_matrix
from tfjc.support import checks

# The coefficients a₀, a₁, ... of each level, with g(s) = s·(a₀ + a₁s² + a₂s⁴ + ...). The table is the authors'. They do
# not say how they fitted it.
_COEFFICIENTS = (
    (1.0, 0.0, 0.0, 0.0, 0.0),
    (1.507, -0.507, 0.0, 0.0, 0.0),
    (2.083, -1.643, 0.560, 0.0, 0.0),
    (2.909, -4.649, 4.023, -1.283, 0.0),
    (3.625, -9.261, 14.097, -10.351, 2.890),
)
_THRESHOLDS = (5.0, 10.0, 20.0, 30.0)  # the largest modified condition number of levels 0 to 3
_REMEMBERED = 5


@keras.saving.register_keras_serializable(package="tfjc")
class Preconditioning(SpectralNormalization):
    """Wraps a convolution that uses g(W/σ(W)) instead of its kernel W. W stays the trainable variable.

    A = W/σ(W) is the normalised kernel of `SpectralNormalization` as a matrix [C_out, k·k·C_in]. Then
    g(A) = A·q(AᵀA) = q(AAᵀ)·A, computed from the smaller Gram matrix. A singular value s of A becomes
    `polynomial(s, level)`: small values grow, and 1 stays 1.

    Args:
      layer: keras.layers.Conv2D or Conv2DTranspose.
      level: 0 (spectral normalisation alone) to 4 (the strongest), or "adaptive". An adaptive level is a weight that
        starts at 0 and that compiled graphs follow. `update_level` sets it. `tfjc.callbacks.WeightSpectra` calls
        `update_level`, first before the first training step.
      name, trainable: of keras.layers.Layer.

    Raises:
      ValueError: `layer` is not a convolution, or the level does not exist. Dense layers get `SpectralNormalization`.
    """

    def __init__(
        self, layer: keras.Layer, level: int | str = 1, *, name: str | None = None, trainable: bool = True
    ) -> None:
        if isinstance(layer, keras.layers.Dense):
            raise ValueError(
                f"Preconditioning is for convolutions, found Dense {layer.name!r}; use SpectralNormalization for Dense "
                "layers"
            )
        super().__init__(layer, name=name, trainable=trainable)
        self.level = check_level(level)

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Builds the layer and u; for adaptive levels also the level and the recent condition numbers."""
        super().build(input_shape)
        if self.adaptive:
            # TensorFlow keeps int32 variables of GPUs in host memory, where XLA does not find them. So int64.
            self.chosen_level = self.add_weight(
                name="level", shape=(), dtype="int64", initializer="zeros", trainable=False
            )
            self.recent = self.add_weight(
                name="recent", shape=[_REMEMBERED], dtype="float32", initializer="zeros", trainable=False
            )

    @property
    def adaptive(self) -> bool:
        """Whether the level is a weight."""
        return self.level == "adaptive"

    @property
    def current_level(self) -> int:
        """The level in use, 0 to 4."""
        return int(self.chosen_level if self.adaptive else self.level)

    @property
    def has_chosen(self) -> bool:
        """Whether `update_level` was called since the layer was built. Checkpoints keep this."""
        return self.adaptive and bool(np.any(np.asarray(self.recent)))

    def normalised_kernel(self, training: bool = False) -> tf.Tensor:
        """The kernel that a call uses, in the shape of W. With `training`, makes a power iteration."""
        normalised = super().normalised_kernel(training)
        if self.level == 0:
            return normalised
        return to_kernel(self.layer, _precondition(to_matrix(self.layer, normalised), self._coefficients()))

    def _coefficients(self):
        if self.adaptive:
            return tf.unstack(tf.gather(tf.constant(_COEFFICIENTS, self.dtype), self.chosen_level.value))
        return _COEFFICIENTS[self.level][: self.level + 1]

    def update_level(self, condition_number: float) -> int:
        """Sets the level of an adaptive layer from a new `modified_condition_number` of its kernel; returns the level.

        The mean of the last five condition numbers decides: level 0 up to 5, level 1 up to 10, level 2 up to 20,
        level 3 up to 30, level 4 above. The weight `recent` holds these numbers (0 for a missing one), so checkpoints
        contain them. Raises ValueError for a layer with a fixed level.
        """
        if not self.adaptive:
            raise ValueError(f"only an adaptive level can be updated; {self.name!r} has level {self.level}")
        recent = np.append(np.asarray(self.recent)[1:], condition_number)
        self.recent.assign(recent)
        self.chosen_level.assign(bisect.bisect_left(_THRESHOLDS, recent[recent > 0].mean()))
        return self.current_level

    def get_config(self) -> dict[str, Any]:
        """The arguments, for Keras."""
        return {**super().get_config(), "level": self.level}


def polynomial(s: ArrayLike, level: int) -> np.ndarray:
    """g(s) = s·(a₀ + a₁s² + a₂s⁴ + ...) of `level` 0 to 4, elementwise on singular values s in [0, 1]; g(1) = 1.

    Raises ValueError for any other level.
    """
    s = np.asarray(s)
    return s * np.polynomial.polynomial.polyval(s**2, _COEFFICIENTS[int(check_level(level, adaptive=False))])


def modified_condition_number(singular_values: ArrayLike) -> float:
    """The largest of the singular values [n] divided by the mean of the smallest tenth (at least one value)."""
    descending = np.sort(np.asarray(singular_values, np.float64))[::-1]
    smallest = descending[-max(1, len(descending) // 10) :].mean()
    return np.inf if smallest == 0 else descending[0] / smallest


def check_level(level: int | str, adaptive: bool = True) -> int | str:
    """`level`, if it is 0 to 4, or "adaptive" where `adaptive` allows it. Raises ValueError otherwise."""
    if adaptive and isinstance(level, str) and level == "adaptive":
        return level
    if isinstance(level, bool) or level not in range(len(_COEFFICIENTS)):
        raise ValueError(f"level must be 0 to 4{' or adaptive' * adaptive}, found {level!r}")
    return checks.integer("level", level)


def _precondition(matrix, coefficients):
    """A·q(AᵀA) or the equal q(AAᵀ)·A, by Horner's rule on the smaller Gram matrix."""
    rows, columns = matrix.shape
    wide = rows <= columns
    gram = tf.matmul(matrix, matrix, transpose_a=not wide, transpose_b=wide)
    identity = tf.eye(min(rows, columns), dtype=matrix.dtype)
    q = coefficients[-1] * gram + coefficients[-2] * identity
    for a in reversed(coefficients[:-2]):
        q = tf.matmul(q, gram) + a * identity
    return tf.matmul(q, matrix) if wide else tf.matmul(matrix, q)
