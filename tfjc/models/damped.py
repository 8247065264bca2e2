"""GANs trained by simultaneous updates that are adjusted against rotation about a fixed point."""

import tensorflow as tf

from tfjc import geometry
from tfjc.models._model import images_of
from tfjc.models.gan import GAN
from tfjc.support import checks, replicas

ADJUSTMENTS = ("consensus", "symplectic")


class DampedGAN(GAN):
    """A `GAN` whose players move at once, along gradients that take account of how the other's will change.

    With g the gradients of both players' objectives, each by its own weights, all at the same weights and on the same
    batch, and H = ∂g/∂θ the game's Jacobian, the optimisers are given

    - "consensus": g + w·Hᵀg, where Hᵀg = ∇½‖g‖² (Mescheder et al. 2017, algorithm 1);
    - "symplectic": g + w·Aᵀg with A = (H − Hᵀ)/2 (Balduzzi et al. 2018, algorithm 1, without alignment).

    Penalties and the weights' regularisers are part of the objectives. A wrapper of an optimiser could not do this: it
    sees one player's gradient and neither objective. A step takes [batch, ...] images and updates each player once.

    Args:
      adjustment: "consensus" or "symplectic".
      weight: w, the papers' γ and λ, ≥ 0; with 0 the updates are plain simultaneous ones.
      generator, critic, loss, generator_penalties, critic_penalties, num_classes, prior, seed: as in `GAN`.

    Raises:
      ValueError: as `GAN`, or for an unknown adjustment or a negative weight.
    """

    def __init__(
        self,
        generator,
        critic,
        *,
        adjustment="consensus",
        weight=1.0,
        loss="non_saturating",
        generator_penalties=(),
        critic_penalties=(),
        num_classes=None,
        prior=None,
        seed=0,
        name="damped_gan",
    ):
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
        """Both: so are the gradients themselves."""
        return [self.generator, self.critic]

    def train_step(self, data):
        """Both gradients at the same weights, adjusted, then both updates."""
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
            transposed = [tf.convert_to_tensor(t) for t in transposed]  # embeddings' are sparse
        if self.adjustment == "consensus":
            return [g + self.weight * t for g, t in zip(gradients, transposed, strict=True)], measured
        direct = third.gradient(transposed, u, output_gradients=u, unconnected_gradients="zero")
        half = 0.5 * self.weight
        return [g + half * (t - d) for g, t, d in zip(gradients, transposed, direct, strict=True)], measured

    def _gradients(self, images, labels):
        """Each player's gradient of its own objective, the generator's first, and what is logged."""
        batch_size = tf.shape(images)[0]
        with tf.GradientTape(persistent=True) as tape:
            fake = self._generate(self._latents(batch_size, update=0), labels)
            critic_objective, critic_measured = self._critic_objective(images, labels, fake, update=0)
            generator_objective, generator_measured = self._generator_objective(batch_size, update=1)
        players = (generator_objective, self.generator), (critic_objective, self.critic)
        with geometry.twice_differentiable():
            gradients = [
                tf.convert_to_tensor(gradient)
                for objective, network in players
                for gradient in tape.gradient(objective, network.trainable_variables, unconnected_gradients="zero")
            ]
        return gradients, [*critic_measured, *generator_measured]

    def _move(self, gradients, network, optimizer):
        """An optimiser's update; it divides by the scale that it asks losses to be multiplied by (16-bit policies)."""
        self._apply(optimizer, [optimizer.scale_loss(g) for g in gradients], network.trainable_variables)
