"""Batch normalisation over all replicas with derivatives of every order, and one with parameters for each class."""

import keras
import tensorflow as tf

from tfjc.layers._fused import batch_normalization
from tfjc.support import checks, replicas
from tfjc.support.xla import within_xla


@keras.saving.register_keras_serializable(package="tfjc")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalisation, with the moments of the batch of all replicas, and right second derivatives.

    `tf.nn.moments`, which Keras's layer takes, holds μ constant in σ² = mean((x − μ)²). That leaves first derivatives
    as they are, but not second ones, which penalties on slopes need. Here σ² = mean((x − c)²) − (μ − c)², which is true
    of any constant c, with c = μ: the same numbers, and derivatives of every order. Masked inputs are left to Keras.
    Batches of images on one device are normalised in one operation (not in float64, nor under XLA).
    """

    def call(self, inputs, training=None, mask=None):
        """The normalised inputs; in training the moving averages are brought on by a step."""
        if not (training and self.trainable and mask is None and self._is_fusible(inputs)):
            return super().call(inputs, training=training, mask=mask)
        channels = [inputs.shape[-1]]
        gamma = tf.cast(self.gamma, tf.float32) if self.scale else tf.ones(channels)
        beta = tf.cast(self.beta, tf.float32) if self.center else tf.zeros(channels)
        outputs, mean, variance = batch_normalization(tf.cast(inputs, tf.float32), gamma, beta, self.epsilon)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(tf.cast(moving, tf.float32) * self.momentum + value * (1.0 - self.momentum))
        return tf.cast(outputs, self.compute_dtype)

    def _is_fusible(self, inputs):
        """Whether TensorFlow has one operation for it: not in float64, nor for a batch that replicas share.

        XLA has one that takes σ² to be mean(x²) − μ², which is wrong, and negative even, where μ² is far above σ².
        """
        shape = inputs.shape
        fits = shape.rank == 4 and self.axis in (-1, 3) and shape[-1] is not None and inputs.dtype != tf.float64
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
    """γ_y·(x − μ)/√(σ² + ε) + β_y for a sample of class y (Dumoulin et al. 2017; Gulrajani et al. 2017, their code).

    Called with [x [B, ..., C], labels int [B]]. μ and σ² are those of the batch over all axes but the last in training,
    moving averages otherwise; γ is 1 and β is 0 for every class at first.

    Args:
      num_classes: number of classes.
      momentum: of the moving averages.
      epsilon: ε.

    Raises:
      ValueError: an argument is out of range.
    """

    def __init__(self, num_classes, momentum=0.9, epsilon=1e-5, **options):
        super().__init__(**options)
        self.num_classes = checks.integer("num_classes", num_classes, minimum=1)
        self.momentum = checks.real("momentum", momentum, minimum=0.0, below=1.0)
        self.epsilon = checks.real("epsilon", epsilon, above=0.0)
        self.normalization = BatchNormalization(
            momentum=self.momentum, epsilon=self.epsilon, center=False, scale=False, dtype=self.dtype_policy
        )

    def build(self, input_shape):
        """Makes γ and β, [num_classes, C]."""
        shape = (self.num_classes, input_shape[0][-1])
        self.normalization.build(input_shape[0])
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        self.built = True

    def call(self, inputs, training=None):
        """The normalised x."""
        x, labels = inputs
        shape = (-1, *[1] * (len(x.shape) - 2), x.shape[-1])
        # Times 1: the variable's own gradient would have a row a sample, whose squares Adam does not sum by class.
        rows = (keras.ops.take(1.0 * w, labels, axis=0) for w in (self.gamma, self.beta))
        gamma, beta = (keras.ops.reshape(row, shape) for row in rows)
        return self.normalization(x, training=training) * gamma + beta

    def compute_output_shape(self, input_shape):
        """That of x."""
        return input_shape[0]

    def get_config(self):
        """The arguments."""
        own = {"num_classes": self.num_classes, "momentum": self.momentum, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
