"""Jacobian Clamping (Odena et al. 2018, algorithm 1)."""

import tensorflow as tf

from tfjc.geometry import latents, quotient
from tfjc.support import checks, noise, replicas

LEAST_STEP = 1e-6  # a smaller step in z is lost in float32 rounding


class JacobianClamping:
    """Jacobian Clamping: L = (max(Q, λ_max) − λ_max)² + (min(Q, λ_min) − λ_min)² (Odena et al. 2018, algorithm 1).

    Q is the `quotient` for z' = z + δ with ‖δ‖ = ε. The direction of δ is uniform on the sphere and drawn for each
    sample. The penalty pushes all singular values of J_z towards [λ_min, λ_max].

    Args:
      lambda_min, lambda_max: the target interval of Q, 0 ≤ λ_min ≤ λ_max, for images in [−1, 1].
      epsilon: ε, the length of the step in z, ≥ 1e-6.

    Raises:
      ValueError: an argument is out of range.
    """

    def __init__(self, lambda_min: float = 1.0, lambda_max: float = 20.0, epsilon: float = 1.0) -> None:
        self.lambda_min = checks.real("lambda_min", lambda_min, minimum=0.0)
        self.lambda_max = checks.real("lambda_max", lambda_max, above=0.0)
        self.epsilon = checks.real("epsilon", epsilon, above=0.0, minimum=LEAST_STEP)
        if self.lambda_min > self.lambda_max:
            raise ValueError(f"lambda_min must not exceed lambda_max, found {lambda_min} > {lambda_max}")

    def perturb(self, z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """z' = z + ε·δ/‖δ‖ with δ ~ N(0, I) for each sample: [B, n_z] of float32 or float64.

        Raises ValueError unless z is [B, n_z] of floating type.
        """
        z = latents(z)
        seed = noise.seed(seed, noise.Stream.CLAMPING)
        return z + self.epsilon * replicas.unit_directions(tf.shape(z), seed, z.dtype)

    def __call__(self, z: tf.Tensor, z_perturbed: tf.Tensor, x: tf.Tensor, x_perturbed: tf.Tensor) -> tf.Tensor:
        """The penalty L of each sample, [B]."""
        return self.penalty(quotient(z, z_perturbed, x, x_perturbed))

    def penalty(self, q: tf.Tensor) -> tf.Tensor:
        """L as a function of Q, elementwise."""
        above = tf.maximum(q, self.lambda_max) - self.lambda_max
        below = tf.minimum(q, self.lambda_min) - self.lambda_min
        return tf.square(above) + tf.square(below)

    def measure(
        self, z: tf.Tensor, z_perturbed: tf.Tensor, x: tf.Tensor, x_perturbed: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Scalars to log: the mean quotient and the fractions of samples with Q < λ_min and with Q > λ_max."""
        q = quotient(z, z_perturbed, x, x_perturbed)
        return {"quotient": tf.reduce_mean(q), **self.clamped(q)}

    def clamped(self, q: tf.Tensor) -> dict[str, tf.Tensor]:
        """The fractions of quotients q [B] below λ_min ("clamped_low") and above λ_max ("clamped_high")."""
        return {
            "clamped_low": tf.reduce_mean(tf.cast(q < self.lambda_min, tf.float32)),
            "clamped_high": tf.reduce_mean(tf.cast(q > self.lambda_max, tf.float32)),
        }


class QuotientFloor(JacobianClamping):
    """The lower half of Jacobian Clamping: L = (min(Q, λ_min) − λ_min)² (Odena et al. 2018, algorithm 1).

    It holds the scale of the Jacobian up and says nothing of its condition number. λ_max is 1e30.

    Args:
      lambda_min: the floor under Q, ≥ 0, for images in [−1, 1].
      epsilon: ε, the length of the step in z, ≥ 1e-6.

    Raises:
      ValueError: an argument is out of range.
    """

    def __init__(self, lambda_min: float = 1.0, epsilon: float = 1.0) -> None:
        super().__init__(lambda_min, 1e30, epsilon)
