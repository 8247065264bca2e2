"""Penalties on the gradient of the critic with respect to images."""

import functools

import keras
import tensorflow as tf

from tfjc import geometry
from tfjc.support import checks, noise, precision, replicas


class GradientPenalty:
    """WGAN-GP's penalty weight·(‖∇D(x̂)‖ − 1)² with x̂ = x + α(G(z) − x), α ~ U(0, 1) for each sample.

    The norm is over all pixels of a sample. With batch normalisation in the critic, ∇D(x̂) includes the influence of an
    image on the logits of other images. Source: Gulrajani et al. 2017, algorithm 1.

    Args:
      weight: weight of the penalty, ≥ 0.
      every: the penalty is taken at the critic's updates of every `every`-th step, with `every` times the weight
        (Karras et al. 2020, appendix B: lazy regularisation).

    Raises:
      ValueError: the weight is negative, or `every` less than 1.
    """

    def __init__(self, weight: float = 10.0, every: int = 1) -> None:
        self.weight = checks.real("weight", weight, minimum=0.0)
        self.every = checks.integer("every", every, minimum=1)

    def __call__(self, critic: keras.Model, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The penalty of each pair of a real and a generated image, [B].

        Raises:
          ValueError: the critic returns more than one logit for an image. [logits, class logits] are allowed; class
            logits are not penalised.
        """
        real, fake = tf.convert_to_tensor(real), tf.convert_to_tensor(fake)
        checks.alike(real=real, fake=fake)
        fake = precision.full(fake)
        real = tf.cast(real, fake.dtype)
        seed = noise.seed(seed, noise.Stream.INTERPOLATION)
        draw = functools.partial(tf.random.stateless_uniform, seed=seed, dtype=fake.dtype)
        alpha = replicas.rows(draw, [tf.shape(real)[0]] + [1] * (real.shape.rank - 1))
        between = real + alpha * (fake - real)
        slope = precision.safe_norm(_gradient(critic, between))
        return self.weight * tf.square(slope - 1.0)


class _CentredAtZero:
    """(γ/2)·‖∇D‖² at one kind of images."""

    def __init__(self, gamma: float = 10.0, every: int = 1) -> None:
        self.gamma = checks.real("gamma", gamma, minimum=0.0)
        self.every = checks.integer("every", every, minimum=1)

    def _at(self, critic, images, kind):
        images = tf.convert_to_tensor(images)
        if not images.dtype.is_floating:
            raise ValueError(f"{kind} images must be of floating type, found {images.dtype.name}")
        gradient = _gradient(critic, precision.full(images))
        return 0.5 * self.gamma * tf.reduce_sum(tf.square(gradient), axis=list(range(1, gradient.shape.rank)))


class R1(_CentredAtZero):
    """The R₁ penalty (γ/2)·‖∇D(x)‖² at each real image x (Mescheder et al. 2018, eq. 9).

    With batch normalisation in the critic (as in DCGAN), ∇D(x) includes the influence of an image on the logits of
    other images.

    Args:
      gamma: γ, ≥ 0.
      every: as in `GradientPenalty`.

    Raises:
      ValueError: γ is negative, or `every` less than 1.
    """

    def __call__(self, critic: keras.Model, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The penalty of each real image, [B]; raises ValueError as `GradientPenalty` does."""
        return self._at(critic, real, "real")


class R2(_CentredAtZero):
    """The R₂ penalty (γ/2)·‖∇D(G(z))‖² at each generated image (Mescheder et al. 2018, eq. 10).

    Args:
      gamma, every: as in `R1`.

    Raises:
      ValueError: as `R1`.
    """

    def __call__(self, critic: keras.Model, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The penalty of each generated image, [B]; raises ValueError as `GradientPenalty` does."""
        return self._at(critic, fake, "generated")


def _gradient(critic, images):
    """∇D at each image in float32 or float64; it can be differentiated with respect to the critic's weights.

    D is the first output of a class-conditional critic, which returns [logits, class logits].
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        outputs = critic(images, training=True)
        logits = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
    checks.logits("the critic's logits", logits)
    with geometry.twice_differentiable():
        gradient = tape.gradient(logits, images)
    if gradient is None:
        raise ValueError("the critic's logits have no gradient with respect to its images")
    return precision.full(gradient)
