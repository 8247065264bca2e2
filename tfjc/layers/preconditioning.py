"""The preconditioning layer (PC-layer; Fang, Schwing and Sun, "Precondition Layer and Its Use for GANs")."""

import bisect

import keras
import numpy as np
import tensorflow as tf

from tfjc.layers.spectral import SpectralNormalization, to_kernel, to_matrix
from tfjc.support import checks

# a₀, a₁, ... of each level: g(s) = s·(a₀ + a₁s² + a₂s⁴ + ...). The authors' table; how it was fitted they do not say.
_COEFFICIENTS = (
    (1.0, 0.0, 0.0, 0.0, 0.0),
    (1.507, -0.507, 0.0, 0.0, 0.0),
    (2.083, -1.643, 0.560, 0.0, 0.0),
    (2.909, -4.649, 4.023, -1.283, 0.0),
    (3.625, -9.261, 14.097, -10.351, 2.890),
)
_THRESHOLDS = (5.0, 10.0, 20.0, 30.0)  # the modified condition numbers up to which levels 0 to 3 do
_REMEMBERED = 5


@keras.saving.register_keras_serializable(package="tfjc")
class Preconditioning(SpectralNormalization):
    """Calls a convolution with g(W/σ(W)) in the place of its kernel W, which stays the trainable variable.

    With A = W/σ(W) as a matrix [C_out, k·k·C_in], as `SpectralNormalization` makes it, g(A) = A·q(AᵀA) = q(AAᵀ)·A,
    formed from the smaller Gram matrix: a singular value s of A becomes `polynomial(s, level)`, which lifts the small
    ones and leaves 1 where it is.

    Args:
      layer: keras.layers.Conv2D or Conv2DTranspose.
      level: 0 (spectral normalisation alone) to 4 (the strongest); or "adaptive": the level is then a weight, which
        `update_level` sets and compiled graphs follow. It is 0 until then. `tfjc.callbacks.WeightSpectra` sets it,
        before the first step for the first time.

    Raises:
      ValueError: `layer` is no convolution (linear layers get spectral normalisation alone), or there is no such level.
    """

    def __init__(self, layer, level=1, *, name=None, trainable=True):
        if isinstance(layer, keras.layers.Dense):
            raise ValueError(
                f"Preconditioning is for convolutions, linear layers get SpectralNormalization; found Dense "
                f"{layer.name!r}"
            )
        super().__init__(layer, name=name, trainable=trainable)
        self.level = check_level(level)

    def build(self, input_shape=None):
        """Builds the layer and u, and for adaptive levels the level and what it is chosen by."""
        super().build(input_shape)
        if self.adaptive:
            # int64, since GPUs keep int32 variables in the host's memory, where XLA does not find them.
            self.chosen_level = self.add_weight(
                name="level", shape=(), dtype="int64", initializer="zeros", trainable=False
            )
            self.recent = self.add_weight(
                name="recent", shape=[_REMEMBERED], dtype="float32", initializer="zeros", trainable=False
            )

    @property
    def adaptive(self):
        """Whether the level is a weight."""
        return self.level == "adaptive"

    @property
    def current_level(self):
        """The level in use, 0 to 4, as a number."""
        return int(self.chosen_level) if self.adaptive else self.level

    @property
    def has_chosen(self):
        """Whether `update_level` has been called since the layer was built; kept in checkpoints."""
        return self.adaptive and bool(np.any(np.asarray(self.recent)))

    def normalised_kernel(self, training=False):
        """The kernel that a call uses, in the shape of the raw one; makes a power iteration if `training`."""
        normalised = super().normalised_kernel(training)
        if self.level == 0:
            return normalised
        return to_kernel(self.layer, _precondition(to_matrix(self.layer, normalised), self._coefficients()))

    def _coefficients(self):
        if self.adaptive:
            return tf.unstack(tf.gather(tf.constant(_COEFFICIENTS, self.dtype), self.chosen_level.value))
        return _COEFFICIENTS[self.level][: self.level + 1]

    def update_level(self, condition_number):
        """Sets the level of an adaptive layer by a new `modified_condition_number` of its kernel; returns the level.

        The mean of the last five decides (of all, where there are fewer): up to 5 level 0, up to 10 level 1, up to 20
        level 2, up to 30 level 3, above level 4. They are a weight of the layer, `recent` (0 where there is none yet),
        and so part of every checkpoint. Raises ValueError for a layer with a fixed level.
        """
        if not self.adaptive:
            raise ValueError(f"only adaptive levels change; {self.name!r} has level {self.level}")
        recent = np.append(np.asarray(self.recent)[1:], condition_number)
        self.recent.assign(recent)
        self.chosen_level.assign(bisect.bisect_left(_THRESHOLDS, recent[recent > 0].mean()))
        return self.current_level

    def get_config(self):
        """What makes the wrapper again."""
        return {**super().get_config(), "level": self.level}


def polynomial(s, level):
    """g(s) = s·(a₀ + a₁s² + a₂s⁴ + ...) of `level` 0 to 4, elementwise on singular values s in [0, 1]; g(1) = 1.

    Raises ValueError for other levels.
    """
    s = np.asarray(s)
    return s * np.polynomial.polynomial.polyval(s**2, _COEFFICIENTS[check_level(level, adaptive=False)])


def modified_condition_number(singular_values):
    """σ₁ over the mean of the smallest tenth of the singular values, at least one, of `singular_values` [n]."""
    descending = np.sort(np.asarray(singular_values, np.float64))[::-1]
    smallest = descending[-max(1, len(descending) // 10) :].mean()
    return np.inf if smallest == 0 else descending[0] / smallest


def check_level(level, adaptive=True):
    """`level`, which must be 0 to 4, or "adaptive" where that is allowed; raises ValueError otherwise."""
    if adaptive and isinstance(level, str) and level == "adaptive":
        return level
    if isinstance(level, bool) or level not in range(len(_COEFFICIENTS)):
        raise ValueError(f"level must be 0 to 4{' or adaptive' * adaptive}, found {level!r}")
    return checks.integer("level", level)


def _precondition(matrix, coefficients):
    """A·q(AᵀA) by Horner's rule, on the smaller Gram matrix."""
    rows, columns = matrix.shape
    wide = rows <= columns
    gram = tf.matmul(matrix, matrix, transpose_a=not wide, transpose_b=wide)
    identity = tf.eye(min(rows, columns), dtype=matrix.dtype)
    q = coefficients[-1] * gram + coefficients[-2] * identity
    for a in reversed(coefficients[:-2]):
        q = tf.matmul(q, gram) + a * identity
    return tf.matmul(q, matrix) if wide else tf.matmul(matrix, q)
