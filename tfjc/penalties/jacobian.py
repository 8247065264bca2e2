"""Other penalties on the generator's Jacobian, to compare Jacobian Clamping with."""

import functools
import math

import keras
import tensorflow as tf

from tfjc import geometry
from tfjc.penalties.clamping import LEAST_STEP
from tfjc.support import checks, noise, precision, replicas


class PathLength:
    """Path length regularisation: weight·(‖J_zᵀy‖ − a)², y ~ N(0, I)/√(H·W) (Karras et al. 2020, eq. 4, appendix B).

    a is the running mean of ‖J_zᵀy‖ over batches, this one included: a ← a + decay·(mean ‖J_zᵀy‖ − a), from 0. It asks
    for an orthogonal Jacobian of any scale. In the published code z passes a mapping network first, and the penalty is
    taken every fourth step or less often; here it is taken of z itself, at every step.

    The pullback is one of the whole batch: with batch normalisation, J_zᵀy has what a latent does to the other images.

    Args:
      weight: of the penalty, ≥ 0.
      decay: of the running mean, in (0, 1].

    Attributes:
      variables: a.

    Raises:
      ValueError: an argument is out of range.
    """

    def __init__(self, weight=2.0, decay=0.01):
        self.weight = checks.real("weight", weight, minimum=0.0)
        self.decay = checks.real("decay", decay, above=0.0)
        if self.decay > 1.0:
            raise ValueError(f"decay must be at most 1, found {decay}")
        self.mean = keras.Variable(0.0, dtype="float32", trainable=False, name="mean_path_length")
        self.variables = [self.mean]

    def __call__(self, generate, z, seed):
        """The penalty of each latent, [B]; brings the running mean on by a step."""
        lengths = self.lengths(generate, z, seed)
        before = tf.cast(self.mean, lengths.dtype)
        mean = before + self.decay * (replicas.mean(tf.reduce_mean(lengths)) - before)
        self.mean.assign(tf.stop_gradient(mean))
        return self.weight * tf.square(lengths - mean)

    def lengths(self, generate, z, seed):
        """‖J_zᵀy‖ of each latent, [B], for a y of its own; H·W counts the pixels of all colours as one."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(z)
            x = precision.full(generate(z))
        seed = noise.seed(seed, noise.Stream.PATH_LENGTH)
        y = replicas.rows(functools.partial(tf.random.stateless_normal, seed=seed, dtype=x.dtype), tf.shape(x))
        y /= math.sqrt(math.prod(x.shape[1:-1]))
        with geometry.twice_differentiable():
            pulled = tape.gradient(x, z, output_gradients=y)
        if pulled is None:
            raise ValueError("the generator's images do not depend on its latents by anything that has a gradient")
        return precision.safe_norm(pulled)

    def measure(self, generate, z, seed):
        """The running mean a."""
        return {"mean_path_length": tf.convert_to_tensor(self.mean)}


class OroJaR:
    """Orthogonal Jacobian regularisation: weight·max_z Var_v ‖(G(z + εv) − G(z))/ε‖² (Wei et al. 2021, section 3).

    The variance is the unbiased one of two draws of v, whose entries are ±1, as in the authors' PyTorch code (their
    TensorFlow code takes the biased one, half of it). Their codes take the maximum over the batch; `reduction="mean"`
    takes the mean. The penalty is that of the images; the authors add those of hidden layers.

    Where G is linear over the step, ‖(G(z + εv) − G(z))/ε‖² is vᵀMv with M = J_zᵀJ_z, and its expected variance is
    2·Σ_{i≠j} M_ij². So the columns of J_z become orthogonal; its singular values need not become equal.

    Args:
      weight: of the penalty, ≥ 0.
      epsilon: ε, the step along each coordinate of z, > 0.
      reduction: "max" or "mean" over the batch, which is that of all replicas.

    Raises:
      ValueError: an argument is out of range.
    """

    def __init__(self, weight: float, epsilon: float = 0.1, reduction: str = "max"):
        self.weight = checks.real("weight", weight, minimum=0.0)
        self.epsilon = checks.real("epsilon", epsilon, above=0.0, minimum=LEAST_STEP)
        self.reduction = checks.one_of("reduction", reduction, ("max", "mean"))

    def perturb(self, z, seed):
        """Two mini-batches z' = z + εv, with a v of its own for each sample: [B, n_z] each."""
        seeds = [noise.seed(seed, noise.Stream.OROJAR, k) for k in (0, 1)]
        return [z + self.epsilon * _signs(tf.shape(z), seed, z.dtype) for seed in seeds]

    def __call__(self, z, z_perturbed, x, x_perturbed):
        """What each latent adds to the penalty, [B], for images x and the two x'; the mean over B is the penalty."""
        first, second = (
            precision.safe_norm(precision.full(x_k) - precision.full(x)) / self.epsilon for x_k in x_perturbed
        )
        penalties = self.weight * 0.5 * tf.square(tf.square(first) - tf.square(second))
        return penalties if self.reduction == "mean" else penalties * _shares_of_the_maximum(penalties)

    def measure(self, z, z_perturbed, x, x_perturbed):
        """Nothing beside the penalty."""
        return {}


def _shares_of_the_maximum(values):
    """[B] numbers s for which the mean of values·s over the batch of all replicas is its maximum, and so the gradient.

    s is the size of that batch where its first maximum is, and 0 elsewhere.
    """
    everybody = tf.stop_gradient(replicas.gather(values))
    count = tf.size(everybody)
    shares = tf.one_hot(tf.argmax(everybody), count, on_value=tf.cast(count, values.dtype), dtype=values.dtype)
    context = tf.distribute.get_replica_context()
    replica = 0 if context is None else context.replica_id_in_sync_group
    return tf.reshape(shares, [-1, tf.size(values)])[replica]


def _signs(shape, seed, dtype):
    """Entries −1 and 1 with even chances."""
    draw = functools.partial(tf.random.stateless_uniform, seed=seed, minval=0, maxval=2, dtype=tf.int32)
    return tf.cast(2 * replicas.rows(draw, shape) - 1, dtype)
