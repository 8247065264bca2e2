"""Penalties on the critic's slope."""

import functools

import tensorflow as tf

from tfjc import geometry
from tfjc.support import checks, noise, precision, replicas


class GradientPenalty:
    """WGAN-GP: weight·(‖∇D(x̂)‖ − 1)², x̂ = x + α(G(z) − x), α ~ U(0, 1) per sample (Gulrajani et al. 2017, alg. 1).

    The norm is over all of a sample's pixels. With batch normalisation in the critic, ∇D(x̂) holds what an image does to
    the logits of the others, too. Raises ValueError for a negative weight.
    """

    def __init__(self, weight=10.0):
        self.weight = checks.real("weight", weight, minimum=0.0)

    def __call__(self, critic, real, fake, seed):
        """The penalty of each pair of a real and a generated image, [B]."""
        fake = precision.full(fake)
        real = tf.cast(real, fake.dtype)
        seed = noise.seed(seed, noise.Stream.INTERPOLATION)
        draw = functools.partial(tf.random.stateless_uniform, seed=seed, dtype=fake.dtype)
        alpha = replicas.rows(draw, [tf.shape(real)[0]] + [1] * (real.shape.rank - 1))
        between = real + alpha * (fake - real)
        slope = precision.safe_norm(_gradient(critic, between))
        return self.weight * tf.square(slope - 1.0)


class R1:
    """R₁: (γ/2)·‖∇D(x)‖² at each real image x (Mescheder et al. 2018, eq. 9).

    With batch normalisation in the critic (DCGAN's), ∇D(x) holds what an image does to the logits of the others, too.
    Raises ValueError for a negative γ.
    """

    def __init__(self, gamma=10.0):
        self.gamma = checks.real("gamma", gamma, minimum=0.0)

    def __call__(self, critic, real, fake, seed):
        """The penalty of each real image, [B]."""
        gradient = _gradient(critic, precision.full(real))
        return 0.5 * self.gamma * tf.reduce_sum(tf.square(gradient), axis=list(range(1, gradient.shape.rank)))


def _gradient(critic, images):
    """∇D at each image, in float32 or better, itself differentiable by the critic's weights."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        logits = critic(images, training=True)
    with geometry.twice_differentiable():
        gradient = tape.gradient(logits, images)
    if gradient is None:
        raise ValueError("the critic's logits do not depend on its images by anything that has a gradient")
    return precision.full(gradient)
