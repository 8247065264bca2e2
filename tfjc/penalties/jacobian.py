"""Penalties on the generator's Jacobian, for comparison with Jacobian Clamping."""

import functools
import math
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from tfjc import geometry
from tfjc.penalties.clamping import LEAST_STEP
from tfjc.support import checks, noise, precision, replicas


class PathLength:
    """Path length regularisation: weight·(‖J_zᵀy‖ − a)², y ~ N(0, I)/√(H·W) (Karras et al. 2020, eq. 4, appendix B).

    The penalty is 0 for an orthogonal Jacobian of any scale. a is the running mean of ‖J_zᵀy‖ over batches, which
    starts at 0 and includes the current batch: a ← a + decay·(mean ‖J_zᵀy‖ − a). The published code applies the
    penalty to the output of a mapping network, at every fourth step or less often. This class applies it to z, at
    every step.

    The pullback is that of the whole batch. With batch normalisation, J_zᵀy includes the influence of a latent on the
    other images.

    Args:
      weight: weight of the penalty, ≥ 0.
      decay: decay of the running mean, in (0, 1].

    Attributes:
      variables: a list with the variable a.

    Raises:
      ValueError: an argument is out of range.
    """

    def __init__(self, weight: float = 2.0, decay: float = 0.01) -> None:
        self.weight = checks.real("weight", weight, minimum=0.0)
        self.decay = checks.real("decay", decay, above=0.0)
        if self.decay > 1.0:
            raise ValueError(f"decay must be at most 1, found {decay}")
        self.mean = keras.Variable(0.0, dtype="float32", trainable=False, name="mean_path_length")
        self.variables = [self.mean]

    def __call__(self, generate: Callable[..., tf.Tensor], z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The penalty of each latent, [B]. Updates the running mean."""
        lengths = self.lengths(generate, z, seed)
        before = tf.cast(self.mean, lengths.dtype)
        mean = before + self.decay * (replicas.mean(tf.reduce_mean(lengths)) - before)
        self.mean.assign(tf.stop_gradient(mean))
        return self.weight * tf.square(lengths - mean)

    def lengths(self, generate: Callable[..., tf.Tensor], z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """‖J_zᵀy‖ of each latent, [B], with one y for each latent. H·W is the number of pixels, without channels."""
        z = geometry.latents(z)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(z)
            x = precision.full(generate(z, training=True))
        seed = noise.seed(seed, noise.Stream.PATH_LENGTH)
        y = replicas.rows(functools.partial(tf.random.stateless_normal, seed=seed, dtype=x.dtype), tf.shape(x))
        y /= math.sqrt(math.prod(x.shape[1:-1]))
        with geometry.twice_differentiable():
            pulled = tape.gradient(x, z, output_gradients=y)
        return precision.safe_norm(connected(pulled))

    def measure(self, generate: Callable[..., tf.Tensor], z: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """The running mean a, as "mean_path_length"."""
        return {"mean_path_length": tf.convert_to_tensor(self.mean)}


def connected(gradient: tf.Tensor | None) -> tf.Tensor:
    """`gradient` of images by latents; raises ValueError for None, where the images do not depend on the latents."""
    if gradient is None:
        raise ValueError("the generator's images have no gradient with respect to its latents")
    return gradient


class OroJaR:
    """Orthogonal Jacobian regularisation: weight·max_z Var_v ‖(G(z + εv) − G(z))/ε‖² (Wei et al. 2021, section 3).

    The variance is the unbiased variance of two draws of v with entries ±1, as in the authors' PyTorch code. Their
    TensorFlow code uses the biased variance, which is half of it. Both codes use the maximum over the batch;
    `reduction="mean"` uses the mean. The authors add the penalties of hidden layers; this class penalises only images.

    Where G is linear over the step, ‖(G(z + εv) − G(z))/ε‖² is vᵀMv with M = J_zᵀJ_z. Its expected variance is
    2·Σ_{i≠j} M_ij². So the columns of J_z become orthogonal, but the singular values need not become equal.

    Args:
      weight: weight of the penalty, ≥ 0.
      epsilon: ε, the step along each coordinate of z, ≥ 1e-6.
      reduction: "max" or "mean" over the batch of all replicas.

    Raises:
      ValueError: an argument is out of range.
    """

    def __init__(self, weight: float, epsilon: float = 0.1, reduction: str = "max") -> None:
        self.weight = checks.real("weight", weight, minimum=0.0)
        self.epsilon = checks.real("epsilon", epsilon, above=0.0, minimum=LEAST_STEP)
        self.reduction = checks.one_of("reduction", reduction, ("max", "mean"))

    def perturb(self, z: tf.Tensor, seed: tf.Tensor) -> list[tf.Tensor]:
        """Two mini-batches z' = z + εv, [B, n_z] each. Each sample of each mini-batch has its own v."""
        z = geometry.latents(z)
        seeds = [noise.seed(seed, noise.Stream.OROJAR, k) for k in (0, 1)]
        return [z + self.epsilon * _signs(tf.shape(z), seed, z.dtype) for seed in seeds]

    def __call__(
        self, z: tf.Tensor, z_perturbed: Sequence[tf.Tensor], x: tf.Tensor, x_perturbed: Sequence[tf.Tensor]
    ) -> tf.Tensor:
        """The share of each latent in the penalty, [B]. The mean over B of all replicas is the penalty."""
        x, x_perturbed = tf.convert_to_tensor(x), [tf.convert_to_tensor(x_k) for x_k in x_perturbed]
        if len(x_perturbed) != 2:
            raise ValueError(f"x_perturbed must be two mini-batches of images, found {len(x_perturbed)}")
        for x_k in x_perturbed:
            checks.alike(x=x, x_perturbed=x_k)
        first, second = (
            precision.safe_norm(precision.full(x_k) - precision.full(x)) / self.epsilon for x_k in x_perturbed
        )
        penalties = self.weight * 0.5 * tf.square(tf.square(first) - tf.square(second))
        return penalties if self.reduction == "mean" else penalties * _shares_of_the_maximum(penalties)

    def measure(
        self, z: tf.Tensor, z_perturbed: Sequence[tf.Tensor], x: tf.Tensor, x_perturbed: Sequence[tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """An empty dict: the penalty itself is logged."""
        return {}


def _shares_of_the_maximum(values):
    """Numbers s [B] for which the mean of values·s over the batch of all replicas is the maximum of the values.

    The gradient of the mean is then that of the maximum. s is the size of the batch at the first maximum, 0 elsewhere.
    """
    gathered = tf.stop_gradient(replicas.gather(values))
    count = tf.size(gathered)
    shares = tf.one_hot(tf.argmax(gathered), count, on_value=tf.cast(count, values.dtype), dtype=values.dtype)
    context = tf.distribute.get_replica_context()
    replica = 0 if context is None else context.replica_id_in_sync_group
    return tf.reshape(shares, [-1, tf.size(values)])[replica]


def _signs(shape, seed, dtype):
    """Random entries −1 and 1 with equal probability."""
    draw = functools.partial(tf.random.stateless_uniform, seed=seed, minval=0, maxval=2, dtype=tf.int32)
    return tf.cast(2 * replicas.rows(draw, shape) - 1, dtype)
