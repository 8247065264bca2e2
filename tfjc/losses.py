"""Adversarial losses, from the critic's logits."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import tensorflow as tf

from tfjc.support import checks


class Loss(NamedTuple):
    """A loss that looks at each image alone: three functions of logits [B] or [B, 1] → the loss of each image.

    The critic minimises mean(real(D(x))) + mean(fake(D(G(z)))). The generator minimises mean(generator(D(G(z)))).

    Attributes:
      real: the critic's loss on logits of real images.
      fake: the critic's loss on logits of generated images.
      generator: the generator's loss on logits of generated images.
    """

    real: Callable[[tf.Tensor], tf.Tensor]
    fake: Callable[[tf.Tensor], tf.Tensor]
    generator: Callable[[tf.Tensor], tf.Tensor]

    @property
    def is_paired(self) -> bool:
        """Whether the generator's loss takes real images."""
        return False

    def of_critic(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """L_D, a scalar, from logits [B] or [B, 1] of real and of generated images; raises ValueError for others."""
        _check(real=real, generated=fake)
        return tf.reduce_mean(self.real(real)) + tf.reduce_mean(self.fake(fake))

    def of_generator(self, real: tf.Tensor | None, fake: tf.Tensor) -> tf.Tensor:
        """L_G, a scalar, as `of_critic`; `real` may be None."""
        _check(generated=fake)
        return tf.reduce_mean(self.generator(fake))


class PairedLoss(NamedTuple):
    """A loss that compares real with generated images, in pairs: the critic tells which one of two is real.

    The critic minimises mean(pair(D(x) − D(G(z)))), the generator mean(pair(D(G(z)) − D(x))).

    Attributes:
      pair: the loss of each pair, from a difference of logits [B] or [B, 1].
    """

    pair: Callable[[tf.Tensor], tf.Tensor]

    @property
    def is_paired(self) -> bool:
        """Whether the generator's loss takes real images."""
        return True

    def of_critic(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """L_D, a scalar, from logits [B] or [B, 1] of real and of as many generated images.

        Raises:
          ValueError: the logits have other shapes.
        """
        return tf.reduce_mean(self.pair(_difference(real, fake)))

    def of_generator(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """L_G, a scalar, as `of_critic`."""
        return tf.reduce_mean(self.pair(-_difference(real, fake)))


def _check(**logits):
    for kind, values in logits.items():
        checks.logits(f"the logits of {kind} images", values)


def _difference(real, fake):
    """D(x) − D(G(z)) of each pair, [B]. A difference of [B] and [B, 1] would be [B, B]."""
    _check(real=real, generated=fake)
    real, fake = tf.reshape(real, [-1]), tf.reshape(fake, [-1])
    if not real.shape.is_compatible_with(fake.shape):
        raise ValueError(f"a paired loss needs as many real as generated images, found {len(real)} and {len(fake)}")
    return real - fake


AdversarialLoss: TypeAlias = Loss | PairedLoss

# −ln σ(l) = softplus(−l) and −ln(1 − σ(l)) = softplus(l), finite for logits of any size.
NON_SATURATING = Loss(
    real=lambda logits: tf.nn.softplus(-logits),
    fake=lambda logits: tf.nn.softplus(logits),
    generator=lambda logits: tf.nn.softplus(-logits),
)
"""L_D = −ln D(x) − ln(1 − D(G(z))), L_G = −ln D(G(z)) (Odena et al. 2018, eqs. 1 and 2)."""

MINIMAX = NON_SATURATING._replace(generator=lambda logits: -tf.nn.softplus(logits))
"""L_D = −ln D(x) − ln(1 − D(G(z))), L_G = ln(1 − D(G(z))) (Goodfellow et al. 2014, eq. 1). L_G saturates at D = 0."""

WASSERSTEIN = Loss(real=lambda logits: -logits, fake=tf.identity, generator=lambda logits: -logits)
"""L_D = −D(x) + D(G(z)), L_G = −D(G(z)) (Arjovsky et al. 2017, algorithm 1)."""

HINGE = Loss(
    real=lambda logits: tf.nn.relu(1.0 - logits),
    fake=lambda logits: tf.nn.relu(1.0 + logits),
    generator=lambda logits: -logits,
)
"""L_D = max(0, 1 − D(x)) + max(0, 1 + D(G(z))), L_G = −D(G(z)) (Miyato et al. 2018, eqs. 16 and 17)."""

LEAST_SQUARES = Loss(
    real=lambda logits: 0.5 * tf.square(logits - 1.0),
    fake=lambda logits: 0.5 * tf.square(logits),
    generator=lambda logits: 0.5 * tf.square(logits - 1.0),
)
"""L_D = ½(D(x) − 1)² + ½D(G(z))², L_G = ½(D(G(z)) − 1)² (Mao et al. 2017, eq. 9)."""

RELATIVISTIC = PairedLoss(pair=lambda difference: tf.nn.softplus(-difference))
"""L_D = −ln σ(D(x) − D(G(z))), L_G = −ln σ(D(G(z)) − D(x)) (Jolicoeur-Martineau 2019, section 4.1; R3GAN's loss,
Huang et al. 2024, section 2)."""

_LOSSES: dict[str, AdversarialLoss] = {
    "non_saturating": NON_SATURATING,
    "minimax": MINIMAX,
    "wasserstein": WASSERSTEIN,
    "hinge": HINGE,
    "least_squares": LEAST_SQUARES,
    "relativistic": RELATIVISTIC,
}


def get(loss: str | AdversarialLoss) -> AdversarialLoss:
    """The loss with the name `loss`, or `loss` itself if it is one. Raises ValueError for an unknown name."""
    return loss if isinstance(loss, AdversarialLoss) else _LOSSES[checks.one_of("loss", loss, _LOSSES)]
