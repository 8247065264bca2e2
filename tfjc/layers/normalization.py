"""Batch normalisation over all replicas with derivatives of every order, and class-conditional batch normalisation."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfjc.layers._fused import batch_normalization
from tfjc.support import checks, replicas
from tfjc.support.xla import within_xla


@keras.saving.register_keras_serializable(package="tfjc")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalisation with the moments of the batch of all replicas and correct second derivatives.

    Keras's layer uses `tf.nn.moments`, which treats μ as a constant in σ² = mean((x − μ)²). First derivatives are then
    correct, but second derivatives, which penalties on slopes need, are wrong. This layer computes
    σ² = mean((x − c)²) − (μ − c)², which holds for any constant c, with c = μ: the same values, and correct derivatives
    of every order. Masked inputs are computed by Keras. Batches of images on one device are normalised by one fused
    operation, except in float64 and under XLA. Arguments and weights are those of Keras's layer.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        """The normalised inputs. Training updates the moving averages."""
        if not (training and self.trainable and mask is None and self._is_fusible(inputs)):
            return super().call(inputs, training=training, mask=mask)
        channels = [inputs.shape[-1]]
        gamma = tf.cast(self.gamma, tf.float32) if self.scale else tf.ones(channels)
        beta = tf.cast(self.beta, tf.float32) if self.center else tf.zeros(channels)
        outputs, mean, variance = batch_normalization(inputs, gamma, beta, self.epsilon)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(tf.cast(moving, tf.float32) * self.momentum + value * (1.0 - self.momentum))
        return tf.cast(outputs, self.compute_dtype)

    def _is_fusible(self, inputs):
        """Whether a fused operation can normalise the inputs: not in float64 or integers, nor a batch of replicas.

        Under XLA the fused operation is not used: it computes σ² as mean(x²) − μ², which is wrong, and can be negative,
        where μ² is much larger than σ².
        """
        shape = inputs.shape
        fits = shape.rank == 4 and self.axis in (-1, 3) and shape[-1] is not None
        fits = fits and inputs.dtype in (tf.float32, tf.bfloat16, tf.float16)
        return fits and not self.renorm and replicas.count() == 1 and not within_xla()

    def _moments(self, inputs, mask):
        if mask is not None:
            return super()._moments(inputs, mask)
        mean = replicas.mean(tf.reduce_mean(inputs, self._reduction_axes))
        shape = [1 if axis in self._reduction_axes else -1 for axis in range(inputs.shape.rank)]
        constant = tf.stop_gradient(mean)
        squared = tf.math.squared_difference(inputs, tf.reshape(constant, shape))
        about_constant = replicas.mean(tf.reduce_mean(squared, self._reduction_axes))
        return mean, about_constant - tf.square(mean - constant)


@keras.saving.register_keras_serializable(package="tfjc")
class ConditionalBatchNormalization(keras.layers.Layer):
    """Conditional batch normalisation: γ_y·(x − μ)/√(σ² + ε) + β_y for a sample of class y.

    The layer is called with [x [B, ..., C], labels int [B]]. In training μ and σ² are the moments of the batch over all
    axes but the last, otherwise moving averages. Each class starts with γ = 1 and β = 0. Source: Dumoulin et al. 2017;
    the code of Gulrajani et al. 2017.

    Args:
      num_classes: number of classes, ≥ 1.
      momentum: momentum of the moving averages, in [0, 1).
      epsilon: ε, > 0.
      options: of keras.layers.Layer.

    Raises:
      ValueError: an argument is out of range.
    """

    def __init__(self, num_classes: int, momentum: float = 0.9, epsilon: float = 1e-5, **options: Any) -> None:
        super().__init__(**options)
        self.num_classes = checks.integer("num_classes", num_classes, minimum=1)
        self.momentum = checks.real("momentum", momentum, minimum=0.0, below=1.0)
        self.epsilon = checks.real("epsilon", epsilon, above=0.0)
        self.normalization = BatchNormalization(
            momentum=self.momentum, epsilon=self.epsilon, center=False, scale=False, dtype=self.dtype_policy
        )

    def build(self, input_shape: Sequence[Sequence[int | None]]) -> None:
        """Makes γ and β, [num_classes, C]."""
        shape = (self.num_classes, input_shape[0][-1])
        self.normalization.build(input_shape[0])
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        self.built = True

    def call(self, inputs: Sequence[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """The normalised x for [x, labels]."""
        x, labels = inputs
        shape = (-1, *[1] * (len(x.shape) - 2), x.shape[-1])
        # The factor 1 makes the gradient dense. A sparse gradient has one row for each sample, and Adam would square
        # the rows before it sums them by class.
        rows = (keras.ops.take(1.0 * w, labels, axis=0) for w in (self.gamma, self.beta))
        gamma, beta = (keras.ops.reshape(row, shape) for row in rows)
        return self.normalization(x, training=training) * gamma + beta

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> Sequence[int | None]:
        """The shape of x."""
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        """The arguments, for Keras."""
        own = {"num_classes": self.num_classes, "momentum": self.momentum, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
