"""Jacobian Clamping (Odena et al. 2018, algorithm 1)."""

import tensorflow as tf

from tfjc.support import checks, noise, precision, replicas

LEAST_STEP = 1e-6  # of z in float32 hardly anything is left of smaller ones


def quotient(z, z_perturbed, x, x_perturbed):
    """Q = ‖G(z) − G(z')‖ / ‖z − z'‖ of each sample (Odena et al. 2018, algorithm 1): [B], x of any shape.

    Its gradient is finite, and 0, where G(z) = G(z').
    """
    moved = precision.safe_norm(precision.full(x) - precision.full(x_perturbed))
    return moved / tf.cast(precision.safe_norm(z - z_perturbed), moved.dtype)


class JacobianClamping:
    """Jacobian Clamping: L = (max(Q, λ_max) − λ_max)² + (min(Q, λ_min) − λ_min)² (Odena et al. 2018, algorithm 1).

    Q is the `quotient` for z' = z + δ, ‖δ‖ = ε in a direction uniform on the sphere, drawn for each sample. Softly
    keeps all singular values of J_z in [λ_min, λ_max].

    Args:
      lambda_min, lambda_max: the target interval of Q, 0 ≤ λ_min ≤ λ_max, for images in [−1, 1].
      epsilon: ε, the length of the step in z, > 0.

    Raises:
      ValueError: a value is out of range.
    """

    def __init__(self, lambda_min=1.0, lambda_max=20.0, epsilon=1.0):
        self.lambda_min = checks.real("lambda_min", lambda_min, minimum=0.0)
        self.lambda_max = checks.real("lambda_max", lambda_max, above=0.0)
        self.epsilon = checks.real("epsilon", epsilon, above=0.0, minimum=LEAST_STEP)
        if self.lambda_min > self.lambda_max:
            raise ValueError(f"lambda_min must not exceed lambda_max, found {lambda_min} > {lambda_max}")

    def perturb(self, z, seed):
        """z' = z + ε·δ/‖δ‖, δ ~ N(0, I) per sample: [B, n_z]."""
        seed = noise.seed(seed, noise.Stream.CLAMPING)
        return z + self.epsilon * replicas.unit_directions(tf.shape(z), seed, z.dtype)

    def __call__(self, z, z_perturbed, x, x_perturbed):
        """The penalty L of each sample, [B]."""
        return self.penalty(quotient(z, z_perturbed, x, x_perturbed))

    def penalty(self, q):
        """L as a function of Q, elementwise."""
        above = tf.maximum(q, self.lambda_max) - self.lambda_max
        below = tf.minimum(q, self.lambda_min) - self.lambda_min
        return tf.square(above) + tf.square(below)

    def measure(self, z, z_perturbed, x, x_perturbed):
        """Scalars to watch: the mean quotient, and the fractions of samples clamped from below and from above."""
        q = quotient(z, z_perturbed, x, x_perturbed)
        return {"quotient": tf.reduce_mean(q), **self.clamped(q)}

    def clamped(self, q):
        """The fractions of quotients q [B] below λ_min and above λ_max."""
        return {
            "clamped_low": tf.reduce_mean(tf.cast(q < self.lambda_min, tf.float32)),
            "clamped_high": tf.reduce_mean(tf.cast(q > self.lambda_max, tf.float32)),
        }
