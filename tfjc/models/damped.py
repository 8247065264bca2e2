"""GANs with simultaneous updates that are adjusted against rotation about a fixed point."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfjc import architectures, geometry, losses, penalties
from tfjc.models._model import Batch, images_of
from tfjc.models.gan import GAN
from tfjc.support import checks, replicas

ADJUSTMENTS = ("consensus", "symplectic")


class DampedGAN(GAN):
    """A `GAN` whose networks are updated at once, by gradients that are adjusted for the other network's change.

    Let g be the gradients of both networks' objectives, each by its own weights, at the same weights and on the same
    batch. Let H = ∂g/∂θ be the game's Jacobian. The optimisers get

    - "consensus": g + w·Hᵀg, where Hᵀg = ∇½‖g‖² (Mescheder et al. 2017, algorithm 1);
    - "symplectic": g + w·Aᵀg with A = (H − Hᵀ)/2 (Balduzzi et al. 2018, algorithm 1, without alignment).

    Penalties and the weights' regularisers are part of the objectives. An optimiser alone cannot do this, because it
    sees one network's gradient and no objective. A step takes [batch, ...] images and updates each network once.

    Args:
      adjustment: "consensus" or "symplectic".
      weight: w ≥ 0, the papers' γ and λ. With w = 0 the updates are plain simultaneous gradient steps.
      generator, critic, loss, generator_penalties, critic_penalties, num_classes, prior, seed: as in `GAN`.

    Raises:
      ValueError: as in `GAN`, or the adjustment is unknown or the weight negative.
    """

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model,
        *,
        adjustment: str = "consensus",
        weight: float = 1.0,
        loss: str | losses.AdversarialLoss = "non_saturating",
        generator_penalties: Sequence[penalties.ComparingPenalty | penalties.DifferentiatingPenalty] = (),
        critic_penalties: Sequence[penalties.CriticPenalty] = (),
        num_classes: int | None = None,
        prior: architectures.Prior | None = None,
        seed: int = 0,
        name: str = "damped_gan",
    ) -> None:
        self.adjustment = checks.one_of("adjustment", adjustment, ADJUSTMENTS)
        self.weight = checks.real("weight", weight, minimum=0.0)
        super().__init__(
            generator,
            critic,
            loss=loss,
            generator_penalties=generator_penalties,
            critic_penalties=critic_penalties,
            num_classes=num_classes,
            prior=prior,
            seed=seed,
            name=name,
        )

    def _differentiated_twice(self):
        """Both networks, because the adjustment differentiates both gradients."""
        return [self.generator, self.critic]

    def train_step(self, data: Batch) -> dict[str, tf.Tensor]:
        """One step: both gradients at the same weights, adjusted, then both updates."""
        images, labels = self._images(images_of(data)), self._given_labels(data)
        with tf.control_dependencies([images]):
            adjusted, measured = self._adjusted_gradients(images, labels)
            self._track(measured)
            count = len(self.generator.trainable_variables)
            self._move(adjusted[:count], self.generator, self.generator_optimizer)
            self._move(adjusted[count:], self.critic, self.critic_optimizer)
            self.step.assign_add(1)
        return self._results()

    def _adjusted_gradients(self, images, labels):
        variables = [*self.generator.trainable_variables, *self.critic.trainable_variables]
        with tf.GradientTape(persistent=True) as second:
            gradients, measured = self._gradients(images, labels)
        # u ↦ Hᵀu is linear in u, so its own pullback is g ↦ Hg: two backward passes give both products.
        u = [tf.identity(g) for g in replicas.mean(gradients)]
        with tf.GradientTape(watch_accessed_variables=False) as third:
            third.watch(u)
            transposed = second.gradient(gradients, variables, output_gradients=u, unconnected_gradients="zero")
            transposed = [tf.convert_to_tensor(t) for t in transposed]  # an embedding's gradient is sparse
        if self.adjustment == "consensus":
            return [g + self.weight * t for g, t in zip(gradients, transposed, strict=True)], measured
        direct = third.gradient(transposed, u, output_gradients=u, unconnected_gradients="zero")
        half = 0.5 * self.weight
        return [g + half * (t - d) for g, t, d in zip(gradients, transposed, direct, strict=True)], measured

    def _gradients(self, images, labels):
        """(each network's gradient of its own objective, the generator's first; the pairs that are logged)."""
        batch_size = tf.shape(images)[0]
        with tf.GradientTape(persistent=True) as tape:
            fake = self._generate(self._latents(batch_size, update=0), labels)
            critic_objective, critic_measured = self._critic_objective(images, labels, fake, update=0)
            generator_objective, generator_measured = self._generator_objective(images, batch_size, update=1)
        objectives = (generator_objective, self.generator), (critic_objective, self.critic)
        with geometry.twice_differentiable():
            gradients = [
                tf.convert_to_tensor(gradient)
                for objective, network in objectives
                for gradient in tape.gradient(objective, network.trainable_variables, unconnected_gradients="zero")
            ]
        return gradients, [*critic_measured, *generator_measured]

    def _move(self, gradients, network, optimizer):
        """Updates a network. Gradients are scaled first, because the optimiser divides by its loss scale (16 bits)."""
        self._apply(optimizer, [optimizer.scale_loss(g) for g in gradients], network.trainable_variables)
